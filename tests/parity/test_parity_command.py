"""The options of `edge-mtp parity`: what is refused before any work, and how reports are written."""

import json
from dataclasses import replace
from pathlib import Path

import click
import pytest

from edge_mtp.commands import parity as command
from edge_mtp.commands.parity import RungNumbers
from edge_mtp.parity.results import Verdict
from tests.export.refusal import check_refused, invoke
from tests.parity.ladder_runs import Ran, run_parity, write_suite

USAGE = 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("0-7", (0, 1, 2, 3, 4, 5, 6, 7)),
        ("3", (3,)),
        ("1,4-6", (1, 4, 5, 6)),
        ("6,1,5-6", (1, 5, 6)),
        (" 2 , 4 - 5", (2, 4, 5)),
    ],
)
def test_rungs(given, expected):
    assert RungNumbers().convert(given, None, None) == expected


@pytest.mark.parametrize("given", ["", "a", "1,,2", "3-", "-3", "1-2-3", "1.5"])
def test_rungs_that_are_no_numbers(given):
    with pytest.raises(click.UsageError, match="give rungs as 0-7, 3 or 1,4-6"):
        RungNumbers().convert(given, None, None)


@pytest.mark.parametrize("given", ["8", "0-8", "5-3", "0-99999999999999"])
def test_rungs_that_are_not_there(given):
    with pytest.raises(click.UsageError, match="there are rungs 0 to 7, the lower one first"):
        RungNumbers().convert(given, None, None)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--per-suite", ["0"]),
        ("--max-tokens", ["1"]),
        ("--threads", ["0"]),
        ("--backend", ["npu"]),
        ("--costs", ["-0.1", "1"]),
        ("--costs", ["0.1", "0"]),
        ("--rungs", ["9"]),
        ("--prompts", ["absent.jsonl"]),
    ],
)
def test_usage(request_, tmp_path, option, value):
    given = ("--target", request_.target, "--drafter", request_.drafter, "--output", tmp_path / "reports")
    check_refused(invoke("parity", request_.bundle, *given, option, *value), option, code=USAGE)
    assert not (tmp_path / "reports").exists()


def test_missing_options(request_):
    check_refused(invoke("parity", request_.bundle), "Missing option '--target'", code=USAGE)


def light(request, output: Path, *options: object) -> Ran:
    """Rung 0 alone, unless told otherwise."""
    return run_parity(request, output, "--rungs", "0", *options)


def test_prompts_that_cannot_be_read(request_, tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"id": "a", "prompt": "x"}\n{"id": "b"}\n')
    found = light(replace(request_, prompts=(bad,)), tmp_path / "reports")
    assert found.code == 1 and f"error: {bad}, line 2: " in found.printed
    assert not list(found.output.glob("*"))


def test_a_bundle_that_is_none(request_, tmp_path):
    bundle = tmp_path / "no.litertlm"
    bundle.write_bytes(b"no bundle")
    found = light(replace(request_, bundle=bundle), tmp_path / "reports")
    assert found.code == 1 and f"error: {bundle} is not a .litertlm bundle" in found.printed


def test_a_manifest_that_is_damaged(request_, tmp_path):
    """Refused at once, and not when all rungs have been climbed."""
    bundle = tmp_path / "copy.litertlm"
    bundle.write_bytes(request_.bundle.read_bytes())
    bundle.with_name("copy.litertlm.json").write_text("{}")
    found = light(replace(request_, bundle=bundle), tmp_path / "reports")
    assert found.code == 1 and "error: the manifest" in found.printed and "HELD" not in found.printed


def test_per_suite(request_, tmp_path):
    found = light(request_, tmp_path, "--per-suite", "1")
    assert [suite["prompts"] for suite in found.report["settings"]["suites"]] == [1, 1]
    assert [suite["prompts"] for suite in light(request_, tmp_path).report["settings"]["suites"]] == [2, 2]


def test_the_shipped_suites_are_the_default(request_, tmp_path):
    found = light(replace(request_, prompts=()), tmp_path, "--per-suite", "1")
    suites = [suite["suite"] for suite in found.report["settings"]["suites"]]
    assert suites == ["chat", "code", "creative", "extract", "summarize", "toolcall"]


