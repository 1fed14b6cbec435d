"""Numbers with the statistics of trained weights, made faster than a disk takes them.

Tails heavier than normal, and a scale of its own for every row. One pool of random numbers serves all
tensors: each run of rows takes another stretch of it, so two tensors share values, but no row its scale.
"""

import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tests.scale.shapes import TensorSpec

POOL_ELEMENTS = 1 << 23
CHUNK_ELEMENTS = 1 << 19
TAIL_FREEDOM = 7  # Student's t: about 12 standard deviations at the extremes of a real matrix
ROW_SPREAD = 0.35  # of the logarithm of a row's scale
NORM_SPREAD = 0.25


def make_pool(seed: int, elements: int = POOL_ELEMENTS) -> NDArray[np.float32]:
    """Heavy-tailed numbers [elements] float32 of mean 0 and standard deviation 1."""
    generator = np.random.default_rng(seed)
    pool = generator.standard_t(TAIL_FREEDOM, elements).astype(np.float32)
    pool /= pool.std()
    return pool


def tensor_bytes(spec: TensorSpec, pool: NDArray[np.float32], seed: int) -> Iterator[memoryview]:
    """The stored bytes of `spec`, a few rows at a time; the same for one `seed`, in whatever order."""
    generator = np.random.default_rng([seed, zlib.crc32(spec.name.encode())])
    if spec.role == "order":
        yield generator.permutation(spec.shape[0]).astype("<i8").data.cast("B")
    elif spec.role == "matrix":
        yield from _matrix_bytes(spec, pool, generator)
    else:
        spread = generator.standard_normal(spec.elements, dtype=np.float32) * NORM_SPREAD
        values = spec.scale * np.exp(spread)
        if spec.role == "signed_norm":
            values *= generator.choice(np.array([-1, 1], np.float32), spec.elements)
        yield to_bf16(values).data.cast("B")


def to_bf16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """values [n] float32, which are overwritten -> [n] uint16, the bits of the nearest bf16."""
    bits = values.view("<u4")
    bits += 0x8000
    return np.ascontiguousarray(bits.view("<u2")[1::2])


def _matrix_bytes(spec: TensorSpec, pool: NDArray[np.float32], generator: np.random.Generator) -> Iterator[memoryview]:
    rows, columns = spec.shape
    scales = np.exp(generator.standard_normal(rows, dtype=np.float32) * ROW_SPREAD)
    scales *= spec.scale / np.sqrt(np.mean(np.square(scales)))
    step = max(1, min(CHUNK_ELEMENTS, pool.size) // columns)
    for start in range(0, rows, step):
        chunk = scales[start : start + step, None]
        first = int(generator.integers(pool.size - chunk.size * columns + 1))
        values = pool[first : first + chunk.size * columns].reshape(-1, columns) * chunk
        yield to_bf16(values.reshape(-1)).data.cast("B")
