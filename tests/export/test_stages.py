"""The work directory: what is swept from it, what stays, and that no stage is taken for whole before it is."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_mtp.convert.stages import ENGINE_CACHE, WorkDir, open_work_dir, written_whole


@pytest.fixture
def stage_files(tmp_path) -> Iterator[list[Path]]:
    """A finished and an unfinished stage, and what a killed smoke run left."""
    key = "0123456789abcdef0123"
    (tmp_path / f"{ENGINE_CACHE}x").mkdir()
    files = [f"target-{key}.tflite", f"target-{key}.codes.7.part", f"{ENGINE_CACHE}x/weights"]
    for name in files:
        (tmp_path / name).write_text(name)
    return [tmp_path / name for name in files]


@pytest.mark.parametrize(("resume", "left"), [(True, [True, False, False]), (False, [False, False, False])])
def test_unfinished_files_are_swept_away(tmp_path, stage_files, graph_cache, resume, left):
    with open_work_dir(tmp_path, resume=resume):
        assert [path.exists() for path in stage_files] == left


def test_clearing_leaves_what_others_put_there(tmp_path, stage_files):
    work = WorkDir(tmp_path, tmp_path / "graphs")
    (tmp_path / "notes.txt").write_text("mine")
    work.clear()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "notes.txt").unlink()
    work.clear()
    assert not tmp_path.exists()


def test_stage_gets_its_name_only_when_it_is_whole(tmp_path):
    path = tmp_path / "stage"
    with pytest.raises(KeyboardInterrupt), written_whole(path) as part:
        part.write_text("half")
        assert not path.exists()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with written_whole(path) as part:
        part.write_text("whole")
    assert [found.read_text() for found in tmp_path.iterdir()] == ["whole"]
