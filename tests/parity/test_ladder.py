"""The whole ladder over the tiny pair's bundle: every rung holds, and the report's figures mean what they say."""

import json
import re
from contextlib import closing
from dataclasses import replace

import pytest

from edge_mtp.parity.losslessness import BROKEN_RULES
from edge_mtp.parity.rungs import losslessness
from edge_mtp.parity.workbench import Request, Workbench
from edge_mtp.runner.generate import Finish
from tests.export.refusal import invoke
from tests.parity.ladder_runs import MAX_TOKENS, SUITES, Ran, climb_rungs, figure, run_parity, silent, the_rung

FLOAT_SHARE = 5e-6
COSTS = (0.1, 1.2)


@pytest.fixture(scope="module")
def again(request_, tmp_path_factory) -> Ran:
    """The rungs that look at the bundle once more, over older reports, with the costs of another machine."""
    output = tmp_path_factory.mktemp("again")
    for name in ("report.json", "report.html"):
        (output / name).write_text("older")
    return run_parity(request_, output, "--rungs", "3-7", "--costs", *COSTS)


@pytest.fixture(scope="module")
def bench(request_):
    with closing(Workbench(request_, silent)) as opened:
        yield opened


@pytest.fixture(scope="module")
def traces(request_: Request, tmp_path_factory) -> dict[str, list[dict]]:
    """Each suite's replies as `edge-mtp run --trace` writes them."""
    return {suite: [_trace(request_, prompt, tmp_path_factory) for prompt in SUITES[suite]] for suite in SUITES}


def _trace(request: Request, prompt, tmp_path_factory) -> dict:
    path = tmp_path_factory.mktemp("trace") / "trace.json"
    system = ("--system", prompt["system"]) if "system" in prompt else ()
    options = ("--chat", "--max-tokens", MAX_TOKENS, "--threads", 1, "--trace", path)
    done = invoke("run", request.bundle, "--prompt", prompt["prompt"], *system, *options)
    assert done.exit_code == 0, done.output
    (turn,) = json.loads(path.read_text())["turns"]
    return turn


def test_every_rung_holds(whole):
    assert whole.code == 0, whole.printed
    report = whole.report
    assert [rung["number"] for rung in report["rungs"]] == list(range(8))
    assert {rung["verdict"] for rung in report["rungs"]} == {"held"}
    assert (report["outcome"], report["exit_code"], report["first_failed"]) == ("held", 0, None)
    for rung in report["rungs"]:
        assert rung["controls"] and all(control["rejected"] for control in rung["controls"]), rung["name"]
        assert f"HELD            {rung['number']} {rung['claim']}" in whole.printed


def test_the_page_needs_nothing_else(whole):
    assert "All 8 rungs held" in whole.page
    assert re.findall(r"https?://|src=|@import", whole.page) == []
    assert not list(whole.output.glob("*.part"))


@pytest.mark.parametrize("number", [1, 2])
def test_float_graphs_agree_to_the_last_digits(whole, number):
    parts = [one for one in whole.rung(number)["figures"] if one["name"].endswith("largest difference")]
    assert len(parts) == (4 if number == 1 else 5)
    assert all(0.0 < one["value"] < FLOAT_SHARE for one in parts), parts


def test_figures_of_the_bundle_are_plausible(whole):
    quantized, verify, engine = whole.rung(3), whole.rung(4), whole.report["engine"]
    assert figure(quantized, "tokens") == 54
    assert 1e-5 < figure(quantized, "KL mean") < 0.02
    assert 0.9 < figure(quantized, "same best token") <= 1.0
    assert 25.0 < figure(quantized, "logits' signal-to-noise ratio") < 60.0
    assert figure(verify, "that is") < 1e-5
    assert engine["texts"] == engine["texts_equal"] == 8
    assert engine["acceptance_rate"] == pytest.approx(engine["runner_acceptance_rate"], abs=1e-6)
    assert 0.2 < engine["acceptance_rate"] < 0.8
    assert sum(whole.report["kl_histogram"]["counts"]) == 54


