"""The gate before a bundle gets its name: what it lets pass, and that what it must stop is stopped."""

import dataclasses
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_mtp import names
from edge_mtp.bundle.manifest import manifest_path, read_manifest
from edge_mtp.bundle.reader import read_bundle
from edge_mtp.bundle.tokenizer import BundleTokenizer
from edge_mtp.bundle.writer import BundlePlan, write_bundle
from edge_mtp.convert import worker
from edge_mtp.convert.pipeline import ExportRequest, prepare
from edge_mtp.convert.schedule import result_of, worker_pool
from edge_mtp.convert.smoke import AGREED_TOKENS, _fault, agreed_tokens, smoke_run
from edge_mtp.convert.stages import CACHE_VARIABLE, WorkDir
from edge_mtp.errors import EngineError
from edge_mtp.runner import engine
from edge_mtp.runner.engine import EngineOptions, EngineReply, EngineRun, run_engine
from tests.export.command import group_is_alive, run_export, wait_until
from tests.export.tree import contents

BUDGET = 12


def reply(*chunks: str, tokens: int | None = None) -> EngineReply:
    """A reply in `chunks`; a plain one has one token a chunk."""
    return EngineReply("prompt", chunks, (), 5, 100.0, len(chunks) if tokens is None else tokens, 50.0)


def run(*replies: EngineReply, rate: float | None = 0.5) -> EngineRun:
    return EngineRun(replies, 0.1, rate, "")


# How far two replies agree.


@pytest.mark.parametrize(
    ("off", "on", "agreed"),
    [
        (reply("a", "b", "c"), reply("abc", tokens=3), None),
        (reply("a", "b", "c"), reply("axc", tokens=3), 1),
        (reply("a", "b", "c"), reply("xbc", tokens=3), 0),
        (reply("ab", "cd", "ef"), reply("abcxef", tokens=3), 1),  # half a token agrees: the token does not
        (reply("a", "b", "c"), reply("ab", tokens=2), 2),  # one stopped early
        (reply("a", "b"), reply("abc", tokens=3), 2),
        (reply(), reply("abc", tokens=3), 0),
    ],
)
def test_agreed_tokens(off, on, agreed):
    assert agreed_tokens(off, on, BUDGET) == agreed


def test_a_longer_last_round_is_no_difference_once_the_budget_is_spent():
    off = reply(*"abcdefghijkl")
    assert len(off.chunks) == BUDGET
    assert agreed_tokens(off, reply("abcdefghijklmno", tokens=15), BUDGET) is None
    assert agreed_tokens(off, reply("abcdefghijkXmno", tokens=15), BUDGET) == 11
    assert agreed_tokens(off, reply("abcdefghijklmno", tokens=15), BUDGET + 1) == 12


# What is a fault.


def test_sound_runs_have_no_fault():
    assert _fault(run(reply("a")), run(reply("a")), None) is None
    assert _fault(run(reply("a")), run(reply("a")), AGREED_TOKENS) is None


@pytest.mark.parametrize(
    ("off", "on", "early", "fault"),
    [
        (run(reply("")), run(reply("")), None, "the engine generated no text with MTP off"),
        (run(reply(" ", "\n"), reply()), run(reply("a")), None, "the engine generated no text with MTP off"),
        (run(reply("a"), reply("b", "<pad>")), run(reply("a")), None, "the engine generated <pad> tokens"),
        (
            run(reply("a")),
            run(reply("a"), rate=None),
            None,
            "the engine did not draft although the bundle has a drafter",
        ),
        (run(reply("a")), run(reply("b")), AGREED_TOKENS - 1, "MTP on and off wrote different text after 7 tokens"),
        (run(reply("a")), run(reply("b")), 0, "MTP on and off wrote different text after 0 tokens, at least 8 must"),
    ],
)
def test_faults(off, on, early, fault):
    assert _fault(off, on, early).startswith(fault)


def test_smoke_run_puts_both_lives_together(monkeypatch, tmp_path):
    """The least agreement of all prompts counts, and the rate is that of the life with MTP on."""
    plain = run(reply(*"abcdefghijklmnop"), reply(*"abcdefghijklmnop"), rate=None)
    drafted = run(reply("abcdefghijXl"), reply("abcdefghXjkl"), rate=0.25)
    lives = {False: plain, True: drafted}
    monkeypatch.setattr(
        "edge_mtp.convert.smoke.run_engine", lambda bundle, prompts, options: lives[options.speculative]
    )
    result = smoke_run(Path("x.litertlm"), 1024, tmp_path)
    assert (result.prompts, result.differing, result.first_difference, result.acceptance_rate) == (2, 2, 8, 0.25)
    assert result.passed


# Bundles that must not pass.


