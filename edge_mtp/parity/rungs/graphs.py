"""Rung 1: our torch graphs compute what transformers computes, in float32, beyond the sliding window."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from edge_mtp import names
from edge_mtp.checkpoint.pairing import Pair
from edge_mtp.graphs.signatures import Section, build_section
from edge_mtp.graphs.spec import GraphSpec, Position
from edge_mtp.parity.float_graphs import float_pair, load_sections
from edge_mtp.parity.measured import Measured
from edge_mtp.parity.oracle import OracleDrafter, OracleTarget, load_oracle
from edge_mtp.parity.results import Control, CouldNotCheckError, Figure, Finding
from edge_mtp.parity.walk import Walk, compare, long_text, tail_length, walk
from edge_mtp.parity.workbench import Workbench
from edge_mtp.runner.protocols import DraftScores, Floats


def check(bench: Workbench, measured: Measured) -> Finding:
    """One text longer than the window through both, every signature at the bundle's lengths."""
    text, steps, tolerance = walk_text(bench), bench.lengths.draft_steps, bench.request.gates.graph_share
    bench.progress("transformers", 0, 2)
    oracle = load_oracle(bench.request.target, bench.request.drafter, bench.torch_threads)
    target = OracleTarget(oracle, bench.lengths.context + steps + 1)
    drafter = OracleDrafter if bench.position == "transformers" else RuntimeDrafter
    expected = walk(target, drafter(target, dense=bench.head == "dense"), text, steps)
    del target, oracle
    bench.progress("our graphs", 1, 2)
    sections = float_sections(bench)
    found = compare(_walk(sections, bench), expected, tolerance)
    context = Figure("context", len(text), "tokens", f"> the window of {bench.pair.target.decoder.sliding_window}")
    return Finding((context, *found.figures(tolerance)), tuple(_controls(bench, sections, expected)))


class RuntimeDrafter(OracleDrafter):
    """transformers' drafter rotated where LiteRT-LM puts it, one slot back, as a recipe may ask for."""

    def draft(self, token: int, hidden: Floats, position: int) -> DraftScores:
        """See `protocols.Drafter`."""
        donors = self.target.donors(position)
        return self.target.oracle.pair.draft(token, hidden, donors, position - 1, dense=self.dense)


def walk_text(bench: Workbench) -> tuple[int, ...]:
    """A text of a quarter more tokens than the window, and a tail to compare, of the suites' prompts.

    CouldNotCheckError where the bundle's context ends before the window does.
    """
    window, tail = bench.pair.target.decoder.sliding_window, tail_length(bench.lengths.draft_steps)
    text = long_text([task.tokens for task in bench.tasks], window * 5 // 4 + tail, bench.lengths.context)
    if len(text) <= max(window, tail):
        raise CouldNotCheckError(
            f"the bundle's context of {bench.lengths.context} tokens does not reach beyond the window of {window} and "
            f"a tail of {tail}; export it with a larger context_tokens"
        )
    return text


def float_sections(bench: Workbench) -> dict[str, Section]:
    """The graphs at the bundle's lengths with the checkpoint's weights."""
    directories = (bench.request.target, bench.request.drafter)
    return load_sections(bench.pair, bench.lengths, bench.head, bench.position, *directories, bench.torch_threads)


def _walk(sections: Mapping[str, Section], bench: Workbench) -> Walk:
    pair = float_pair(sections)
    return walk(pair.target, pair.drafter, walk_text(bench), bench.lengths.draft_steps)


def _controls(bench: Workbench, sections: Mapping[str, Section], expected: Walk) -> Iterator[Control]:
    """The same weights in graphs with one convention off by one."""
    tolerance, right = bench.request.gates.graph_share, bench.pair
    other: Position = "transformers" if bench.position == "runtime" else "runtime"
    drafting = GraphSpec(names.DRAFTER, right.target, right.drafter, bench.lengths, bench.head, other)
    shorter = GraphSpec(names.TARGET, _with_window(right, -1).target, right.drafter, bench.lengths)
    for name, spec in {"drafter's position off by one": drafting, "target's window one shorter": shorter}.items():
        spoilt = build_section(spec)
        spoilt.core.load_state_dict(sections[spec.section].core.state_dict(), assign=True)
        found = compare(_walk({**sections, spec.section: spoilt}, bench), expected, tolerance)
        yield Control(name, not found.holds, (Figure("largest difference", found.share, "of the range"),))


def _with_window(pair: Pair, change: int) -> Pair:
    decoder = replace(pair.target.decoder, sliding_window=pair.target.decoder.sliding_window + change)
    return replace(pair, target=replace(pair.target, decoder=decoder))
