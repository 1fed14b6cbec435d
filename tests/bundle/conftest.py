"""Fixtures: a sound bundle made by hand, and a way to make broken ones."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_mtp.bundle.writer import BundlePlan, write_bundle
from tests.bundle import models


@pytest.fixture
def plan(tmp_path: Path) -> BundlePlan:
    return models.make_plan(tmp_path)


@pytest.fixture
def bundle_path(plan: BundlePlan, tmp_path: Path) -> Path:
    return publish(plan, tmp_path / "sound.litertlm")


@pytest.fixture
def bundle_with(plan: BundlePlan, tmp_path: Path) -> Callable[..., Path]:
    """Writes the sound bundle with some models or plan fields replaced; a model of None is left out."""

    def write(models_: dict[str, object] | None = None, **changes: object) -> Path:
        paths = dict(plan.models)
        for name, signatures in (models_ or {}).items():
            if signatures is None:
                del paths[name]
            else:
                paths[name] = tmp_path / f"changed-{name}.tflite"
                paths[name].write_bytes(models.build_tflite(signatures))
        changed = dataclasses.replace(plan, models=paths, **changes)
        return publish(changed, tmp_path / "changed.litertlm")

    return write


def publish(plan: BundlePlan, path: Path) -> Path:
    return write_bundle(plan, path).path.replace(path)
