"""monitor: what was served against what came, in words that a person understands."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cryptocast import dataset
from cryptocast.dataset import Bars, features
from cryptocast.values import FEATURES, iso
from cryptocast.workflows.watching.verdicts import look
from support.commands import BTC, Done, good, query, run
from support.ticks import at, change, origin, ticked
from workflows.test_replay import replayed

BARS = 200
END = iso(origin(BARS))


@pytest.fixture(scope="module")
def played(stocked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with 200 replayed origins. Not to be written to: copy it."""
    folder = Path(shutil.copytree(stocked, tmp_path_factory.mktemp("played") / "w"))
    replayed(folder, 1, BARS)
    return folder


@pytest.fixture
def p(played: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(played, tmp_path / "p"))


def monitored(folder: Path, *options: str, moment: str = END) -> Done:
    return run("monitor", "-w", folder, "--as-of", moment, *options)


def verdict(folder: Path, *options: str, moment: str = END) -> dict[str, Any]:
    done = monitored(folder, "--json", *options, moment=moment)
    assert done.code == (6 if done.data["verdict"] == "declined" else 0), done.err
    return done.data


def widen(folder: Path, factor: float, first: int) -> None:
    """Make the served ranges from an origin on so many times as wide."""
    change(
        folder,
        "UPDATE forecast_sets SET quantiles = list_transform(quantiles, lambda q, i:"
        f" last_close + {factor} * (q - last_close)) WHERE epoch(origin) >= {origin(first)}",
    )


def test_sound_forecasts_are_healthy(p: Path) -> None:
    done = monitored(p)
    assert done.code == 0
    assert done.out.startswith("healthy: no sign of a decline in 1 market\n")
    assert done.err == "warning: no forecast was served live: these are replayed\n"


def test_the_report_tells_windows_tests_drift_and_scorecard(p: Path) -> None:
    data = verdict(p)
    assert (data["verdict"], data["version"], data["modes"]) == ("healthy", "2", ["replay"])
    rows = {row["window"]: row for row in data["windows"]}
    assert list(rows) == ["2h", "day", "week"]
    assert rows["2h"]["n"] == 24 * 24
    # Of the first origins the last targets, of the last ones the first.
    assert rows["week"]["n"] == sum(min(24, BARS - bar) for bar in range(1, BARS))
    for row in rows.values():
        assert row["market"] == BTC.id
        assert len(row["steps"]) == 24
        assert 0 <= row["coverage80"] <= row["coverage90"] <= 1
        assert abs(row["skill_vs_random_walk"]) < 0.5
        assert abs(row["bias"]) <= 0.5
        assert 0 <= row["pit_distance"] <= 0.5
    assert [(t["name"], t["verdict"], t["since"]) for t in data["tests"]] == [
        ("loss", "healthy", None),
        ("narrow", "healthy", None),
        ("wide", "healthy", None),
        ("inputs", "healthy", None),
        ("still", "healthy", None),
        ("answers", "healthy", None),
    ]
    features = {row["feature"] for row in data["drift"]}
    assert {"return", "level", "slow_volatility"} <= features
    assert not features & {"day_sin", "week_cos"}
    assert [(c["minutes"], c["step"]) for c in data["scorecard"]] == [
        (5, 1), (30, 6), (60, 12), (120, 24),
    ]  # fmt: skip


def test_the_figures_are_those_of_the_view(p: Path) -> None:
    (row,) = verdict(p, "--window", "week")["windows"]
    (slow,) = query(
        p,
        "SELECT count(*), avg(crps_bp), avg(in80::INT), avg(in90::INT) FROM forecast_scores"
        f" WHERE served AND target_time <= '{END}'",
    )
    found = (row["n"], row["crps_bp"], row["coverage80"], row["coverage90"])
    assert found == pytest.approx(slow, rel=1e-9)


@pytest.mark.parametrize(("factor", "word"), [(1.8, "wide"), (0.55, "narrow")])
def test_ranges_that_no_longer_fit_are_declined_with_exit_6(
    p: Path, factor: float, word: str
) -> None:
    widen(p, factor, 50)
    data = verdict(p)
    assert data["verdict"] == "declined"
    (test,) = (t for t in data["tests"] if t["name"] == word)
    assert test["statistic"] >= test["threshold"]
    assert data["reason"].startswith(f"{BTC.id}: ")
    assert f"its ranges are too {word} since {test['since']}" in data["reason"]
    assert "of the last day's outcomes lie in its 80 % range)" in data["reason"]
    assert monitored(p).out.startswith(f"declined: {BTC.id}: its ")


