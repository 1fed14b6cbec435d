"""What in one signature's graph keeps LiteRT's GPU delegate from running it right.

With `param_tensor` the runtime keeps one buffer for a KV cache, in a packed layout of the delegate's own. Only
`odml.cache_update` writes that layout, only `odml.runtime_bmm` and `odml.sdpa_transposed` read it. What these ask of
their operands and attributes is in ml_drift_delegate/delegate/composite of https://github.com/google-ai-edge/LiteRT.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from edge_mtp import names
from edge_mtp.bundle.contents import is_cache_name
from edge_mtp.bundle.gpu_operators import SELECTS, refusals
from edge_mtp.bundle.operators import Graph, Operator

CACHE_UPDATE: Final = "odml.cache_update"
RUNTIME_BMM: Final = "odml.runtime_bmm"
SDPA: Final = "odml.sdpa_transposed"

CACHE_OPERANDS: Final = {CACHE_UPDATE: range(3, 7), RUNTIME_BMM: range(1, 2), SDPA: range(1, 3)}
"""Places at which these take a cache; `odml.cache_update` has them for the CPU's sake only."""

PARAM_OPERAND: Final = 2
PARAM_SHAPE: Final = (1, 1, 1, 7)
SIZES: Final = ("kv_cache_batch_size", "cache_size", "head_size")

BETWEEN: Final = ("CAST", "CONCATENATION", "DIV", "MUL", "RESHAPE", "SLICE", "SPLIT", "TANH", "TRANSPOSE")
"""What may stand between the first matmul of an attention and its mask: scale, soft cap and shape."""


class Kind(StrEnum):
    """Codes of what is wrong."""

    KV_WRITE = "gpu-kv-write"
    KV_READ = "gpu-kv-read"
    COMPOSITE = "gpu-composite"
    MASK = "gpu-mask"
    OPERATOR = "gpu-operator"
    UNTRIED = "gpu-untried"

    @property
    def refuses(self) -> bool:
        """Whether drafting on the GPU fails with it, as opposed to never having been tried."""
        return self is not Kind.UNTRIED

    @property
    def is_silent(self) -> bool:
        """Whether the engine starts and writes other text, or drafts what is never accepted."""
        return self not in (Kind.OPERATOR, Kind.UNTRIED)


@dataclass(frozen=True)
class Trouble:
    """One thing that is wrong in a graph."""

    kind: Kind
    message: str


def troubles(graph: Graph) -> Iterator[Trouble]:
    """All that is wrong in the graph of one signature of a target or drafter."""
    caches = _caches(graph)
    yield from _check_writes(graph)
    yield from _check_reads(graph, caches)
    for operator in graph.operators:
        if operator.name == CACHE_UPDATE:
            yield from _check_cache_update(graph, operator)
        elif operator.name == RUNTIME_BMM:
            yield from _check_runtime_bmm(graph, operator, caches)
            yield from _check_mask(graph, operator)
        elif operator.is_builtin:
            for refusal in refusals(graph, operator):
                message = f"the GPU must take a graph whole, or the engine does not start, and refuses {refusal}"
                yield Trouble(Kind.OPERATOR, message)


def _caches(graph: Graph) -> dict[int, str]:
    """Tensors that are KV caches -> the cache's name, or its beginning where the graph keeps it to itself."""
    caches = {
        index: name for side in (graph.inputs, graph.outputs) for name, index in side.items() if is_cache_name(name)
    }
    for operator in graph.operators:
        if operator.name == CACHE_UPDATE:
            for index, prefix in zip(operator.outputs, (names.KV_KEY_PREFIX, names.KV_VALUE_PREFIX), strict=False):
                caches.setdefault(index, prefix)
    return caches


def _check_writes(graph: Graph) -> Iterator[Trouble]:
    writers: dict[str, list[str]] = {}
    for name, index in graph.outputs.items():
        if is_cache_name(name):
            writer = graph.producers.get(index)
            writers.setdefault("nothing" if writer is None else writer.name, []).append(name)
    for writer_name, caches in writers.items():
        if writer_name != CACHE_UPDATE:
            message = f"{_listed(caches)} written by {writer_name}, needed {CACHE_UPDATE}: the GPU binds caches as "
            yield Trouble(
                Kind.KV_WRITE, f"{message}outputs only, so anything else starts from a cache that is not there"
            )


def _check_reads(graph: Graph, caches: Mapping[int, str]) -> Iterator[Trouble]:
    """What reads a cache without knowing its layout; a plain write of one is told by `_check_writes`."""
    found: dict[str, list[str]] = {}
    for index, name in caches.items():
        for reader in graph.readers.get(index, ()):
            places = [place for place, operand in enumerate(reader.inputs) if operand == index]
            knows = all(place in CACHE_OPERANDS.get(reader.name, ()) for place in places)
            if not knows and not any(output in caches for output in reader.outputs):
                found.setdefault(reader.name, []).append(name)
    for reader_name, read in found.items():
        message = f"{_listed(read)} read by {reader_name}, needed {RUNTIME_BMM}: the GPU packs caches in a layout "
        yield Trouble(Kind.KV_READ, f"{message}that only it and {SDPA} know")


