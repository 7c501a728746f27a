"""Calibration inside the tick: the scale of a set follows from the ledger and the candles alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from cryptocast.store import Store
from cryptocast.values import Market, iso
from cryptocast.workflows.replay import plan, replay
from support.commands import INTERVAL, NOW, candles, query
from support.ticks import (
    BTC,
    MARKETS,
    at,
    change,
    deploy,
    drop,
    origin,
    redenominate,
    sets,
    stored,
    ticked,
)

H, Q = 24, 19
LEAST, MOST = 0.4, 2.5
UP = [round(0.0145 / ((h**0.5) ** 0.5) ** 0.5, 6) for h in range(1, H + 1)]
DOWN = np.round(np.array(UP) * 0.1, 6).tolist()
BODY_UP = [round(0.002 / (h**0.5) ** 0.5, 6) for h in range(1, H + 1)]
BODY_DOWN = np.round(np.array(BODY_UP) * 0.5, 6).tolist()
INNER = 4  # the level 0.25
REACH = 1099 * INTERVAL  # what a tick looks at
MEMORY = 2016 * INTERVAL


def replayed(folder: Path, first: int, last: int, **settings: object) -> None:
    with at(folder, last, **settings) as ws:
        list(replay(ws, plan(ws, origin(first), origin(last))))


def slow_scales(
    folder: Path,
    market: Market = BTC,
    *,
    served: bool = True,
    shift: int = -9_999,
    end: int = 0,
    up: list[float] = UP,
    down: list[float] = DOWN,
) -> list[list[float]]:
    """The scale of each set of the ledger, from all sets and candles there are, one by one.

    Right where the sets were written in the order of their origins. What the bar `shift` parts
    from its origin counts nowhere. The range ends `end` levels before the outermost.
    """
    c = stored(folder, market)
    closes = dict(zip(c.open_time.tolist(), c.close.tolist(), strict=True))
    rows = query(
        folder,
        "SELECT model_version, epoch(origin)::BIGINT, stale_bars, quantiles FROM forecast_sets"
        f" WHERE market = '{market.id}' AND served = {served} ORDER BY origin",
    )
    found: list[list[float]] = []
    before: dict[str, list[tuple[int, int, list[float], list[float]]]] = {}
    for version, moment, stale, quantiles in rows:
        known = moment - stale * INTERVAL
        mine = before.setdefault(version, [])
        if not mine or mine[-1][0] < moment - MEMORY:
            scale = [1.0] * H
        else:
            scale = list(mine[-1][3])
            after = max(mine[-1][1], moment - REACH)
            for h in range(H):
                for made, _, prices, _ in mine:
                    target = made + (h + 1) * INTERVAL
                    actual = closes.get(target - INTERVAL)
                    if made <= origin(shift) < target:
                        continue
                    if after < target <= known and actual is not None:
                        inside = prices[h * Q + end] <= actual <= prices[h * Q + Q - 1 - end]
                        scale[h] += -down[h] if inside else up[h] - down[h]
                scale[h] = round(min(max(scale[h], LEAST), MOST), 6)
        found.append(scale)
        mine.append((moment, known, quantiles, scale))
    return found


def slow_bodies(folder: Path) -> list[list[float]]:
    """The same of the inner half."""
    return slow_scales(folder, end=INNER, up=BODY_UP, down=BODY_DOWN)


def scales(folder: Path, where: str = "served") -> list[list[float]]:
    return [scale for (scale,) in sets(folder, "scale", where)]


def bodies(folder: Path) -> list[list[float]]:
    return [body for (body,) in sets(folder, "body")]


def test_the_first_set_of_a_version_is_not_widened(w: Path) -> None:
    ticked(w, 1)
    assert scales(w) == [[1.0] * H]


def test_every_scale_follows_from_the_ledger_and_the_candles(w: Path) -> None:
    drop(w, [*range(30, 33), 50, 52, 54])
    replayed(w, 1, 200)
    found = scales(w)
    assert found == slow_scales(w)
    assert np.ptp(found, axis=0).min() > 0.02
    assert bodies(w) == slow_bodies(w)
    assert np.ptp(bodies(w), axis=0).min() > 0.005


def test_ticks_one_by_one_follow_it_too(w: Path) -> None:
    drop(w, [5, 6])
    ticked(w, *range(1, 16))
    found = scales(w)
    assert found == slow_scales(w)
    assert found[-1][0] != 1.0
    assert found[14][13] != 1.0
    assert found[14][14] == 1.0  # no target of step 15 has come
    assert bodies(w) == slow_bodies(w)
    assert any(body != 1.0 for body in bodies(w)[14])


def test_ticks_a_replay_and_a_backfill_give_the_same_bits(w: Path) -> None:
    others = [Path(shutil.copytree(w, w.parent / name)) for name in ("replay", "backfill")]
    ticked(w, *range(1, 13))
    replayed(others[0], 1, 12)
    ticked(others[1], 1, 12)
    columns = "bar, quantiles::VARCHAR, scale::VARCHAR, body::VARCHAR"
    assert sets(others[0], columns) == sets(w, columns)
    assert sets(others[1], columns, "bar < 12") == sets(w, columns, "bar < 12")


def test_without_its_own_past_a_market_keeps_the_inner_half_as_the_model_has_it(w: Path) -> None:
    other = Path(shutil.copytree(w, w.parent / "other"))
    replayed(w, 1, 60)
    replayed(other, 1, 60, calibration__own_past=False)
    assert bodies(other) == [[1.0] * H] * 60
    assert scales(other) == slow_scales(other)
    (((mine,), (its,))) = (sets(folder, "quantiles", "bar = 60") for folder in (w, other))
    outer, inner = [0, Q - 1], [INNER, Q - 1 - INNER]
    mine, its = (np.reshape(of, (H, Q)) for (of,) in (mine, its))
    np.testing.assert_array_equal(mine[:, outer], its[:, outer])  # one does not move the other
    assert (mine[:, inner] != its[:, inner]).all()


def test_outcomes_in_another_unit_move_no_scale_and_the_shift_is_told_once(w: Path) -> None:
    redenominate(w, 40, 1_000)
    replayed(w, 1, 60)
    ticked(w, *range(61, 66))
    assert scales(w) == slow_scales(w, shift=40)
    columns = (
        "epoch(\"at\")::BIGINT, market, detail->>'bar', round((detail->>'factor')::DOUBLE, -2)"
    )
    assert query(w, f"SELECT {columns} FROM events WHERE kind = 'level_shift'") == [
        (origin(52), BTC.id, iso(origin(40)), 1_000)
    ]


def test_each_market_has_its_own(w: Path) -> None:
    replayed(w, 1, 100, market__symbols=["BTC/EUR", "ETH/EUR"])
    for market in MARKETS[:2]:
        mine = scales(w, f"market = '{market.id}'")
        assert mine == slow_scales(w, market)
    assert scales(w, "market LIKE '%BTC%'") != scales(w, "market LIKE '%ETH%'")


def test_the_widening_is_about_the_median_of_what_the_model_says(w: Path) -> None:
    other = Path(shutil.copytree(w, w.parent / "other"))
    replayed(w, 1, 60)
    replayed(other, 1, 60, calibration__enabled=False)
    ((wide, scale, body, last),) = sets(w, "quantiles, scale, body, last_close", "bar = 60")
    ((raw, none, _),) = sets(other, "quantiles, scale, last_close", "bar = 60")
    assert none is None
    wide, raw = (np.log(np.reshape(q, (H, Q)) / last) for q in (wide, raw))
    median = raw[:, [9]]
    share = np.clip((np.abs(np.arange(19) - 9) - 5) / 4, 0, 1) ** 2
    scale, body = np.array(scale)[:, None], np.array(body)[:, None]
    stretched = median + body ** (1 - share) * scale**share * (raw - median)
    np.testing.assert_allclose(wide, stretched, atol=2e-8)
    assert np.abs(np.array(scale) - 1).max() > 0.005


def test_a_newest_candle_that_comes_late_is_learned_from_a_tick_later(w: Path) -> None:
    whole = stored(w)
    ticked(w, *range(1, 6))
    drop(w, [5])
    ticked(w, 6)
    with Store(w / "cryptocast.duckdb", 60).write() as writer:
        writer.put_candles(BTC, whole, provenance="live", fetched_at=NOW)
    ticked(w, 7)
    found = scales(w)
    assert found[5] == found[4]  # at the sixth origin nothing was known that the fifth did not know
    moved = round((found[6][0] - found[5][0]) / DOWN[0], 6)
    assert moved in (-2, 8, 18)  # two outcomes of step 1: both inside, one, none
    assert sets(w, "stale_bars") == [(0,)] * 5 + [(1,), (0,)]
    assert found == slow_scales(w)


def test_another_version_starts_without_a_widening(w: Path) -> None:
    ticked(w, *range(1, 8))
    deploy(w, "1", "2")
    ticked(w, *range(8, 12))
    assert scales(w)[7] == bodies(w)[7] == [1.0] * H
    assert bodies(w)[6] != [1.0] * H
    assert scales(w)[6] != [1.0] * H
    deploy(w, "2", "1")
    ticked(w, 12, 13)
    assert sets(w, "model_version")[10:] == [("1",), ("2",), ("2",)]
    # Back again it goes on from where it was, with what became known meanwhile of its own sets.
    assert scales(w) == slow_scales(w)
    assert bodies(w) == slow_bodies(w)
    assert scales(w)[11] != [1.0] * H


def test_a_version_that_has_not_served_for_a_week_starts_again(w: Path) -> None:
    ticked(w, 1, 2, 3)
    two_weeks = candles(bars=3 * 2016 + 10)
    with Store(w / "cryptocast.duckdb", 60).write() as writer:
        writer.put_candles(BTC, two_weeks, provenance="live", fetched_at=NOW)
    ticked(w, 3 + 2016, loop__backfill_missed=False)
    assert scales(w)[-1] != [1.0] * H
    assert scales(w) == slow_scales(w)
    ticked(w, 3 + 2016 + 2017, loop__backfill_missed=False)
    assert scales(w)[-1] == [1.0] * H
    assert scales(w) == slow_scales(w)


def test_a_stand_in_has_a_scale_of_its_own_and_production_goes_on(w: Path) -> None:
    drop(w, range(20, 26))
    replayed(w, 1, 40)
    versions = [version for (version,) in sets(w, "model_version")]
    assert set(versions) == {"2", "builtin:random_walk"}
    assert scales(w) == slow_scales(w)
    assert scales(w)[versions.index("builtin:random_walk")] == [1.0] * H


def test_switched_off_there_is_no_scale_and_on_again_it_goes_on_from_none(w: Path) -> None:
    ticked(w, *range(1, 6))
    ticked(w, 6, calibration__enabled=False)
    assert scales(w)[5] is None
    ticked(w, 7)
    moved = np.round((np.array(scales(w)[6]) - 1) / np.array(DOWN), 6)
    assert set(moved[:2]) <= {-1.0, 9.0}  # one outcome of each step that has one
    assert (moved[6:] == 0).all()


def test_a_candle_that_is_revised_later_rewrites_no_scale(w: Path) -> None:
    ticked(w, *range(1, 6))
    before = sets(w, "bar, quantiles::VARCHAR, scale::VARCHAR")
    change(w, f"UPDATE candles SET close = low WHERE epoch(open_time) > {origin(1)}")
    ticked(w, 6)
    assert sets(w, "bar, quantiles::VARCHAR, scale::VARCHAR", "bar < 6") == before