def test_prompts_too_long_for_the_context(request_, tmp_path):
    mixed = write_suite(tmp_path / "mixed.jsonl", [{"id": "a", "prompt": "word " * 2000}, {"id": "b", "prompt": "x"}])
    request = replace(request_, prompts=(mixed, request_.prompts[0]))
    found = light(request, tmp_path / "reports")
    assert "left out, too long for the bundle's context of 1024 tokens: 1 of 4 prompts" in found.printed
    counted = [(one["suite"], one["prompts"]) for one in found.report["settings"]["suites"]]
    assert counted == [("mixed", 1), ("names", 2)]
    assert "left out" not in light(request_, tmp_path / "others").printed


def test_prompts_that_are_all_too_long(request_, tmp_path):
    long = write_suite(tmp_path / "long.jsonl", [{"id": "a", "prompt": "word " * 2000}])
    found = light(replace(request_, prompts=(long,)), tmp_path / "reports")
    assert found.code == 1
    assert "no prompt fits: the bundle's context is 1024 tokens, of which 16 are kept for the reply" in found.printed


def test_gates(request_, tmp_path):
    """Bars that the same bundle does not reach."""
    strict = run_parity(request_, tmp_path / "3", "--rungs", "3", "--max-kl", "1e-9", "--min-top1", "1.0")
    assert strict.code == 3 and "needed ≤ 1e-09" in strict.printed and "needed ≥ 1" in strict.printed
    floor = run_parity(request_, tmp_path / "6", "--rungs", "6", "--floor", "0.4")
    assert floor.code == 3 and "draft acceptance rate, talk is 0.2941, needed ≥ 0.4" in floor.printed
    assert "draft acceptance rate, names is" not in floor.printed


def test_a_suite_whose_name_looks_like_markup(request_, tmp_path):
    odd = write_suite(tmp_path / "[bold].jsonl", [{"id": "a", "prompt": "Hello!"}, {"id": "b", "prompt": "Thanks!"}])
    found = run_parity(replace(request_, prompts=(odd,)), tmp_path / "reports [x]", "--rungs", "6")
    assert "draft acceptance rate, [bold]: " in found.printed
    assert "[bold]      " in found.printed.partition("\nMTP ")[2] and "reports [x]/report.html" in found.printed


# Reports.


def test_an_output_that_cannot_be_made(request_, tmp_path):
    (tmp_path / "file").write_text("in the way")
    found = light(request_, tmp_path / "file" / "reports")
    assert found.code == 1 and "cannot write to the directory" in found.printed
    assert "give another --output" in found.printed and "HELD" not in found.printed


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a directory that takes no files, even from root")
def test_an_output_that_takes_no_file(request_):
    """It exists, so only writing shows it; which is tried before hours of work."""
    found = light(request_, Path("/proc/self"))
    assert found.code == 1 and "cannot write to the directory /proc/self" in found.printed
    assert "HELD" not in found.printed


def test_a_run_that_dies_leaves_the_older_report(request_, tmp_path, monkeypatch):
    before = light(request_, tmp_path)
    older, page = before.report, before.page

    def die(value) -> str:
        raise MemoryError

    monkeypatch.setattr(command, "parity_page", die)
    assert isinstance(invoke("parity", request_.bundle, *_needed(request_, tmp_path)).exception, MemoryError)
    assert (before.report, before.page) == (older, page)
    monkeypatch.undo()
    assert light(request_, tmp_path, "--seed", "5").report["settings"]["seed"] == 5 != older["settings"]["seed"]
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "report.html"}


def _needed(request, output: Path) -> tuple[object, ...]:
    return "--target", request.target, "--drafter", request.drafter, "--output", output, "--rungs", "0"


def test_a_full_disk_is_an_error_with_a_name(request_, tmp_path, monkeypatch):
    def full(self, *given, **more) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    done = invoke("parity", request_.bundle, *_needed(request_, tmp_path))
    assert done.exit_code == 1 and "report.json (No space left on device); give another --output" in done.output
    assert not list(tmp_path.iterdir())


def test_numbers_that_are_not_finite_are_null(request_, tmp_path, monkeypatch):
    """JSON has no spelling for them; the page shows them."""
    right = command.to_json
    monkeypatch.setattr(command, "to_json", lambda report: {**right(report), "cost": None, "odd": [float("inf")]})
    assert light(request_, tmp_path).report["odd"] == [None]
    assert json.loads((tmp_path / "report.json").read_text())["outcome"] == str(Verdict.HELD)
