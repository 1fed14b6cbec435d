"""Logs whose records are spoilt at random are refused, or reported on and drawn: never a traceback."""

import json
import random
from pathlib import Path

from edge_mtp.device.log import DeviceLogError, parse_log
from edge_mtp.device.report import to_json
from edge_mtp.device.tables import samples_csv, trials_csv
from edge_mtp.parity.report import finite
from edge_mtp.render.device_page import device_page
from tests.device.schemas import records
from tests.device.spoiling import report_of

NAMES = ("paired", "interrupted-resumed", "silent-no-draft", "sign-flipped", "iphone")
VALUES = (
    0, 1, -1, 5, 0.5, 1e9, 1e-300, 1e300, 2**62, True, False, None, "x", "", [], [1], {}, {"a": 1}, "spec_on",
)  # fmt: skip


def spoilt(chance: random.Random, name: str) -> bytes:
    """Some values of some records changed or taken out, and now and then one key in all of them."""
    found = [dict(record) for record in records(name)]
    for _ in range(chance.choice([1, 5, 100])):
        record = chance.choice(found[1:] if chance.random() < 0.9 else found)
        key = chance.choice([key for key in record if key != "v"])
        value = chance.choice(VALUES)
        same = [one for one in found[1:] if key in one] if chance.random() < 0.1 and key not in ("kind", "run") else []
        for one in (record, *same):
            one[key] = value
        if chance.random() < 0.2:
            del record[key]
    return "".join(json.dumps(record) + "\n" for record in found).encode()


def test_nothing_breaks_the_report():
    chance = random.Random(11)
    drawn = refused = 0
    for round_ in range(100):
        content = spoilt(chance, NAMES[round_ % len(NAMES)])
        try:
            logs = tuple(parse_log(Path("x.jsonl"), content))
        except DeviceLogError as error:
            refused += 1
            assert "x.jsonl" in str(error)
            continue
        report = report_of(*logs)
        page = device_page(json.loads(json.dumps(finite(to_json(report)), allow_nan=False)))
        assert page.endswith("</html>\n") and trials_csv(report.phones) and samples_csv(logs)
        drawn += 1
    assert drawn > 50 and refused > 2
