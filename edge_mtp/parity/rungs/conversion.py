"""Rung 2: the converted graphs, run by LiteRT with float weights, compute what torch computes.

A float32 bundle is exported to a temporary directory by the very pipeline that made the one under test. Where the two
differ, a second witness (the same torch graphs in onnxruntime) says whether the converter is at fault or we are.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from edge_mtp import names
from edge_mtp.bundle.reader import Bundle, read_bundle
from edge_mtp.convert.pipeline import ExportRequest, build, prepare
from edge_mtp.errors import ResourceError
from edge_mtp.graphs.signatures import Section
from edge_mtp.graphs.spec import Head, Lengths, Position
from edge_mtp.parity.float_graphs import SignatureFunction, float_pair
from edge_mtp.parity.measured import Measured
from edge_mtp.parity.results import Control, CouldNotCheckError, Figure, Finding
from edge_mtp.parity.rungs.graphs import float_sections, walk_text
from edge_mtp.parity.walk import Walk, WalkDeviation, compare, walk
from edge_mtp.parity.workbench import Workbench
from edge_mtp.runner.litert import open_pair

SPOILT_NORM: Final = 1.01
"""Factor on the final norm's weight in the control."""

FLOAT_RECIPE: Final = """name = "float32"

[lengths]
context_tokens = {context}
prefill = {prefill}
draft_steps = {steps}

[drafter]
head = "{head}"
position = "{position}"

[runtime]
activation = "fp32"

[[weights]]
section = "*"
tensor = '.*'
dtype = "float32"
reason = "to compare with torch"
"""


def check(bench: Workbench, measured: Measured) -> Finding:
    """The same walk through LiteRT, torch and, where it is installed, onnxruntime."""
    tolerance = bench.request.gates.graph_share
    sections = float_sections(bench)
    bench.progress("our graphs", 0, 3)
    expected = _torch_walk(bench, sections)
    bench.progress("float bundle", 1, 3)
    with _float_bundle(bench) as bundle, open_pair(bundle, bench.request.threads) as pair:
        assert pair.drafter is not None
        found = walk(pair.target, pair.drafter, walk_text(bench), bench.lengths.draft_steps)
    litert = compare(found, expected, tolerance)
    bench.progress("onnxruntime", 2, 3)
    witness, told = _witness(bench, sections, expected)
    figures = (*litert.figures(tolerance), told)
    controls = (_control(bench, sections, found, tolerance),)
    return Finding(figures, controls, "" if litert.holds else _blame(witness))


def _torch_walk(bench: Workbench, sections: Mapping[str, Section]) -> Walk:
    pair = float_pair(sections)
    return walk(pair.target, pair.drafter, walk_text(bench), bench.lengths.draft_steps)


@contextmanager
def _float_bundle(bench: Workbench) -> Iterator[Bundle]:
    """The pair exported without quantization; its bytes on disk are four a parameter."""
    with TemporaryDirectory(prefix="edge-mtp-float-") as folder:
        recipe = Path(folder) / "float32.toml"
        recipe.write_text(float_recipe(bench.lengths, bench.head, bench.position), encoding="utf-8")
        request = ExportRequest(
            str(bench.request.target), str(bench.request.drafter), Path(folder) / "float.litertlm", recipe
        )
        try:
            built = build(prepare(request), _Silent())
        except ResourceError as error:
            raise CouldNotCheckError(f"no float32 bundle can be made here: {error}") from None
        yield read_bundle(built.bundle.path)


def float_recipe(lengths: Lengths, head: Head, position: Position) -> str:
    """A recipe with the same graphs and no quantization."""
    return FLOAT_RECIPE.format(
        context=lengths.context, prefill=list(lengths.prefill), steps=lengths.draft_steps, head=head, position=position
    )


class _Silent:
    """`convert.schedule.Reporter` that says nothing; the ladder shows its own progress."""

    def start(self, task: str, total: int | None) -> None:
        """Nothing."""

    def advance(self, task: str, count: int) -> None:
        """Nothing."""

    def finish(self, task: str, seconds: float | None = None) -> None:
        """Nothing."""


def _witness(bench: Workbench, sections: Mapping[str, Section], expected: Walk) -> tuple[WalkDeviation | None, Figure]:
    """How far onnxruntime is from torch, None where it is not installed."""
    from edge_mtp.parity.witness import onnx_call

    tolerance = bench.request.gates.graph_share
    with TemporaryDirectory(prefix="edge-mtp-onnx-") as folder:

        def engine(section: Section, signature: str) -> SignatureFunction:
            return onnx_call(section, signature, Path(folder), threads=bench.request.threads)

        try:
            pair = float_pair(sections, engine)
        except CouldNotCheckError as error:
            return None, Figure("witness in onnxruntime", "not installed", bar=str(error))
        found = walk(pair.target, pair.drafter, walk_text(bench), bench.lengths.draft_steps)
    apart = compare(found, expected, tolerance)
    bar = f"≤ {tolerance:g}, else our graphs rather than the converter are in doubt"
    return apart, Figure("witness in onnxruntime, largest difference", apart.share, "of the range", bar)


def _blame(witness: WalkDeviation | None) -> str:
    """Whose fault a difference is."""
    found = "LiteRT computes something else than torch with the same float weights"
    if witness is None:
        return f"{found}; install 'edge-mtp[onnx]' to learn whether the converter or our graphs are at fault"
    if witness.holds:
        return f"{found}, and onnxruntime agrees with torch: the LiteRT converter or runtime is at fault"
    return f"{found}, and so does onnxruntime: our graphs depend on how an operator is computed"


def _control(bench: Workbench, sections: Mapping[str, Section], found: Walk, tolerance: float) -> Control:
    """LiteRT's results against torch with one weight changed."""
    weight = sections[names.TARGET].core.get_parameter("norm.weight")
    original = weight.data
    weight.data = original * SPOILT_NORM
    try:
        apart = compare(found, _torch_walk(bench, sections), tolerance)
    finally:
        weight.data = original
    name = f"torch with the final norm's weight times {SPOILT_NORM}"
    return Control(name, not apart.holds, (Figure("largest difference", apart.share, "of the range"),))
