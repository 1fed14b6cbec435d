"""LiteRT-LM on the GPU backend against itself on the CPU: `python -m tests.gpu.measure BUNDLE ... [--prompts FILE]`.

Every bundle runs the same prompts on both backends, MTP off and on, in processes of their own. Every third prompt comes
behind twenty others, so that it is several times as long as the sliding window and goes round the ring caches. Printed
are the texts that are equal, how far the others agree, the success rate on both, whether the GPU took every graph
whole, and what fp16 is feared for: how many of the CPU's numbers the GPU wrote too, and its `<pad>` tokens.
It needs the engine's package and numpy only, so that it runs on a machine that cannot export.
"""

import argparse
import json
import re
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory

from edge_mtp.errors import EngineError
from edge_mtp.runner.engine import EngineOptions, EngineReply, EngineRun, run_engine

PROMPTS = Path(__file__).parent.parent / "data" / "tiny" / "heldout_prompts.json"
TEMPLATE = "<|turn>user\n{}<turn|>\n<|turn>model\n"
PAD = "<pad>"
LEADING = 20
_NUMBER = re.compile(r"\d+")
_DELEGATED = re.compile(r"Replacing (\d+) out of (\d+) node\(s\) with delegate \(LITERT_WEBGPU\)")


@dataclass(frozen=True)
class Arm:
    """One bundle on the GPU, MTP off or on, against the CPU with the same setting.

    `agreed` are the tokens (stream chunks with MTP off) on which the texts that part still agree, `graphs` the nodes
    that the GPU took and had, graph by graph.
    """

    bundle: str
    speculative: bool
    texts: int
    equal: int
    agreed: tuple[int, ...]
    numbers: int
    numbers_kept: int
    pads: int
    rate_cpu: float | None
    rate_gpu: float | None
    graphs: tuple[tuple[int, int], ...]
    decode_tokens_per_s_cpu: float
    decode_tokens_per_s_gpu: float

    @property
    def whole(self) -> bool:
        """Whether every graph was taken, and taken whole."""
        return bool(self.graphs) and all(taken == had for taken, had in self.graphs)


def measure(bundle: Path, prompts: Sequence[str], tokens: int, speculative: bool) -> Arm:
    """Runs one arm; EngineError where a backend does not start."""
    cpu, gpu = (_run(bundle, prompts, tokens, speculative, backend) for backend in ("cpu", "gpu"))
    parted = [_agreed(a, b) for a, b in zip(cpu.replies, gpu.replies, strict=True)]
    return Arm(
        bundle=bundle.name,
        speculative=speculative,
        texts=len(prompts),
        equal=sum(agreed is None for agreed in parted),
        agreed=tuple(agreed for agreed in parted if agreed is not None),
        numbers=sum(len(_NUMBER.findall(reply.text)) for reply in cpu.replies),
        numbers_kept=sum(_kept(a.text, b.text) for a, b in zip(cpu.replies, gpu.replies, strict=True)),
        pads=sum(reply.text.count(PAD) for reply in gpu.replies),
        rate_cpu=cpu.acceptance_rate,
        rate_gpu=gpu.acceptance_rate,
        graphs=tuple((int(a), int(b)) for a, b in _DELEGATED.findall(gpu.log)),
        decode_tokens_per_s_cpu=_speed(cpu),
        decode_tokens_per_s_gpu=_speed(gpu),
    )


def make_prompts(count: int) -> list[str]:
    """The first `count` held-out prompts, every third behind LEADING others."""
    held_out = json.loads(PROMPTS.read_text())["dev"]
    return [
        " ".join([*(held_out[(index + 1 + other) % len(held_out)] for other in range(LEADING)), prompt])
        if index % 3 == 2
        else prompt
        for index, prompt in enumerate(held_out[:count])
    ]


def _kept(cpu: str, gpu: str) -> int:
    """Numbers of one text that stand in the other as often, in any order."""
    return (Counter(_NUMBER.findall(cpu)) & Counter(_NUMBER.findall(gpu))).total()


def _run(bundle: Path, prompts: Sequence[str], tokens: int, speculative: bool, backend: str) -> EngineRun:
    with TemporaryDirectory() as cache:
        options = EngineOptions(
            speculative,
            tokens,
            backend=backend,
            chat=False,
            cache_dir=cache,
            timeout_s=1800,
            verbose=True,
        )
        return run_engine(bundle, [TEMPLATE.format(prompt) for prompt in prompts], options)


def _agreed(cpu: EngineReply, gpu: EngineReply) -> int | None:
    """Characters on which two texts agree, None where one is the other's beginning within a block's length.

    With MTP on a reply may be longer by the rest of its last accepted block, which the engine does not cut.
    """
    shorter, longer = sorted((cpu.text, gpu.text), key=len)
    if longer.startswith(shorter) and (cpu.text == gpu.text or min(cpu.decode_tokens, gpu.decode_tokens) > 4):
        return None
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(cpu.text, gpu.text, strict=False)))


def _speed(run: EngineRun) -> float:
    return statistics.median(reply.decode_tokens_per_s for reply in run.replies)


def line(arm: Arm) -> str:
    """One arm in words."""
    rates = "" if arm.rate_gpu is None else f"; success rate {arm.rate_cpu or 0:.3f} CPU, {arm.rate_gpu:.3f} GPU"
    graphs = ", ".join(f"{taken}/{had}" for taken, had in arm.graphs)
    return (
        f"{arm.bundle:<28} MTP {'on ' if arm.speculative else 'off'}: {arm.equal} of {arm.texts} texts equal"
        f"{f', the others agree for {list(arm.agreed)} characters' if arm.agreed else ''}{rates}; "
        f"delegated {graphs}{'' if arm.whole else ' (NOT WHOLE)'}; "
        f"numbers kept {arm.numbers_kept} of {arm.numbers}, pads {arm.pads}; "
        f"decode {arm.decode_tokens_per_s_cpu:.1f} CPU, {arm.decode_tokens_per_s_gpu:.1f} GPU tok/s"
    )


def main() -> int:
    """Prints a line an arm and writes them all as JSON; 1 where an engine did not start."""
    parser = argparse.ArgumentParser(description="LiteRT-LM's GPU backend against its CPU backend.")
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=24, help="prompts")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    prompts = make_prompts(arguments.count)
    arms, failed = [], False
    for bundle in arguments.bundles:
        for speculative in (False, True):
            try:
                arms.append(measure(bundle, prompts, arguments.tokens, speculative))
            except EngineError as error:
                print(f"{bundle.name} MTP {'on' if speculative else 'off'}: {error}", flush=True)
                failed = True
                continue
            print(line(arms[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(arm) for arm in arms], indent=1))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
