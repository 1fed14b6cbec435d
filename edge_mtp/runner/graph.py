"""One model section of a bundle, run where it lies by LiteRT on the CPU."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_mtp.bundle.reader import Bundle
from edge_mtp.bundle.summary import ModelSummary, Signature, Tensor
from edge_mtp.errors import BundleError
from edge_mtp.runner.litert_c import Bound, CompiledModel, Environment, TensorBuffer

Array = NDArray[Any]
Buffers = Mapping[str, TensorBuffer]

DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "FLOAT32": np.dtype(np.float32),
    "FLOAT16": np.dtype(np.float16),
    "INT32": np.dtype(np.int32),
    "INT8": np.dtype(np.int8),
    "UINT8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}


class Graph:
    """A compiled section; nothing of it is unpacked or copied."""

    def __init__(
        self,
        bundle: Bundle,
        name: str,
        summary: ModelSummary,
        environment: Environment,
        threads: int,
        weight_cache: Path | None = None,
    ) -> None:
        """`summary` is that of section `name`; for `weight_cache` see `litert_c.CompiledModel`.

        BundleError where there is no such section or signature in it, or LiteRT refuses it.
        """
        section = bundle.find(name)
        if section is None or not summary.signatures:
            what = "section" if section is None else "signature in section"
            raise BundleError(f"{bundle.path} has no {what} {name}; it cannot be run (edge-mtp inspect says more)")
        self.name, self.summary = name, summary
        with bundle.path.open("rb") as file:
            cache = "" if weight_cache is None else str(weight_cache)
            place = (file.fileno(), section.begin, section.size)
            self._model = CompiledModel(environment, *place, threads, cache)

    def signature(self, key: str) -> Signature:
        """The signature called `key`; BundleError naming those there are."""
        found = self.summary.signature(key)
        if found is None:
            there = ", ".join(one.key for one in self.summary.signatures)
            raise BundleError(f"section {self.name} has no signature {key!r}; it has {there}")
        return found

    def call(self, key: str, shared: Buffers) -> "Call":
        """Signature `key` on `shared` buffers where they have a tensor's name, and on buffers of its own elsewhere."""
        return Call(self._model, self.summary.signatures.index(self.signature(key)), self.signature(key), shared)


class Call:
    """One signature bound to memory: write `inputs`, run, read `outputs`, all numpy arrays in place."""

    def __init__(self, model: CompiledModel, index: int, signature: Signature, shared: Buffers) -> None:
        self.signature = signature
        self._model, self._index = model, index
        given = {tensor.name: shared.get(tensor.name) or make_buffer(tensor) for tensor in signature.inputs}
        made = {tensor.name: shared.get(tensor.name) or make_buffer(tensor) for tensor in signature.outputs}
        self.inputs = {name: buffer.array for name, buffer in given.items()}
        self.outputs = {name: buffer.array for name, buffer in made.items()}
        inputs, outputs = model.tensor_names(index)
        self._given, self._made = Bound([given[name] for name in inputs]), Bound([made[name] for name in outputs])

    def run(self) -> None:
        """One inference; `outputs` hold its results until the next."""
        self._model.run(self._index, self._given, self._made)


def make_buffer(tensor: Tensor) -> TensorBuffer:
    """Zeros for `tensor`; BundleError where numpy has no such type."""
    if tensor.dtype not in DTYPES:
        raise BundleError(f"tensor {tensor} has a type that the runner cannot fill; it knows {', '.join(DTYPES)}")
    return TensorBuffer(tensor.shape, DTYPES[tensor.dtype])