def test_a_loss_beyond_the_promise_is_declined(p: Path) -> None:
    change(p, "UPDATE deployments SET scores = '" + gate(0.3) + "'")
    data = verdict(p)
    assert data["verdict"] == "declined"
    (test,) = (t for t in data["tests"] if t["verdict"] == "declined")
    assert test["name"] == "loss"
    skill = data["windows"][1]["skill_vs_random_walk"]
    assert data["reason"] == (
        f"{BTC.id}: its CRPS is beyond what was promised since {test['since']} "
        f"(skill {skill:+.1%} in the last day, not +30.0%)"
    )
    assert data["windows"][0]["promised_skill"] == 0.3


def damage(patch: pytest.MonkeyPatch, name: str, factor: float, first: int = 0) -> None:
    """Let an input of all bars that open at an origin or later be so many times as large."""
    sound = features.compute

    def compute(bars: Bars, low: int = 0) -> features.Features:
        computed = sound(bars)
        later = bars.open_time >= origin(first)
        damaged = computed.sigma if name == "sigma" else computed.values[:, FEATURES.index(name)]
        damaged[later] *= factor
        return features.Features(computed.values[low:], computed.sigma[low:])

    def compute_alike(several: Sequence[Bars], low: int = 0) -> list[features.Features]:
        return [compute(bars, low) for bars in several]

    for module in (features, dataset):
        patch.setattr(module, "compute", compute)
    patch.setattr(features, "compute_alike", compute_alike)


def served_again(folder: Path, first: int) -> None:
    """Serve the origins from one on once more."""
    change(folder, f"DELETE FROM forecast_sets WHERE epoch(origin) >= {origin(first)}")
    change(folder, f"DELETE FROM ticks WHERE epoch(origin) >= {origin(first)}")
    replayed(folder, first, BARS)


@pytest.mark.parametrize(
    ("name", "factor", "fault"),
    [
        ("return", 1.5, "1.50 times what its candles give"),
        ("range", 1 / 1.5, "0.67 times what its candles give"),
        ("slow_volatility", 0.0, "stuck at 0.00"),
    ],
)
def test_an_input_that_is_not_what_its_candles_give_is_declined_and_named(
    p: Path, monkeypatch: pytest.MonkeyPatch, name: str, factor: float, fault: str
) -> None:
    damage(monkeypatch, name, factor, 170)
    served_again(p, 170)
    data = verdict(p)
    (test,) = (t for t in data["tests"] if t["name"] == "inputs")
    assert (test["feature"], test["fault"], test["verdict"]) == (name, fault, "declined")
    assert data["reason"].startswith(
        f"{BTC.id}: its input {name} is {fault} since {iso(origin(171))}"
    )
    line = next(each for each in monitored(p).out.splitlines() if " inputs " in each)
    assert line.split()[1:6] == ["inputs", "9.00", "6.00", "declined", name]


