"""What two directories tell of the training runs behind them: names, quantization, and the weights' own grid.

A drafter is trained against one target. One from another run, say of the quantization-aware (QAT)
variant, fits by shape and drafts badly; nothing in config.json tells, so hints are compared.
"""

import re
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_mtp.checkpoint.config import read_json
from edge_mtp.checkpoint.tensors import Checkpoint

GRID_BLOCK: Final = 32
_LARGEST_CODE: Final = 8
_TOLERANCE: Final = 1.01 * 2.0**-7
_SAMPLED_TENSOR: Final = "layers.0.mlp.up_proj.weight"
_SAMPLED_ROWS: Final = 8
_RUN_WORDS: Final = ("qat", "q4_0", "mobile")


def warn_of_other_run(target: Checkpoint, drafter: Checkpoint) -> tuple[str, ...]:
    """Sentences on everything that speaks for two different training runs; none where nothing does."""
    runs = _run_of(target.directory), _run_of(drafter.directory)
    methods = _quantization_method(target.directory), _quantization_method(drafter.directory)
    warnings = []
    if None not in runs and runs[0] != runs[1]:
        warnings.append(f"the target's name says {_spoken(runs[0])}, the drafter's {_spoken(runs[1])}")
    if methods[0] != methods[1]:
        warnings.append(f"quantization_config is {methods[0]} in the target, {methods[1]} in the drafter")
    agreed_qat = runs[0] == runs[1] and bool(runs[0])
    if not agreed_qat:
        warnings += _compare_grids(target, drafter)
    advice = "take the drafter published with this target, or expect few drafts to be accepted"
    return tuple(f"target and drafter may be of different training runs: {text}; {advice}" for text in warnings)


def lies_on_q4_0_grid(checkpoint: Checkpoint, name: str) -> bool:
    """Whether sampled rows of the matrix `name` are multiples -8..7 of one scale for every 32 columns.

    This is what QAT for Q4_0 leaves behind in a bfloat16 checkpoint. Of ordinary weights practically no
    block passes: 32 values would have to come within a rounding error of a multiple each.
    """
    info = checkpoint.info(name)
    if len(info.shape) != 2 or info.shape[1] % GRID_BLOCK:
        return False
    rows = np.unique(np.linspace(0, info.rows - 1, _SAMPLED_ROWS).astype(int))
    values = np.concatenate([checkpoint.read(name, row, row + 1) for row in rows.tolist()])
    blocks = values.reshape(-1, GRID_BLOCK)
    blocks = blocks[np.any(blocks != 0, axis=1)]
    return len(blocks) > 0 and float(np.mean(_on_grid(blocks))) >= 0.95


def _on_grid(blocks: NDArray[np.float32]) -> NDArray[np.bool_]:
    """blocks [n, 32] float32, none all zero -> [n] bool; the largest magnitude may be any code from 1 to 8.

    Values, and through that one the scale, were rounded to bfloat16: off by up to 2**-8 of themselves each.
    """
    index = np.argmax(np.abs(blocks), axis=1, keepdims=True)
    largest = np.take_along_axis(blocks, index, axis=1)
    fits = np.zeros(len(blocks), bool)
    for code in range(1, _LARGEST_CODE + 1):
        with np.errstate(all="ignore"):  # NaN and infinity lie on no grid; quantizing refuses them
            codes = blocks / (largest / -code)
            nearest = np.rint(codes)
            close = np.abs(codes - nearest) <= np.abs(nearest) * _TOLERANCE + 1e-6
        fits |= np.all(close & (nearest < _LARGEST_CODE), axis=1)
    return fits


def _compare_grids(target: Checkpoint, drafter: Checkpoint) -> list[str]:
    on_grid = [lies_on_q4_0_grid(side, side.stored_name(_SAMPLED_TENSOR)) for side in (target, drafter)]
    if on_grid[0] == on_grid[1]:
        return []
    one, other = ("target", "drafter") if on_grid[0] else ("drafter", "target")
    return [f"the {one}'s weights lie on the Q4_0 grid of a QAT run, the {other}'s do not"]


def _run_of(directory: Path) -> frozenset[str] | None:
    """The words of a QAT run in the checkpoint's published name; None where no such name is known."""
    resolved = directory.resolve()
    names = [resolved.name, str(read_json(directory / "config.json").get("_name_or_path", ""))]
    names += [parent.name for parent in resolved.parents if parent.name.startswith("models--")]
    published = [name.lower() for name in names if "gemma" in name.lower()]
    if not published:
        return None
    words = {word for name in published for word in re.split(r"[-/\s]+", name)}
    return frozenset(words.intersection(_RUN_WORDS))


def _spoken(run: frozenset[str] | None) -> str:
    return " ".join(sorted(run, key=_RUN_WORDS.index)) if run else "no QAT"


def _quantization_method(directory: Path) -> str:
    """`quant_method` of config.json's `quantization_config`, or "none"."""
    found: Any = read_json(directory / "config.json").get("quantization_config")
    return str(found.get("quant_method", "unnamed")) if isinstance(found, dict) else "none"