def test_the_report_says_what_was_checked(whole, request_):
    bundle, settings = whole.report["bundle"], whole.report["settings"]
    manifest = json.loads(request_.bundle.with_name(request_.bundle.name + ".json").read_text())
    for key in ("sha256", "size_bytes", "draft_steps", "context_tokens", "bits_per_weight"):
        assert bundle[key] == manifest[key], key
    assert bundle["recipe"] == "tiny" and bundle["sources"] == ["target", "drafter"]
    assert [(one["suite"], one["prompts"]) for one in settings["suites"]] == [("names", 2), ("talk", 2)]
    assert (settings["max_tokens"], settings["seed"], settings["backend"]) == (MAX_TOKENS, 0, "cpu")
    assert [one["snr_db"] for one in whole.report["worst_tensors"]] == sorted(
        one["snr_db"] for one in manifest["worst_tensors"]
    )


def test_acceptance_is_that_of_a_trace(whole, traces):
    """Two figures counted from `edge-mtp run --trace`: rate = accepted ÷ drafted, length = 1 + accepted ÷ rounds."""
    assert [suite["suite"] for suite in whole.report["acceptance"]] == list(SUITES)
    for suite in whole.report["acceptance"]:
        rounds = [one for turn in traces[suite["suite"]] for one in turn["rounds"] if one["drafts"]]
        drafted, accepted = sum(len(one["drafts"]) for one in rounds), sum(one["accepted"] for one in rounds)
        assert (suite["rounds"], suite["drafted"], suite["accepted"]) == (len(rounds), drafted, accepted)
        assert suite["rate"]["value"] == pytest.approx(accepted / drafted)
        assert suite["mean_length"] == pytest.approx(1.0 + accepted / len(rounds))
        for place, rate in enumerate(suite["rate_at"]):
            there = [one for one in rounds if len(one["drafts"]) > place]
            assert rate == pytest.approx(sum(one["accepted"] > place for one in there) / len(there))
        assert suite["rate"]["low"] <= suite["rate"]["value"] <= suite["rate"]["high"]


def test_the_bonus_token_is_not_an_accepted_draft(whole, traces):
    """Counting it, as if every token of a round had been drafted, gives another rate: the check above tells them."""
    for suite in whole.report["acceptance"]:
        rounds = [one for turn in traces[suite["suite"]] for one in turn["rounds"] if one["drafts"]]
        with_bonus = sum(len(one["tokens"]) for one in rounds) / sum(len(one["drafts"]) for one in rounds)
        assert abs(suite["rate"]["value"] - with_bonus) > 0.1


def test_divergences_per_thousand_agreed_tokens(whole, traces):
    """Where the float checkpoint would have gone on otherwise, over the tokens up to there."""
    found = [one for one in whole.report["divergences"] if one["rung"] == 3]
    assert found and all(one["margin"] < one["tolerance"] for one in found)
    for suite in whole.report["quality"]:
        lengths = {
            prompt["id"]: sum(len(one["tokens"]) for one in turn["rounds"])
            for prompt, turn in zip(SUITES[suite["suite"]], traces[suite["suite"]], strict=True)
        }
        parted = {one["prompt"]: one["at_token"] for one in found if one["suite"] == suite["suite"]}
        agreed = sum(parted.get(prompt, length) for prompt, length in lengths.items())
        assert suite["divergences_per_1000"] == pytest.approx(1000.0 * len(parted) / agreed)
        assert suite["tokens"] == sum(lengths.values())


def test_costs_and_break_even(whole):
    cost, suites = whole.report["cost"], whole.report["acceptance"]
    rounds, drafted, accepted = (sum(suite[key] for suite in suites) for key in ("rounds", "drafted", "accepted"))
    assert cost["draft_ratio"] == pytest.approx(cost["draft_step_ms"] / cost["decode_ms"])
    assert cost["verify_ratio"] == pytest.approx(cost["verify_ms"] / cost["decode_ms"])
    even = drafted / rounds * cost["draft_ratio"] + cost["verify_ratio"]
    assert cost["break_even_length"] == pytest.approx(even)
    assert cost["break_even_rate"] == pytest.approx((even - 1.0) * rounds / drafted)
    assert cost["predicted_speed_up"] == pytest.approx((1.0 + accepted / rounds) / even)
    assert cost["measured_speed_up"] > 0.0
    steps = whole.report["bundle"]["draft_steps"]
    spent = steps * cost["draft_ratio"] + cost["verify_ratio"]
    assert cost["curve"][0] == pytest.approx([0.0, 1.0 / spent]) and cost["curve"][-1] == pytest.approx(
        [1.0, (1.0 + steps) / spent]
    )


