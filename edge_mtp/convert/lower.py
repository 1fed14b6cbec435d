"""Lowers one signature to a weightless `.tflite`: traced on `meta`, every weight a graph input.

litert-torch's public converter does the lowering. Nothing here depends on the weights, so the file is cached
under a key of everything that shapes it (`stages.lowering_key`), and another recipe skips the tracing.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import litert_torch
import litert_torch.generative.custom_ops.dynamic_update_slice
import torch
import torch.export._unlift
from litert_torch.backend.experimental import torch_tfl
from torch import Tensor, nn
from torch.func import functional_call

from edge_mtp.convert import lowerings
from edge_mtp.graphs.signatures import Section, Signature, build_section
from edge_mtp.graphs.spec import GraphSpec

REGISTERS_OPS = (litert_torch.generative.custom_ops.dynamic_update_slice, torch_tfl, lowerings)
"""Imported for the torch operators they register: `litert_torch::dynamic_update_slice` and `tfl::*`."""


class _WeightsAsInputs(nn.Module):
    """A signature's module as a function of its weights, so that tracing makes them graph inputs."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._module = [module]  # in a list, so that torch does not register its parameters here

    def forward(self, weights: Mapping[str, Tensor], **inputs: Tensor) -> dict[str, Tensor]:
        result: dict[str, Tensor] = functional_call(self._module[0], dict(weights), (inputs,))
        return result


def lower_to_file(spec: GraphSpec, signature: str, path: Path) -> None:
    """Writes the weightless `.tflite` of one signature of `spec` to `path`."""
    section = build_section(spec)
    wanted = next(found for found in section.signatures if found.name == signature)
    with torch.no_grad(), _without_shape_guards():
        litert_torch.signature(signature, *_traceable(section, wanted)).convert().export(str(path))


@contextmanager
def _without_shape_guards() -> Iterator[None]:
    """Leaves out the assertion that torch.export writes for each dimension of each input.

    They take time quadratic in the number of inputs, and litert-torch drops them in the end. torch has a switch for
    callers that do not want them, but decides by their file names (torch/export/_unlift.py).
    """
    switch = "_ok_to_generate_guards_fn"
    original = getattr(torch.export._unlift, switch, None)
    if original is None:  # another torch: slower, and the same graph
        yield
        return
    setattr(torch.export._unlift, switch, lambda: False)
    try:
        yield
    finally:
        setattr(torch.export._unlift, switch, original)


def _traceable(section: Section, signature: Signature) -> tuple[nn.Module, None, dict[str, object]]:
    """(module, no positional samples, named samples on `meta`) of one signature."""
    weights = {
        f"core.{name}": torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
        for name, tensor in section.core.state_dict().items()
    }
    inputs: dict[str, object] = {
        name: torch.empty(shape, dtype=dtype, device="meta") for name, (shape, dtype) in signature.inputs.items()
    }
    return _WeightsAsInputs(signature.module).eval(), None, {"weights": weights, **inputs}
