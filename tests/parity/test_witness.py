"""Torch graphs through ONNX and onnxruntime against torch itself, in a conversation several windows long."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from litert_torch.backend.lowerings.registry import LoweringRegistry
from tokenizers import Tokenizer

from edge_mtp import names
from edge_mtp.checkpoint.config import DrafterConfig, TargetConfig, read_drafter_config, read_target_config
from edge_mtp.checkpoint.tensors import Checkpoint, open_checkpoint
from edge_mtp.convert.lower import lower_to_file
from edge_mtp.graphs.signatures import Section, build_section
from edge_mtp.graphs.spec import GraphSpec, Head, Lengths, checkpoint_of
from edge_mtp.graphs.weights import load_float_weights
from edge_mtp.parity.results import CouldNotCheckError
from edge_mtp.parity.witness import PACKAGES, onnx_call
from tests.emulator import Array, Call, Runtime, input_shapes, torch_call
from tests.random_pair import SHAPES, write_pair
from tests.reference import deviation
from tests.scale.checkpoint import PairPaths

STEPS = 3
BOUND = 1e-4
"""Largest deviation allowed, as a share of the expected values' range."""

CLUSTERED = "drafter, clustered"
VARIANTS = (*names.SECTIONS, CLUSTERED)
SMALL = replace(SHAPES["e2b-like"], pattern="ssfssf", shared_layers=3, vocab_size=256, centroids=16)
SAID = "Explain what a list is in Python, how to sort one, and when a tuple would serve better. "


@dataclass(frozen=True)
class Checkpoints:
    """A pair as edge_mtp reads it, and the tokens of a conversation several windows long."""

    target: TargetConfig
    drafter: DrafterConfig
    tensors: Mapping[str, Checkpoint]
    tokens: Sequence[int]

    @property
    def window(self) -> int:
        return self.target.decoder.sliding_window

    @property
    def prompt_tokens(self) -> int:
        return 3 * self.window + 5

    def spec(self, variant: str) -> GraphSpec:
        # With such a chunk the ring is as long for a window that is one longer or shorter.
        lengths = Lengths(context=5 * self.window, prefill=(self.window - 3,), draft_steps=STEPS)
        section, head = self._parts(variant)
        return GraphSpec(section, self.target, self.drafter, lengths, head)

    def load(self, variant: str) -> Section:
        section = build_section(self.spec(variant))
        load_float_weights(section, self.tensors[checkpoint_of(section.name)], self.tensors[names.DRAFTER])
        return section

    @staticmethod
    def _parts(variant: str) -> tuple[str, Head]:
        return (names.DRAFTER, "clustered") if variant == CLUSTERED else (variant, "dense")


def open_pair(paths: PairPaths, tokens: Sequence[int]) -> Checkpoints:
    opened = {names.TARGET: open_checkpoint(paths.target), names.DRAFTER: open_checkpoint(paths.drafter)}
    return Checkpoints(read_target_config(paths.target), read_drafter_config(paths.drafter), opened, tokens)


def random_pair(directory: Path) -> Checkpoints:
    write_pair(SMALL, directory)
    tokens = np.random.default_rng(0).integers(3, SMALL.vocab_size, 5 * SMALL.vocab_size)
    return open_pair(PairPaths(directory / "target", directory / "drafter"), tokens.tolist())


def trained_pair(paths: PairPaths) -> Checkpoints:
    return open_pair(paths, Tokenizer.from_file(str(paths.target / "tokenizer.json")).encode(SAID * 20).ids)


@dataclass(frozen=True)
class Witnessed:
    """A pair's torch graphs, what a conversation with them gave, and each signature's inputs in its last call."""

    pair: Checkpoints
    sections: Mapping[str, Section]
    expected: Mapping[str, Array]
    inputs: Mapping[tuple[str, str], Mapping[str, Array]]

    def outputs(self, variant: str, signature: str) -> dict[str, Array]:
        return torch_call(self.sections[variant])(signature, self.inputs[variant, signature])


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def witnessed_pair(pair: Checkpoints) -> Witnessed:
    sections = {variant: pair.load(variant) for variant in VARIANTS}
    inputs: dict[tuple[str, str], Mapping[str, Array]] = {}

    def recorded(variant: str) -> Call:
        call = torch_call(sections[variant])

        def run(signature: str, given: Mapping[str, Array]) -> dict[str, Array]:
            inputs[variant, signature] = given
            return call(signature, given)

        return run

    expected = talk(pair, {variant: recorded(variant) for variant in VARIANTS}, sections[names.TARGET])
    return Witnessed(pair, sections, expected, inputs)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Witnessed:
    """Random weights; the shape that controls are tried on."""
    return witnessed_pair(random_pair(tmp_path_factory.mktemp("pair")))


@pytest.fixture(scope="module")
def trained(tiny_pair: PairPaths) -> Witnessed:
    return witnessed_pair(trained_pair(tiny_pair))


