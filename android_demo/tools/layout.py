"""Where sources lie and where the build writes."""

import hashlib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DEMO: Final = ROOT / "android_demo"
CORE: Final = DEMO / "core" / "src"
APP: Final = DEMO / "app" / "src"
STUBS: Final = DEMO / "stubs"
GOLDEN: Final = ROOT / "tests" / "golden" / "device"
BUILD: Final = ROOT / "build" / "android"
LOGS: Final = BUILD / "logs"
LOGS_STAMP: Final = LOGS / "sources.sha256"

CORE_JAR: Final = BUILD / "core.jar"
STRIPPED_JAR: Final = BUILD / "core-for-coverage.jar"
TEST_CLASSES: Final = BUILD / "core-tests"
STUB_CLASSES: Final = BUILD / "stubs"


def kotlin_files(*folders: Path) -> list[Path]:
    """Kotlin sources below `folders`, in order."""
    return sorted(path for folder in folders for path in folder.rglob("*.kt"))


def app_jar(flavour: str) -> Path:
    """Classes of the app in one flavour."""
    return BUILD / f"app-{flavour}.jar"


def core_digest() -> str:
    """sha256 over all that the simulated logs depend on."""
    digest = hashlib.sha256()
    for path in [*kotlin_files(CORE), *sorted(GOLDEN.glob("*.json*"))]:
        digest.update(f"{path.relative_to(ROOT)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
