"""Bars, exit codes and tables of `make scale`."""

import json
import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest

from edge_mtp.checkpoint.config import read_drafter_config, read_target_config
from tests.scale import export, peer
from tests.scale.engine import EngineSpeed, Spread
from tests.scale.machine import read_machine
from tests.scale.memory import Measured, Sample
from tests.scale.processes import ProcessMemory
from tests.scale.results import BARS, ExportRun, PeerRun, Report, write_json
from tests.scale.shapes import drafter_tensors, target_tensors
from tests.scale.table import print_exports, print_peers, print_speeds

DECODE_OFF, DECODE_ON = Spread(20, 19, 21), Spread(14, 13, 15)
SPEED = EngineSpeed(Spread(500, 490, 505), Spread(499, 480, 501), DECODE_OFF, DECODE_ON, 0.05, ())


def run_of(name: str, wall_s: float, peak_gb: float, exit_status: int = 0) -> ExportRun:
    """An export with these figures."""
    peak = Sample(3.0, (ProcessMemory(1, "python", int(peak_gb * 1e9), 0, 0, 0.0),))
    measured = Measured(exit_status, wall_s, wall_s, "PSS", peak, peak, peak.processes, 9, (1, 2))
    return ExportRun(name, measured, 2_900_000_000, BARS[name], 0.1)


def test_bars_name_what_is_over() -> None:
    """Time and memory are judged apart."""
    assert run_of("E2B", 149, 1.99).misses == []
    assert run_of("E2B", 151, 1.5).misses == ["E2B: 151 s, over the bar of 150 s"]
    assert run_of("E4B", 100, 2.6).misses == ["E4B: 2.60 GB without mapped files, over the bar of 2.5 GB"]
    assert run_of("E2B again", 61, 1.0).misses == ["E2B again: 61 s, over the bar of 60 s"]


@pytest.mark.parametrize(
    ("run", "strict", "status"),
    [
        (run_of("E2B", 100, 1), True, 0),
        (run_of("E2B", 200, 1), False, 0),
        (run_of("E2B", 200, 1), True, 1),
        (run_of("E2B", 100, 1, exit_status=3), False, 1),
    ],
)
def test_exit_status(run: ExportRun, strict: bool, status: int) -> None:
    """A missed bar fails only where that is asked for; a failed export always does."""
    assert export.conclude([run], strict=strict) == status


def test_tables_show_figures_beside_bars(capsys: pytest.CaptureFixture[str]) -> None:
    """Every figure, with its bar and whether it holds."""
    print_exports([run_of("E2B", 120, 1.5), run_of("E4B", 300, 2.0)])
    print_speeds({"E2B": SPEED})
    lines = capsys.readouterr().out.splitlines()
    assert "120 ≤ 150" in lines[1] and "1.50 PSS" in lines[1] and "1.50 ≤ 2" in lines[1] and "2.900" in lines[1]
    assert "300 > OVER 270" in lines[2]
    assert "20.0 (19.0 to 21.0)" in lines[4] and "1.64 decodes" in lines[4]


def test_json_has_all_figures(tmp_path: Path) -> None:
    """What the tables round is there in full."""
    report = Report(read_machine(), (run_of("E2B", 1, 1),), {"E2B": SPEED})
    write_json(tmp_path / "scale.json", asdict(report))
    read = json.loads((tmp_path / "scale.json").read_text())
    assert read["exports"][0]["measured"]["peak"]["processes"][0]["command"] == "python"
    assert read["speeds"]["E2B"]["decode_on"]["median"] == 14
    assert read["machine"]["cores"] >= 1


@pytest.mark.parametrize("size", ["E2B", "E4B"])
def test_second_recipe_differs_in_formats_only(tmp_path: Path, size: str) -> None:
    """Lengths and head stay, so the lowered graphs can be used again."""
    default = (export.RECIPES / f"gemma4-{size.lower()}.toml").read_text()
    changed = export.write_second_recipe(size, tmp_path).read_text()
    pairs = [(a, b) for a, b in zip(default.splitlines(), changed.splitlines(), strict=True) if a != b]
    assert pairs and all((a, b) == ("block = 32", "block = 0") for a, b in pairs)


def test_peers_are_rated_against_ours(capsys: pytest.CaptureFixture[str]) -> None:
    """The last line is ours; the others say how many times its time and memory they took."""
    runs = [run_of("E2B", 300, 9.0), run_of("E2B", 100, 2.0)]
    print_peers([PeerRun(str(run.measured.wall_s), "all", run.measured, 1_000_000) for run in runs])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[-2:] == ["×3.0", "×4.5"] and lines[2].split()[-2:] == ["×1.0", "×1.0"]


def test_the_peer_shape_has_the_size_named(tmp_path: Path) -> None:
    """0.65 billion parameters, of which the peer exports all and ours 0.02 more."""
    for name, config in zip(("target", "drafter"), peer.peer_configs(), strict=True):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    target = target_tensors(read_target_config(tmp_path / "target"))
    drafter = drafter_tensors(read_drafter_config(tmp_path / "drafter"))
    assert sum(spec.elements for spec in target) / 1e9 == pytest.approx(0.65, abs=0.02)
    assert sum(spec.elements for spec in drafter) / 1e9 == pytest.approx(0.02, abs=0.003)


def test_the_peer_gets_the_same_lengths() -> None:
    """Both make the default recipe's prefill lengths and a cache for its context."""
    recipe = tomllib.loads((export.RECIPES / "default.toml").read_text())["lengths"]
    assert tuple(recipe["prefill"]) == peer.PREFILL_LENGTHS and recipe["context_tokens"] == peer.CACHE_ROWS
    command = peer.peer_command(Path("python"), Path("in"), Path("out"), ["--use_v2=True"])
    assert "--prefill_lengths=[128,512]" in command and command[-1] == "--use_v2=True"


@pytest.mark.parametrize(("words", "sizes"), [([], []), (["E4B", "--strict"], ["E4B"])])
def test_sizes_may_be_left_out(words: list[str], sizes: list[str]) -> None:
    """No size means both."""
    assert export.parse_arguments(words).sizes == sizes