def talk(pair: Checkpoints, calls: Mapping[str, Call], target: Section) -> dict[str, Array]:
    """A prompt with a padded last chunk, two tokens decoded, drafts of both heads, a block verified in part."""
    sections = [calls[name] for name in (names.TARGET, names.EMBEDDER, names.PER_LAYER_EMBEDDER)]
    runtime = Runtime(*sections, input_shapes(target))
    runtime.prefill(pair.tokens[: pair.prompt_tokens])
    first, second, third, *block = pair.tokens[pair.prompt_tokens :][: 4 + STEPS]
    decoded = [runtime.decode(token) for token in (first, second)]
    drafts = {}
    for head in (names.DRAFTER, CLUSTERED):
        runtime.drafter = calls[head]
        draft = runtime.draft(third, decoded[-1][1], STEPS)
        drafts |= {f"{head}: logits": draft.logits, f"{head}: projected": draft.projected}
    logits, hidden = runtime.verify([third, *block[:STEPS]])
    runtime.position += 2
    decoded.append(runtime.decode(block[-1]))
    logits = np.concatenate([np.stack([row for row, _ in decoded]), logits])
    hidden = np.concatenate([np.stack([row for _, row in decoded]), hidden])
    return {"target: logits": logits, "target: hidden": hidden, **drafts, **runtime.caches}


def witness(sections: Mapping[str, Section], directory: Path) -> dict[str, Call]:
    """Every signature of every section in onnxruntime."""

    def call(section: Section) -> Call:
        each = {found.name: onnx_call(section, found.name, directory) for found in section.signatures}
        return lambda signature, inputs: each[signature](inputs)

    return {variant: call(section) for variant, section in sections.items()}


def shares(found: Mapping[str, Array], expected: Mapping[str, Array]) -> dict[str, float]:
    """The largest deviation of each output, as a share of its expected range."""
    assert set(found) == set(expected)
    return {name: deviation(found[name], values).share for name, values in expected.items()}


@pytest.mark.parametrize("pair", ["small", "trained"])
def test_a_conversation_equals_torch(request: pytest.FixtureRequest, pair: str, tmp_path: Path) -> None:
    """Each side carries on from its own caches and its own drafts."""
    witnessed: Witnessed = request.getfixturevalue(pair)
    found = talk(witnessed.pair, witness(witnessed.sections, tmp_path), witnessed.sections[names.TARGET])
    every = shares(found, witnessed.expected)
    print(f"{pair}, worst first:", *sorted(every.items(), key=lambda item: -item[1])[:4])
    assert max(every.values()) <= BOUND
    for name in every:
        if name.endswith("logits"):
            np.testing.assert_array_equal(found[name].argmax(-1), witnessed.expected[name].argmax(-1))


def one_weight(pair: Checkpoints, variant: str) -> Section:
    """The first layer's scalar, a single number, is 1 % larger."""
    section = pair.load(variant)
    section.core.layers[0].layer_scalar.mul_(1.01)
    return section


def window_longer_by(rows: int) -> Callable[[Checkpoints, str], Section]:
    def change(pair: Checkpoints, variant: str) -> Section:
        def changed(config: TargetConfig | DrafterConfig):
            decoder = replace(config.decoder, sliding_window=config.decoder.sliding_window + rows)
            return replace(config, decoder=decoder)

        spec = replace(pair.spec(variant), target=changed(pair.target), drafter=changed(pair.drafter))
        section = build_section(spec)
        section.core.load_state_dict(pair.load(variant).core.state_dict(), assign=True)
        return section

    return change


CHANGES = {"one weight": one_weight, "window longer": window_longer_by(1), "window shorter": window_longer_by(-1)}
CALLS = ((names.TARGET, names.DECODE), (names.DRAFTER, names.DRAFT))


@pytest.mark.parametrize("called", CALLS, ids=lambda called: called[1])
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_graph_does_not_hold(small: Witnessed, called: tuple[str, str], change: str, tmp_path: Path) -> None:
    variant, signature = called
    wrong = onnx_call(CHANGES[change](small.pair, variant), signature, tmp_path)
    expected = small.outputs(variant, signature)[names.LOGITS]
    share = deviation(wrong(small.inputs[called])[names.LOGITS], expected).share
    print(f"{change}, {signature}: {share:.1e}")
    assert share > 2 * BOUND


def test_litert_torch_lowers_nothing(small: Witnessed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a lowering of litert-torch was asked for")

    monkeypatch.setattr(LoweringRegistry, "lookup", refuse)
    with pytest.raises(AssertionError, match="asked for"):
        lower_to_file(small.pair.spec(CLUSTERED), names.DRAFT, tmp_path / "draft.tflite")
    onnx_call(small.sections[CLUSTERED], names.DRAFT, tmp_path)


def test_weights_are_the_sections_own(small: Witnessed, tmp_path: Path) -> None:
    """Nothing is copied into the file or the session: twice the table, twice the embedding."""
    section = small.pair.load(names.EMBEDDER)
    call = onnx_call(section, names.EMBED, tmp_path)
    (path,) = tmp_path.iterdir()
    table = section.core.embed_tokens.weight.detach()
    assert path.stat().st_size < table.nbytes / 10
    inputs = {names.TOKEN_IDS: np.array([[7]], np.int32)}
    before = call(inputs)[names.EMBEDDINGS]
    table.mul_(2)
    np.testing.assert_array_equal(call(inputs)[names.EMBEDDINGS], 2 * before)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_missing_package_is_named(
    small: Witnessed, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(CouldNotCheckError, match=rf"and {package} cannot be imported .*'edge-mtp\[onnx\]'"):
        onnx_call(small.sections[names.EMBEDDER], names.EMBED, tmp_path)
