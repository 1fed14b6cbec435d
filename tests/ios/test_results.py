"""The gate over the Swift tests rejects what it should."""

from dataclasses import replace

import pytest

from tests.ios.results import ENGINE_TESTS, Results, problems

GOOD = Results(tests=70, skipped=0, failed=0, engine=ENGINE_TESTS, seconds=3.0, kit_pct=97.0, adapter_pct=95.0)


def test_good_results_pass() -> None:
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"skipped": 1}, "skipped"),
        ({"failed": 1}, "failed"),
        ({"engine": 0}, "real library"),
        ({"kit_pct": 89.9}, "kit"),
    ],
)
def test_bad_results_do_not(change: dict[str, float], word: str) -> None:
    (problem,) = problems(replace(GOOD, **change))
    assert word in problem
