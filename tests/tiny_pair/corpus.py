"""Training text: docstrings of the running interpreter's library and pydoc topics (PSF licence)."""

import ast
import hashlib
import importlib
import inspect
import random
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SKIPPED_FOLDERS = {"site-packages", "test", "tests", "idlelib", "lib2to3", "__pycache__", "pydoc_data"}
COMPILED_MODULES = [
    "array",
    "binascii",
    "builtins",
    "cmath",
    "errno",
    "fcntl",
    "functools",
    "gc",
    "itertools",
    "marshal",
    "math",
    "mmap",
    "operator",
    "os",
    "select",
    "signal",
    "socket",
    "sys",
    "time",
    "unicodedata",
    "zlib",
]
PLAIN_MARKS = str.maketrans(
    {"—": "-", "–": "-", "’": "'", "‘": "'", "“": '"', "”": '"', "…": "...", "·": "*", "\xa0": " "}
)
SHORTEST, LONGEST_REPLY = 40, 480
HELDOUT_EACH = 32

WORDINGS = (
    "Explain `{name}`.",
    "What does `{name}` do?",
    "Describe `{name}`.",
    "Tell me about `{name}`.",
    "How do I use `{name}`?",
    "What is `{name}`?",
)
TOPIC_WORDINGS = ("What does the Python reference say about {name}?", "Explain {name} in Python.")
SYSTEMS = ("You are a helpful assistant.", "You answer questions about Python.", "Be brief.")


@dataclass(frozen=True)
class Entry:
    """A documented object: dotted name, kind (module, class, function, method, topic), cleaned text."""

    name: str
    kind: str
    text: str


@dataclass(frozen=True)
class Turn:
    """A question and its answer, with an optional thought before the answer."""

    prompt: str
    reply: str
    thought: str = ""


def entries() -> list[Entry]:
    """Every documented public object once, in a fixed order; of equal texts the first name stays."""
    seen: set[str] = set()
    kept = []
    for entry in [*_source_entries(), *_compiled_entries(), *_topic_entries()]:
        long_enough = len(entry.text) >= SHORTEST and len(entry.text.split()) >= 6
        plain = entry.text.isascii() and "test" not in entry.name.lower()
        if long_enough and plain and entry.text not in seen:
            seen.add(entry.text)
            kept.append(entry)
    return kept


def split_heldout(everything: list[Entry]) -> tuple[list[Entry], dict[str, list[Entry]]]:
    """entries -> (for training, {"dev": 32, "final": 32}); held out by a hash of the name."""
    able = [e for e in everything if e.kind in {"class", "function", "method"} and len(reply_text(e)) >= 200]
    chosen = sorted(able, key=lambda e: _digest(e.name))[: 2 * HELDOUT_EACH]
    names = {e.name for e in chosen}
    training = [e for e in everything if e.name not in names]
    return training, {"dev": chosen[:HELDOUT_EACH], "final": chosen[HELDOUT_EACH:]}


def prompt_for(entry: Entry, choice: int) -> str:
    """The user's message that asks for this entry."""
    wordings = TOPIC_WORDINGS if entry.kind == "topic" else WORDINGS
    return wordings[choice % len(wordings)].format(name=entry.name)


def heldout_prompt(entry: Entry) -> str:
    """The one wording a held-out entry is asked with."""
    return prompt_for(entry, _digest(entry.name))


def reply_text(entry: Entry) -> str:
    """The model's answer: a sentence that names the object, then the first paragraphs of its text."""
    opening = f"`{entry.name}` is a {entry.kind}."
    if entry.kind == "topic":
        opening = f"This is about {entry.name}."
    parts = [opening]
    for paragraph in entry.text.split("\n\n"):
        if len(parts) > 1 and sum(map(len, parts)) + len(paragraph) > LONGEST_REPLY:
            break
        parts.append(paragraph)
    return "\n\n".join(parts)[: 2 * LONGEST_REPLY].strip()


def chat_text(turns: list[Turn], system: str = "", thinking: bool = False) -> str:
    """What chat_template.jinja renders for finished turns, without <bos>."""
    head = "<|think|>\n" * thinking + system
    text = f"<|turn>system\n{head}<turn|>\n" if head else ""
    for turn in turns:
        thought = f"<|channel>thought\n{turn.thought}\n<channel|>" if turn.thought else ""
        text += f"<|turn>user\n{turn.prompt}<turn|>\n<|turn>model\n{thought}{turn.reply}<turn|>\n"
    return text


def documents(training: list[Entry], seed: int) -> list[str]:
    """One epoch: every entry as plain text and in two chats of one to three turns, shuffled."""
    chance = random.Random(seed)
    texts = [f"{e.name}\n\n{e.text}\n<eos>" for e in training]
    for _ in range(2):
        order = chance.sample(training, len(training))
        while order:
            group = [order.pop() for _ in range(min(chance.choice((1, 1, 1, 2, 3)), len(order)))]
            texts.append(_chat(group, chance))
    chance.shuffle(texts)
    return texts


def _chat(group: list[Entry], chance: random.Random) -> str:
    """A conversation about the entries, one in seven with a system turn, one in twelve with thoughts."""
    thinking = chance.random() < 1 / 12
    system = chance.choice(SYSTEMS) if chance.random() < 1 / 7 else ""
    turns = []
    for entry in group:
        thought = f"The user asks about {entry.name}. It is a {entry.kind}." if thinking else ""
        turns.append(Turn(prompt_for(entry, chance.randrange(6)), reply_text(entry), thought))
    return chat_text(turns, system, thinking)


def _source_entries() -> Iterator[Entry]:
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if SKIPPED_FOLDERS & set(parts) or any("-" in part for part in parts):
            continue
        module = ".".join(part for part in parts if part != "__init__")
        yield from _walk(ast.parse(path.read_bytes()), module, "module")


def _walk(node: ast.AST, name: str, kind: str) -> Iterator[Entry]:
    """The node's own docstring and those of the public classes and functions inside it."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        text = ast.get_docstring(node)
        if text:
            yield Entry(name, kind, text.strip())
    if isinstance(node, ast.Module | ast.ClassDef):
        for child in node.body:
            able = isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            if able and not child.name.startswith("_"):
                plain = "method" if kind == "class" else "function"
                inner = "class" if isinstance(child, ast.ClassDef) else plain
                yield from _walk(child, f"{name}.{child.name}", inner)


def _compiled_entries() -> Iterator[Entry]:
    for module_name in COMPILED_MODULES:
        module = importlib.import_module(module_name)
        for name in sorted(dir(module)):
            value = getattr(module, name)
            if name[0] == "_" or not (inspect.isclass(value) or inspect.isbuiltin(value)):
                continue
            full = name if module_name == "builtins" else f"{module_name}.{name}"
            kind = "class" if inspect.isclass(value) else "function"
            if value.__doc__:
                yield Entry(full, kind, inspect.cleandoc(value.__doc__))
            for method in sorted(vars(value)) if inspect.isclass(value) else []:
                text = getattr(vars(value)[method], "__doc__", None)
                if method[0] != "_" and isinstance(text, str):
                    yield Entry(f"{full}.{method}", "method", inspect.cleandoc(text))


def _topic_entries() -> Iterator[Entry]:
    topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    for name in sorted(topics):
        text = topics[name].strip().translate(PLAIN_MARKS)
        yield Entry(name, "topic", "\n\n".join(part for part in text.split("\n\n") if part.isascii()))


def _digest(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
