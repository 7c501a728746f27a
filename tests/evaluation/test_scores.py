from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from cryptocast import schemas
from cryptocast.evaluation import Candidate, crps_bp, metrics, relative_crps, score
from cryptocast.evaluation.comparison import diebold_mariano, effective_n, wilson
from support.synthetic import LEVELS

N, H = 40, 4
MARKET_ID = "sim:BTC/EUR:5m"
RANDOM = np.random.default_rng(7)
MIDDLE = np.array(LEVELS) - 0.5

TARGETS = RANDOM.normal(size=(N, H)) * 1e-3
TARGETS[5, 2] = np.nan  # a candle that never came
TARGETS[6, 0] = 0.0  # a price that did not move
for step in range(1, H):
    TARGETS[N - step :, step] = np.nan  # the purge


def spread(width: float, shift: float = 0.0) -> np.ndarray:
    return np.broadcast_to(width * MIDDLE + shift, (N, H, len(LEVELS)))


CANDIDATES = [
    Candidate("lstm", "3", spread(3e-3, 1e-4) + RANDOM.normal(size=(N, H, 1)) * 1e-4),
    Candidate("random_walk", "4", spread(2.5e-3)),
    Candidate("random_walk", None, spread(2e-3)),
    Candidate("constant", None, spread(9e-3)),
]
TABLE = score(CANDIDATES, TARGETS, LEVELS, MARKET_ID)


def rows(model: str, version: str | None) -> list[dict[str, object]]:
    found = TABLE.filter(pl.col("model") == model, pl.col("version").eq_missing(version))
    return found.to_dicts()


def slow_crps(quantiles: np.ndarray, n: int, h: int) -> float:
    y = TARGETS[n, h]
    return 1e4 * float(
        np.mean([2 * max(q * (y - f), (q - 1) * (y - f))
                 for q, f in zip(LEVELS, quantiles[n, h], strict=True)])
    )  # fmt: skip


def test_the_table_has_the_columns_of_its_schema() -> None:
    assert TABLE.schema == schemas.SCORES
    assert schemas.check(TABLE, schemas.SCORES) is TABLE


def test_there_is_a_row_for_all_steps_and_one_for_each() -> None:
    for candidate in CANDIDATES:
        found = rows(candidate.model, candidate.version)
        assert [row["step"] for row in found] == [None, 1, 2, 3, 4]
        assert {row["market"] for row in found} == {MARKET_ID}


def test_the_number_of_scores_falls_by_one_with_each_step() -> None:
    missing = [0, 0, 1, 0]
    found = [row["n"] for row in rows("lstm", "3")]
    steps = [N - step - gone for step, gone in enumerate(missing)]
    assert found == [sum(steps), *steps]


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda c: f"{c.model} {c.version}")
def test_each_figure_is_that_of_a_slow_loop(candidate: Candidate) -> None:
    walk, constant = CANDIDATES[2].quantiles, CANDIDATES[3].quantiles
    for row in rows(candidate.model, candidate.version):
        steps = range(H) if row["step"] is None else [int(str(row["step"])) - 1]
        pairs = [(n, h) for n in range(N) for h in steps if not math.isnan(TARGETS[n, h])]
        crps, of_walk, of_constant = (
            float(np.mean([slow_crps(q, n, h) for n, h in pairs]))
            for q in (candidate.quantiles, walk, constant)
        )
        error, naive, sides, in80, in90 = [], [], [], [], []
        for n, h in pairs:
            y, quantiles = TARGETS[n, h], candidate.quantiles[n, h]
            error.append(1e4 * abs(y - quantiles[9]))
            naive.append(1e4 * abs(y))
            if y != 0 and quantiles[9] != 0:
                sides.append(float((y > 0) == (quantiles[9] > 0)))
            in80.append(float(quantiles[1] <= y <= quantiles[17]))
            in90.append(float(quantiles[0] <= y <= quantiles[18]))
        assert row["crps_bp"] == pytest.approx(crps)
        assert row["mae_bp"] == pytest.approx(np.mean(error))
        assert row["relative_mae"] == pytest.approx(np.mean(error) / np.mean(naive))
        assert row["coverage80"] == pytest.approx(np.mean(in80))
        assert row["coverage90"] == pytest.approx(np.mean(in90))
        assert row["skill_vs_random_walk"] == pytest.approx(1 - crps / of_walk, abs=1e-12)
        assert row["skill_vs_constant"] == pytest.approx(1 - crps / of_constant, abs=1e-12)
        expected = pytest.approx(np.mean(sides)) if sides else None
        assert row["direction_accuracy"] == expected


