"""monitoring: sums that stay low while nothing changes, and rise when the forecasts do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from cryptocast.evaluation import monitoring
from cryptocast.evaluation.inputs import stability_index
from cryptocast.evaluation.monitoring import LOSS, NARROW, WIDE, Rule
from cryptocast.evaluation.scorecard import break_even_fee_bp, scorecard, window_figures
from cryptocast.evaluation.scores import Candidate, score
from cryptocast.values import FloatArray

LEVELS = tuple(round(0.05 * k, 2) for k in range(1, 20))
H = 6
MONTH = 30 * 288


def fan(sigma: FloatArray, width: float | FloatArray = 1.0) -> FloatArray:
    """[N, H, Q] a normal's quantiles, `width` times as wide as sigma * sqrt(step)."""
    unit = sigma[:, None] * np.sqrt(np.arange(1, H + 1))
    wide = np.broadcast_to(width, sigma.shape)[:, None]
    return np.asarray((unit * wide)[..., None] * stats.norm.ppf(LEVELS))


def world(n: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Sigma [N] and log-returns [N, H] of a random walk whose volatility wanders."""
    random = np.random.default_rng(seed)
    level = np.zeros(n + H)
    for bar in range(1, n + H):
        level[bar] = 0.98 * level[bar - 1] + 0.1 * random.normal()
    sigma = 1e-3 * np.exp(level)
    path = np.concatenate(([0.0], np.cumsum(sigma * random.normal(size=n + H))))
    targets = np.stack([path[k : n + k] - path[:n] for k in range(1, H + 1)], axis=1)
    return sigma[:n], targets


def run(served: FloatArray, walk: FloatArray, targets: FloatArray, **given: float) -> list[str]:
    """The tests that call it declined."""
    tests = monitoring.sequential_tests(
        served,
        walk,
        targets,
        LEVELS,
        np.arange(len(targets)),
        promise=given.get("promise", 0.0),
        false_alarm_bars=MONTH,
    )
    assert [test.name for test in tests] == ["loss", "narrow", "wide"]
    return [test.name for test in tests if test.verdict == "declined"]


def test_forecasts_that_are_right_are_not_called_declined() -> None:
    for seed in range(5):
        sigma, targets = world(2016, seed)
        assert run(fan(sigma), fan(sigma, 1.05), targets) == []


@pytest.mark.parametrize(("width", "name"), [(1.5, "wide"), (1 / 1.5, "narrow")])
def test_widths_that_no_longer_fit_are_found_within_12_hours(width: float, name: str) -> None:
    found = []
    for seed in range(20):
        sigma, targets = world(1000 + 144, seed)
        broken = np.where(np.arange(1144) < 1000, 1.0, width)
        found.append(name in run(fan(sigma, broken), fan(sigma), targets))
    assert np.mean(found) >= 0.9


def test_a_forecast_beyond_its_promise_is_found_by_its_loss() -> None:
    sigma, targets = world(2016, 1)
    off = fan(sigma) + 0.7 * sigma[:, None, None] * np.sqrt(np.arange(1, H + 1))[:, None]
    assert "loss" in run(off, fan(sigma), targets)
    assert "loss" in run(fan(sigma), fan(sigma), targets, promise=0.1)
    assert "loss" not in run(off, fan(sigma), targets, promise=-0.5)


def test_a_wild_market_that_surprises_the_walk_as_much_is_no_alarm() -> None:
    sigma, targets = world(2016, 2)
    calm = np.where(np.arange(2016) < 1950, sigma, sigma / 1.4)  # neither saw it coming
    assert run(fan(calm), fan(calm), targets) == []


def test_the_scale_of_prices_changes_nothing() -> None:
    sigma, targets = world(600, 3)
    one, other = (
        monitoring.sequential_tests(
            fan(k * sigma, 1.2),
            fan(k * sigma),
            k * targets,
            LEVELS,
            np.arange(600),
            promise=0.01,
            false_alarm_bars=MONTH,
        )
        for k in (1.0, 7.0)
    )
    for a, b in zip(one, other, strict=True):
        assert a.statistic == pytest.approx(b.statistic)


def test_since_is_the_bar_after_which_a_sum_began_to_rise() -> None:
    sigma, targets = world(1144, 0)
    broken = np.where(np.arange(1144) < 1000, 1.0, 1.8)
    bars = 5000 + np.arange(1144)
    given = {"promise": 0.0, "false_alarm_bars": MONTH}
    _, narrow, wide = monitoring.sequential_tests(
        fan(sigma, broken), fan(sigma), targets, LEVELS, bars, **given
    )
    assert wide.since is not None
    assert 5990 <= wide.since <= 6030
    assert narrow.since is None
    assert (wide.verdict, narrow.verdict) == ("declined", "healthy")
    assert wide.statistic <= 1.5 * wide.threshold


@pytest.mark.parametrize(
    ("statistic", "verdict"), [(0.0, "healthy"), (4.9, "healthy"), (5.0, "watch"), (10, "declined")]
)
def test_half_the_threshold_is_watch(statistic: float, verdict: str) -> None:
    assert monitoring.Test("loss", statistic, 10.0, None).verdict == verdict


def test_surprises_have_mean_zero_and_are_bounded() -> None:
    targets = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)[:, None]
    quantiles = np.broadcast_to(stats.norm.ppf(LEVELS), (20_000, 1, 19))
    found = monitoring.width_surprise(quantiles, targets, LEVELS)
    assert found.mean() == pytest.approx(0, abs=2e-3)
    assert found.max() == pytest.approx(2.5 - 0.7938, abs=1e-3)
    z = monitoring.width_surprise(quantiles[:3], np.array([[0.0], [1.0], [-2.0]]), LEVELS)
    usual = found.min() - np.abs(found - found.min()).min()
    assert z[:, 0] - usual == pytest.approx([0, 1, 2], abs=0.01)


def test_surprises_are_nan_without_an_outcome() -> None:
    quantiles = np.broadcast_to(stats.norm.ppf(LEVELS), (1, 2, 19))
    found = monitoring.width_surprise(quantiles, np.array([[0.3, np.nan]]), LEVELS)
    assert np.isfinite(found).tolist() == [[True, False]]


def test_an_outcome_counts_when_its_candle_has_closed() -> None:
    random = np.random.default_rng(0)
    bars = np.array([10, 11, 14, 20])
    values = random.normal(size=(4, 3))
    values[1, 0] = np.nan
    found = monitoring.by_bar(values, bars)
    for k in range(len(found)):
        here = [values[i, h] for i in range(4) for h in range(3) if bars[i] + h == 10 + k]
        known = [v for v in here if np.isfinite(v)]
        assert found[k] == pytest.approx(np.mean(known) if known else np.nan, nan_ok=True)
    assert len(found) == 13


def test_a_sum_is_pages_and_skips_what_is_not_there() -> None:
    series = np.array([1.0, np.nan, -5.0, 2.0, 2.0, 0.5])
    assert monitoring.cusum(series, 0.5).tolist() == [0.5, 0.5, 0, 1.5, 3, 3]
    assert monitoring.cusum(series, 0.5, 2.0).tolist() == [0.5, 0.5, 0, 1.5, 2, 2]


@pytest.mark.parametrize("rule", [LOSS, NARROW, WIDE])
@pytest.mark.parametrize("bars", [500.0, 26_000.0, 1e7])
def test_a_threshold_solves_siegmunds_equation(rule: Rule, bars: float) -> None:
    d = rule.allowance / rule.deviation
    b = monitoring.threshold(rule, bars) / rule.deviation + 1.166
    assert (math.exp(2 * d * b) - 2 * d * b - 1) / (2 * d**2) == pytest.approx(bars)


def test_independent_values_alarm_as_rarely_as_was_asked_for() -> None:
    rule, random = Rule(0.25, 1.0), np.random.default_rng(5)
    limit = monitoring.threshold(rule, 400)
    times = []
    for _ in range(300):
        sums = monitoring.cusum(random.normal(size=4000), rule.allowance)
        times.append(int(np.argmax(sums >= limit)) if (sums >= limit).any() else 4000)
    assert np.mean(times) == pytest.approx(400, rel=0.15)


def test_a_threshold_stays_above_nothing_however_often_alarms_may_come() -> None:
    assert monitoring.threshold(WIDE, 1.0) == WIDE.deviation


def test_drift_is_none_for_the_same_rows_and_grows_with_the_shift() -> None:
    random = np.random.default_rng(0)
    learned = random.normal(size=(4000, 3))
    now = random.normal(size=(2000, 3)) + np.array([0.0, 0.3, 2.0])
    same, little, much = stability_index(learned, now)
    assert stability_index(learned, learned) == pytest.approx([0, 0, 0])
    assert same < 0.02 < little < 0.25 < much


def test_drift_is_the_index_of_its_formula() -> None:
    random = np.random.default_rng(1)
    learned, now = random.normal(size=500), random.normal(0.5, 1, size=300)
    edges = np.concatenate(([-np.inf], np.quantile(learned, np.arange(1, 10) / 10), [np.inf]))
    p, q = (np.histogram(v, edges)[0] / len(v) for v in (now, learned))
    slow = sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert stability_index(learned[:, None], now[:, None]) == pytest.approx([slow])


def test_drift_of_a_constant_is_none_and_of_no_rows_unknown() -> None:
    constant = np.ones((50, 1))
    assert stability_index(constant, constant).tolist() == [0.0]
    assert np.isnan(stability_index(constant, constant[:0])).all()


def test_a_window_has_the_figures_of_the_scores() -> None:
    sigma, targets = world(300, 4)
    targets[:40, 2] = np.nan
    served, walk = fan(sigma, 1.1), fan(sigma)
    found = window_figures(served, walk, targets, LEVELS)
    named = {"served": served, "random_walk": walk, "constant": walk}
    candidates = [Candidate(name, None, quantiles) for name, quantiles in named.items()]
    table = score(candidates, targets, LEVELS, "m")
    rows = {row["step"]: row for row in table.to_dicts() if row["model"] == "served"}
    for name in ("n", "crps_bp", "coverage80", "coverage90"):
        assert getattr(found, name) == pytest.approx(rows[None][name])
    assert found.pit_distance == pytest.approx(rows[None]["calibration"])
    for step in found.steps:
        for name in ("n", "crps_bp", "coverage80", "coverage90", "skill_vs_random_walk"):
            assert getattr(step, name) == pytest.approx(rows[step.step][name])
    skills = [step.skill_vs_random_walk for step in found.steps]
    assert found.skill_vs_random_walk == pytest.approx(np.mean(skills))
    assert len(skills) == H


def test_bias_is_the_share_above_the_median_less_a_half() -> None:
    quantiles = np.broadcast_to(stats.norm.ppf(LEVELS), (4, 1, 19))
    targets = np.array([[1.0], [2.0], [0.0], [-1.0]])
    assert window_figures(quantiles, quantiles, targets, LEVELS).bias == 0.125


def test_a_window_without_outcomes_has_no_figures() -> None:
    sigma, targets = world(10, 0)
    found = window_figures(fan(sigma), fan(sigma), targets * np.nan, LEVELS)
    assert (found.n, found.crps_bp, found.skill_vs_random_walk, found.steps) == (0, None, None, ())


def test_the_break_even_fee_is_half_of_what_a_trade_gained() -> None:
    median = np.array([[1e-4], [-1e-4], [0.0], [1e-4]])
    targets = np.log(np.array([[1.01], [0.98], [1.5], [0.997]]))
    gained = (100 + 200 - 30) / 3
    assert break_even_fee_bp(median, targets) == pytest.approx(gained / 2)


def test_without_a_direction_there_is_neither_accuracy_nor_fee() -> None:
    sigma, targets = world(100, 0)
    first, last = scorecard(fan(sigma), targets, LEVELS, (1, 6, 12))
    assert (first.step, last.step, first.n) == (1, 6, 100)
    assert first.direction_accuracy is first.direction_low is first.break_even_fee_bp is None
    assert first.relative_mae == 1.0
    shifted = fan(sigma) + 1e-5
    (card,) = scorecard(shifted, targets, LEVELS, (1,))
    assert card.direction_accuracy == pytest.approx(np.mean(targets[:, 0] > 0))
    assert card.direction_low is not None
    assert card.direction_high is not None
    assert card.direction_low < card.direction_accuracy < card.direction_high
    assert card.break_even_fee_bp == pytest.approx(np.expm1(targets[:, 0]).mean() * 5000)
