"""Prints how fast one core quantizes, by format: bfloat16 in a cached checkpoint to codes in a file.

Run from the repository's root: python -m tests.convert.bench_quantize [rows columns]
Rates count CPU time, so they hold on a busy machine too.
"""

import json
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from edge_mtp.checkpoint.tensors import open_checkpoint
from edge_mtp.convert.quantize import WeightRows, quantize_weight
from edge_mtp.recipe import WeightFormat

E2B_PARAMETERS = 4.6e9
FORMATS = (
    *(WeightFormat(dtype) for dtype in ("float32", "int8", "int4", "int2")),
    *(WeightFormat("int4", block) for block in (32, 64, 128)),
)


def write_checkpoint(directory: Path, rows: int, columns: int) -> None:
    """One bfloat16 tensor `weight` [rows, columns] of normal values."""
    random = np.random.default_rng(0)
    entry = {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [0, rows * columns * 2]}
    header = json.dumps({"weight": entry}).encode()
    with (directory / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for _ in range(rows):
            values = random.standard_normal(columns, dtype=np.float32) * np.float32(0.02)
            file.write((values.view(np.uint32) >> 16).astype(np.uint16).tobytes())


def print_rates(rows: int, columns: int) -> None:
    """One line per format."""
    with tempfile.TemporaryDirectory() as directory:
        write_checkpoint(Path(directory), rows, columns)
        read = partial(open_checkpoint(Path(directory)).read_raw, "weight")
        weight = WeightRows("weight", (rows, columns), read, "made up")
        print(f"{rows} x {columns} bfloat16 | M params/s | s for E2B | SNR dB")
        for weight_format in FORMATS:
            with Path(directory, "codes").open("wb") as out:
                began_s = time.process_time()
                result = quantize_weight(weight, weight_format, out)
                rate = rows * columns / (time.process_time() - began_s)
            label, e2b_s = weight_format.label, E2B_PARAMETERS / rate
            print(f"{label:>18} | {rate / 1e6:10.0f} | {e2b_s:9.1f} | {result.snr_db:6.2f}")


if __name__ == "__main__":
    print_rates(*(int(word) for word in sys.argv[1:]) if sys.argv[1:] else (32768, 1536))
