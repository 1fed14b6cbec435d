"""Checks a bundle beyond its signatures: container, metadata, stored weights and ops."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from litert_lm_builder import litertlm_core as core

from edge_mtp import names
from edge_mtp.bundle.contents import Contents, cache_rows, cache_tensors, longest_cache
from edge_mtp.bundle.contract import check_mtp, check_target
from edge_mtp.bundle.findings import Finding, error, info, warning
from edge_mtp.bundle.gpu import COMPOSITE_OP, CPU_CONSTRAINT, TRIED_COMPOSITES, check_activations, check_gpu
from edge_mtp.bundle.metadata import TURN_END
from edge_mtp.bundle.reader import Section
from edge_mtp.bundle.summary import ModelSummary, Weight, group_weights, packed_bytes
from edge_mtp.bundle.template import missing_methods

MANY_FLOAT_WEIGHTS = 10_000_000
# Of the STABLEHLO ops, ai-edge-litert 2.3 has kernels for these; a test loads a model of each op to see.
STABLEHLO_KERNELS = frozenset(
    f"STABLEHLO_{name}"
    for row in (
        ("ADD", "AND", "CASE", "COMPOSITE", "GATHER", "MAXIMUM", "MINIMUM"),
        ("MULTIPLY", "PAD", "REDUCE_WINDOW", "RNG_BIT_GENERATOR", "SCATTER", "SHIFT_LEFT"),
    )
    for name in row
)
OTHERS_WITHOUT_KERNEL = frozenset({"CALL", "CONCAT_EMBEDDINGS"})


def has_kernel(op: str) -> bool:
    """Whether the runtime has a kernel for the builtin op of this name."""
    return op in STABLEHLO_KERNELS or not (op.startswith("STABLEHLO_") or op in OTHERS_WITHOUT_KERNEL)


def lint(contents: Contents) -> list[Finding]:
    """All findings. What only MTP needs is held against a bundle with a drafter; others get one INFO."""
    findings = [*_check_container(contents), *_check_metadata(contents), *_check_executor(contents)]
    findings.extend(check_target(contents))
    if names.DRAFTER in contents.models:
        findings.extend(check_mtp(contents))
        findings.extend(check_gpu(contents))
    else:
        kind = names.MODEL_TYPES[names.DRAFTER]
        findings.append(info("no-drafter", "bundle", f"no section of type {kind}: runs without MTP"))
    for section, model in contents.models.items():
        findings.extend(_check_ops(section, model))
        findings.extend(_check_weights(section, model))
    return list(dict.fromkeys(findings))


def _check_container(contents: Contents) -> Iterator[Finding]:
    bundle = contents.bundle
    if bundle.header_end > core.BLOCK_SIZE:
        message = f"ends at byte {bundle.header_end}, the runtime reads {core.BLOCK_SIZE}; shorten the attributes"
        yield error("long-header", "header", message)
    for section in bundle.sections:
        if section.begin % core.BLOCK_SIZE:
            message = f"begins at byte {section.begin}, needed a multiple of {core.BLOCK_SIZE}; pack it again"
            yield error("unaligned-section", section.name, message)
        yield from _check_attributes(section)
    yield from _check_order(bundle.sections)


def _check_order(sections: Sequence[Section]) -> Iterator[Finding]:
    """Sections that overlap, and those that hide behind an earlier one of the same kind."""
    for first, second in pairwise(sorted(sections, key=lambda section: section.begin)):
        if second.begin < first.end:
            message = f"begins at byte {second.begin}, inside {first.name}, which ends at {first.end}"
            yield error("overlapping-section", second.name, message)
    kinds = [(section.data_type, section.model_type) for section in sections]
    for name in dict.fromkeys(s.name for s, kind in zip(sections, kinds, strict=True) if kinds.count(kind) > 1):
        yield error("duplicate-section", name, "occurs more than once; the runtime takes one of them")


def _check_attributes(section: Section) -> Iterator[Finding]:
    if section.name == names.DRAFTER and "cpu" in section.backends:
        message = "backend_constraint=cpu crashes the engine on the GPU (google-ai-edge/gallery#791); remove it"
        yield error(CPU_CONSTRAINT, section.name, message)
    yield from check_activations(section)


def _check_metadata(contents: Contents) -> Iterator[Finding]:
    if contents.tokenizer_kind is None:
        yield error("no-tokenizer", "bundle", "no SP_Tokenizer or HF_Tokenizer_Zlib section; add the tokenizer")
    metadata = contents.llm_metadata
    if metadata is None:
        yield error("no-llm-metadata", "bundle", "no LlmMetadataProto section; the runtime cannot start")
        return
    model_type = metadata.llm_model_type.WhichOneof("model_type")
    if model_type != "gemma4":
        message = f"llm_model_type is {model_type or 'not set'}, needed gemma4: tool calls and thinking get lost"
        yield error("model-type", "LlmMetadata", message)
    if not metadata.jinja_prompt_template:
        yield warning("no-template", "LlmMetadata", "no jinja_prompt_template: chats go unformatted")
    if missing := missing_methods(metadata.jinja_prompt_template):
        message = f"the template calls {', '.join(missing)}, which the runtime's template engine does not have"
        yield warning("template-method", "LlmMetadata", message)
    yield from _check_stops(contents, metadata)
    yield from _check_length(contents, metadata)


def _check_stops(contents: Contents, metadata: Any) -> Iterator[Finding]:
    texts = {token.token_str for token in metadata.stop_tokens if token.HasField("token_str")}
    ids = {i for token in metadata.stop_tokens if token.HasField("token_ids") for i in token.token_ids.ids}
    if not texts and not ids:
        yield error("no-stop-tokens", "LlmMetadata", "no stop_tokens: replies run to the length limit")
        return
    if not contents.tokens:
        return
    unknown = sorted(ids - set(contents.tokens.values()))
    if unknown:
        message = f"stop tokens {unknown} are no ids of the bundle's tokenizer, which has {len(contents.tokens)}"
        yield error("unknown-stop-token", "LlmMetadata", message)
    turn_end = contents.tokens.get(TURN_END)
    in_template = TURN_END in metadata.jinja_prompt_template
    if in_template and turn_end not in ids and not any(TURN_END in text for text in texts):
        message = f"the template ends turns with {TURN_END}, which is no stop token: replies run on; add it"
        yield error("turn-end-not-stop", "LlmMetadata", message)


def _check_length(contents: Contents, metadata: Any) -> Iterator[Finding]:
    """The cache against the promised context: verify writes K+1 rows at once, also at the very end."""
    promised = metadata.max_num_tokens
    if not promised:
        yield warning("no-max-tokens", "LlmMetadata", "max_num_tokens is not set; set it to the context")
    rows = 0 if contents.decode is None else longest_cache(contents.decode)
    if not rows or not promised:
        return
    drafts = (contents.draft_steps or 0) if names.DRAFTER in contents.models else 0
    needed = promised + (drafts + 1 if drafts else 0)
    if rows >= needed:
        return
    message = f"the cache has {rows} rows, max_num_tokens {promised} needs {needed} with {drafts} drafts"
    if drafts and rows == needed - 1:
        yield warning("tight-cache", "target", f"{message} to be safe at the context's end")
    else:
        yield error("short-cache", "target", f"{message}: text goes wrong near the context's end; lower it")


def _check_executor(contents: Contents) -> Iterator[Finding]:
    """State buffers against decode's caches: the runtime looks each up by name, and reads its axis."""
    if contents.executor_metadata is None or contents.decode is None:
        return
    caches = cache_tensors(contents.decode)
    longest = longest_cache(contents.decode)
    for buffer in contents.executor_metadata.llm_executor_metadata.state_buffers:
        name = buffer.decode_input_name
        tensor = caches.get(name)
        if tensor is None:
            message = f"state buffer {name or 'without a name'} is no cache of the target's decode"
            yield error("executor-mismatch", "ExecutorMetadata", message)
            continue
        rows = cache_rows(tensor)
        axis = buffer.sequence_axis if buffer.HasField("sequence_axis") else None
        if axis is None or not 0 <= axis < len(tensor.shape) or tensor.shape[axis] != rows:
            message = f"{name} has sequence_axis {axis}, but the {rows} rows of {tensor} lie elsewhere"
            yield error("executor-mismatch", "ExecutorMetadata", message)
        local = buffer.Type.Name(buffer.type).startswith("TYPE_LOCAL")
        if not local and rows < longest:
            message = f"{name} is declared global, so the runtime takes its {rows} rows for the longest context"
            yield error("global-ring", "ExecutorMetadata", f"{message}; leave the section out, or declare it local")
        if local and rows == longest:
            message = f"{name} is declared local, which means a ring buffer, but holds all {rows} rows"
            yield warning("local-full-cache", "ExecutorMetadata", message)


