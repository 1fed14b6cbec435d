"""Climbs the ladder over the tiny pair with two suites of two prompts: by the command line, or a few rungs in place."""

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_mtp.parity.ladder import climb
from edge_mtp.parity.report import Report
from edge_mtp.parity.results import RungResult
from edge_mtp.parity.workbench import Request, Workbench
from tests.export.refusal import invoke

Json = dict[str, Any]

SUITES: Mapping[str, Sequence[Mapping[str, str]]] = {
    "names": (
        {"id": "classmethod", "prompt": "What is `classmethod`?"},
        {"id": "decimal", "prompt": "Tell me about `_pydecimal.Decimal.to_eng_string`."},  # the float checkpoint parts
    ),
    "talk": (
        {"id": "hello", "prompt": "Hello!"},  # the one reply that ends by itself, inside an accepted block
        {"id": "brief", "prompt": "How are you?", "system": "Be brief."},  # its reply has special tokens
    ),
}
MAX_TOKENS = 16
ROUNDS = 4_000
"""Rounds of rung 5's distribution test: enough for every broken rule to be noticed (tests/parity/test_losslessness)."""


@dataclass(frozen=True)
class Ran:
    """A run of `edge-mtp parity`: exit code, all that it printed, and where it wrote."""

    code: int
    printed: str
    output: Path

    @property
    def report(self) -> Json:
        return json.loads((self.output / "report.json").read_text(encoding="utf-8"), parse_constant=_refuse)

    @property
    def page(self) -> str:
        return (self.output / "report.html").read_text(encoding="utf-8")

    def rung(self, number: int) -> Json:
        return next(rung for rung in self.report["rungs"] if rung["number"] == number)


def write_suite(path: Path, prompts: Sequence[Mapping[str, str]]) -> Path:
    path.write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts), encoding="utf-8")
    return path


def run_parity(request: Request, output: Path, *options: object) -> Ran:
    """`edge-mtp parity` in this process, with what `request` says of bundle, pair, prompts and reply length."""
    given = ("--target", request.target, "--drafter", request.drafter, "--max-tokens", request.max_tokens)
    suites = [option for path in request.prompts for option in ("--prompts", path)]
    done = invoke("parity", request.bundle, *given, *suites, "--threads", 1, "--output", output, *options)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return Ran(done.exit_code, done.output, output)


def climb_rungs(request: Request, *numbers: int) -> Report:
    """The rungs `numbers` in this process, without a command line and files."""
    with closing(Workbench(request, silent)) as bench:
        return climb(bench, numbers, lambda result: None)


def the_rung(report: Report, number: int) -> RungResult:
    return next(rung for rung in report.rungs if rung.number == number)


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody sees."""


def figure(rung: RungResult | Json, beginning: str) -> Any:
    """The value of the only figure whose name begins so."""
    figures = rung.figures if isinstance(rung, RungResult) else rung["figures"]
    pairs = [(vars(one) if not isinstance(one, dict) else one) for one in figures]
    (found,) = [pair["value"] for pair in pairs if pair["name"].startswith(beginning)]
    return found


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")
