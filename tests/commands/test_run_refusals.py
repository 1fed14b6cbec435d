"""What `edge-mtp run` refuses: one message, an exit code, no traceback."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_mtp import names
from edge_mtp.bundle.reader import read_bundle
from edge_mtp.cli import main
from tests.bundle import models
from tests.bundle.conftest import publish
from tests.bundle.flatbuffer import TensorSpec
from tests.commands.repacked import without
from tests.export.command import COMMAND, environment
from tests.export.refusal import check_refused, invoke


@pytest.fixture(scope="module")
def bundle(exported) -> Path:
    return exported()


def refused(path: Path, *arguments: object, code: int = 1, words: tuple[str, ...]) -> None:
    """With and without --chat the same, since neither gets that far."""
    check_refused(invoke("run", path, "--prompt", "hello", *arguments), *words, code=code)


# Bundles.


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no bundle at all", ("is not a .litertlm bundle", "it starts with")),
        (b"GGUF" + bytes(60), ("it is a GGUF file of llama.cpp",)),
        (b"", ("it is empty",)),
    ],
)
def test_what_is_no_bundle(tmp_path, content, words):
    path = tmp_path / "x.litertlm"
    path.write_bytes(content)
    refused(path, words=words)


@pytest.mark.parametrize("part", [0.001, 0.1, 0.5, 0.99])
def test_a_truncated_bundle(bundle, tmp_path, part):
    path, whole = tmp_path / "x.litertlm", bundle.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    refused(path, words=("cut short", "download it again"))


@pytest.mark.parametrize(
    ("left_out", "words"),
    [
        ("HF_Tokenizer_Zlib", ("has no tokenizer; it cannot be run",)),
        ("LlmMetadataProto", ("has no LlmMetadata, which names its stop tokens",)),
        ("target", ("cannot be run: bundle: no section of type tf_lite_prefill_decode", "edge-mtp inspect")),
        ("embedder", ("cannot be run: bundle: no section of type tf_lite_embedder, but decode takes embeddings",)),
        ("per_layer_embedder", ("no section of type tf_lite_per_layer_embedder",)),
    ],
)
def test_a_bundle_without_a_part_it_needs(bundle, tmp_path, left_out, words):
    path = without(read_bundle(bundle), left_out, tmp_path / "x.litertlm")
    for options in ((), ("--no-draft",), ("--chat",)):
        refused(path, *options, words=words)


def test_a_bundle_without_a_drafter_says_how_it_runs(bundle, tmp_path):
    path = without(read_bundle(bundle), "drafter", tmp_path / "x.litertlm")
    for options in ((), ("--draft-steps", 2), ("--rule", "rejection")):
        refused(path, *options, words=("the bundle cannot draft", "edge-mtp inspect", "run it with --no-draft"))
    plain = invoke("run", path, "--prompt", "The module", "--no-draft")
    assert plain.exit_code == 0, plain.output
    assert plain.stdout == invoke("run", bundle, "--prompt", "The module").stdout


def test_repacking_alone_changes_nothing(bundle, tmp_path):
    """What the tests above leave out is what they show."""
    path = without(read_bundle(bundle), "nothing", tmp_path / "x.litertlm")
    assert invoke("run", path, "--prompt", "The").stdout == invoke("run", bundle, "--prompt", "The").stdout


def test_an_input_that_only_the_runtime_fills(tmp_path):
    sound, extra = models.all_models(), TensorSpec("local_mask", (1, 1, 1, models.ROWS))
    target = tuple(replace(one, inputs=(*one.inputs, extra)) for one in sound[names.TARGET])
    path = publish(models.make_plan(tmp_path, sound | {names.TARGET: target}), tmp_path / "x.litertlm")
    refused(path, words=("the target takes local_mask, which this runner does not fill", "--engine"))


def test_a_bundle_without_a_template(tmp_path, bundle):
    opened = read_bundle(bundle)
    metadata = opened.llm_metadata()
    metadata.jinja_prompt_template = ""
    plan = models.make_plan(tmp_path)
    paths = {name: tmp_path / f"{name}.tflite" for name in plan.models}
    for name, path in paths.items():
        path.write_bytes(opened.section_bytes(name))
    packed = next(section for section in opened.sections if section.data_type == "HF_Tokenizer_Zlib")
    tokenizer = replace(plan.tokenizer, payload=bytes(opened.section_bytes(packed)))
    path = publish(replace(plan, tokenizer=tokenizer, llm_metadata=metadata), tmp_path / "x.litertlm")
    refused(path, "--chat", words=("the bundle has no chat template", "without --chat"))
    assert invoke("run", path, "--prompt", "The", "--max-tokens", 2).exit_code == 0


def test_too_little_room_for_the_weights(bundle, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    refused(bundle, words=("0 MB free, running tiny.litertlm takes about 3 MB there", "set TMPDIR to another disk"))


# Options.


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--system", "Be brief."), ("--system needs --chat",)),
        (("--backend", "gpu"), ("--backend gpu needs --engine",)),
        (("--engine", "--trace", "x.json"), ("LiteRT-LM tells no rounds", "leave out --trace")),
        (("--engine", "--draft-steps", 2), ("takes no draft options",)),
        (("--engine", "--confidence", 0.5), ("takes no draft options",)),
        (("--engine", "--rule", "rejection"), ("takes no draft options",)),
        (("--engine", "--temperature", 1), ("--engine samples with --no-draft only",)),
        (("--no-draft", "--draft-steps", 2), ("--no-draft leaves nothing for --draft-steps",)),
        (("--no-draft", "--confidence", 0.5), ("--no-draft leaves nothing",)),
        (("--no-draft", "--rule", "rejection"), ("--no-draft leaves nothing",)),
        (("--trace", "absent/x.json"), ("the directory absent does not exist; make it first",)),
        (("--temperature", "nan"), ("must be numbers; one is nan",)),
        (("--temperature", -1), ("--temperature",)),
        (("--top-p", 0), ("--top-p",)),
        (("--top-p", 1.5), ("--top-p",)),
        (("--top-k", -1), ("--top-k",)),
        (("--draft-steps", 0), ("--draft-steps",)),
        (("--max-tokens", 0), ("--max-tokens",)),
        (("--confidence", 2), ("--confidence",)),
    ],
    ids=str,
)
def test_options_that_do_not_go_together(bundle, options, words):
    refused(bundle, *options, code=2, words=words)


def test_a_bundle_that_is_not_there(tmp_path):
    refused(tmp_path / "absent.litertlm", code=2, words=("does not exist",))
    refused(tmp_path, code=2, words=("is a directory",))


def test_more_drafts_than_verify_takes(bundle):
    refused(bundle, "--draft-steps", 4, words=("--draft-steps 4", "takes at most 3 drafts; give that or less"))
    assert invoke("run", bundle, "--prompt", "The", "--max-tokens", 4, "--draft-steps", 3).exit_code == 0


# Prompts.


def test_a_prompt_too_long(bundle):
    words = ("the prompt needs", "the bundle's context is 1024", "shorten the prompt")
    check_refused(invoke("run", bundle, "--prompt", "word " * 1000), *words)
    check_refused(invoke("run", bundle, "--chat", "--prompt", "word " * 1000), *words)


def test_a_second_prompt_too_long_comes_behind_the_first_reply(bundle):
    result = invoke("run", bundle, "--chat", "--max-tokens", 4, "--prompt", "What is x?", "--prompt", "word " * 1000)
    check_refused(result, "the prompt needs", "the bundle's context is 1024")
    assert result.stdout == invoke("run", bundle, "--chat", "--max-tokens", 4, "--prompt", "What is x?").stdout


def test_a_prompt_too_long_for_the_engine(bundle):
    result = invoke("run", bundle, "--engine", "--prompt", "word " * 1000)
    check_refused(result, "LiteRT-LM could not run tiny.litertlm", "Input token ids are too long")


@pytest.mark.parametrize("options", [(), ("--engine",)], ids=["ours", "engine"])
@pytest.mark.parametrize("given", ["", "\n \n"], ids=["nothing", "empty lines"])
def test_no_prompt(bundle, options, given):
    result = CliRunner().invoke(main, ["run", str(bundle), *options], input=given)
    check_refused(result, "no prompt: give --prompt, or lines of text on stdin", code=2)


@pytest.mark.parametrize("options", [(), ("--engine",)], ids=["ours", "engine"])
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_a_prompt_that_is_not_text(bundle, options, errors):
    command = [*COMMAND, "run", str(bundle), *options]
    variables = environment({"PYTHONIOENCODING": f"utf-8:{errors}"})
    for arguments, given in (([], b"caf\xe9\n"), ([b"--prompt", b"caf\xe9"], b"")):
        done = subprocess.run([*command, *arguments], input=given, capture_output=True, env=variables)
        assert done.returncode == 1
        message = done.stderr.decode().splitlines()[-1]
        assert message.startswith("error: a prompt is not UTF-8 ('utf-8' codec can't ")
        assert message.endswith("convert it first")
        assert b"Traceback" not in done.stderr
