"""Bundles of the tiny pair for the tests of this directory, and held-out prompts."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edge_mtp.bundle.reader import Bundle, read_bundle
from edge_mtp.runner.text import BundleText, read_text
from tests.bundle.conftest import publish
from tests.bundle.models import all_models, make_plan
from tests.export.recipes import FLOAT32

HELD_OUT = Path(__file__).parents[1] / "data" / "tiny" / "heldout_prompts.json"


@pytest.fixture(scope="session")
def prompts() -> list[str]:
    """Prompts that the pair was not trained on."""
    return json.loads(HELD_OUT.read_text())["final"][:8]


@pytest.fixture(scope="session", params=["int8", "float32"])
def opened(request, exported) -> Bundle:
    """The tiny pair's bundle, as exported by default and in float32."""
    return read_bundle(exported() if request.param == "int8" else exported(FLOAT32))


@pytest.fixture(scope="session")
def int8(exported) -> Bundle:
    return read_bundle(exported())


@pytest.fixture(scope="session")
def text(int8) -> BundleText:
    return read_text(int8)


@pytest.fixture
def bundle_of(tmp_path) -> Callable[[dict[str, object]], Bundle]:
    """A bundle of hand-made models, {section: signatures, or None to leave it out}; its graphs cannot be run."""

    def write(models_: dict[str, object]) -> Bundle:
        plan = make_plan(tmp_path, {name: made or all_models()[name] for name, made in models_.items()})
        bundle = read_bundle(publish(plan, tmp_path / "made.litertlm"))
        missing = [name for name, made in models_.items() if made is None]
        return replace(bundle, sections=tuple(one for one in bundle.sections if one.name not in missing))

    return write
