"""The two JSON Schemas as validators, and which keys they know."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

GOLDEN = Path(__file__).parents[1] / "golden" / "device"
FOLDER = Path(__file__).parents[2] / "edge_mtp" / "device"


def validator(name: str) -> Draft202012Validator:
    schema = json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


LOG, PLAN = validator("log"), validator("plan")


def faults(record: Any, schema: Draft202012Validator = LOG) -> list[str]:
    """What is wrong with `record`, each with where it is."""
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in schema.iter_errors(record)]


def known_keys(kind: str) -> set[str]:
    """Keys that the schema names for records of `kind`."""
    extra = {"name", "value"} if kind == "event" else set()
    return set(LOG.schema["properties"]) | set(LOG.schema["$defs"][kind]["properties"]) | extra


def records(name: str) -> list[dict[str, Any]]:
    """All readable lines of a golden log."""
    text = (GOLDEN / f"{name}.jsonl").read_text(encoding="utf-8")
    found = []
    for line in text.split("\n"):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            assert name.startswith("interrupted") or not line, f"{name}: {line[:80]}"
    return found
