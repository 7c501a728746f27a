"""Markets that misbehave, gaps and windows that do not fit: a decision, or one clear line."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cryptocast.cli.root.hints import as_typed
from cryptocast.values import Candles, iso
from support.commands import AS_OF, BARS, INTERVAL, NOW, candles, good, listing, query, run, write

DAYS, ROWS = 3, 864
INIT = ("--source", "file", "--trials", "1", "--days", str(DAYS), "--as-of", AS_OF)


def scaled(c: Candles, opening: float, rest: float, at: int) -> Candles:
    """From bar `at` on all prices are `rest` of what they were, its opening is `opening`."""
    later = np.arange(len(c)) >= at
    factor = np.where(later, rest, 1.0)
    first = np.where(np.arange(len(c)) == at, opening, factor)
    return dataclasses.replace(
        c,
        open=c.open * first,
        high=np.maximum(c.high * factor, c.open * first),
        low=c.low * factor,
        close=c.close * factor,
    )


def constant(c: Candles) -> Candles:
    flat = np.full(len(c), 100.0)
    return dataclasses.replace(c, open=flat, high=flat, low=flat, close=flat)


def few(c: Candles) -> Candles:
    """Some 30 windows in the training part, less than one batch of 256."""
    at = np.arange(len(c))
    return c.take((at < 100) | (at % 3 > 0) | (at > 300))


SPOILT: dict[str, tuple[Callable[[Candles], Candles], ...]] = {
    "constant prices": (constant,),
    "crashes of 40 %, where it learns and in the gate": (
        lambda c: scaled(c, 1.0, 0.6, 300),
        lambda c: scaled(c, 1.0, 0.6, 700),
    ),
    "volume of zero, and none": (
        lambda c: dataclasses.replace(c, volume=np.zeros(len(c))),
        lambda c: dataclasses.replace(c, volume=np.full(len(c), np.nan)),
    ),
    "gaps that leave few windows": (few,),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_market_that_misbehaves_gets_a_model_and_a_forecast(tmp_path: Path, how: str) -> None:
    symbols = ("BTC/EUR", "ETH/EUR")[: len(SPOILT[how])]
    for symbol, spoil in zip(symbols, SPOILT[how], strict=True):
        whole = candles(symbol, bars=BARS).take(slice(-ROWS, None))
        write(tmp_path / "files" / f"{symbol.replace('/', '-')}.parquet", spoil(whole))
    folder = tmp_path / "w"
    asked = [word for symbol in symbols for word in ("--symbol", symbol)]
    data = good("init", "-w", folder, "--path", tmp_path / "files", *asked, *INIT)
    decision = data["decision"]
    assert decision["promoted"] is True
    assert decision["model"] in ("lstm", "random_walk")
    assert "nan" not in decision["reason"]
    told = good("forecast", "--once", "-w", folder, "--as-of", AS_OF)["forecasts"]
    assert len(told) == len(symbols)
    model = {"version": decision["version"], "kind": decision["model"], "fallback": None}
    for one in told:
        assert one["model"] == model
        quantiles = np.array([step["quantiles"] for step in one["steps"]])
        assert (np.diff(quantiles, axis=1) > 0).all()
    if how == "constant prices":  # once more on the same candles nothing is better
        again = good("retrain", "-w", folder, "--as-of", AS_OF)["decision"]
        assert (again["promoted"], again["version"]) == (False, decision["version"])


def test_where_every_second_candle_is_missing_the_random_walk_serves(tmp_path: Path) -> None:
    whole = candles(bars=BARS)
    file = write(tmp_path / "BTC-EUR.parquet", whole.take(np.arange(BARS) % 2 == 1))
    folder = tmp_path / "w"
    options = ("--source", "file", "--trials", "1", "--as-of", AS_OF)
    data = good("init", "-w", folder, "--path", file, *options)
    decision = data["decision"]
    assert (decision["promoted"], decision["model"]) == (True, "random_walk")
    assert decision["reason"] == (
        "too many gaps for the lstm: the train part holds no whole window of 64 candles with an "
        "outcome"
    )
    assert data["tuning"] == {"trials": 0, "best": None, "value": None}
    (told,) = good("forecast", "--once", "-w", folder, "--as-of", AS_OF)["forecasts"]
    assert told["model"]["kind"] == "random_walk"
    refusals = [
        (("train",), 5, "model.no_windows", "there is no whole window to learn from"),
        (
            ("tune",),
            3,
            "state.no_windows",
            "the lstm cannot be tuned: no origin has a whole window and an outcome",
        ),
    ]
    for command, code, name, message in refusals:
        done = run(*command, "-w", folder, "--as-of", AS_OF, "--json")
        assert (done.code, done.error["code"], done.error["message"]) == (code, name, message)
        hint = "more [data] days in cryptocast.toml, then cryptocast fetch"
        assert done.error["hint"] == as_typed(hint)


def test_a_thinning_market_costs_no_production(workspace: Path) -> None:
    rows = "SELECT id, model_version, previous_version FROM deployments ORDER BY id"
    before = query(workspace, rows)
    bars = BARS + 700  # all of validation, gate and test lie where every second one is missing
    whole = candles(bars=bars)
    kept = (np.arange(bars) < BARS) | (np.arange(bars) % 2 == 1)
    file = write(workspace / "thin" / "BTC-EUR.parquet", whole.take(kept))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYPTOCAST_SOURCE__PATH", str(file))
        later = iso(NOW + 700 * INTERVAL)
        decision = good("retrain", "-w", workspace, "--as-of", later)["decision"]
    assert (decision["promoted"], decision["version"]) == (False, "2")
    assert decision["reason"] == (
        "version 3 is not promoted: only 0 unseen origins to judge by, 24 are needed; too many "
        "gaps for the lstm: the validation part holds no whole window of 64 candles with an outcome"
    )
    assert query(workspace, rows) == before


def test_windows_that_are_larger_than_the_data_leave_the_random_walk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_MODEL__HORIZON", "288")
    monkeypatch.setenv("CRYPTOCAST_MODEL__LOOKBACK", "512")
    file = write(tmp_path / "BTC-EUR.parquet", candles(bars=BARS).take(slice(-100, None)))
    folder = tmp_path / "w"
    decision = good("init", "-w", folder, "--path", file, *INIT)["decision"]
    assert (decision["promoted"], decision["model"]) == (True, "random_walk")
    assert decision["reason"] == "too few candles for the lstm: 1528 would suffice"
    (told,) = good("forecast", "--once", "-w", folder, "--as-of", AS_OF)["forecasts"]
    assert told["model"]["kind"] == "random_walk"
    assert len(told["steps"]) == 288
    done = run("train", "-w", folder, "--as-of", AS_OF, "--json")
    assert (done.code, done.error["code"]) == (3, "state.not_enough_candles")
    assert done.error["message"] == "the lstm needs 1528 candles, there are 100"


@pytest.mark.parametrize(
    ("levels", "hint"),
    [
        ("[0.0, 0.5, 1.0]", "must be at least 3 numbers between 0 and 1"),
        ("[-0.1, 0.5, 1.1]", "must be at least 3 numbers between 0 and 1"),
        ("[0.1, 0.5, NaN]", "must be at least 3 numbers between 0 and 1"),
    ],
)
def test_levels_outside_0_and_1_are_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, levels: str, hint: str
) -> None:
    monkeypatch.setenv("CRYPTOCAST_MODEL__LEVELS", levels)
    done = run("init", "-w", tmp_path / "w", *INIT, "--json")
    assert (done.code, done.error["code"]) == (2, "config.invalid")
    assert "model.levels" in done.error["message"]
    assert hint in done.error["hint"]
    assert listing(tmp_path) == set()
