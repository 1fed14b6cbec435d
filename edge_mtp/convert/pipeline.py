"""`export` from two checkpoint directories to one bundle, stage by stage.

prepare (read, check, plan; writes nothing) -> quantize, trace and splice in worker processes
-> write the bundle aside -> lint -> smoke run in the engine -> manifest and bundle get their names.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from litert_lm_builder.runtime.proto.executor_metadata_pb2 import ExecutorMetadata

from edge_mtp import names
from edge_mtp.bundle.metadata import (
    TEMPLATE_FILE,
    KvCache,
    TextFormat,
    build_executor_metadata,
    build_llm_metadata,
    read_text_format,
)
from edge_mtp.bundle.tokenizer import BundleTokenizer, read_tokenizer
from edge_mtp.bundle.writer import BundlePlan, WrittenBundle, write_bundle
from edge_mtp.checkpoint.config import read_drafter_config, read_target_config
from edge_mtp.checkpoint.digest import digest_files
from edge_mtp.checkpoint.hub import ResolvedCheckpoint, resolve_checkpoint
from edge_mtp.checkpoint.pairing import check_pair
from edge_mtp.checkpoint.tensors import Checkpoint, open_checkpoint
from edge_mtp.convert import worker
from edge_mtp.convert.plan import ExportPlan, SectionPlan, graph_specs, make_plan
from edge_mtp.convert.preflight import check_resources
from edge_mtp.convert.quantize import QuantizedTensor
from edge_mtp.convert.schedule import Job, Reporter, result_of, run_jobs, worker_pool
from edge_mtp.convert.stages import WORKER_LOG, Stages, WorkDir, open_work_dir, source_key
from edge_mtp.errors import EdgeMtpError
from edge_mtp.graphs.spec import checkpoint_of
from edge_mtp.recipe import default_recipe, load_recipe


@dataclass(frozen=True)
class ExportRequest:
    """What the user asked for. TARGET and DRAFTER are directories or hub ids."""

    target: str
    drafter: str
    output: Path
    recipe: Path | None = None
    work_dir: Path | None = None
    resume: bool = True
    overwrite: bool = False

    @property
    def work(self) -> Path:
        """The work directory; beside the output unless one was given."""
        return self.work_dir or self.output.with_name(self.output.name + ".work")


@dataclass(frozen=True)
class Prepared:
    """Everything that was read and checked; nothing has been written."""

    request: ExportRequest
    target: ResolvedCheckpoint
    drafter: ResolvedCheckpoint
    plan: ExportPlan
    recipe_text: str
    tokenizer: BundleTokenizer
    text: TextFormat

    @property
    def warnings(self) -> tuple[str, ...]:
        """What may be wrong with the inputs and is no reason to refuse them."""
        untemplated = "the target has no chat template, so chats will go to the model unformatted; give one in "
        missing = () if self.text.template else (f"{untemplated}{self.target.directory / TEMPLATE_FILE}",)
        return (*self.plan.pair.warnings, *missing)

    @property
    def sources(self) -> worker.Sources:
        """Checkpoint directories by role."""
        return worker.Sources({names.TARGET: self.target.directory, names.DRAFTER: self.drafter.directory})


@dataclass(frozen=True)
class Built:
    """A bundle written aside, with what its manifest needs to know of its making."""

    bundle: WrittenBundle
    work: WorkDir
    tensors: Mapping[str, Mapping[str, QuantizedTensor]]
    source_digests: Mapping[str, Mapping[str, str]]


def prepare(request: ExportRequest) -> Prepared:
    """Reads and checks all inputs; every refusal that can come early comes here."""
    check_output(request)
    target, drafter = resolve_checkpoint(request.target), resolve_checkpoint(request.drafter)
    target_config, drafter_config = read_target_config(target.directory), read_drafter_config(drafter.directory)
    decoder = target_config.decoder
    recipe_file = request.recipe or default_recipe(decoder.hidden_size, decoder.layers)
    recipe = load_recipe(recipe_file)
    pair = check_pair(target_config, drafter_config, target.directory, drafter.directory)
    tokenizer = read_tokenizer(target.directory, decoder.vocab_size)
    text = read_text_format(target.directory, tokenizer)
    specs = graph_specs(pair, recipe)
    with worker_pool(Path(os.devnull), lambda task, count: None) as pool:
        needs = result_of(pool.submit(worker.describe, specs, drafter.directory))
    plan = make_plan(pair, recipe, specs, needs)
    _check_shapes(plan, target, drafter)
    return Prepared(request, target, drafter, plan, recipe_file.read_text(encoding="utf-8"), tokenizer, text)


def check_output(request: ExportRequest) -> None:
    """Refuses an output that exists or cannot be written, before any work is done."""
    output = request.output
    if output.is_dir():
        raise EdgeMtpError(f"--output {output} is a directory; give a file name such as {output / 'model.litertlm'}")
    if output.suffix != ".litertlm":
        raise EdgeMtpError(f"--output {output} must end in .litertlm; LiteRT-LM tells bundles by that")
    if output.exists() and not request.overwrite:
        raise EdgeMtpError(f"{output} exists; give another --output, or --overwrite to replace it")
    if not output.parent.is_dir():
        raise EdgeMtpError(f"the directory {output.parent} does not exist; make it, or give another --output")


def open_sources(prepared: Prepared) -> dict[str, Checkpoint]:
    """Both checkpoints by role, opened anew."""
    return {role: open_checkpoint(path) for role, path in prepared.sources.directories.items()}


def build(prepared: Prepared, reporter: Reporter) -> Built:
    """Makes the bundle under a temporary name, taking up finished stages."""
    request, plan = prepared.request, prepared.plan
    check_resources(plan, request.work, request.output)
    with open_work_dir(request.work, resume=request.resume) as work:
        key = source_key(*open_sources(prepared).values())
        stages = {section.name: work.stages(section, key) for section in plan.sections}
        with _source_digests(prepared, reporter) as digests:
            _make_sections(prepared, work, stages, reporter)
            tensors = {name: worker.load_tensors(stage.scales, with_scales=False) for name, stage in stages.items()}
            bundle = _write(prepared, stages, reporter)
            return Built(bundle, work, tensors, digests.result())


def _make_sections(prepared: Prepared, work: WorkDir, stages: Mapping[str, Stages], reporter: Reporter) -> None:
    """Runs every unfinished stage: quantizing, tracing, splicing.

    Each has workers of its own, because a worker that traced still holds what torch has allocated. Quantizing comes
    first, because it is what finds damaged weights.
    """
    waiting = [section for section in prepared.plan.sections if not _is_spliced(stages[section.name])]
    for section in prepared.plan.sections:
        if section not in waiting:
            reporter.finish(f"section {section.name}")
    parts = [job for section in waiting for job in _parts(section, prepared, stages[section.name], reporter)]
    splices = [
        Job(f"splice {section.name}", worker.splice_section, (section, stages[section.name])) for section in waiting
    ]
    quantizing = [job for job in parts if job.total is not None]
    tracing = [job for job in parts if job.total is None]
    for jobs in filter(None, (sorted(quantizing, key=_bytes_left), sorted(tracing, key=_urgency), splices)):
        with worker_pool(work.directory / WORKER_LOG, reporter.advance) as pool:
            run_jobs(pool, jobs, reporter)


def _parts(section: SectionPlan, prepared: Prepared, stage: Stages, reporter: Reporter) -> Iterator[Job]:
    """Unfinished tracing and quantizing of a section; graphs are traced anew where resuming was declined."""
    for signature, path in stage.lowered.items():
        task = f"trace {section.name} {signature}"
        if prepared.request.resume and path.exists():
            reporter.finish(task)
        else:
            yield Job(task, worker.lower, (section.spec, signature, path))
    task = worker.quantize_task(section.name)
    if _is_quantized(stage):
        reporter.finish(task)
    else:
        total = _stored_bytes(section, prepared)
        yield Job(task, worker.quantize, (section, prepared.sources, stage), total)


def _bytes_left(job: Job) -> int:
    """Most bytes first, so that both workers end together."""
    return -(job.total or 0)


def _urgency(job: Job) -> int:
    """Longest graphs first: all layers with the head, then prefill's owning layers, then the small ones."""
    whole_model = job.task.endswith((f" {names.DECODE}", f" {names.VERIFY}"))
    return 0 if whole_model else 1 if names.PREFILL_PREFIX in job.task else 2