def test_calibration_is_the_mean_distance_of_the_shares_below_from_their_levels() -> None:
    for row in rows("lstm", "3"):
        steps = range(H) if row["step"] is None else [int(str(row["step"])) - 1]
        pairs = [(n, h) for n in range(N) for h in steps if not math.isnan(TARGETS[n, h])]
        quantiles = CANDIDATES[0].quantiles
        off = [
            abs(np.mean([TARGETS[n, h] <= quantiles[n, h, i] for n, h in pairs]) - level)
            for i, level in enumerate(LEVELS)
        ]
        assert row["calibration"] == pytest.approx(np.mean(off))


def test_qlike_is_a_mean_over_what_is_scored() -> None:
    figures = metrics.qlike(CANDIDATES[0].quantiles, TARGETS, LEVELS)
    whole, first, *_ = rows("lstm", "3")
    assert whole["qlike"] == pytest.approx(np.nanmean(figures))
    assert first["qlike"] == pytest.approx(np.nanmean(figures[:, 0]))


def test_intervals_hold_their_estimates() -> None:
    for row in rows("lstm", "3") + rows("constant", None):
        assert row["skill_low"] < row["skill_vs_random_walk"] < row["skill_high"]
        if row["direction_accuracy"] is not None:
            assert row["direction_low"] < row["direction_accuracy"] < row["direction_high"]


def test_the_effective_number_is_of_the_difference_to_the_random_walk() -> None:
    loss, walk = (crps_bp(CANDIDATES[i].quantiles, TARGETS, LEVELS)[:, 1] for i in (0, 2))
    assert rows("lstm", "3")[2]["effective_n"] == pytest.approx(effective_n(walk - loss, 2))
    assert {row["effective_n"] for row in rows("random_walk", None)} == {None}


def test_what_overlaps_widens_the_interval_of_the_direction() -> None:
    # Two series with the same share of hits: in one of them 8 origins go the same way.
    runs = np.repeat(np.random.default_rng(3).permutation([1.0] * 30 + [-1.0] * 20), 8)
    mixed = np.random.default_rng(4).permutation(runs)
    middle = np.broadcast_to(1e-3 * MIDDLE + 1e-5, (400, 1, len(LEVELS)))
    widths = []
    for returns in (mixed, runs):
        four = [Candidate(c.model, c.version, middle) for c in CANDIDATES]
        table = score(four, returns[:, None] * 1e-3, LEVELS, MARKET_ID)
        low, high, share = table.select(
            "direction_low", "direction_high", "direction_accuracy"
        ).row(0)
        assert share == pytest.approx(0.6)
        widths.append(high - low)
    assert widths[0] == pytest.approx(0.08, abs=0.02)
    assert widths[1] > 1.5 * widths[0]


def test_hits_that_are_all_alike_count_as_often_as_targets_do_not_overlap() -> None:
    sure = np.broadcast_to(1e-4 * MIDDLE + 1e-3, (40, 2, len(LEVELS)))
    four = [Candidate(c.model, c.version, sure) for c in CANDIDATES]
    table = score(four, np.full((40, 2), 1e-3), LEVELS, MARKET_ID)
    first, second = table.filter(pl.col("step").is_not_null())["direction_low"][:2]
    assert (first, second) == pytest.approx((wilson(1, 40, 0.9)[0], wilson(1, 20, 0.9)[0]))


