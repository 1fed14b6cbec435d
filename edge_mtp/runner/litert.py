"""A bundle's target and drafter over LiteRT on the CPU."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from edge_mtp import names
from edge_mtp.bundle.contents import Contents, is_cache_name
from edge_mtp.bundle.contract import check_mtp, check_target
from edge_mtp.bundle.findings import has_errors
from edge_mtp.bundle.reader import Bundle
from edge_mtp.bundle.summary import ModelSummary, Signature
from edge_mtp.errors import BundleError, ResourceError
from edge_mtp.runner.calls import DRAFTER_INPUTS, TARGET_INPUTS, GraphDrafter, GraphTarget, TargetCalls
from edge_mtp.runner.graph import Buffers, Call, Graph, make_buffer
from edge_mtp.runner.litert_c import Environment


@dataclass(frozen=True)
class LiteRTPair:
    """A bundle opened for a conversation; `drafter` is None where it has none that the target can verify."""

    target: GraphTarget
    drafter: GraphDrafter | None


@contextmanager
def open_pair(bundle: Bundle, threads: int, weight_cache: Path | None = None) -> Iterator[LiteRTPair]:
    """Target and drafter of `bundle` on the CPU.

    LiteRT repacks the weights once into files of about their size and maps those: in the directory `weight_cache`,
    which must have been used with this very bundle only (LiteRT would take another's weights unseen), else in a
    temporary one that is unlinked as soon as they are mapped, so that nothing can be left behind. BundleError names
    what is missing to run the bundle, ResourceError says where the temporary directory is too small.
    """
    if weight_cache is not None:
        pair = _open(bundle, threads, weight_cache)
    else:
        with TemporaryDirectory(prefix="edge-mtp-weights-") as temporary:
            _check_disk(bundle, Path(temporary))
            pair = _open(bundle, threads, Path(temporary))
    yield pair


def _open(bundle: Bundle, threads: int, cache: Path) -> LiteRTPair:
    models = _models(bundle)
    drafts = _check(bundle, models)
    environment = Environment()

    def graph(name: str, weights: Path | None = None) -> Graph:
        return Graph(bundle, name, models[name], environment, threads, weights)

    target = graph(names.TARGET, cache / "target.xnnpack_cache")
    decode = target.signature(names.DECODE)
    caches = {tensor.name: make_buffer(tensor) for tensor in decode.inputs if is_cache_name(tensor.name)}
    keys = [signature.key for signature in target.summary.signatures]
    calls = TargetCalls(
        embedder=_first(graph(names.EMBEDDER), {}),
        per_layer=_first(graph(names.PER_LAYER_EMBEDDER), {}) if names.PER_LAYER_EMBEDDER in models else None,
        prefills=[target.call(key, caches) for key in keys if key.startswith(names.PREFILL_PREFIX)],
        decode=target.call(names.DECODE, caches),
        verify=target.call(names.VERIFY, caches) if names.VERIFY in keys else None,
    )
    metadata = bundle.llm_metadata()
    opened = GraphTarget(calls, 0 if metadata is None else metadata.max_num_tokens)
    if not drafts:
        return LiteRTPair(opened, None)
    drafter = _first(graph(names.DRAFTER, cache / "drafter.xnnpack_cache"), caches)
    return LiteRTPair(opened, GraphDrafter(drafter, opened))


def _models(bundle: Bundle) -> dict[str, ModelSummary]:
    """The model sections that a conversation runs, by name."""
    found = ((name, bundle.model(name)) for name in names.SECTIONS)
    return {name: model for name, model in found if model is not None}


def _check(bundle: Bundle, models: Mapping[str, ModelSummary]) -> bool:
    """Whether the bundle can draft; BundleError where it cannot even be decoded plainly."""
    contents = Contents(bundle, models, bundle.llm_metadata(), None, bundle.tokenizer_kind(), {})
    wrong = [f"{one.where}: {one.message}" for one in check_target(contents) if one.severity == "error"]
    if wrong:
        raise BundleError(f"{bundle.path} cannot be run: {'; '.join(wrong)} (edge-mtp inspect says more)")
    for signature in models[names.TARGET].signatures:
        if signature.key in (names.DECODE, names.VERIFY) or signature.key.startswith(names.PREFILL_PREFIX):
            _check_inputs("target", signature, TARGET_INPUTS)
    if has_errors(check_mtp(contents)) or contents.drafter is None:
        return False
    _check_inputs("drafter", contents.drafter, DRAFTER_INPUTS)
    return True


def _check_inputs(section: str, signature: Signature, filled: Sequence[str]) -> None:
    """BundleError where something would have to be filled or kept that only LiteRT-LM knows how to."""
    unknown = [one.name for one in signature.inputs if not is_cache_name(one.name) and one.name not in filled]
    if unknown:
        raise BundleError(
            f"the {section} takes {', '.join(unknown)}, which this runner does not fill; it fills "
            f"{', '.join(filled)} and KV caches. Run the bundle with --engine"
        )


def _check_disk(bundle: Bundle, directory: Path) -> None:
    """LiteRT ends the whole process where a file of weights does not fit."""
    needed = sum(section.size for section in map(bundle.find, (names.TARGET, names.DRAFTER)) if section is not None)
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise ResourceError(
            f"{directory.parent} has {free / 1e6:,.0f} MB free, running {bundle.path.name} takes about "
            f"{needed / 1e6:,.0f} MB there for repacked weights; make room, or set TMPDIR to another disk"
        )


def _first(graph: Graph, shared: Buffers) -> Call:
    """The first signature, as the runtime takes it."""
    return graph.call(graph.summary.signatures[0].key, shared)
