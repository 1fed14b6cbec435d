"""What an export leaves behind: the bundle, its manifest, what it printed, and nothing else."""

import hashlib
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_mtp import names
from edge_mtp.bundle.inspection import inspect_bundle
from edge_mtp.bundle.manifest import manifest_path, read_manifest
from edge_mtp.bundle.reader import read_bundle
from edge_mtp.cli import main
from edge_mtp.convert import preflight
from edge_mtp.convert.pipeline import ExportRequest, prepare
from edge_mtp.convert.plan import SMALL_BYTES
from edge_mtp.recipe import recipe_path
from tests.export.checkpoints import copy_pair, write_hollow_pair
from tests.export.command import environment, run_export
from tests.export.recipes import BLOCKWISE, CLUSTERED, FLOAT32, INT8
from tests.export.tree import contents
from tests.scale.checkpoint import SIZES

ROOT = Path(__file__).parents[2]
RECIPES = {"default": None, "float32": FLOAT32, "clustered": CLUSTERED, "int4 in blocks of 32": BLOCKWISE}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def bundle(exported) -> Path:
    return exported()


@pytest.fixture
def manifest(bundle):
    return read_manifest(manifest_path(bundle))


def test_manifest_is_the_bundles(bundle, manifest):
    data = bundle.read_bytes()
    assert (manifest.bundle, manifest.size_bytes, manifest.sha256) == (bundle.name, len(data), sha256(data))
    assert manifest.uuid == read_bundle(bundle).system["uuid"]


def test_manifest_lists_the_sections(bundle, manifest):
    found = read_bundle(bundle)
    assert [(record.size_bytes, record.sha256) for record in manifest.sections] == [
        (section.size, sha256(bytes(found.section_bytes(section)))) for section in found.sections
    ]
    models = {record.name: record for record in manifest.sections if record.parameters}
    assert tuple(models) == names.SECTIONS
    assert all(8.0 < record.bits_per_weight < 9.0 for record in models.values())
    assert manifest.parameters == sum(record.parameters for record in models.values())
    assert min(r.bits_per_weight for r in models.values()) < manifest.bits_per_weight < 9.0


def test_manifest_names_the_sources(manifest, tiny_pair):
    for source, directory in zip(manifest.sources, (tiny_pair.target, tiny_pair.drafter), strict=True):
        assert (source.role, source.name, source.revision) == (directory.name, directory.name, None)
        assert [file.name for file in source.files] == ["config.json", "model.safetensors"]
        for file in source.files:
            data = (directory / file.name).read_bytes()
            assert (file.size_bytes, file.sha256) == (len(data), sha256(data))


def test_manifest_has_the_recipe_and_what_follows_from_it(manifest):
    assert manifest.recipe.name == "tiny"  # the default for so small a pair
    assert (manifest.recipe.text, manifest.recipe.sha256) == (INT8, sha256(recipe_path("tiny").read_bytes()))
    assert (manifest.has_drafter, manifest.draft_steps) == (True, 3)
    assert (manifest.context_tokens, manifest.prefill_lengths) == (1024, (32, 128))


def test_manifest_names_the_tools(manifest):
    versions = {tool.name: tool.version for tool in manifest.tools}
    assert {"torch", "litert-torch", "litert-lm-api", "ai-edge-litert"} <= set(versions)
    assert all(importlib.metadata.version(name) == version for name, version in versions.items())


def test_worst_tensors_come_worst_first(exported, manifest):
    errors = [tensor.snr_db for tensor in manifest.worst_tensors]
    assert errors == sorted(errors)
    assert len(errors) == 10
    assert {tensor.format for tensor in manifest.worst_tensors} == {"int8"}
    assert all(30.0 < error < 60.0 for error in errors)  # 8 bits leave about 40 dB
    blockwise = read_manifest(manifest_path(exported(BLOCKWISE))).worst_tensors
    assert {tensor.format for tensor in blockwise} == {"int4/32"}
    assert all(12.0 < tensor.snr_db < 30.0 for tensor in blockwise)
    assert read_manifest(manifest_path(exported(FLOAT32))).worst_tensors == ()


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_every_recipe_passes_its_smoke_run(exported, recipe):
    bundle = exported(recipe)
    smoke = read_manifest(manifest_path(bundle)).smoke
    assert smoke.prompts == 2
    assert smoke.acceptance_rate > 0.2
    inspection = inspect_bundle(bundle)
    assert (inspection.mtp.possible, inspection.mtp.draft_steps) == (True, 3)
    assert [finding for finding in inspection.findings if finding.severity != "info"] == []


def test_formats_are_those_of_the_recipe(exported):
    def stored(recipe, section):
        return {group.stored_as for group in inspect_bundle(exported(recipe)).groups[section] if group.is_parameter}

    assert stored(None, names.EMBEDDER) == {"int8"}
    assert stored(FLOAT32, names.EMBEDDER) == {"float32"}
    assert stored(BLOCKWISE, names.TARGET) == {"int4/32", "int8", "float32"}
    assert "int4/32" in stored(BLOCKWISE, names.DRAFTER)


def test_the_clustered_head_takes_the_place_of_the_dense_one(exported):
    ops = {recipe: inspect_bundle(exported(recipe)).contents.models[names.DRAFTER].ops for recipe in (None, CLUSTERED)}
    assert "TOPK_V2" in ops[CLUSTERED]
    assert "TOPK_V2" not in ops[None]


