"""Checks signatures against what the LiteRT-LM runtime looks up, and says whether MTP is possible.

Names and shapes as in `edge_mtp.names` and its source. H hidden width, V vocabulary, T tokens of a call,
S slots of the longest cache, K draft steps.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edge_mtp import names
from edge_mtp.bundle.contents import Contents, cache_tensors, is_cache, longest_cache
from edge_mtp.bundle.findings import Finding, Severity, error, said, warning
from edge_mtp.bundle.summary import Signature, Tensor

LOCAL_MASK = "local_mask"
TOKENS_INPUT = "tokens"  # of targets that hold their embedding themselves
KNOWN_INPUTS = {
    names.EMBEDDINGS,
    names.PER_LAYER_EMBEDDINGS,
    names.INPUT_POS,
    names.MASK,
    names.TOKEN_IDS,
    names.ACTIVATIONS,
    LOCAL_MASK,
    names.PARAM_TENSOR,
}
CACHE_NAME = "cache-name"

Shape = tuple[int, ...]


@dataclass(frozen=True)
class MtpVerdict:
    """Whether the runtime can decode with the drafter; `missing` names each thing in the way."""

    possible: bool
    draft_steps: int | None
    missing: tuple[str, ...]


def check_target(contents: Contents) -> list[Finding]:
    """Findings about what any generation needs: target and embedders, their signatures, names and shapes."""
    target = contents.models.get(names.TARGET)
    if target is None:
        kind = names.MODEL_TYPES[names.TARGET]
        return [error("missing-section", "bundle", f"no section of type {kind}: the bundle has no language model")]
    found = []
    prefills = [one for one in target.signatures if one.key.startswith(names.PREFILL_PREFIX)]
    if not prefills:
        found.append(_missing_signature("target", f"{names.PREFILL_PREFIX}<tokens>"))
    if contents.decode is None:
        found.append(_missing_signature("target", names.DECODE))
    for signature in (*prefills, *(one for one in (contents.decode, contents.verify) if one is not None)):
        found.extend(_check_target_signature(contents, signature))
    return [*found, *_check_embedders(contents)]


def check_mtp(contents: Contents) -> list[Finding]:
    """Findings about what only MTP needs: the drafter, `verify`, hidden states, and caches the two share."""
    found = []
    if names.DRAFTER not in contents.models:
        kind = names.MODEL_TYPES[names.DRAFTER]
        found.append(error("missing-section", "bundle", f"no section of type {kind}: there is no drafter"))
    if names.EMBEDDER not in contents.models:
        kind = names.MODEL_TYPES[names.EMBEDDER]
        found.append(error("missing-section", "bundle", f"no section of type {kind}: drafts need embeddings"))
    if contents.verify is None:
        found.append(_missing_signature("target", names.VERIFY))
    for signature in (contents.decode, contents.verify):
        if signature is not None:
            found.extend(_need_outputs(f"target: {signature.key}", signature, {names.ACTIVATIONS: None}))
    if contents.draft_steps is not None and contents.draft_steps < 1:
        where = f"target: {names.VERIFY}"
        found.append(error("verify-rows", where, "takes one token, needs K+1 rows to verify K ≥ 1 drafts"))
    if contents.drafter is not None:
        found.extend(_check_drafter(contents, contents.drafter))
    return found


def judge_mtp(contents: Contents, findings: list[Finding]) -> MtpVerdict:
    """The verdict over the findings of `check_target` and `check_mtp`."""
    missing = tuple(said(one) for one in findings if one.severity is Severity.ERROR)
    return MtpVerdict(possible=not missing, draft_steps=contents.draft_steps, missing=missing)


def _check_target_signature(contents: Contents, signature: Signature) -> Iterator[Finding]:
    where = f"target: {signature.key}"
    tokens = _tokens(signature)
    hidden, vocabulary = _width(contents, names.EMBEDDINGS), _vocabulary(contents)
    rows = longest_cache(signature)
    inputs: dict[str, Shape | None] = {names.INPUT_POS: (tokens,), names.MASK: (1, 1, tokens, rows)}
    if signature.input(TOKENS_INPUT) is None:
        inputs[names.EMBEDDINGS] = None if hidden is None else (1, tokens, hidden)
    if names.PER_LAYER_EMBEDDER in contents.models:
        inputs[names.PER_LAYER_EMBEDDINGS] = _per_layer_shape(contents, tokens)
    yield from _need_inputs(where, signature, inputs)
    yield from _unknown_inputs(where, signature, KNOWN_INPUTS | {TOKENS_INPUT})
    yield from _check_caches(contents, where, signature)
    if signature.key.startswith(names.PREFILL_PREFIX):
        return
    yield from _need_outputs(where, signature, {names.LOGITS: (1, tokens, vocabulary)})
    activations = signature.output(names.ACTIVATIONS)
    if activations is not None and hidden is not None:
        yield from _same_shape(where, activations, (1, tokens, hidden))


def _check_caches(contents: Contents, where: str, signature: Signature) -> Iterator[Finding]:
    """Every signature takes and returns the same caches as `decode`, under the same names."""
    taken = cache_tensors(signature)
    if not taken:
        needed = f"{names.kv_key(0)}, {names.kv_value(0)}, …"
        yield error("missing-tensor", where, f"takes no caches, needs inputs {needed}; found {_listed(signature)}")
    returned = {tensor.name: tensor for tensor in signature.outputs if is_cache(tensor)}
    for name in sorted(taken.keys() ^ returned.keys()):
        side = "returned" if name in taken else "taken"
        yield error("missing-tensor", where, f"cache {name} is not {side}; a cache is both input and output")
    reference = {} if contents.decode is None else cache_tensors(contents.decode)
    for name, tensor in taken.items():
        for other in (returned.get(name), reference.get(name)):
            if other is not None and (other.shape, other.dtype) != (tensor.shape, tensor.dtype):
                yield error("kv-mismatch", where, f"{tensor} differs from {other}; a cache has one shape and type")


def _check_embedders(contents: Contents) -> Iterator[Finding]:
    if contents.decode is None:
        return
    for section, input_name in (
        (names.EMBEDDER, names.EMBEDDINGS),
        (names.PER_LAYER_EMBEDDER, names.PER_LAYER_EMBEDDINGS),
    ):
        model, wanted = contents.models.get(section), contents.decode.input(input_name)
        if model is None and wanted is not None:
            kind = names.MODEL_TYPES[section]
            yield error("missing-section", "bundle", f"no section of type {kind}, but decode takes {wanted}")
        if model is None or not model.signatures:
            continue
        first = model.signatures[0]
        if len(model.signatures) > 1:
            keys = ", ".join(one.key for one in model.signatures)
            yield warning("several-signatures", section, f"has {keys}; the runtime takes the first")
        yield from _need_inputs(f"{section}: {first.key}", first, {names.TOKEN_IDS: None})
        if not first.outputs:
            yield error("missing-tensor", f"{section}: {first.key}", "returns nothing, needs the embeddings")


def _check_drafter(contents: Contents, drafter: Signature) -> Iterator[Finding]:
    where = f"drafter: {drafter.key}"
    hidden, vocabulary = _width(contents, names.EMBEDDINGS), _vocabulary(contents)
    rows = longest_cache(drafter)
    wide = None if hidden is None else (1, 1, 2 * hidden)
    yield from _need_inputs(
        where, drafter, {names.ACTIVATIONS: wide, names.INPUT_POS: (1,), names.MASK: (1, 1, 1, rows)}
    )
    yield from _unknown_inputs(where, drafter, KNOWN_INPUTS)
    narrow = None if hidden is None else (1, 1, hidden)
    yield from _need_outputs(where, drafter, {names.LOGITS: (1, 1, vocabulary), names.PROJECTED_ACTIVATIONS: narrow})
    donors, owned = cache_tensors(drafter), {} if contents.decode is None else cache_tensors(contents.decode)
    if not donors:
        message = f"takes no caches of the target; their names are {names.KV_KEY_PREFIX}<layer> and "
        yield error("missing-tensor", where, f"{message}{names.KV_VALUE_PREFIX}<layer>; found {_listed(drafter)}")
    for name, tensor in donors.items():
        yield from _check_donor(where, tensor, owned.get(name))


def _check_donor(where: str, tensor: Tensor, owned: Tensor | None) -> Iterator[Finding]:
    if owned is None:
        yield error("kv-mismatch", where, f"takes {tensor.name}, which the target's decode does not own")
    elif (owned.shape, owned.dtype) != (tensor.shape, tensor.dtype):
        yield error("kv-mismatch", where, f"takes {tensor}, the target has {owned}; both must be equal")


def _need_inputs(where: str, signature: Signature, needed: Mapping[str, Shape | None]) -> Iterator[Finding]:
    """Findings for absent inputs and for shapes other than `needed`; None asks for no shape."""
    for name, shape in needed.items():
        tensor = signature.input(name)
        if tensor is None:
            yield error("missing-tensor", where, f"no input {name}; found {_listed(signature)}")
        elif shape is not None:
            yield from _same_shape(where, tensor, shape)


def _need_outputs(where: str, signature: Signature, needed: Mapping[str, Shape | None]) -> Iterator[Finding]:
    for name, shape in needed.items():
        tensor = signature.output(name)
        if tensor is None:
            found = ", ".join(one.name for one in signature.outputs if not is_cache(one)) or "only caches"
            yield error("missing-tensor", where, f"no output {name}; found {found}")
        elif shape is not None:
            yield from _same_shape(where, tensor, shape)


def _same_shape(where: str, tensor: Tensor, shape: Shape) -> Iterator[Finding]:
    """A finding where a shape differs; 0 in `shape` stands for a size that could not be told."""
    equal = len(tensor.shape) == len(shape) and all(
        needed in (0, found) for found, needed in zip(tensor.shape, shape, strict=True)
    )
    if not equal:
        yield error("tensor-shape", where, f"{tensor.name} is {list(tensor.shape)}, needed {list(shape)}")


def _unknown_inputs(where: str, signature: Signature, known: set[str]) -> Iterator[Finding]:
    unknown = [one.name for one in signature.inputs if one.name not in known and not is_cache(one)]
    caches = [name for name in unknown if "cache" in name]
    others = [name for name in unknown if name not in caches]
    if caches:
        message = f"inputs {', '.join(caches)} are no KV caches to the runtime, those are {names.KV_KEY_PREFIX}<layer> "
        effect = "left unset, they lower the success rate and change no text, or no GPU engine starts; rename them"
        yield warning(CACHE_NAME, where, f"{message}and {names.KV_VALUE_PREFIX}<layer>; {effect}")
    if others:
        message = f"inputs {', '.join(others)} are unknown to the runtime, which leaves them unset; rename them"
        yield warning("unknown-tensor", where, message)


def _missing_signature(section: str, key: str) -> Finding:
    return error("missing-signature", section, f"no signature {key}")


def _tokens(signature: Signature) -> int:
    """T of a target signature: of `prefill_<T>`, 1 of decode, from `input_pos` of verify; 0 if unknown."""
    suffix = signature.key.removeprefix(names.PREFILL_PREFIX)
    if suffix != signature.key:
        return int(suffix) if suffix.isdecimal() else 0
    if signature.key == names.DECODE:
        return 1
    position = signature.input(names.INPUT_POS)
    return position.shape[-1] if position is not None and position.shape else 0


def _width(contents: Contents, name: str) -> int | None:
    tensor = None if contents.decode is None else contents.decode.input(name)
    return tensor.shape[-1] if tensor is not None and tensor.shape else None


def _vocabulary(contents: Contents) -> int:
    logits = None if contents.decode is None else contents.decode.output(names.LOGITS)
    return logits.shape[-1] if logits is not None and logits.shape else 0


def _per_layer_shape(contents: Contents, tokens: int) -> Shape | None:
    tensor = None if contents.decode is None else contents.decode.input(names.PER_LAYER_EMBEDDINGS)
    return None if tensor is None else (1, tokens, *tensor.shape[2:])


def _listed(signature: Signature) -> str:
    """The inputs that are no caches, for messages."""
    return ", ".join(tensor.name for tensor in signature.inputs if not is_cache(tensor)) or "only caches"
