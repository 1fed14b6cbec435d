"""The golden logs and plans: valid by the schemas, as their generator writes them, made a second time by our code."""

import json
from copy import deepcopy
from itertools import pairwise

import pytest

from edge_mtp.device.plan import Gate, Lengths, PlanPrompt, Sampler, SplitMix64, make_plan, plan_json, prompts_sha256
from tests.device.schemas import GOLDEN, PLAN, faults, known_keys, records
from tests.golden.device import write

LOGS = (
    "throttling", "plugged-in", "sign-flipped", "interrupted", "interrupted-resumed", "silent-no-draft", "paired",
    "iphone",
)  # fmt: skip


@pytest.mark.parametrize("name", LOGS)
def test_logs_are_valid(name):
    found = records(name)
    assert len(found) > 30
    for record in found:
        assert faults(record) == [], record
        assert set(record) <= known_keys(record["kind"])
    assert [one["seq"] for one in found] == list(range(len(found)))
    times = [one["t_ms"] for one in found]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("v",), 2),
        (("kind",), "smaple"),
        (("run",), "A"),
        (("seq",), -1),
        (("t_ms",), 1.5),
        (("arm",), "on"),
        (("finish_reason",), "eos"),
        (("invalid_reasons",), ["hot"]),
        (("non_nominal_fraction",), 1.5),
        (("output_sha256",), "abc"),
        (("pair",), None),
    ],
)
def test_the_schema_refuses(path, value):
    trial = next(one for one in records("paired") if one["kind"] == "trial" and not one["warmup"])
    assert faults(trial) == []
    assert faults({**trial, path[0]: value})


@pytest.mark.parametrize("kind", ["run", "sample", "event", "trial", "engine", "end"])
def test_the_schema_asks_for_what_a_reader_needs(kind):
    record = next(one for one in records("paired") + records("throttling") if one["kind"] == kind)
    assert faults(record) == []
    assert faults({key: record[key] for key in ("v", "kind", "run", "seq", "t_ms")})


def test_an_acceptance_is_never_made_up():
    engine = next(one for one in records("paired") if one["kind"] == "engine")
    assert engine["acceptance_source"] == "none" and faults(engine) == []
    assert faults({**engine, "acceptance_rate": 0.5})


def test_the_generator_writes_these_files():
    texts = {name: write.logs()[name] for name in LOGS} | {
        f"invalid/{name}": text for name, text in write.invalid_logs().items()
    }
    for name, text in texts.items():
        assert (GOLDEN / f"{name}.jsonl").read_text(encoding="utf-8") == text
    for name, value in write.golden_plans().items():
        assert json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8")) == value


def golden_plan(name):
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


def remade(golden, seed=None):
    lengths = {key: golden[key] for key in ("warmups", "block_s", "baseline_s", "cooldown_s", "max_output_tokens")}
    prompts = [PlanPrompt(**one) for one in golden["prompts"]]
    return make_plan(
        prompts,
        golden["prompt_set"],
        golden["seed"] if seed is None else seed,
        Lengths(pairs=len(golden["pairs"]), **lengths),
        Sampler(**golden["sampler"]),
        Gate(**golden["gate"]),
    )


@pytest.mark.parametrize("name", ["plan-abba", "plan-sustained"])
def test_plans(name):
    """The golden ones come from other code: tests/golden/device/phone.py."""
    golden = golden_plan(name)
    assert faults(golden, PLAN) == []
    assert plan_json(remade(golden)) == golden
    assert plan_json(remade(golden, golden["seed"] + 1))["pairs"] != golden["pairs"]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
def test_every_prompt_starts_with_both_arms(count):
    prompts = [PlanPrompt(f"p{index}", "chat", "text") for index in range(count)]
    made = make_plan(prompts, "set", 7, Lengths(pairs=4 * count), Sampler(), Gate())
    for prompt in prompts:
        firsts = [one.first for one in made.pairs if one.prompts == (prompt.id,)]
        assert len(firsts) == 4 and all(one != other for one, other in pairwise(firsts)), firsts
    halves = [one.first for one in made.pairs[: 2 * count]]
    assert halves.count("spec_off") == count


def test_a_sustained_plan_alternates():
    prompts = [PlanPrompt(name, "chat", "text") for name in "abcd"]
    firsts = [one.first for one in make_plan(prompts, "set", 7, Lengths(12, block_s=300), Sampler(), Gate()).pairs]
    assert all(one != other for one, other in pairwise(firsts))


def test_the_plan_schema_refuses():
    golden = golden_plan("plan-abba")
    for path, value in ((("v",), 2), (("seed",), 2**53), (("pairs", 0, "first"), "on"), (("gate", "max_wait"), 3)):
        spoilt = deepcopy(golden)
        inner = spoilt
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        assert faults(spoilt, PLAN), path


def test_the_hash_is_of_texts_ids_and_order():
    prompts = [PlanPrompt(**one) for one in golden_plan("plan-abba")["prompts"]]
    whole = prompts_sha256(prompts)
    assert whole == golden_plan("plan-sustained")["prompt_set_sha256"]
    assert prompts_sha256(prompts[::-1]) != whole
    assert prompts_sha256([*prompts[1:], PlanPrompt("chat-1", "chat", "Why is the sky blue")]) != whole


def test_random_numbers():
    for golden in golden_plan("splitmix64"):
        draws = SplitMix64(golden["seed"])
        assert [str(draws.next()) for _ in golden["outputs"]] == golden["outputs"]
        for below in golden["below"]:
            draws = SplitMix64(golden["seed"])
            assert [draws.below(below["bound"]) for _ in below["values"]] == below["values"]
            assert all(0 <= value < below["bound"] for value in below["values"])


def test_random_numbers_known_elsewhere():
    """The sequence for 1234567 that https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64 asks for."""
    draws = SplitMix64(1234567)
    assert [draws.next() for _ in range(5)] == [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821,
    ]  # fmt: skip