def _write(prepared: Prepared, stages: Mapping[str, Stages], reporter: Reporter) -> WrittenBundle:
    """The container, written beside the output."""
    task = "write bundle"
    plan = BundlePlan(
        models={name: stage.spliced for name, stage in stages.items()},
        tokenizer=prepared.tokenizer,
        llm_metadata=build_llm_metadata(prepared.text, prepared.plan.lengths.context),
        executor_metadata=_executor_metadata(prepared.plan),
        activation=prepared.plan.recipe.activation,
        recipe_sha256=prepared.plan.recipe.sha256,
    )
    reporter.start(task, sum(stage.spliced.stat().st_size for stage in stages.values()))
    started = time.monotonic()
    written = write_bundle(plan, prepared.request.output, lambda count: reporter.advance(task, count))
    reporter.finish(task, time.monotonic() - started)
    return written


def _executor_metadata(plan: ExportPlan) -> ExecutorMetadata | None:
    decoder = plan.pair.target.decoder
    caches = [KvCache(layer, plan.lengths.rows_of(decoder, layer)) for layer in range(decoder.owning_layers)]
    return build_executor_metadata(caches, decoder.sliding_window)


@contextmanager
def _source_digests(prepared: Prepared, reporter: Reporter) -> "Iterator[Future[dict[str, dict[str, str]]]]":
    """sha256 of every checkpoint file, in a thread beside the block; given up where the block ends badly."""
    given_up = Event()

    def hear(task: str, count: int) -> None:
        if given_up.is_set():
            raise CancelledError
        reporter.advance(task, count)

    with ThreadPoolExecutor(1) as thread:
        try:
            yield thread.submit(_digest_sources, prepared, reporter, hear)
        except BaseException:
            given_up.set()
            raise


