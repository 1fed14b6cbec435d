import dataclasses
import hashlib
import io

import litert_lm
import pytest
from litert_lm_builder import litertlm_peek

from edge_mtp import names
from edge_mtp.bundle.reader import read_bundle
from edge_mtp.bundle.writer import bundle_bytes, partial_path, write_bundle
from edge_mtp.errors import BundleError, ResourceError
from tests.bundle import models


def test_same_plan_gives_same_bytes_and_other_weights_another_uuid(plan, tmp_path):
    first = write_bundle(plan, tmp_path / "a.litertlm")
    second = write_bundle(plan, tmp_path / "b.litertlm")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert dataclasses.replace(first, path=second.path) == second

    target = plan.models[names.TARGET]
    target.write_bytes(target.read_bytes()[:-1] + b"\x7f")
    third = write_bundle(plan, tmp_path / "c.litertlm")
    assert third.uuid != first.uuid


def test_recipe_is_part_of_the_identity(plan, tmp_path):
    other = dataclasses.replace(plan, recipe_sha256="1" * 64)
    assert write_bundle(plan, tmp_path / "a").uuid != write_bundle(other, tmp_path / "b").uuid


def test_hashes_sizes_and_progress_are_those_of_the_file(plan, tmp_path):
    steps = []
    written = write_bundle(plan, tmp_path / "x.litertlm", steps.append)
    content = written.path.read_bytes()
    assert written.path == partial_path(tmp_path / "x.litertlm")
    assert written.size == len(content) == bundle_bytes(plan)
    assert written.sha256 == hashlib.sha256(content).hexdigest()
    assert sum(steps) == sum(section.size for section in written.sections)
    for section in written.sections:
        part = content[section.offset : section.offset + section.size]
        assert section.sha256 == hashlib.sha256(part).hexdigest()
        assert section.offset % 16384 == 0
    for name, path in plan.models.items():
        assert next(s for s in written.sections if s.name == name).sha256 == _sha256(path)


def test_drafter_is_never_constrained_and_activation_is_where_a_gpu_runs(bundle_path):
    sections = {section.name: section for section in read_bundle(bundle_path).sections}
    assert not any("backend_constraint" in section.attributes for section in sections.values())
    with_activation = {name for name, section in sections.items() if section.activation}
    assert with_activation == {names.TARGET, names.DRAFTER}


def test_stock_tools_read_it(bundle_path):
    out = io.StringIO()
    litertlm_peek.peek_litertlm_file(str(bundle_path), None, out)
    assert "tf_lite_mtp_drafter" in out.getvalue()
    with litert_lm.ModelInfo(str(bundle_path)) as info:
        assert info.llm.has_speculative_decoding_support()
        assert info.llm.supports_thinking()
        assert info.max_context_tokens == models.CONTEXT


def test_nothing_is_printed(plan, tmp_path, capfd):
    write_bundle(plan, tmp_path / "x.litertlm")
    assert capfd.readouterr() == ("", "")


def test_bundle_without_drafter(plan, tmp_path):
    kept = {name: path for name, path in plan.models.items() if name != names.DRAFTER}
    written = write_bundle(dataclasses.replace(plan, models=kept), tmp_path / "x.litertlm")
    assert names.DRAFTER not in {section.name for section in written.sections}


@pytest.mark.parametrize("breakage", ["missing file", "unknown section", "no target"])
def test_incomplete_plans_are_refused_before_anything_is_written(plan, tmp_path, breakage):
    broken = dict(plan.models)
    if breakage == "missing file":
        broken[names.DRAFTER] = tmp_path / "absent.tflite"
    elif breakage == "unknown section":
        broken["vision"] = broken[names.TARGET]
    else:
        del broken[names.TARGET]
    with pytest.raises(BundleError, match=r"absent\.tflite|vision|needs target"):
        write_bundle(dataclasses.replace(plan, models=broken), tmp_path / "x.litertlm")
    assert not partial_path(tmp_path / "x.litertlm").exists()


def test_a_failing_write_leaves_nothing(plan, tmp_path):
    def interrupt(_count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_bundle(plan, tmp_path / "x.litertlm", interrupt)
    assert not partial_path(tmp_path / "x.litertlm").exists()


def test_refusing_disk_is_named_with_the_bytes_needed(plan, tmp_path):
    with pytest.raises(ResourceError, match=rf"cannot write .*{bundle_bytes(plan)} bytes are needed"):
        write_bundle(plan, tmp_path / "absent" / "x.litertlm")


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