def _check_cache_update(graph: Graph, operator: Operator) -> Iterator[Trouble]:
    """key, value [1, kv, T, D], param, and for the CPU both caches and their start indices -> both caches."""
    given = len(graph.given(operator))
    if given not in (3, 7) or len(operator.outputs) != 2:
        counts = f"{given} runtime operands and {len(operator.outputs)} results"
        yield Trouble(Kind.COMPOSITE, f"{CACHE_UPDATE} has {counts}, the GPU takes 3 or 7 and 2")
        return
    yield from _check_param(graph, operator)
    yield from _check_sizes(operator, graph.shapes[operator.outputs[0]])
    given_param = graph.inputs.get(names.PARAM_TENSOR) == operator.inputs[PARAM_OPERAND]
    if operator.attributes.get("is_ring_buffer") and given_param:
        message = f"{CACHE_UPDATE} of a ring buffer takes {names.PARAM_TENSOR} as it is given and so writes nothing: "
        yield Trouble(Kind.COMPOSITE, f"{message}its place 3 must hold the number of new rows, and is 0")


def _check_sizes(operator: Operator, cache: Sequence[int]) -> Iterator[Trouble]:
    """The attributes from which the GPU computes where a row lies, against keys [batch, kv, rows, head]."""
    sizes = dict(zip(SIZES, (cache[0] * cache[1], *cache[2:]), strict=True)) if len(cache) == 4 else {}
    for key in SIZES:
        found, needed = operator.attributes.get(key, "missing"), sizes.get(key)
        if found != needed:
            yield Trouble(Kind.COMPOSITE, f"{CACHE_UPDATE} has {key} {found}, needed {needed} for keys {list(cache)}")


def _check_runtime_bmm(graph: Graph, operator: Operator, caches: Mapping[int, str]) -> Iterator[Trouble]:
    """left [1, kv, n, k], cache [1, kv, m, k], param -> [1, kv, n, m]."""
    given = len(graph.given(operator))
    if given != 3 or len(operator.inputs) != 3:
        yield Trouble(Kind.COMPOSITE, f"{RUNTIME_BMM} has {given} runtime operands, the GPU takes 3")
        return
    yield from _check_param(graph, operator)
    for key in ("is_global", "is_src"):
        if key not in operator.attributes:
            yield Trouble(Kind.COMPOSITE, f"{RUNTIME_BMM} has no attribute {key}, without it the engine does not start")
    cache = operator.inputs[1]
    yield from _check_is_src(operator, caches.get(cache, ""))
    producer = graph.producers.get(cache)
    packed = operator.attributes.get("rhs_cache_update") or "scale" in operator.attributes
    if not packed and (producer is None or producer.name != CACHE_UPDATE):
        message = f"{RUNTIME_BMM} has no rhs_cache_update=true over a cache that another graph wrote: the engine does "
        yield Trouble(Kind.COMPOSITE, f'{message}not start ("No buffer argument with name - weights_buffer")')


def _check_is_src(operator: Operator, cache: str) -> Iterator[Trouble]:
    """`is_src` says that the matmul sums over cache rows, as over values; over keys its results are the rows."""
    is_values, is_src = cache.startswith(names.KV_VALUE_PREFIX), operator.attributes.get("is_src")
    if cache and is_src is not None and bool(is_src) is not is_values:
        kind, needed = ("values", "true") if is_values else ("keys", "false")
        message = f"{RUNTIME_BMM} over {kind} has is_src={str(bool(is_src)).lower()}, needed {needed}"
        yield Trouble(Kind.COMPOSITE, message)


def _check_param(graph: Graph, operator: Operator) -> Iterator[Trouble]:
    shape = graph.shapes[operator.inputs[PARAM_OPERAND]]
    if shape != PARAM_SHAPE:
        message = f"{operator.name} has {list(shape)} as operand {PARAM_OPERAND}, needed {names.PARAM_TENSOR} "
        yield Trouble(Kind.COMPOSITE, f"{message}{list(PARAM_SHAPE)}")


def _check_mask(graph: Graph, operator: Operator) -> Iterator[Trouble]:
    """The logits over keys must meet a select first: columns behind the rows in use are undefined."""
    if operator.attributes.get("is_src"):
        return
    wrong = sorted({reader.name for reader in _first_met(graph, operator.outputs)} - set(SELECTS))
    if wrong:
        message = f"logits of {RUNTIME_BMM} meet {', '.join(wrong)} before a select: columns behind the rows in use "
        yield Trouble(Kind.MASK, f"{message}are undefined on the GPU, and NaN + mask is NaN; mask by SELECT_V2")


def _first_met(graph: Graph, outputs: Iterable[int]) -> Iterator[Operator]:
    """The first operators behind `outputs` that do more than scale, cap or reshape."""
    waiting, seen = list(outputs), set(outputs)
    while waiting:
        for reader in graph.readers.get(waiting.pop(), ()):
            if reader.name not in BETWEEN:
                yield reader
            else:
                waiting.extend(set(reader.outputs) - seen)
                seen |= set(reader.outputs)


def _listed(caches: Iterable[str]) -> str:
    """The first name, and whether there are others."""
    first, *others = dict.fromkeys(caches)
    return f"{first} and others" if others else first