def test_wrong_verifier_is_stopped(exported, tiny_pair, graph_cache, tmp_path):
    """Its norms are far off. The graph lies in the cache under the right one's name."""
    exported()
    cache, output = tmp_path / "cache", tmp_path / "tiny.litertlm"
    shutil.copytree(graph_cache, cache)
    poison_verify(prepare(ExportRequest(str(tiny_pair.target), str(tiny_pair.drafter), output)), cache / "graphs")
    for path in (output, manifest_path(output)):
        path.write_text("older")
    done = run_export(tiny_pair, output, "--overwrite", env={CACHE_VARIABLE: str(cache)})
    assert done.returncode == 3, done.stdout
    failed = tmp_path / "tiny.failed.litertlm"
    assert "FAILED       MTP on and off wrote different text after" in done.stdout
    assert f"kept as      {failed}" in done.stdout
    assert "\nwrote " not in done.stdout
    assert output.read_text() == manifest_path(output).read_text() == "older"
    record = read_manifest(manifest_path(failed))
    assert (record.bundle, record.size_bytes) == (failed.name, failed.stat().st_size)
    assert not record.smoke.texts_equal
    assert failed.read_bytes() != exported().read_bytes()


def poison_verify(prepared, graphs: Path) -> None:
    section = next(section for section in prepared.plan.sections if section.name == names.TARGET)
    path = WorkDir(graphs, graphs).stages(section, "").lowered[names.VERIFY]
    assert path.exists()
    decoder = dataclasses.replace(section.spec.target.decoder, norm_epsilon=10.0)
    wrong = dataclasses.replace(section.spec, target=dataclasses.replace(section.spec.target, decoder=decoder))
    with worker_pool(Path(os.devnull), lambda task, count: None) as pool:
        result_of(pool.submit(worker.lower, wrong, names.VERIFY, path))


def test_bundle_without_a_drafter_is_stopped(exported, tmp_path):
    whole = read_bundle(exported())
    path = write_bundle(without_drafter(whole, tmp_path), tmp_path / "x.litertlm").path
    before = contents(tmp_path)
    result = smoke_run(path, 1024, tmp_path)
    assert not result.passed
    assert "tf_lite_mtp_drafter not found in the model" in result.fault
    assert result.acceptance_rate is None
    assert contents(tmp_path) == before  # the engine's weight cache is gone again


def without_drafter(bundle, directory: Path) -> BundlePlan:
    models = {}
    for section in bundle.sections:
        if section.data_type == "TFLiteModel" and section.name != names.DRAFTER:
            models[section.name] = directory / f"{section.name}.tflite"
            models[section.name].write_bytes(bundle.section_bytes(section))
    kind = bundle.tokenizer_kind()
    packed = next(section for section in bundle.sections if section.data_type == "HF_Tokenizer_Zlib")
    tokenizer = BundleTokenizer(kind, Path("tokenizer.json"), bundle.token_ids(), bytes(bundle.section_bytes(packed)))
    return BundlePlan(models, tokenizer, bundle.llm_metadata(), bundle.executor_metadata(), "fp32")


# The engine itself.


@pytest.mark.parametrize("bundle", ["garbage", "truncated"])
def test_bundle_that_does_not_load(exported, tmp_path, bundle):
    whole = exported().read_bytes()
    path = tmp_path / "x.litertlm"
    path.write_bytes(b"no bundle at all" if bundle == "garbage" else whole[: len(whole) // 2])
    with pytest.raises(EngineError, match=r"LiteRT-LM could not run x\.litertlm \(exit status 1\)") as caught:
        run_engine(path, ["hello"], EngineOptions(speculative=True))
    assert "Failed to create engine" in str(caught.value)  # the engine's own words
    assert "Traceback" not in str(caught.value)


def test_engine_that_crashes(tmp_path, monkeypatch):
    """A library that brings its process down costs one bundle its name, and not the export its life."""
    crashing = tmp_path / "python"
    crashing.write_text("#!/bin/sh\necho the last words >&2\nkill -SEGV $$\n")
    crashing.chmod(0o755)
    monkeypatch.setattr(engine.sys, "executable", str(crashing))
    with pytest.raises(EngineError, match=r"\(exit status -11\)\. Its log ends:\n  the last words"):
        run_engine(Path("x.litertlm"), ["hello"], EngineOptions(speculative=True))
    assert smoke_run(Path("x.litertlm"), 1024, tmp_path).fault.startswith("LiteRT-LM could not run x.litertlm")


def test_engine_that_does_not_end(tmp_path, monkeypatch):
    waiting = tmp_path / "python"
    waiting.write_text("#!/bin/sh\nexec sleep 60\n")
    waiting.chmod(0o755)
    monkeypatch.setattr(engine.sys, "executable", str(waiting))
    with pytest.raises(EngineError, match=r"LiteRT-LM did not finish x\.litertlm within 1 s"):
        run_engine(Path("x.litertlm"), ["hello"], EngineOptions(speculative=True, timeout_s=1.0))


def test_engine_ends_with_its_caller():
    """It would load and generate for minutes with a large bundle, for nobody. Here it waits for its request."""
    engine_script = "from edge_mtp.runner.engine_child import main; print('here', flush=True); main()"
    caller_script = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    with subprocess.Popen(
        [sys.executable, "-c", caller_script, engine_script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as caller:
        assert caller.stdout.readline() == "here\n"
        time.sleep(0.5)
        caller.kill()
        caller.wait()
        wait_until(lambda: not group_is_alive(caller.pid), 10.0, "the engine's end")
