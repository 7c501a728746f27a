"""The benchmarks count right: what they measure is recorded in benchmarks/results."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from cryptocast import dataset
from cryptocast.config import Settings
from cryptocast.values import Candles, FloatArray, Market
from support.commands import ended, start_loaded

BENCHMARKS = Path(__file__).parent / "benchmarks"
LEVELS = Settings().model.levels
BARS = 6000


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A part of a benchmark by its name: they are scripts, and import each other so."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def track(eras: Any, moves: FloatArray) -> Any:
    """A track of bars with these log-returns."""
    close = 100 * np.exp(np.cumsum(moves))
    times = 300 * np.arange(1_000_000, 1_000_000 + len(moves))
    market = Market.of("BTC/EUR", "file", "5m")
    candles = Candles.of(times, close, close, close, close, np.ones(len(moves)))
    bars = dataset.lay_out(candles, market, int(times[0]), int(times[-1]) + 300)
    made = dataset.compute(bars)
    features = made.values.astype(np.float32)
    return eras.Track("sim_BTC-EUR.parquet", "1979", bars, features, made.sigma)


def test_the_walk_in_hindsight_is_as_good_as_who_made_the_prices(part: Any) -> None:
    eras, random = part("eras"), np.random.default_rng(0)
    variance, moves, volatility = 1e-6, [], []
    for shock in random.normal(size=BARS):
        volatility.append(np.sqrt(variance))
        moves.append(volatility[-1] * shock)
        variance = 0.9 * variance + 0.1 * (0.95 * moves[-1] ** 2 + 0.05e-6)
    made = track(eras, np.array(moves))
    rows = made.judged(every=1)[:-24]
    forecast = eras.Hindsight.of(made, rows).forecast(made)
    walked = eras.crps(forecast(rows), made.targets(rows))[:, 0] * made.sigma[rows]
    ratios = np.array(moves)[rows + 1] / np.array(volatility)[rows + 1]
    truth = eras.crps(stats.norm.ppf(LEVELS) * np.ones((len(rows), 1, 1)), ratios[:, None])[:, 0]
    best = np.mean(truth * np.array(volatility)[rows + 1])
    assert np.mean(walked) == pytest.approx(best, rel=0.01)
    usual = eras.crps(stats.norm.ppf(LEVELS) * np.ones((len(rows), 1, 1)), made.targets(rows))
    assert np.mean(walked) < np.mean(usual[:, 0] * made.sigma[rows])


def test_the_yardstick_learns_in_its_first_week_and_forecasts_from_then_on(part: Any) -> None:
    eras = part("eras")
    made = track(eras, np.random.default_rng(0).normal(size=BARS) * 1e-3)
    rows = np.array([500, 2014, 2015, 4500, BARS - 1])
    losses = eras.yardstick(made, rows)
    np.testing.assert_array_equal(np.isfinite(losses).sum(axis=1), [0, 0, 24, 24, 0])
    normal = stats.norm.ppf(LEVELS) * np.ones((len(rows), 1, 1))
    best = eras.crps(normal, made.targets(rows)) * made.sigma[rows, None]
    assert losses[3, 0] == pytest.approx(best[3, 0], rel=0.1)


def test_each_era_is_scored_by_what_was_learned_from_the_others(part: Any) -> None:
    lab, seen = part("lab"), []
    eras = part("eras")
    made = [track(eras, np.random.default_rng(i).normal(size=BARS) * 1e-3) for i in range(2)]
    tracks = [dataclasses.replace(t, file=f"{i}", era=str(i)) for i, t in enumerate(made)]
    mine = lab.Lab(Path(), "5m")
    vars(mine)["tracks"] = tracks

    def learn(learned: Any) -> Any:
        seen.append([each.era for each in learned])
        return lambda track, peers: (
            lambda rows: stats.norm.ppf(LEVELS) * np.ones((len(rows), 24, 1))
        )

    found = mine.score(learn)
    assert list(found) == ["0", "1"]
    assert seen == [["1"], ["0"]]
    assert np.abs(found["0"].skill()).max() < 0.02


def test_the_standard_error_of_weeks_of_one_size_is_that_of_their_mean(part: Any) -> None:
    sums = part("sums")
    weekly = np.random.default_rng(0).normal(size=20)
    left_out = np.array([np.delete(weekly, week).mean() for week in range(20)])
    assert sums.jackknife(left_out) == pytest.approx(weekly.std(ddof=1) / np.sqrt(20))


def test_a_block_is_a_week_of_all_series_and_every_series_weighs_the_same(part: Any) -> None:
    eras = part("eras")
    origin = 7 * 86_400 * np.array([10, 10, 11, 12])
    small, large = np.full((4, eras.HORIZON), 1.0), np.full((4, eras.HORIZON), 100.0)
    sums = part("sums").Sums.of([(origin, 0.5 * small, small), (origin, 0.9 * large, large)])
    assert sums.walk.shape == (3, 2, eras.HORIZON)
    np.testing.assert_allclose(sums.skill(), 0.3)
    np.testing.assert_allclose(sums.left_out(), 0.3)
    assert part("sums").told(sums.left_out(), sums.skill()) == ("+30.00 (0.00)", "+30.00 (0.00)")


def test_weeks_alike_weigh_a_wild_week_as_a_calm_one_once_the_profile_is_whole(part: Any) -> None:
    sums = part("sums")
    day, weeks = np.arange(7), np.arange(8)
    origin = 86_400 * (7 * (10 + weeks[:, None]) + day).ravel()[:-5]  # of the last week two days
    walk = np.repeat([1.0, 1, 1, 1, 1, 1, 99, 1], 7)[:-5, None] * np.ones(24)
    gain = np.repeat([0.9, 0.9, 0.9, 0.9, 0.9, 0.1, 0.3, 0.9], 7)[:-5, None]
    whole = sums.Sums.of([(origin, walk * (1 - gain), walk)])
    assert whole.skill()[0] > 0.29
    np.testing.assert_allclose(whole.weeks_alike().skill(), (0.1 + 0.3) / 2)


def test_years_name_an_era(part: Any) -> None:
    era = part("eras").era
    assert era(1_514_764_800, 1_546_300_800) == "2018"
    assert era(1_606_780_800, 1_626_480_000) == "2020-21"


def test_ranges_twice_too_narrow_hold_their_share_once_calibrated(part: Any) -> None:
    ranges = part("ranges")
    targets = np.random.default_rng(0).normal(size=(8000, 24))
    high = np.full(targets.shape, stats.norm.ppf(0.95) / 2)
    missed = ranges.calibrated(targets, -high, high)[2000:]
    np.testing.assert_allclose(missed.mean(axis=0), 0.1, atol=0.01)


def test_every_pair_weighs_the_same_and_coins_of_a_week_are_left_out_together(part: Any) -> None:
    skills = part("skills")
    market = Market.of("BTC/EUR", "file", "5m")
    pair, later = (
        part("pairs").Pair(Path("sim_BTC-EUR.parquet"), market, "1979", week * 604_800)
        for week in (0, 1)
    )
    walk = np.random.default_rng(0).uniform(1, 2, (576, 24))
    walk[-1, 1:] = np.nan
    scored = [
        skills.Scored(each, {"random_walk": size * walk, "other": size * share * walk}, {})
        for each, size, share in ((pair, 1.0, 0.5), (pair, 50.0, 0.9), (later, 2.0, 0.7))
    ]
    found = skills.skill(scored, "other")
    np.testing.assert_allclose(found.steps, 0.3)
    np.testing.assert_allclose(found.left_out, np.repeat([[0.3], [0.3]], 24, axis=1))
    assert found.cells() == ["+30.00 (0.00)"] * 5
    assert found.less(found).cells() == ["+0.00 (0.00)"] * 5


def test_tables_go_between_their_marks(
    part: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = part("record")
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    page = tmp_path / "x.md"
    page.write_text("a\n<!-- x -->\nold\n<!-- end of x -->\nb\n", encoding="utf-8")
    record.record("x", "new")
    assert page.read_text() == "a\n<!-- x -->\nnew\n<!-- end of x -->\nb\n"
    with pytest.raises(SystemExit, match=r"y\.md has no place for the tables: <!-- y -->"):
        record.record("y", "new")


def test_a_row_is_a_ratio_of_what_was_measured_in_the_same_rounds(part: Any) -> None:
    rows, summary = part("rows"), part("processes").Summary
    mine, floor = summary((1.0, 4.0, 2.0), 30.0), summary((0.5, 1.0, 2.0), 20.0)
    row = rows.timed("a tick", mine, "the floor", floor, 2.0)
    assert (row.ratio, row.ok) == (2.0, True)
    assert row.budget == "at most 2 x the floor 1.000 s (min 0.500)"
    assert rows.timed("a tick", mine, "the floor", floor, 1.9).ok is False
    held = rows.sized("memory", "MiB", mine.mebibytes, "the floor", floor.mebibytes, 1.6)
    assert (held.measured, held.budget) == ("30 MiB", "at most 1.6 x the floor (20 MiB)")
    faster = rows.Row("a tick: speed", "9 x", "the speed of imports", 9.0, 10.0, at_least=True)
    assert (faster.ok, faster.budget) == (False, "at least 10 x the speed of imports")
    text = rows.markdown([row, faster])
    assert "| at most 2 x the floor 1.000 s (min 0.500) | 2.00 | ok |" in text
    assert "OVER" in text


def test_growth_is_the_exponent_between_the_largest_counts(part: Any) -> None:
    rows, summary = part("rows"), part("processes").Summary
    found = [summary((1.0,), 100.0), summary((1.5,), 100.0), summary((15.0,), 1000.0)]
    time, memory = rows.grows("a tick", (1, 10, 100), found, 1.1)
    assert (round(time.ratio, 9), round(memory.ratio, 9), time.ok) == (1.0, 1.0, True)
    assert time.budget == "at most 1.1 x growth in proportion to 1, 10, 100"
    assert memory.measured == "100, 100, 1000 MiB"
    assert next(rows.grows("a tick", (1, 10), found[1:], 0.9)).ok is False


@pytest.mark.parametrize("name", ["accuracy", "ablation", "speed"])
def test_every_page_of_results_has_a_place_for_its_tables(name: str) -> None:
    page = (BENCHMARKS / "results" / f"{name}.md").read_text(encoding="utf-8")
    assert page.count(f"<!-- {name} -->\n") == page.count(f"<!-- end of {name} -->") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="its processes are forked")
def test_hostile_files_names_settings_and_servers_find_nothing(tmp_path: Path) -> None:
    script = "import runpy, sys; sys.argv.pop(0); runpy.run_path(sys.argv[0], {}, '__main__')"
    options = ("--seed", "45", "--cases", "5")  # one of each kind
    kept = {"TMPDIR": str(tmp_path)}
    done = ended(start_loaded(BENCHMARKS / "hostile", *options, script=script, environ=kept))
    assert (done.code, done.err) == (0, ""), done.out
    assert done.out.startswith("cases: ")
    assert list(tmp_path.iterdir()) == []