def _check_ops(section: str, model: ModelSummary) -> Iterator[Finding]:
    for name in sorted(op for op in model.ops if not has_kernel(op)):
        message = f"uses {name} {model.ops[name]} times, for which the runtime has no kernel; lower it otherwise"
        yield error("unregistered-op", section, message)
    for name, count in sorted(model.customs.items()):
        yield error("custom-op", section, f"uses custom op {name or 'without a name'} {count} times; replace it")
    untried = {name: count for name, count in model.composites.items() if name not in TRIED_COMPOSITES}
    if untried:
        listed = ", ".join(f"{name} × {count}" for name, count in sorted(untried.items()))
        yield info(COMPOSITE_OP, section, f"composites not tried on a GPU, the CPU runs what stands for them: {listed}")


def _check_weights(section: str, model: ModelSummary) -> Iterator[Finding]:
    for group in group_weights([weight for weight in model.weights if _is_large_kind(weight)]):
        if group.elements >= MANY_FLOAT_WEIGHTS:
            mb, packed_mb = group.data_bytes / 1e6, group.elements / 2e6
            message = f"{group.pattern}: {group.elements:,} weights take {mb:.0f} MB as {group.stored_as}; "
            yield warning("wide-weights", section, f"{message}int4 would take {packed_mb:.0f} MB")
    for weight in model.weights:
        needed = packed_bytes(weight.shape, weight.dtype)
        if weight.data_bytes < needed:
            message = f"{weight.name} has {weight.data_bytes} bytes, its shape needs {needed}; export it again"
            yield error("short-weight", section, message)
        if weight.bad_scales:
            message = f"{weight.name} has {weight.bad_scales} scales that are zero or not finite"
            yield warning("bad-scale", section, message)


def _is_large_kind(weight: Weight) -> bool:
    return len(weight.shape) > 1 and weight.dtype in ("FLOAT32", "FLOAT16", "BFLOAT16")
