from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptocast import calibration, dataset
from cryptocast.calibration import HIGHEST, LOWEST, Ranges, TargetOutcomes
from cryptocast.values import Candles
from support.synthetic import BAR, LEVELS, START

H = 24
MEDIAN = LEVELS.index(0.5)
SHARE = calibration.share_outside(LEVELS)
INNER = LEVELS.index(0.25)
SLOW = np.round(0.002 / np.arange(1, H + 1) ** 0.25, 6)
NORMAL = np.array(  # the standard normal's quantiles at LEVELS
    [-1.6449, -1.2816, -1.0364, -0.8416, -0.6745, -0.5244, -0.3853, -0.2533, -0.1257, 0]
)
NORMAL = np.concatenate([NORMAL, -NORMAL[-2::-1]])
VOLATILITY = 1e-3
UNIT = VOLATILITY * np.sqrt(np.arange(1, H + 1))

seeds = st.integers(0, 2**32 - 1)


def walk(n: int, seed: int, gaps: tuple[int, ...] = ()) -> Candles:
    """The candles of n bars of a random walk without drift; those in `gaps` are missing."""
    close = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, VOLATILITY, n)))
    all_of_them = Candles.of(START + BAR * np.arange(n), close, close, close, close)
    return all_of_them.take(~np.isin(np.arange(n), gaps))


def follow(
    candles: Candles,
    n: int,
    too_wide: float,
    *,
    tails: float = 1.0,
    missed_ticks: tuple[int, ...] = (),
) -> tuple[np.ndarray, np.ndarray, TargetOutcomes]:
    """Serve n origins as ticks do, each from the ledger before it.

    Return scales and bodies [n + 1, H], and the counts. The model's quantiles are `too_wide` times
    as far apart as they should be, those outside the inner half `tails` times that.
    """
    model = too_wide * UNIT[:, None] * NORMAL * np.where(np.abs(NORMAL) > 0.7, tails, 1.0)
    bounds = np.full((4, n + 1, H), np.nan)
    scales, bodies = np.ones((n + 1, H)), np.ones((n + 1, H))
    counts = np.zeros((3, H), dtype=np.int64)
    origins = START + BAR * np.arange(1, n + 2)
    served: list[int] = []
    scale, body, last = calibration.fresh(H), calibration.fresh(H), int(origins[0])
    for i, origin in enumerate(origins.tolist()):
        if i in missed_ticks:
            scales[i], bodies[i] = scale, body
            continue
        recent = np.array(served[-H:], dtype=np.int64)
        ranges = laid_out(origins[recent], *bounds[:, recent])
        found = calibration.outcomes(ranges, candles, BAR, horizon=H, after=last, until=origin)
        scale = calibration.advance(scale, found.known, found.missed, SHARE)
        body = calibration.advance_body(body, found.known, found.beyond, LEVELS)
        close = candles.close[np.searchsorted(candles.open_time, origin) - 1]
        prices = close * np.exp(calibration.widen(model, scale, body, LEVELS))
        scales[i], bodies[i] = scale, body
        bounds[:, i] = prices[:, [0, -1, INNER, -1 - INNER]].T
        counts += [found.known, found.missed, found.beyond]
        served.append(i)
        last = origin
    return scales, bodies, TargetOutcomes(*counts)


def laid_out(origins: np.ndarray, *bounds: np.ndarray) -> Ranges:
    """The ranges [S, H] of sets as one row a target."""
    sets, horizon = bounds[0].shape
    steps = np.tile(np.arange(1, horizon + 1), sets)
    return Ranges(np.repeat(origins, horizon), steps, *(each.ravel() for each in bounds))