def test_the_bundles_own_draft_length_is_the_live_one(whole, bench):
    """But for drafts behind a stop token, which the replay counts as rejected (runner.replay)."""
    suites, steps = whole.report["acceptance"], whole.report["bundle"]["draft_steps"]
    (row,) = [one for one in whole.report["draft_lengths"] if (one["steps"], one["threshold"]) == (steps, 0.0)]
    drafted, accepted = (sum(suite[key] for suite in suites) for key in ("drafted", "accepted"))
    behind = sum(_behind_stop(one.drafted.rounds[-1]) for one in bench.replies)
    assert behind == 1, "one of the prompts is there to show the difference"
    assert row["rate"] == pytest.approx((accepted - behind) / drafted)
    assert row["drafts_a_round"] == pytest.approx(drafted / sum(suite["rounds"] for suite in suites))


def _behind_stop(last) -> int:
    return max(last.accepted - len(last.tokens), 0) if last.finish is Finish.STOP else 0


def test_shorter_drafts_are_surer(whole):
    fixed = [one for one in whole.report["draft_lengths"] if one["threshold"] == 0.0]
    assert [one["steps"] for one in fixed] == [1, 2, 3]
    assert fixed[0]["rate"] > fixed[-1]["rate"] and fixed[0]["mean_length"] < fixed[-1]["mean_length"]
    sure = [one for one in whole.report["draft_lengths"] if one["threshold"] > 0.0]
    assert all(one["drafts_a_round"] < fixed[-1]["drafts_a_round"] for one in sure)


def test_the_engines_habits_are_noted(whole):
    notes = "\n".join(whole.report["engine"]["notes"])
    assert "output budget, MTP on: 2 of 4 replies went over 16 tokens, by up to" in notes
    assert "1 replies of the runner ended so; the engine with MTP on wrote 1 of them alike" in notes
    assert notes.count("second turn, MTP") == 2


TIMED = ("wall_time", "cost", "advice", "environment")
ENGINE_TIMED = ("decode_tokens_per_s_off", "decode_tokens_per_s_on")


def timeless(report: dict) -> dict:
    """What must be the same on every run: all but times and what follows from them."""
    value = {key: inner for key, inner in report.items() if key not in TIMED}
    value["rungs"] = [{**rung, "seconds": 0.0} for rung in report["rungs"] if rung["number"] >= 3]
    value["draft_lengths"] = [{**one, "speed_up": None} for one in report["draft_lengths"]]
    value["engine"] = {key: inner for key, inner in report["engine"].items() if key not in ENGINE_TIMED}
    return value


def test_the_same_seed_gives_the_same_report(whole, again):
    assert again.code == 0, again.printed
    assert timeless(again.report) == timeless(whole.report)


def test_another_seed_gives_another(request_, monkeypatch):
    monkeypatch.setattr(losslessness, "ROUNDS", 500)
    monkeypatch.setattr(losslessness, "BROKEN_RULES", {losslessness.ALWAYS: BROKEN_RULES[losslessness.ALWAYS]})
    first, same, other = (the_rung(climb_rungs(replace(request_, seed=seed), 5), 5) for seed in (0, 0, 1))
    for name in ("chi-square of rejection sampling", "the same on this bundle's logits"):
        assert figure(first, name) == figure(same, name) != figure(other, name)


def test_given_costs_are_those_of_the_advice(whole, again):
    """And of the draft lengths' speed-ups; this machine's own costs stay what they are."""
    draft, verify = COSTS
    for advice, suite in zip(again.report["advice"], again.report["acceptance"], strict=True):
        spent = suite["drafted"] / suite["rounds"] * draft + verify
        assert advice["speed_up"]["value"] == pytest.approx(suite["mean_length"] / spent)
    for row in again.report["draft_lengths"]:
        assert row["speed_up"] == pytest.approx(row["mean_length"] / (row["drafts_a_round"] * draft + verify))
    assert again.report["cost"]["draft_ratio"] != draft
    for advice, measured in zip(again.report["advice"], whole.report["advice"], strict=True):
        assert advice["speed_up"] != measured["speed_up"]


def test_older_reports_are_replaced(again):
    assert again.page.startswith("<!")
    assert {path.name for path in again.output.iterdir()} == {"report.json", "report.html"}