def test_another_recipe_traces_nothing_but_another_drafter(exported):
    """Whichever recipe came first traced the graphs, and the rest found them in the cache."""
    logs = [exported(recipe).with_suffix(".log").read_text() for recipe in RECIPES.values()]
    assert all(len(re.findall(r"trace .*\n", log)) == 7 for log in logs)
    traced = [task for log in logs for task in re.findall(r"trace (.*?) +[\d.]+ s\n", log)]
    assert len([task for task in traced if task != "drafter draft"]) in (0, 6)
    assert traced.count("drafter draft") in (0, 2)


def test_nothing_of_the_machine_is_in_the_files(bundle):
    strange = [str(ROOT), str(bundle.parent), str(Path.home()), sys.prefix, "site-packages"]
    assert all(text.encode() not in bundle.read_bytes() for text in strange)
    assert all(text not in manifest_path(bundle).read_text() for text in strange)


def test_same_inputs_give_the_same_files(bundle, tiny_pair, tmp_path):
    """From copies of other times in another place, in another work directory."""
    pair = copy_pair(tiny_pair, tmp_path / "elsewhere")
    output = tmp_path / bundle.name
    done = run_export(pair, output, "--work-dir", tmp_path / "work")
    assert done.returncode == 0, done.stdout
    assert output.read_bytes() == bundle.read_bytes()
    assert manifest_path(output).read_bytes() == manifest_path(bundle).read_bytes()
    assert any((tmp_path / "work").glob("target-*.tflite"))  # a work directory that was given is kept


def test_nothing_else_is_left(bundle):
    assert sorted(path.name for path in bundle.parent.iterdir()) == ["tiny.litertlm", "tiny.litertlm.json", "tiny.log"]


def test_what_is_printed(bundle, manifest):
    log = bundle.with_suffix(".log").read_text()
    rate = f"{manifest.smoke.acceptance_rate:.3f}"
    for line in (
        'recipe "tiny": context 1024, prefill [32, 128], K = 3, dense head, activations fp32',
        f"{manifest.size_bytes:,} bytes, {manifest.bits_per_weight:.2f} bits a weight",
        f"draft acceptance rate {rate} (accepted ÷ drafted)",
        "worst tensors",
        manifest.worst_tensors[0].name,
        "splice target",
        "write bundle",
    ):
        assert line in log
    assert re.search(rf"wrote +{re.escape(str(bundle))}\n$", log)


def test_dry_run_prints_the_plan_and_writes_nothing(tiny_pair, tmp_path):
    cache = tmp_path / "cache"
    done = run_export(tiny_pair, tmp_path / "x.litertlm", "--dry-run", env=environment({"EDGE_MTP_CACHE": str(cache)}))
    assert done.returncode == 0, done.stdout
    assert contents(tmp_path) == {}
    for section in prepare(request(tiny_pair, tmp_path)).plan.sections:
        cells = rf"{section.name} .*\b{len(section.weights)} .*\b{section.parameters:,} .*int8.*\b{section.bytes:,} "
        assert re.search(cells, done.stdout), done.stdout
    assert re.search(r"needs about \d\.\d GB of memory \(\d+\.\d GB free\) and \d\.\d GB of disk", done.stdout)


def request(pair, directory, **options):
    return ExportRequest(str(pair.target), str(pair.drafter), directory / "x.litertlm", **options)


def test_plan_foretells_sizes(tiny_pair, manifest, tmp_path):
    plan = prepare(request(tiny_pair, tmp_path)).plan
    records = {record.name: record for record in manifest.sections}
    for section in plan.sections:
        stored = records[section.name]
        assert section.parameters <= stored.parameters < 1.03 * section.parameters  # rotary tables come on top
        assert section.bytes <= stored.size_bytes
    assert manifest.size_bytes - SMALL_BYTES < sum(s.bytes for s in plan.sections) < manifest.size_bytes
    assert manifest.size_bytes <= plan.bundle_bytes


@pytest.mark.parametrize("size", SIZES)
def test_real_shapes_get_their_own_recipe(tiny_pair, tmp_path, monkeypatch, size):
    """Planned from the real configurations over weights without data, on a machine that is large enough.

    The bundle becomes as large as the recipe's first lines say.
    """
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10**13}))
    monkeypatch.setattr(preflight, "available_memory_bytes", lambda: 10**13)
    pair = write_hollow_pair(size, tiny_pair.target, tmp_path)
    arguments = ["export", str(pair.target), str(pair.drafter), "--output", str(tmp_path / "x.litertlm"), "--dry-run"]
    result = CliRunner(env={"COLUMNS": "240"}).invoke(main, arguments)
    assert result.exit_code == 0, result.output
    recipe = f"gemma4-{size.lower()}"
    assert f'recipe "{recipe}"' in result.output
    sizes = [int(found.replace(",", "")) for found in re.findall(r"([\d,]{7,}) │\n", result.output)]
    assert len(sizes) == 4
    told = re.search(r"# ([\d.]+) GB of weights", recipe_path(recipe).read_text())
    assert sum(sizes) / 1e9 == pytest.approx(float(told[1]), rel=0.005)
    assert "warning" not in result.output
