"""Paths are judged by what came: beside rivals, over all markets together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryptocast.dataset import lay_out
from cryptocast.paths import MarketPaths
from cryptocast.paths.rivals import RIVALS
from cryptocast.values import Candles, Market, ServedModel, iso
from cryptocast.workflows.evaluate import evaluate_paths
from cryptocast.workflows.futures import stored
from cryptocast.workflows.futures.judging import OURS, Judging, Rivals, Truth, table
from support.commands import LATER_BARS, NOW, good, query, run
from support.ticks import at

LEADS = 288
MARKET = Market("sim", "BTC", "EUR", "5m")
MODEL = ServedModel("1", "lstm", None)
SIZE = 0.001
RNG = np.random.default_rng(6)


def paths(count: int, size: float = SIZE) -> MarketPaths:
    walks = np.cumsum(size * RNG.standard_normal((count, LEADS)), axis=1)
    return MarketPaths(MARKET, 100.0, 0, MODEL, (0.05, 0.5, 0.95), "paths-5m", 100 * np.exp(walks))


def truth() -> Truth:
    closes = np.exp(np.cumsum(np.insert(SIZE * RNG.standard_normal(LEADS), 0, 0.0)))
    past = SIZE * RNG.standard_normal(8 * LEADS)
    return Truth(MARKET, past, closes, float(closes.max()), float(closes.min()))


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, float]]:
    """Rows of 16 days of two independent markets; our paths know the truth, but are too wide."""
    judged = []
    for day in range(16):
        ours, truths = [paths(150, 2 * SIZE), paths(150, 2 * SIZE)], [truth(), truth()]
        judging, rivals = Judging(day * 86_400, MARKET), Rivals(day * 86_400)
        for its_paths, its_truth in zip(ours, truths, strict=True):
            judging.add(rivals.beside(its_paths, its_truth), its_truth)
        judged.append(judging.result())
    return {row["entrant"]: row for row in table(judged)}


def test_every_entrant_has_a_row_and_gbm_is_the_measure(rows) -> None:  # type: ignore[no-untyped-def]
    assert set(rows) == {OURS, *RIVALS}
    assert rows["gbm"]["vs_gbm"] == rows["gbm"]["above"]["vs_gbm"] == 0.0
    assert all(row["origins"] == 16 and row["vs_gbm_error"] is not None for row in rows.values())
    assert (rows["gbm"]["first"], rows["gbm"]["last"]) == (iso(0), iso(15 * 86_400))


def test_paths_that_are_too_wide_lose_and_hold_too_much(rows) -> None:  # type: ignore[no-untyped-def]
    ours, gbm = rows[OURS], rows["gbm"]
    assert ours["vs_gbm"] > 0.05
    assert ours["energy_vs_gbm"] > 0.02
    assert ours["coverage90"]["5m"] > 0.98
    assert gbm["coverage90"]["5m"] == pytest.approx(0.9, abs=0.03)
    assert ours["touch"]["bias"] > 0.1  # too often said to be touched
    bins = ours["touch"]["reliability"]
    assert sum(b.n for b in bins) == 16 * 2 * 4


def test_highs_and_lows_of_the_day_after_are_known_and_gaps_make_an_origin_unfit() -> None:
    times = 300 * np.arange(LEADS + 20)
    close = 100 * np.exp(np.cumsum(SIZE * RNG.standard_normal(len(times))))
    candles = Candles.of(times, close, 1.002 * close, 0.997 * close, close)
    bars = lay_out(candles, MARKET, 0, 300 * len(times))
    known = Truth.of(bars, 20)
    assert known is not None
    assert known.high == pytest.approx(1.002 * close[20:].max() / close[19])
    assert known.low == pytest.approx(0.997 * close[20:].min() / close[19])
    assert known.closes[-1] == pytest.approx(close[-1] / close[19])
    assert Truth.of(bars, 21) is None  # its day is not over
    holes = candles.take(np.arange(len(times)) % 10 != 3)
    assert Truth.of(lay_out(holes, MARKET, 0, 300 * len(times)), 20) is None


def test_paths_of_stored_candles_are_judged_and_kept(
    w: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "_PATHS", 60)
    options = ("-w", w, "--as-of", iso(NOW + LATER_BARS * 300), "--days", "1.1")
    data = good("evaluate", "--paths", *options)
    assert [row["entrant"] for row in data["entrants"]] == [OURS, *RIVALS]
    assert data["entrants"][0]["origins"] == 2
    assert (data["versions"], data["markets"]) == (["2"], ["file:BTC/EUR:5m"])
    assert (data["in_sample"], data["skipped"], data["paths"]) == ([], 0, 60)
    ((detail,),) = query(w, "SELECT detail->>'paths' FROM events WHERE kind = 'paths'")
    assert detail == "60"
    shown = run("evaluate", "--paths", *options, "--version", "1").out
    assert "against gbm" in shown
    assert "cryptocast" in shown


@pytest.mark.parametrize(
    ("options", "exit_code", "message"),
    [
        (("--test-bars", "5"), 2, "--paths goes with one --version"),
        (("--version", "1", "--version", "2"), 2, "--paths goes with one --version"),
        (("--live",), 2, "--live goes with --days alone"),
        (("--version", "99"), 3, "99"),
        (("--days", "0.5"), 3, "paths reach a day ahead"),
        (("--start", iso(NOW + 400 * 86_400)), 2, "no candle opens"),
    ],
)
def test_what_cannot_be_judged_is_one_line(
    w: Path, options: tuple[str, ...], exit_code: int, message: str
) -> None:
    done = run("evaluate", "--paths", "-w", w, "--as-of", iso(NOW + 300), "--json", *options)
    assert (done.code, len(done.err.splitlines())) == (exit_code, 1), done.err
    assert message in done.error["message"]


def test_origins_whose_day_is_not_stored_are_no_judgement(w: Path) -> None:
    with (
        at(w, LATER_BARS + 400) as ws,
        pytest.raises(Exception, match="has a forecast of all markets") as raised,
    ):
        evaluate_paths(ws, start=NOW + 100 * 300)
    assert raised.value.exit_code == 3
