"""Prompt suites: JSON Lines of `id`, `prompt` and optionally `system`, one suite a file (see export/prompts)."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge_mtp.errors import EdgeMtpError

KEYS: Final = ("id", "prompt", "system")


@dataclass(frozen=True)
class Prompt:
    """One task for the model; `suite` is its file's name without the ending."""

    suite: str
    id: str
    text: str
    system: str | None = None

    @property
    def messages(self) -> list[dict[str, str]]:
        """The prompt as turns of a chat."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": self.text}]


@dataclass(frozen=True)
class Suite:
    """A prompt file as it was read; `sha256` is that of its bytes."""

    name: str
    path: Path
    sha256: str
    prompts: tuple[Prompt, ...]


def shipped_suites() -> tuple[Path, ...]:
    """The prompt files that come with edge_mtp: in the installed package, else in the checkout's `export/`."""
    package = Path(__file__).parent
    folder = package / "prompts"
    if not folder.is_dir():
        folder = package.parent / "export" / "prompts"
    return tuple(sorted(folder.glob("*.jsonl")))


def read_suites(paths: Sequence[Path], most: int | None = None) -> tuple[Suite, ...]:
    """The suites in `paths`, each cut to its first `most` prompts; EdgeMtpError naming file and line at fault."""
    suites = tuple(_read(path, most) for path in paths)
    seen: dict[str, Path] = {}
    for suite in suites:
        if suite.name in seen:
            raise EdgeMtpError(f"{suite.path} and {seen[suite.name]} are both suite {suite.name!r}; rename one")
        seen[suite.name] = suite.path
    return suites


def _read(path: Path, most: int | None) -> Suite:
    try:
        content = path.read_bytes()
        lines = content.decode("utf-8").split("\n")  # not splitlines: a text may hold U+2028 as it is
    except (OSError, UnicodeDecodeError) as error:
        raise EdgeMtpError(f"cannot read prompts from {path}: {error}; expected JSON Lines in UTF-8") from None
    prompts = tuple(_prompts(path, lines))
    if not prompts:
        raise EdgeMtpError(f"{path} holds no prompts; write one JSON object a line, with id and prompt")
    return Suite(path.stem, path, hashlib.sha256(content).hexdigest(), prompts[:most])


def _prompts(path: Path, lines: Sequence[str]) -> Iterator[Prompt]:
    seen: set[str] = set()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        value = _object(path, number, line)
        prompt = Prompt(path.stem, value["id"], value["prompt"], value.get("system"))
        if prompt.id in seen:
            raise EdgeMtpError(f"{path}, line {number}: id {prompt.id!r} was used before; give each prompt its own")
        seen.add(prompt.id)
        yield prompt


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    where = f"{path}, line {number}"
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise EdgeMtpError(f"{where}: not JSON ({error}); write one object a line") from None
    if not isinstance(value, dict):
        raise EdgeMtpError(f"{where}: a {type(value).__name__}, expected an object with id and prompt")
    unknown = sorted(set(value) - set(KEYS))
    wrong = [key for key in KEYS if key in value and not _is_text(value[key])]
    missing = [key for key in KEYS[:2] if key not in value]
    if unknown or wrong or missing:
        raise EdgeMtpError(
            f"{where}: unknown keys {unknown}, not a text {wrong}, missing {missing}; known keys are {', '.join(KEYS)}"
        )
    return value


def _is_text(value: object) -> bool:
    """Whether `value` is a text that says something and can be encoded, which half of a surrogate pair cannot."""
    return isinstance(value, str) and value != "" and not any("\ud800" <= sign <= "\udfff" for sign in value)
