import dataclasses
import json
import math

import pytest

from edge_mtp import names
from edge_mtp.bundle.contents import read_contents
from edge_mtp.bundle.manifest import (
    SCHEMA_VERSION,
    FileRecord,
    Manifest,
    RecipeRecord,
    SmokeRecord,
    SourceRecord,
    TensorRecord,
    ToolRecord,
    manifest_path,
    overall_bits,
    read_manifest,
    section_records,
    to_json,
    worst_tensors,
)
from edge_mtp.bundle.writer import write_bundle
from edge_mtp.errors import BundleError


@pytest.fixture
def manifest(plan, tmp_path) -> Manifest:
    written = write_bundle(plan, tmp_path / "x.litertlm")
    sections = section_records(written, read_contents(written.path))
    parameters, bits = overall_bits(sections)
    return Manifest(
        schema_version=SCHEMA_VERSION,
        bundle="x.litertlm",
        size_bytes=written.size,
        sha256=written.sha256,
        uuid=written.uuid,
        edge_mtp_version="0.1.0",
        tools=(ToolRecord("litert-lm-builder", "0.18.1"),),
        sources=(SourceRecord("target", "google/x", None, (FileRecord("config.json", 3, "0" * 64),)),),
        recipe=RecipeRecord("tiny", "1" * 64, "name = 'tiny'\n"),
        sections=sections,
        parameters=parameters,
        bits_per_weight=bits,
        worst_tensors=(TensorRecord("target", "layers.0.q", "int4/32", 17.0),),
        has_drafter=True,
        draft_steps=3,
        context_tokens=60,
        prefill_lengths=(16,),
        smoke=SmokeRecord(prompts=2, texts_equal=True, acceptance_rate=0.5),
    )


def test_what_is_written_is_read_again(manifest, tmp_path):
    path = manifest_path(tmp_path / "x.litertlm")
    assert path.name == "x.litertlm.json"
    path.write_text(to_json(manifest))
    assert read_manifest(path) == manifest
    without_smoke = dataclasses.replace(manifest, smoke=None, draft_steps=None)
    path.write_text(to_json(without_smoke))
    assert read_manifest(path) == without_smoke


def test_sections_carry_figures_of_their_models(manifest):
    by_name = {section.name: section for section in manifest.sections}
    assert by_name["tokenizer"].parameters == 0
    assert by_name[names.DRAFTER].bits_per_weight == 4.5
    assert manifest.parameters == sum(section.parameters for section in manifest.sections)
    assert 4.5 < manifest.bits_per_weight < 14


def test_worst_tensors_are_the_noisiest_and_never_the_exact_ones():
    tensors = [TensorRecord("target", f"t{i}", "int8", snr) for i, snr in enumerate([30.0, math.inf, 5.0, 12.0])]
    assert [tensor.snr_db for tensor in worst_tensors(tensors, 2)] == [5.0, 12.0]


def test_nothing_of_the_machine_is_in_it(manifest, tmp_path):
    assert str(tmp_path) not in to_json(manifest)


def _drop(value):
    del value["recipe"]


def _retype(value):
    value["size_bytes"] = "many"


def _age(value):
    value["schema_version"] = 99


@pytest.mark.parametrize(("change", "message"), [(_drop, "recipe"), (_retype, "'many'"), (_age, "99, expected")])
def test_damaged_manifests_are_refused(manifest, tmp_path, change, message):
    value = json.loads(to_json(manifest))
    change(value)
    path = tmp_path / "x.json"
    path.write_text(json.dumps(value))
    with pytest.raises(BundleError, match=message):
        read_manifest(path)


def test_missing_and_half_written_manifests_are_refused(manifest, tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(BundleError, match="cannot read the manifest"):
        read_manifest(path)
    path.write_text(to_json(manifest)[:100])
    with pytest.raises(BundleError, match="is damaged"):
        read_manifest(path)
