"""The base install works without torch, and imports go one way."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bundle.conftest import publish
from tests.bundle.models import make_plan

PACKAGE = Path(__file__).parents[1] / "edge_mtp"
HEAVY = ("jax", "litert_torch", "tensorflow", "torch", "transformers")

LAYERS = (
    ("cli",),
    ("commands",),
    ("parity", "device"),
    ("render", "convert"),
    ("runner",),
    ("bundle", "graphs"),
    ("checkpoint",),
    ("intervals", "prompts", "recipe"),
    ("toml_table",),
    ("names", "errors"),
)
"""From the top down. A module imports from its own package and from lower layers, never from beside it."""
LEVEL = {part: level for level, layer in enumerate(LAYERS) for part in layer}

# Modules whose import must leave torch alone. `graphs` and what runs in the export's workers may have it.
GROUPS = {
    "runner": ("edge_mtp.runner",),
    "bundle": ("edge_mtp.bundle",),
    "checkpoint": ("edge_mtp.checkpoint",),
    "recipe": ("edge_mtp.recipe", "edge_mtp.toml_table", "edge_mtp.names", "edge_mtp.errors"),
    "device": ("edge_mtp.device",),
    "render": ("edge_mtp.render",),
    "command line": ("edge_mtp.cli", "edge_mtp.commands"),
    "the export's parent": ("edge_mtp.convert.finish",),
}


def modules_of(name: str) -> Iterator[str]:
    """`name`, and where it is a package all modules in it."""
    yield name
    folder = PACKAGE.parent / name.replace(".", "/")
    yield from (f"{name}.{path.stem}" for path in sorted(folder.glob("*.py")) if path.stem != "__init__")


def heavy_after(script: str, *arguments: str) -> str:
    """Which heavy packages `script` leaves imported in a fresh interpreter, one a line."""
    script += f"\nimport sys\nprint(*sorted(set(sys.modules) & {set(HEAVY)!r}), sep='\\n', end='', file=sys.stderr)"
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("group", GROUPS)
def test_base_install_imports_nothing_heavy(group):
    modules = [module for name in GROUPS[group] for module in modules_of(name)]
    assert heavy_after("\n".join(f"import {module}" for module in modules)) == ""


def test_inspect_runs_without_anything_heavy(tmp_path):
    bundle = publish(make_plan(tmp_path), tmp_path / "x.litertlm")
    script = "import sys; from edge_mtp.cli import main; main(['inspect', sys.argv[1]], standalone_mode=False)"
    assert heavy_after(script, str(bundle)) == ""


def test_heavy_imports_would_be_seen():
    assert heavy_after("import edge_mtp.graphs.ops").split() == ["torch"]


def imported_parts(source: str) -> Iterator[str]:
    """Parts of edge_mtp (`bundle`, `names`, …) that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            dotted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            dotted = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in dotted:
            package, _, rest = name.partition(".")
            part = rest.partition(".")[0]
            if package == "edge_mtp" and part and not part.startswith("__"):
                yield part


def upward_imports(files: dict[str, str]) -> list[str]:
    """files {path below edge_mtp: source} -> every import that does not go down, as `who imports what`."""
    return [
        f"{path} imports {part}"
        for path, source in files.items()
        for part in dict.fromkeys(imported_parts(source))
        if part != part_of(path) and LEVEL[part] <= LEVEL[part_of(path)]
    ]


def part_of(path: str) -> str:
    return path.split("/")[0].removesuffix(".py")


def test_every_part_has_its_layer():
    parts = {part_of(str(path.relative_to(PACKAGE))) for path in PACKAGE.rglob("*.py")} - {"__init__"}
    assert parts <= set(LEVEL), "add the new part to LAYERS"


def test_imports_go_downwards():
    files = {str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    del files["__init__.py"]
    assert upward_imports(files) == []


@pytest.mark.parametrize(
    ("path", "source", "wrong"),
    [
        ("runner/engine.py", "from edge_mtp.convert.plan import ExportPlan", ["runner/engine.py imports convert"]),
        ("bundle/lint.py", "import edge_mtp.runner.engine", ["bundle/lint.py imports runner"]),
        ("names.py", "from edge_mtp import errors, recipe", ["names.py imports errors", "names.py imports recipe"]),
        (
            "bundle/lint.py",
            "def late():\n    from edge_mtp.commands import export",
            ["bundle/lint.py imports commands"],
        ),
        ("bundle/lint.py", "from edge_mtp.bundle.reader import Bundle\nfrom edge_mtp import __version__, names", []),
        ("cli.py", "import torch\nfrom edge_mtp.commands.export import export", []),
    ],
)
def test_the_check_itself(path, source, wrong):
    assert upward_imports({path: source}) == wrong
