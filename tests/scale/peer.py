"""The stock exporter beside ours on one shape both can hold: `python -m tests.scale.peer`.

litert-torch's `export_hf` runs in an environment of its own (peer-requirements.txt, made by `make scale-peer`),
as it comes and with the options that need the least memory. It exports the target alone; ours makes a `verify`
signature and the drafter as well, and runs the result.
"""

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_mtp.convert.stages import CACHE_VARIABLE
from edge_mtp.errors import ResourceError
from tests.scale.checkpoint import Json, PairPaths, default_directory, real_configs, write_checkpoint
from tests.scale.machine import read_machine
from tests.scale.memory import Measured, describe, end_with_children, measure
from tests.scale.results import PeerRun, write_json
from tests.scale.table import print_peers

LIMIT_BYTES = 14_000_000_000
PREFILL_LENGTHS = (128, 512)
CACHE_ROWS = 4096
VOCAB_SIZE = 32768
TOKENS_PER_CENTROID = 128
PEER_OPTIONS: Mapping[str, Sequence[str]] = {
    "export_hf": (),
    "export_hf, converter V2": ("--use_v2=True", "--delete_in_memory_params=True"),
}
PEER_MAKES = "target: prefill, decode; int8"
OURS_MAKES = "target: prefill, decode, verify; drafter; int8; smoke run"


def peer_configs() -> tuple[Json, Json]:
    """Target of 0.65 and drafter of 0.02 billion parameters: E2B's architecture, 12 layers of 1024."""
    target, drafter = real_configs("E2B")
    shape: dict[str, Any] = {
        "vocab_size": VOCAB_SIZE,
        "vocab_size_per_layer_input": VOCAB_SIZE,
        "hidden_size": 1024,
        "intermediate_size": 7680,
        "num_hidden_layers": 12,
        "num_kv_shared_layers": 6,
        "layer_types": (["sliding_attention"] * 2 + ["full_attention"]) * 4,
    }
    heads = {"backbone_hidden_size": 1024, "num_centroids": VOCAB_SIZE // TOKENS_PER_CENTROID}
    return (
        {**target, "text_config": {**target["text_config"], **shape}},
        {**drafter, **heads, "text_config": {**drafter["text_config"], "vocab_size": VOCAB_SIZE}},
    )


def write_peer_pair(directory: Path) -> PairPaths:
    """The common shape as a synthetic checkpoint pair."""
    target, drafter = peer_configs()
    paths = PairPaths(directory / "peer-target", directory / "peer-drafter")
    write_checkpoint(paths.target, target)
    write_checkpoint(paths.drafter, drafter)
    return paths


def peer_command(python: Path, target: Path, output: Path, options: Sequence[str]) -> list[str]:
    """The stock exporter's command line: Gemma 4 needs its embedders outside, the runtime one token at a time."""
    return [
        str(python),
        "-m",
        "litert_torch.generative.export_hf",
        str(target),
        str(output),
        "--externalize_embedder=True",
        "--single_token_embedder=True",
        f"--prefill_lengths={list(PREFILL_LENGTHS)}".replace(" ", ""),
        f"--cache_length={CACHE_ROWS}",
        *options,
    ]


def our_command(pair: PairPaths, bundle: Path, work: Path) -> list[str]:
    """`edge-mtp export` with its default recipe, which has the same lengths."""
    command = [sys.executable, "-m", "edge_mtp.cli", "export", str(pair.target), str(pair.drafter)]
    return [*command, "--output", str(bundle), "--work-dir", str(work), "--overwrite"]


def run_peer(name: str, python: Path, pair: PairPaths, directory: Path) -> PeerRun:
    """Measures the stock exporter from nothing, with the options called `name`; its bundle is not kept."""
    output = directory / "peer-output"
    shutil.rmtree(output, ignore_errors=True)
    command = peer_command(python, pair.target, output, PEER_OPTIONS[name])
    log = directory / f"peer-{list(PEER_OPTIONS).index(name)}.log"
    measured = _measure(name, command, log, {"CUDA_VISIBLE_DEVICES": ""})
    bundle_bytes = sum(bundle.stat().st_size for bundle in output.glob("*.litertlm"))
    shutil.rmtree(output, ignore_errors=True)
    return PeerRun(name, PEER_MAKES, measured, bundle_bytes)


def run_ours(pair: PairPaths, directory: Path) -> PeerRun:
    """Measures our exporter from nothing."""
    bundle, work, cache = (directory / f"peer-ours.{kind}" for kind in ("litertlm", "work", "graph-cache"))
    for finished in (work, cache):
        shutil.rmtree(finished, ignore_errors=True)
    bundle.unlink(missing_ok=True)
    environment = {CACHE_VARIABLE: str(cache)}
    measured = _measure("edge-mtp", our_command(pair, bundle, work), directory / "peer-ours.log", environment)
    return PeerRun("edge-mtp export", OURS_MAKES, measured, bundle.stat().st_size if bundle.is_file() else 0)


def _measure(name: str, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Measured:
    measured = measure(command, log, environment=environment, limit_bytes=LIMIT_BYTES)
    print(f"{name}: {describe(measured)}\n  log: {log}", flush=True)
    return measured


def main() -> int:
    """Runs all exporters; 1 where one failed."""
    parser = argparse.ArgumentParser(description="Measure the stock exporter and ours on one shape.")
    parser.add_argument("--peer-python", type=Path, required=True, help="interpreter with peer-requirements.txt")
    parser.add_argument("--directory", type=Path, default=default_directory(), help="for 10 GB of files")
    arguments = parser.parse_args()
    if not arguments.peer_python.is_file():
        raise SystemExit(f"{arguments.peer_python} does not exist; `make scale-peer` makes it")
    end_with_children()
    print(read_machine(), flush=True)
    try:
        pair = write_peer_pair(arguments.directory)
    except ResourceError as error:
        raise SystemExit(str(error)) from None
    ours = run_ours(pair, arguments.directory)
    peers = [run_peer(name, arguments.peer_python, pair, arguments.directory) for name in PEER_OPTIONS]
    runs = [*peers, ours]
    write_json(arguments.directory / "scale-peer.json", [asdict(run) for run in runs])
    print_peers(runs)
    return int(any(run.measured.exit_status != 0 for run in runs))


if __name__ == "__main__":
    sys.exit(main())