def _digest_sources(
    prepared: Prepared, reporter: Reporter, hear: Callable[[str, int], None]
) -> dict[str, dict[str, str]]:
    """sha256 by role and file name."""
    task = "hash checkpoints"
    checkpoints = open_sources(prepared)
    reporter.start(task, sum(path.stat().st_size for c in checkpoints.values() for path in c.files))
    started = time.monotonic()
    digests = {
        role: digest_files(checkpoint.files, lambda count: hear(task, count))
        for role, checkpoint in checkpoints.items()
    }
    reporter.finish(task, time.monotonic() - started)
    return digests


def _check_shapes(plan: ExportPlan, target: ResolvedCheckpoint, drafter: ResolvedCheckpoint) -> None:
    """CheckpointError where a weight is missing or has another shape than config.json says."""
    checkpoints = {names.TARGET: open_checkpoint(target.directory), names.DRAFTER: open_checkpoint(drafter.directory)}
    for section in plan.sections:
        checkpoint = checkpoints[checkpoint_of(section.name)]
        for weight in section.weights:
            checkpoint.expect(checkpoint.stored_name(weight.slot.name), weight.slot.shape)


def _stored_bytes(section: SectionPlan, prepared: Prepared) -> int:
    checkpoint = prepared.sources.of(section.name)
    return sum(checkpoint.info(checkpoint.stored_name(w.slot.name)).bytes for w in section.weights)


def _is_quantized(stage: Stages) -> bool:
    return stage.codes.exists() and stage.scales.exists()


def _is_spliced(stage: Stages) -> bool:
    return stage.spliced.exists() and stage.scales.exists()
