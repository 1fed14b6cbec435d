"""Whether a bundle can draft on LiteRT-LM's GPU backend, and what is in the way.

What the checks ask for was found by running LiteRT-LM 0.18.1's WebGPU backend on bundles that lacked one thing each, or
read in LiteRT's GPU delegate (`ml_drift_delegate` in https://github.com/google-ai-edge/LiteRT); see docs/gpu.md.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from edge_mtp import names
from edge_mtp.bundle.contents import Contents, is_cache
from edge_mtp.bundle.contract import CACHE_NAME, MtpVerdict
from edge_mtp.bundle.findings import Finding, Severity, info, said, warning
from edge_mtp.bundle.gpu_graph import CACHE_UPDATE, RUNTIME_BMM, Kind, Trouble, troubles
from edge_mtp.bundle.operators import Graph
from edge_mtp.bundle.reader import Section
from edge_mtp.bundle.summary import Signature

FULL_ACTIVATIONS: Final = ("fp32", "float32")
TRIED_COMPOSITES: Final = (CACHE_UPDATE, RUNTIME_BMM)
"""Run on a GPU by this project; the delegate has parsers for more."""

NO_PARAM_TENSOR: Final = "no-param-tensor"
CPU_CONSTRAINT: Final = "drafter-cpu-constraint"
ACTIVATION_TYPE: Final = "activation-type"
COMPOSITE_OP: Final = "composite-op"
LOCAL_CACHE: Final = "gpu-local-cache"

IN_THE_WAY: Final = frozenset(
    {NO_PARAM_TENSOR, CPU_CONSTRAINT, CACHE_NAME, LOCAL_CACHE, *(kind for kind in Kind if kind.refuses)}
)
"""Codes of findings with which no GPU draft is right, or none comes at all."""

DOUBTFUL: Final = frozenset({ACTIVATION_TYPE, COMPOSITE_OP, *(kind for kind in Kind if not kind.refuses)})
"""Codes of findings that cost some equality, or tell what nobody here has tried."""


@dataclass(frozen=True)
class GpuVerdict:
    """Whether the runtime can draft on a GPU; `missing` names what is in the way, `doubts` what remains open."""

    possible: bool
    missing: tuple[str, ...]
    doubts: tuple[str, ...]


def judge_gpu(mtp: MtpVerdict, findings: Iterable[Finding]) -> GpuVerdict:
    """The verdict over the findings of `lint`, for a bundle of which `mtp` says whether MTP is possible at all."""
    found = list(findings)
    missing = ["bundle: MTP is not possible on any backend"] if not mtp.possible else []
    missing += [said(one) for one in found if one.code in IN_THE_WAY]
    doubts = [said(one) for one in found if one.code in DOUBTFUL]
    return GpuVerdict(possible=not missing, missing=tuple(missing), doubts=tuple(doubts))


def check_gpu(contents: Contents) -> list[Finding]:
    """Findings about what drafting on the GPU needs of target and drafter beyond `check_mtp`.

    None is an ERROR: on the CPU the bundle is sound. A WARNING says that the GPU writes other text.
    """
    found: list[Finding] = []
    for section in (names.TARGET, names.DRAFTER):
        graphs = list(_graphs(contents, section))
        lacking = [signature.key for signature, _ in graphs if signature.input(names.PARAM_TENSOR) is None]
        if lacking:
            found.append(info(NO_PARAM_TENSOR, _where(section, lacking), _PARAM_MESSAGE))
        found.extend(_check_graphs(section, graphs))
    found.extend(_check_cache_type(contents))
    found.extend(_check_local_caches(contents))
    return found


def check_activations(section: Section) -> Iterator[Finding]:
    """A finding where the GPU would compute a target's or drafter's activations in fp16."""
    if section.name in (names.TARGET, names.DRAFTER) and section.activation not in FULL_ACTIVATIONS:
        found = section.activation or "not set, so fp16 on GPUs"
        message = f"prefer_activation_type is {found}; fp16 costs equal texts, and digits on phone GPUs; set fp32"
        yield warning(ACTIVATION_TYPE, section.name, message)


def _check_cache_type(contents: Contents) -> Iterator[Finding]:
    """KV caches other than float32 need scales on both composites, and were not run."""
    tensors = () if contents.decode is None else contents.decode.inputs
    for dtype in sorted({one.dtype for one in tensors if is_cache(one)} - {"FLOAT32"}):
        yield info(Kind.UNTRIED, f"target: {names.DECODE}", f"KV caches of {dtype.lower()} were not tried on a GPU")


def _check_local_caches(contents: Contents) -> Iterator[Finding]:
    """The runtime binds a cache that is declared local to prefill's input, which must then be read there."""
    if contents.executor_metadata is None:
        return
    buffers = contents.executor_metadata.llm_executor_metadata.state_buffers
    local = {one.prefill_input_name for one in buffers if one.Type.Name(one.type).startswith("TYPE_LOCAL")}
    for signature, graph in _graphs(contents, names.TARGET):
        if not signature.key.startswith(names.PREFILL_PREFIX) or signature.input(names.PARAM_TENSOR) is None:
            continue
        unread = sorted(name for name in local & graph.inputs.keys() if not _is_read(graph, graph.inputs[name]))
        if unread:
            message = (
                f"{', '.join(unread[:2])}{' and others' if unread[2:] else ''}, declared local in ExecutorMetadata, "
            )
            message += "bound to inputs that prefill does not read: the first prefill on a GPU fails with "
            yield info(LOCAL_CACHE, _where(names.TARGET, [signature.key]), f'{message}"{_BUFFER_TYPE}"')


def _is_read(graph: Graph, cache: int) -> bool:
    """Whether more than `odml.cache_update` takes a cache, which on the GPU does not look at it."""
    return any(reader.name != CACHE_UPDATE for reader in graph.readers.get(cache, ()))


def _graphs(contents: Contents, section: str) -> Iterator[tuple[Signature, Graph]]:
    """The signatures that the runtime calls, with the graphs behind them."""
    model = contents.models.get(section)
    if model is None:
        return
    for signature in model.signatures[:1] if section == names.DRAFTER else model.signatures:
        prefill = signature.key.startswith(names.PREFILL_PREFIX)
        if section == names.DRAFTER or prefill or signature.key in (names.DECODE, names.VERIFY):
            yield signature, model.graphs[signature.key]


def _check_graphs(section: str, graphs: Iterable[tuple[Signature, Graph]]) -> Iterator[Finding]:
    """One finding for what is wrong in the same way in several signatures."""
    found: dict[Trouble, list[str]] = {}
    single_buffer = False
    for signature, graph in graphs:
        single_buffer |= signature.input(names.PARAM_TENSOR) is not None
        for trouble in dict.fromkeys(troubles(graph)):
            found.setdefault(trouble, []).append(signature.key)
    for trouble, keys in found.items():
        severity = Severity.WARNING if single_buffer and trouble.kind.is_silent else Severity.INFO
        yield Finding(trouble.kind, severity, _where(section, keys), trouble.message)


def _where(section: str, keys: Iterable[str]) -> str:
    return f"{section}: {', '.join(keys)}"


_BUFFER_TYPE: Final = "The given buffer type is not supported"
_PARAM_MESSAGE: Final = (
    f"no input {names.PARAM_TENSOR} [1,1,1,7] int32: MTP runs on the CPU, on the GPU the first draft fails with "
    f'"{_BUFFER_TYPE}"'
)