def test_inputs_that_were_damaged_only_while_serving_show_in_the_answers(
    p: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        damage(patch, "sigma", 1.2)
        served_again(p, 140)
    data = verdict(p)
    (test,) = (t for t in data["tests"] if t["name"] == "answers")
    assert (test["verdict"], test["feature"]) == ("declined", None)
    told = "what was served is not what version 2 answers to the stored candles since "
    assert told in data["reason"]


def test_answers_are_not_compared_where_older_candles_came_later(
    p: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        damage(patch, "sigma", 1.2)
        served_again(p, 140)
    old = origin(0) - 5 * 86_400  # only a profile looks back as far
    later = "fetched_at + INTERVAL 1 DAY"
    change(p, f"UPDATE candles SET fetched_at = {later} WHERE epoch(open_time) < {old}")
    assert "answers" not in {test["name"] for test in verdict(p)["tests"]}


def test_a_damaged_input_is_no_reason_to_retrain(p: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(monkeypatch, "place", 1.5, 170)
    reason = verdict(p)["reason"]
    data = good("retrain", "--if-needed", "-w", p, "--as-of", END)
    assert data["decision"]["reason"] == (
        f"its inputs are damaged, and a new model would learn from the same: {reason}"
    )
    assert query(p, "SELECT count(*) FROM events WHERE kind = 'retrain'") == [(0,)]


def test_a_venue_that_sends_no_volume_any_more_is_watched(p: Path) -> None:
    change(p, f"UPDATE candles SET volume = 0 WHERE epoch(open_time) >= {origin(100)}")
    data = verdict(p)
    assert data["verdict"] == "watch"
    assert data["reason"].endswith(f"its input volume has not moved since {iso(origin(102))}")


def test_candles_that_tell_nothing_but_a_close_are_declined(p: Path) -> None:
    change(
        p,
        "UPDATE candles SET open = close, high = close, low = close"
        f" WHERE epoch(open_time) >= {origin(100)}",
    )
    data = verdict(p)
    assert data["verdict"] == "declined"
    assert f"its input range has not moved since {iso(origin(102))}" in data["reason"]


def test_the_verdict_is_kept_as_an_event(p: Path) -> None:
    data = verdict(p)
    ((moment, market, detail),) = query(
        p, "SELECT epoch(\"at\"), market, detail FROM events WHERE kind = 'monitor'"
    )
    assert (moment, market) == (origin(BARS), None)
    kept = json.loads(detail)
    for row in data["windows"]:
        del row["steps"]
    assert kept == data


def test_looking_keeps_nothing(p: Path) -> None:
    with at(p, BARS) as ws:
        assert look(ws).verdict == "healthy"
    assert query(p, "SELECT count(*) FROM events WHERE kind = 'monitor'") == [(0,)]


def test_one_window_alone_can_be_asked_for(p: Path) -> None:
    data = verdict(p, "--window", "2h")
    assert [row["window"] for row in data["windows"]] == ["2h"]
    assert data["scorecard"][0]["n"] == 24
    assert data["verdict"] == "healthy"


def test_another_window_is_refused(p: Path) -> None:
    done = monitored(p, "--window", "month", "--json")
    assert (done.code, done.error["message"]) == (2, "'month' is no window")
    assert done.error["hint"] == "one of 2h, day, week"


def test_live_sets_go_before_replayed_ones(p: Path) -> None:
    ticked(p, *range(BARS + 1, BARS + 4))
    data = verdict(p, moment=iso(origin(BARS + 3)))
    assert data["modes"] == ["live"]
    assert (data["verdict"], data["windows"][0]["n"]) == ("unknown", 3)
    assert data["reason"] == f"{BTC.id}: fewer than 24 forecasts of version 2 have an outcome"


def test_only_what_production_served_is_tested(p: Path) -> None:
    widen(p, 1.8, 50)
    change(p, "UPDATE forecast_sets SET model_version = '1'")
    data = verdict(p)
    assert (data["verdict"], data["tests"]) == ("unknown", [])
    assert data["reason"] == f"{BTC.id}: fewer than 24 forecasts of version 2 have an outcome"
    assert data["windows"][2]["n"] > 0


def test_without_forecasts_it_is_unknown(w: Path) -> None:
    data = verdict(w)
    assert (data["verdict"], data["windows"], data["tests"]) == ("unknown", [], [])
    assert data["reason"] == f"{BTC.id}: nothing was served yet: cryptocast forecast --once"
    assert monitored(w).out == f"unknown: {data['reason']}\n"


def test_without_outcomes_it_is_unknown(w: Path) -> None:
    ticked(w, 1)
    data = verdict(w, moment=iso(origin(1)))
    assert (data["verdict"], data["windows"]) == ("unknown", [])
    assert data["reason"] == f"{BTC.id}: no outcome of a forecast is known yet"


def test_where_all_was_late_that_is_why_it_is_unknown(w: Path) -> None:
    ticked(w, 3)
    change(w, "UPDATE forecast_sets SET mode = 'late'")
    assert verdict(w, moment=iso(origin(5)))["reason"] == (
        f"{BTC.id}: nothing that was served in time is known: the newest forecast is late"
    )


def test_with_one_candle_it_is_unknown(p: Path) -> None:
    change(p, f"DELETE FROM candles WHERE epoch(open_time) != {origin(BARS - 1)}")
    assert verdict(p)["reason"] == (
        f"{BTC.id}: nothing of what was served can be scored: too few candles came before it"
    )


def test_without_candles_it_is_unknown(p: Path) -> None:
    change(p, "DELETE FROM candles")
    assert verdict(p)["verdict"] == "unknown"


def test_after_a_year_of_nothing_it_is_unknown(p: Path) -> None:
    assert verdict(p, moment="2025-06-03T00:00:00Z")["reason"] == (
        f"{BTC.id}: nothing was served since {END}"
    )


def test_candles_with_holes_are_scored_where_they_are(p: Path) -> None:
    change(p, f"DELETE FROM candles WHERE epoch(open_time) BETWEEN {origin(60)} AND {origin(140)}")
    data = verdict(p)
    assert data["verdict"] in ("healthy", "watch")
    assert 0 < data["windows"][2]["n"] < 24 * 140


def test_without_a_production_model_it_is_unknown(p: Path) -> None:
    change(p, "DELETE FROM deployments")
    assert verdict(p)["reason"] == "there is no production model yet: cryptocast init"


def test_a_market_that_is_no_longer_configured_is_told(
    p: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_MARKET__SYMBOLS", '["ETH/EUR"]')
    done = monitored(p, "--json")
    assert done.err == f"warning: {BTC.id} is not configured any more: it is not watched\n"
    assert done.data["reason"] == (
        "file:ETH/EUR:5m: nothing was served yet: cryptocast forecast --once"
    )


def test_one_market_that_is_not_known_makes_no_verdict_for_all(
    p: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_MARKET__SYMBOLS", '["ETH/EUR", "BTC/EUR"]')
    data = verdict(p)
    assert data["verdict"] == "healthy"
    assert data["reason"] == (
        "no sign of a decline in 1 market; "
        "file:ETH/EUR:5m: nothing was served yet: cryptocast forecast --once"
    )
    assert [m["verdict"] for m in data["markets"]] == ["unknown", "healthy"]


def test_a_bundle_that_is_gone_costs_only_the_drift(p: Path) -> None:
    shutil.rmtree(p / "bundles" / "2")
    data = verdict(p)
    assert (data["verdict"], data["drift"]) == ("healthy", [])


def test_a_median_that_is_the_last_price_but_for_rounding_is_no_direction(p: Path) -> None:
    change(p, "UPDATE forecast_sets SET last_close = last_close * (1 + 2e-9)")
    change(
        p,
        "UPDATE forecast_sets SET quantiles = list_transform(quantiles, lambda q, i:"
        " CASE WHEN i % 19 = 10 THEN last_close / (1 + 2e-9) ELSE q END)",
    )
    card = verdict(p)["scorecard"][0]
    assert (card["direction_accuracy"], card["break_even_fee_bp"]) == (None, None)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".csv.gz", ".json"])
def test_the_scorecard_is_exported(p: Path, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"card{suffix}"
    done = run("export", "scorecard", "--out", file, "-w", p, "--as-of", END)
    assert done.out.startswith(f"4 scorecard rows of 1 market in {file} (")
    readers = {".parquet": pl.read_parquet, ".json": pl.read_json}
    rows = readers.get(suffix, pl.read_csv)(file).to_dicts()
    cards = verdict(p)["scorecard"]
    assert len(rows) == len(cards) == 4
    for row, card in zip(rows, cards, strict=True):
        assert {k: row[k] for k in card} == pytest.approx(card, nan_ok=True)
        assert str(row["end"]).replace(" ", "T")[:19] == END[:19]


def test_a_scorecard_has_no_range_and_needs_outcomes(p: Path, w: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "x.csv", "--as-of", END, "--json")
    done = run("export", "scorecard", "-w", p, "--start", END, *out)
    assert (done.code, done.error["message"]) == (
        2, "a scorecard covers the last week: --start and --end don't go with it",
    )  # fmt: skip
    done = run("export", "scorecard", "-w", w, *out)
    assert (done.code, done.error["code"]) == (3, "state.no_outcomes")
    assert not (tmp_path / "x.csv").exists()


def gate(*skills: float | None) -> str:
    named = zip(("the random walk", "production version 1"), skills, strict=False)
    return json.dumps({"gate": [{"opponent": o, "shrunken": s} for o, s in named]})


def test_no_figure_is_nan_in_the_document(p: Path) -> None:
    def numbers(value: object) -> None:
        if isinstance(value, dict | list):
            for entry in value.values() if isinstance(value, dict) else value:
                numbers(entry)
        assert not isinstance(value, float) or math.isfinite(value)

    numbers(verdict(p))