# --- the scale ---------------------------------------------------------------------------


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 10), seeds)
def test_outcomes_one_by_one_in_blocks_or_in_another_order_give_the_same_bits(
    outside: list[bool], blocks: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    scale = np.round(random.uniform(0.8, 1.5, H), 6)  # 60 outcomes reach no bound from there
    events = np.array(outside, dtype=np.int64)

    def after(parts: list[np.ndarray]) -> bytes:
        found = scale
        for part in parts:
            known, missed = np.full(H, len(part)), np.full(H, part.sum())
            found = calibration.advance(found, known, missed, SHARE)
        return found.tobytes()

    whole = after([events])
    assert after(np.array_split(events, blocks)) == whole
    assert after(np.split(events, len(events))) == whole
    assert after(np.split(random.permutation(events), len(events))) == whole


def test_many_markets_at_once_give_the_bits_of_each_alone() -> None:
    random = np.random.default_rng(0)
    scale = np.round(random.uniform(0.5, 2, (500, H)), 6)
    known = random.integers(0, 30, (500, H))
    missed = random.integers(0, known + 1)
    together = calibration.advance(scale, known, missed, SHARE)
    for one, *of_it in zip(together, scale, known, missed, strict=True):
        assert one.tobytes() == calibration.advance(*of_it, SHARE).tobytes()


@given(seeds)
def test_where_nothing_became_known_the_scale_stays_as_it_is(seed: int) -> None:
    scale = np.round(np.random.default_rng(seed).uniform(LOWEST, HIGHEST, H), 6)
    nothing = np.zeros(H, dtype=np.int64)
    assert calibration.advance(scale, nothing, nothing, SHARE).tobytes() == scale.tobytes()
    some = nothing.copy()
    some[3] = 1
    moved = calibration.advance(scale, some, nothing, SHARE) != scale
    np.testing.assert_array_equal(moved, (np.arange(H) == 3) & (scale > LOWEST))


def test_an_outcome_outside_widens_by_nine_times_what_one_inside_narrows() -> None:
    one, none = np.ones(H, dtype=np.int64), np.zeros(H, dtype=np.int64)
    wider = calibration.advance(calibration.fresh(H), one, one, SHARE) - 1
    narrower = 1 - calibration.advance(calibration.fresh(H), one, none, SHARE)
    assert wider == pytest.approx(9 * narrower, rel=2e-3)
    assert wider[0] == pytest.approx(0.9 * 0.0145)
    assert (np.diff(calibration.gains(H)) < 0).all()
    np.testing.assert_array_equal(calibration.gains(6), calibration.gains(H)[:6])


def test_the_scale_never_leaves_its_bounds() -> None:
    many = np.full(H, 10_000)
    none = np.zeros(H, dtype=np.int64)
    assert (calibration.advance(calibration.fresh(H), many, many, SHARE) == HIGHEST).all()
    assert (calibration.advance(calibration.fresh(H), many, none, SHARE) == LOWEST).all()


def test_the_share_outside_is_what_the_outermost_levels_leave() -> None:
    assert SHARE == 0.1
    assert calibration.share_outside((0.25, 0.5, 0.75)) == 0.5


# --- the quantiles -----------------------------------------------------------------------


@given(seeds, st.floats(LOWEST, HIGHEST), st.floats(LOWEST, HIGHEST), st.floats(-4, 5))
def test_widened_quantiles_rise_strictly_even_as_rounded_prices(
    seed: int, scale: float, body: float, magnitude: float
) -> None:
    random = np.random.default_rng(seed)
    narrowest = 0.01 * 1e-5  # what models keep between neighbours at the floor of sigma
    wider = 1 + random.lognormal(5, 3, (H, 19))
    gaps = narrowest * np.where(random.random((H, 19)) < 0.5, 1, wider)
    quantiles = np.cumsum(np.minimum(gaps, 0.05), axis=1)
    quantiles -= quantiles[:, [MEDIAN]] + random.normal(0, 1e-3)
    wide = calibration.widen(quantiles, np.full(H, scale), np.full(H, body), LEVELS)
    assert (np.diff(wide) > 0).all()
    assert (np.diff(dataset.to_prices(wide, 10**magnitude)) > 0).all()


@given(seeds)
def test_quantiles_move_about_their_median_and_at_scale_one_no_bit_of_them_does(seed: int) -> None:
    random = np.random.default_rng(seed)
    quantiles = np.sort(random.normal(size=(3, H, 19)), axis=-1)
    same = calibration.widen(quantiles, np.ones((3, H)), np.ones((3, H)), LEVELS)
    assert same.tobytes() == quantiles.tobytes()
    scale, body = random.uniform(LOWEST, HIGHEST, (2, 3, H))
    wide = calibration.widen(quantiles, scale, body, LEVELS)
    median, outer = quantiles[..., [MEDIAN]], [0, -1]
    np.testing.assert_array_equal(wide[..., [MEDIAN]], median)
    np.testing.assert_allclose(
        (wide - median)[..., outer], scale[..., None] * (quantiles - median)[..., outer], atol=1e-12
    )


@given(seeds)
def test_the_inner_half_moves_by_the_body_and_from_there_it_goes_over_to_the_scale(
    seed: int,
) -> None:
    scale, body = np.random.default_rng(seed).uniform(0.9, 1.3, (2, H))
    wide = calibration.widen(UNIT[:, None] * NORMAL, scale, body, LEVELS)
    factor = wide[:, MEDIAN + 1 :] / (UNIT[:, None] * NORMAL[MEDIAN + 1 :])
    np.testing.assert_allclose(factor[:, :5], np.tile(body[:, None], 5), rtol=1e-9)  # to 0.75
    np.testing.assert_allclose(factor[:, 6], body * (scale / body) ** 0.25, rtol=1e-6)  # 0.85
    np.testing.assert_allclose(factor[:, -1], scale, rtol=1e-9)


def test_where_narrowing_would_push_neighbours_together_all_move_alike() -> None:
    model = np.stack([NORMAL * VOLATILITY, np.arange(-9.0, 10) * 1e-7, NORMAL * VOLATILITY])
    scale = np.array([LOWEST, LOWEST, 0.97])  # the second as of a market that stands still
    wide = calibration.widen(model, scale, np.ones(3), LEVELS)
    np.testing.assert_allclose(wide[:2], LOWEST * model[:2], rtol=1e-12)
    some = [0, 9, 10]
    np.testing.assert_allclose(wide[2, some], model[2, some] * [0.97, 1, 1], rtol=1e-9)


@given(seeds)
def test_what_was_widened_can_be_undone(seed: int) -> None:
    random = np.random.default_rng(seed)
    quantiles = random.normal(0, 1e-4, (H, 1)) + UNIT[:, None] * NORMAL
    scale, body = random.uniform(0.9, 1.3, (2, H))
    wide = calibration.widen(quantiles, scale, body, LEVELS)
    plain = calibration.unwiden(wide, scale, body, LEVELS)
    np.testing.assert_allclose(plain, quantiles, atol=1e-14)


def test_levels_without_an_inner_half_have_a_scale_alone() -> None:
    for levels in ((0.25, 0.5, 0.75), (0.1, 0.5, 0.9), (0.5,)):
        assert calibration.inner_place(levels) is None
        body = calibration.advance_body(np.ones(2), np.ones(2, int), np.ones(2, int), levels)
        np.testing.assert_array_equal(body, np.ones(2))
    quantiles = np.array([[-3.0, 0, 3], [-2.0, 0, 2]])
    wide = calibration.widen(quantiles, np.array([1.5, 0.5]), np.ones(2), (0.1, 0.5, 0.9))
    np.testing.assert_allclose(wide, quantiles * [[1.5], [0.5]], rtol=1e-12)
    assert calibration.inner_place(LEVELS) == INNER
    assert calibration.inner_place((0.1, 0.3, 0.5, 0.7, 0.9)) == 1


# --- the outcomes ------------------------------------------------------------------------


@given(seeds, st.integers(0, 30), st.integers(0, 40), st.integers(0, 40))
def test_outcomes_are_those_that_a_slow_loop_counts(
    seed: int, sets: int, after_bar: int, until_bar: int
) -> None:
    random = np.random.default_rng(seed)
    candles = walk(50, seed, tuple(random.integers(0, 50, random.integers(0, 60)).tolist()))
    bars = np.sort(random.choice(45, sets, replace=False))
    centre = 100 * np.exp(random.normal(0, 5e-3, (sets, 6)))
    inner = centre * 0.999, centre * 1.001
    origins, low, high = START + BAR * bars, centre * 0.997, centre * 1.003
    ranges = laid_out(origins, low, high, *inner)
    after, until = START + BAR * after_bar, START + BAR * until_bar
    found = calibration.outcomes(ranges, candles, BAR, horizon=6, after=after, until=until)

    closes = dict(zip(candles.open_time.tolist(), candles.close.tolist(), strict=True))
    known, missed, beyond = [0] * 6, [0] * 6, [0] * 6
    for s, h in np.ndindex(sets, 6):
        target = int(origins[s]) + (h + 1) * BAR
        if after < target <= until and (close := closes.get(target - BAR)) is not None:
            known[h] += 1
            missed[h] += not low[s, h] <= close <= high[s, h]
            beyond[h] += not inner[0][s, h] <= close <= inner[1][s, h]
    assert found.known.tolist() == known
    assert found.missed.tolist() == missed
    assert found.beyond.tolist() == beyond


def test_a_close_on_the_edge_of_its_range_lies_inside() -> None:
    candles = walk(1, seed=0)
    edge = candles.close[:, None]
    for low, high, outside in (
        (edge, edge + 1, 0),
        (edge - 1, edge, 0),
        (np.nextafter(edge, 200), edge + 1, 1),
        (edge - 1, np.nextafter(edge, 0), 1),
    ):
        ranges = laid_out(np.array([START]), low, high, low, high)
        found = calibration.outcomes(
            ranges, candles, BAR, horizon=1, after=START, until=START + BAR
        )
        assert (found.known.tolist(), found.missed.tolist()) == ([1], [outside])
        assert found.beyond.tolist() == [outside]


def test_a_missing_candle_is_no_outcome_and_a_later_target_is_none_yet() -> None:
    bounds = np.full((1, 4), 200.0), np.full((1, 4), 300.0)
    everything = laid_out(np.array([START]), *bounds, *bounds)
    gap = walk(4, seed=0, gaps=(1,))
    found = calibration.outcomes(
        everything, gap, BAR, horizon=4, after=START, until=START + 3 * BAR
    )
    assert found.known.tolist() == found.missed.tolist() == [1, 0, 1, 0]


# --- what it is for ----------------------------------------------------------------------


@pytest.mark.parametrize("too_wide", [1 / 1.5, 1.0, 1.5])
def test_the_coverage_comes_to_its_level_within_the_bound_of_the_theory(too_wide: float) -> None:
    n = 4032  # 14 days
    scales, bodies, counts = follow(walk(n + 2, seed=3), n, too_wide)
    share = counts.missed / counts.known
    gains = calibration.gains(H)
    bound = (HIGHEST - LOWEST) / (gains * counts.known)
    assert (np.abs(share - SHARE) <= bound).all()
    assert ((scales > LOWEST) & (scales < HIGHEST)).all()
    exact = (scales[-1] - 1) / (gains * counts.known)
    np.testing.assert_allclose(share - SHARE, exact, atol=1e-4)
    # Of a model that is wrong by half, coverage is 73 or 99 %; after two days it was learned.
    assert scales[-1500:].mean(axis=0) * too_wide == pytest.approx(1, abs=0.2)
    assert (np.abs(share - SHARE) < 0.03).all()
    # Half of the outcomes lie in the inner half, which learns more slowly.
    half = counts.beyond / counts.known
    np.testing.assert_allclose(half - 0.5, (bodies[-1] - 1) / (SLOW * counts.known), atol=2e-3)
    assert bodies[-1].mean() * too_wide == pytest.approx(1, abs=0.1)


def test_tails_that_are_too_thin_widen_the_outer_range_and_leave_the_inner_half_alone() -> None:
    n = 2016
    scales, bodies, _ = follow(walk(n + 2, seed=4), n, 1.0, tails=0.8)
    assert scales[-500:].mean() > 1.12
    assert bodies[-500:].mean() == pytest.approx(1, abs=0.05)


def test_missed_ticks_and_missing_candles_only_leave_out_what_was_never_served() -> None:
    n, gone = 600, tuple(range(200, 240))
    candles = walk(n + 2, seed=5, gaps=(100, 101, 300))
    scales, _, counts = follow(candles, n, 1.0, missed_ticks=gone)
    whole, _, all_counts = follow(walk(n + 2, seed=5), n, 1.0)
    assert scales[:100].tobytes() == whole[:100].tobytes()
    # Every step of 40 origins, and the three candles of every step.
    assert all_counts.known - counts.known == pytest.approx(np.full(H, 43))
    assert ((scales > 0.6) & (scales < 1.6)).all()


def test_a_tick_from_the_ledger_alone_goes_on_as_if_nothing_had_stopped() -> None:
    """The state is the last served factors: a replay of the end from it gives the same bits."""
    n = 300
    candles = walk(n + 2, seed=8)
    scales, bodies, _ = follow(candles, n, 0.8)
    again, its, _ = follow(candles.take(slice(0, 252)), 250, 0.8)
    assert again.tobytes() == scales[:251].tobytes()
    assert its.tobytes() == bodies[:251].tobytes()