def test_fewer_origins_than_two_blocks_give_no_interval_of_the_skill() -> None:
    few = [Candidate(c.model, c.version, c.quantiles[:15]) for c in CANDIDATES]
    table = score(few, TARGETS[:15], LEVELS, MARKET_ID)
    found = table.filter(pl.col("version") == "3")
    # 15 origins: all steps and step 4 need blocks of 8, the others of at most 6.
    assert found["skill_low"].is_null().to_list() == [True, False, False, False, True]


def test_a_median_at_the_last_price_has_no_direction() -> None:
    assert {row["direction_accuracy"] for row in rows("random_walk", None)} == {None}
    assert {row["relative_mae"] for row in rows("random_walk", None)} == {1.0}


def test_the_p_value_of_a_step_is_against_the_random_walk() -> None:
    quantiles, walk = CANDIDATES[0].quantiles, CANDIDATES[2].quantiles
    for row in rows("lstm", "3")[1:]:
        h = int(str(row["step"])) - 1
        better = [
            slow_crps(walk, n, h) - slow_crps(quantiles, n, h)
            if not math.isnan(TARGETS[n, h])
            else math.nan
            for n in range(N)
        ]
        assert row["p_value"] == pytest.approx(diebold_mariano(np.array(better), h + 1))


def test_the_random_walk_is_not_compared_with_itself() -> None:
    assert {row["p_value"] for row in rows("random_walk", None)} == {None}
    assert all(row["p_value"] is not None for row in rows("random_walk", "4"))
    assert {row["skill_vs_random_walk"] for row in rows("random_walk", None)} == {0.0}


def test_where_nothing_is_scored_every_figure_is_null() -> None:
    table = score(CANDIDATES, np.full((N, H), np.nan), LEVELS, MARKET_ID)
    figures = table.select(pl.exclude("model", "version", "market", "step", "n"))
    assert table["n"].to_list() == [0] * len(table)
    assert figures.null_count().row(0) == (len(table),) * len(figures.columns)


def test_levels_without_the_ends_of_an_interval_give_no_coverage() -> None:
    levels = (0.25, 0.5, 0.75)
    three = [Candidate(c.model, c.version, c.quantiles[..., [4, 9, 14]]) for c in CANDIDATES]
    table = score(three, TARGETS, levels, MARKET_ID)
    assert table["coverage80"].null_count() == table["coverage90"].null_count() == len(table)


def test_each_step_counts_alike_in_the_relative_crps() -> None:
    baseline = np.array([[1.0, 100.0], [3.0, 300.0]])
    loss = baseline * np.array([0.5, 1.0])
    assert relative_crps(loss, baseline) == pytest.approx(0.75)
    loss[0, 0] = baseline[0, 0] = np.nan
    assert relative_crps(loss, baseline) == pytest.approx(0.75)


def test_a_step_that_was_never_scored_does_not_count() -> None:
    baseline = np.array([[1.0, np.nan], [3.0, np.nan]])
    assert relative_crps(baseline * 0.9, baseline) == pytest.approx(0.9)


def test_where_nothing_was_scored_there_is_no_relative_crps() -> None:
    nothing = np.full((3, 2), np.nan)
    assert math.isnan(relative_crps(nothing, nothing))
    assert math.isnan(relative_crps(np.empty((0, 2)), np.empty((0, 2))))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (TABLE.drop("n"), "column n is None, not Int64"),
        (TABLE.with_columns(pl.col("n").cast(pl.Int32)), "column n is Int32, not Int64"),
        (TABLE.with_columns(b=1, a=2), "unexpected columns: a, b"),
    ],
)
def test_a_frame_with_other_columns_is_a_bug_that_is_named(
    frame: pl.DataFrame, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        schemas.check(frame, schemas.SCORES)
