"""simulate: whole paths that continue the served forecast, and the files that they go into."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cryptocast import paths
from cryptocast.candles import aggregate
from cryptocast.errors import CryptocastError
from cryptocast.paths import fitting
from cryptocast.paths.fitting import Adaptation
from cryptocast.values import FloatArray, iso
from cryptocast.workflows.forecast import tick
from cryptocast.workflows.simulate import simulate
from support.commands import NEXT, candles, good, query, run
from support.ticks import SYMBOLS, at, change, drop, origin, spoil_from

ENDINGS = ("parquet", "csv", "npz", "json")


@pytest.fixture
def served(w: Path) -> Path:
    """Three markets with a forecast at bar 1."""
    with at(w, 1, market__symbols=SYMBOLS) as ws:
        tick(ws, fetch=False)
    return w


def simulated(folder: Path, **options: object) -> FloatArray:
    """Prices [M, N, S]."""
    with at(folder, 1, market__symbols=SYMBOLS) as ws:
        return np.stack([one.prices for one in simulate(ws, **options).markets])  # type: ignore[arg-type]


def test_paths_have_the_quantiles_of_the_served_forecast(served: Path) -> None:
    with at(served, 1, market__symbols=SYMBOLS) as ws:
        simulation = simulate(ws)
        with ws.store.read() as reader:
            sets = reader.ledger.newest(ws.markets(), ws.clock.now())
    assert (simulation.origin, simulation.paths, simulation.steps) == (origin(1), 1000, 288)
    assert len(simulation.markets) == 3
    for one in simulation.markets:
        forecast = sets[one.market]
        logs = np.log(forecast.quantiles / forecast.last_close)
        own = np.log(one.prices / one.last_close)
        spread = np.ptp(logs, axis=1)[:, None] / 3.29  # of a normal's 5 % to 95 %
        error = np.quantile(own[:, :24], forecast.levels, axis=0).T - logs
        assert np.abs(error / spread).max() < 1e-3
        assert one.model == forecast.model


def test_markets_move_together_and_one_alone_has_the_paths_that_it_has_among_others(
    served: Path,
) -> None:
    joint = simulated(served)
    days = np.log(joint[:, :, -1])
    assert np.corrcoef(days)[0, 1] > 0.3
    assert (simulated(served, symbols=("ETH/EUR",))[0] == joint[1]).all()


def test_fewer_paths_and_a_nearer_horizon_are_the_beginning_of_many(served: Path) -> None:
    few, many = simulated(served, count=3, horizon="2h"), simulated(served)
    assert few.shape == (3, 3, 24)
    assert np.allclose(few, many[:, :3, :24], rtol=1e-8)
    assert (simulated(served, seed=1) != many).any()


def test_later_candles_change_no_path(served: Path) -> None:
    before = simulated(served)
    spoil_from(served, 1)
    assert (simulated(served) == before).all()


@pytest.mark.parametrize("ending", ENDINGS)
def test_asked_again_it_writes_the_same_bytes(served: Path, tmp_path: Path, ending: str) -> None:
    first, again = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    for file in (first, again):
        options = ("-w", served, "--as-of", NEXT, "--paths", "20", "--horizon", "1h")
        data = good("simulate", *options, "--out", file)
        assert data["file"]["bytes"] == file.stat().st_size
    assert first.read_bytes() == again.read_bytes()


def test_every_file_holds_all_paths_and_what_they_rest_on(served: Path, tmp_path: Path) -> None:
    files = {ending: tmp_path / f"p.{ending}" for ending in ENDINGS}
    for file in files.values():
        options = ("--as-of", NEXT, "--paths", "5", "--horizon", "30m", "--out", file)
        good("simulate", "-w", served, *options)
    arrays = np.load(files["npz"], allow_pickle=False)
    prices = arrays["prices"][0]
    assert prices.shape == (5, 6)
    assert (str(arrays["library"]), str(arrays["model"][0])) == ("paths-5m", "2")
    table = pl.read_parquet(files["parquet"])
    assert (table["price"].to_numpy().reshape(5, 6) == prices).all()
    assert table["target_time"][0].timestamp() == origin(2)
    assert set(table["library"]) == {"paths-5m"}
    rows = pl.read_csv(files["csv"])
    assert (rows["price"].to_numpy() == table["price"].to_numpy()).all()
    assert rows["origin"][0] == iso(origin(1))
    document = json.loads(files["json"].read_text())
    assert document["markets"][0]["paths"] == prices.tolist()
    assert (document["origin"], document["library"]) == (iso(origin(1)), "paths-5m")
    assert document["markets"][0]["model"] == "2"


def test_the_league_gets_whole_paths_of_few_digits(served: Path, tmp_path: Path) -> None:
    file = tmp_path / "synth.json"
    options = ("--as-of", NEXT, "--paths", "7", "--format", "synth", "--out", file)
    good("simulate", "-w", served, *options)
    start, step, *rows = json.loads(file.read_text())
    assert (start, step, len(rows)) == (origin(1), 300, 7)
    assert {len(row) for row in rows} == {289}
    assert {row[0] for row in rows} == {rows[0][0]}
    for price in rows[3]:
        assert float(f"{price:.8g}") == price > 0


def test_the_answer_says_what_it_rests_on(served: Path) -> None:
    data = good("simulate", "-w", served, "--as-of", NEXT, "--paths", "50")
    assert data["origin"] == iso(origin(1))
    assert (data["paths"], data["steps"], data["seed"], data["file"]) == (50, 288, 0, None)
    assert data["library"]["name"] == "paths-5m"
    (market,) = data["markets"]
    assert market["model"] == {"version": "2", "kind": "lstm", "fallback": None}
    assert [row["step"] for row in market["steps"]] == [1, 12, 24, 72, 144, 288]
    shown = run("simulate", "-w", served, "--as-of", NEXT, "--paths", "50").out
    assert "50 paths of 288 steps from 2024-06-03T00:05:00Z, library paths-5m, seed 0" in shown


def test_a_market_whose_forecast_is_older_is_left_out_and_it_is_said(served: Path) -> None:
    with at(served, 2, market__symbols=SYMBOLS) as ws:
        tick(ws, fetch=False, symbols=("BTC/EUR", "SOL/EUR"))
        simulation = simulate(ws)
    assert [one.market.symbol for one in simulation.markets] == ["BTC/EUR", "SOL/EUR"]
    (warning,) = simulation.warnings
    assert warning.startswith("file:ETH/EUR:5m is left out: it has no forecast or too few candles")


def test_a_market_without_candles_is_left_out_and_alone_it_is_an_error(served: Path) -> None:
    change(served, "DELETE FROM candles WHERE market = 'file:ETH/EUR:5m'")
    with at(served, 1, market__symbols=SYMBOLS) as ws:
        assert len(simulate(ws).markets) == 2
        with pytest.raises(CryptocastError, match="ETH/EUR:5m has 0 candles before") as raised:
            simulate(ws, symbols=("ETH/EUR",))
    assert (raised.value.code, raised.value.exit_code) == ("state.not_enough_candles", 3)


def test_missing_candles_are_no_fault(served: Path) -> None:
    drop(served, range(-40, -3))
    assert np.isfinite(simulated(served)).all()


@pytest.mark.parametrize(
    ("options", "exit_code", "message"),
    [
        (("--paths", "0"), 2, "--paths"),
        (("--paths", "20001"), 2, "20001 paths cannot be made"),
        (("--horizon", "25h"), 2, "'25h' is not a horizon of paths"),
        (("--horizon", "7m"), 2, "'7m' is not a horizon of paths"),
        (("--horizon", "day"), 2, "'day' is not a horizon of paths"),
        (("--symbol", "XRP/EUR"), 2, "'XRP/EUR' is not a market of this workspace"),
        (("--out", "paths.txt"), 2, "names no format by its ending"),
        (("--format", "synth"), 2, "--format goes with --out"),
        (("--format", "xml", "--out", "a.json"), 2, "there is no format 'xml'"),
        (("--format", "synth", "--out", "a.csv"), 2, "names no format by its ending"),
        (("--weights", "BTC/EUR"), 2, "'BTC/EUR' is not a weight of a basket"),
        (("--weights", "BTC/EUR=0"), 2, "'BTC/EUR=0' is not a weight of a basket"),
        (("--weights", "BTC/EUR=nan"), 2, "'BTC/EUR=nan' is not a weight of a basket"),
        (("--weights", "BTC/EUR=1,BTC/EUR=2"), 2, "'BTC/EUR=2' is not a weight of a basket"),
        (("--weights", ""), 2, "'' is not a weight of a basket"),
        (("--weights", "XRP/EUR=1", "--shortfall", "0.1"), 2, "'XRP/EUR' is not a market of this"),
        ((), 3, "nothing has been forecast yet"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    exit_code: int,
    message: str,
) -> None:
    monkeypatch.chdir(workspace)
    before = {file.name for file in workspace.iterdir()}
    done = run("simulate", "-w", workspace, "--as-of", NEXT, "--json", *options)
    assert (done.code, len(done.err.splitlines())) == (exit_code, 1), done.err
    assert message in done.error["message"]
    assert {file.name for file in workspace.iterdir()} == before


def test_the_league_takes_one_market_at_a_time(served: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYPTOCAST_MARKET__SYMBOLS", json.dumps(SYMBOLS))
        options = ("-w", served, "--as-of", NEXT, "--format", "synth", "--out", tmp_path / "a.json")
        done = run("simulate", *options)
    assert done.code == 2
    assert done.err == (
        "error: the format synth holds one market, not 3 (choose one: --symbol BTC/EUR)\n"
    )


def test_candles_of_another_interval_have_no_paths(served: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYPTOCAST_MARKET__INTERVAL", "1h")
        done = run("simulate", "-w", served, "--as-of", NEXT, "--json")
    assert (done.code, done.error["code"]) == (3, "state.no_paths")
    assert done.error["message"].startswith("paths are made of candles of 5m and 15m, ")


def test_paths_of_15_minutes_are_a_day_of_96_steps(w: Path) -> None:
    coarse = aggregate(candles(), 300, 900)
    with at(w, 0, market__interval="15m") as ws:
        with ws.store.write() as writer:
            writer.put_candles(ws.markets()[0], coarse, provenance="imported", fetched_at=0.0)
        tick(ws, fetch=False)
        simulation = simulate(ws, count=300, horizon="24h")
        near = simulate(ws, count=300, horizon="45m")
        with pytest.raises(CryptocastError, match="'10m' is not a horizon of paths") as raised:
            simulate(ws, horizon="10m")
    assert raised.value.hint == "write 15m to 24h, in steps of 15 minutes: --horizon 24h"
    (one,) = simulation.markets
    assert (one.curve, simulation.library.name) == ("paths-15m", "paths-15m")
    assert (one.prices.shape, near.steps, simulation.step_seconds) == ((300, 96), 3, 900)


def test_questions_are_answered_on_the_screen_and_in_json(served: Path) -> None:
    options = ("simulate", "-w", served, "--as-of", NEXT, "--horizon", "2h")
    last = good(*options)["markets"][0]["last_close"]
    asked = (
        "--above",
        f"{last}",
        "--touch",
        f"{2 * last}",
        "--inside",
        f"{last / 2}",
        f"{2 * last}",
    )
    above, touch, inside = good(*options, *asked, "--by", iso(origin(13)))["answers"]
    assert (above["kind"], above["by"], above["prices"]) == ("above", iso(origin(13)), [last])
    assert 0.3 < above["probability"] < 0.7
    assert 0.014 < above["error"] < 0.017
    assert (touch["probability"], inside["probability"]) == (pytest.approx(0, abs=1e-9), 1.0)
    shown = run(*options, *asked).out
    assert "answer" in shown
    assert f"above {last:.9g}" in shown
    done = run(*options, "--above", "0", "--out", served / "never.csv")
    assert done.code == 2
    assert not (served / "never.csv").exists()


def test_a_basket_of_all_markets_is_asked_about_in_one_line(
    served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_MARKET__SYMBOLS", json.dumps(SYMBOLS))
    weights = "BTC/EUR=0.5,ETH/EUR=0.3,SOL/EUR=0.2"
    options = ("simulate", "-w", served, "--as-of", NEXT, "--horizon", "2h")
    asked = ("--weights", weights, "--quantile", "0.05", "--shortfall", "0.05", "--touch", "1.0")
    touch, quantile, shortfall = good(*options, *asked)["answers"]
    assert {answer["market"] for answer in (touch, quantile, shortfall)} == {weights}
    assert shortfall["value"] < quantile["value"] < 1
    assert quantile["change"] == pytest.approx(quantile["value"] - 1)
    assert touch["probability"] == 1.0
    joint = simulated(served, horizon="2h")
    worth = np.tensordot([0.5, 0.3, 0.2], joint[:, :, -1] / closes(served)[:, None], 1)
    assert quantile["value"] == pytest.approx(np.quantile(worth, 0.05))
    assert re.search(rf"shortfall 0.05 +{iso(origin(25))} ", run(*options, *asked).out)


def closes(folder: Path) -> FloatArray:
    """The last closes [M] that the paths of three markets start from."""
    with at(folder, 1, market__symbols=SYMBOLS) as ws:
        return np.array([one.last_close for one in simulate(ws, count=1).markets])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--weights", "BTC/EUR=1"), "--weights goes with a question"),
        (("--by", iso(origin(2))), "--by goes with a question"),
        (("--above", "5", "--by", iso(origin(0))), "is not within the paths"),
        (("--shortfall", "0"), "--shortfall 0 cannot be told by 1000 paths"),
        (("--quantile", "0.0001"), "--quantile 0.0001 cannot be told by 1000 paths"),
    ],
)
def test_questions_that_cannot_be_answered_write_no_file(
    served: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    out = ("--out", tmp_path / "p.csv")
    done = run("simulate", "-w", served, "--as-of", NEXT, "--json", *options, *out)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert message in done.error["message"]
    assert not (tmp_path / "p.csv").exists()


def test_a_tick_keeps_a_summary_of_paths_only_if_it_is_asked_to(w: Path) -> None:
    rows = "SELECT market, detail FROM events WHERE kind = 'simulation'"
    with at(w, 1, market__symbols=SYMBOLS) as ws:
        tick(ws, fetch=False)
    assert query(w, rows) == []
    with at(w, 2, market__symbols=SYMBOLS, simulate__store=True) as ws:
        assert tick(ws, fetch=False).warnings == ()
        tick(ws, fetch=False)  # the same origin again: nothing new
        one = simulate(ws).markets[1]
    kept = dict(query(w, rows))
    assert len(kept) == len(query(w, rows)) == 3
    detail = json.loads(kept["file:ETH/EUR:5m"])
    assert (detail["origin"], detail["model"], detail["library"]) == (
        iso(origin(2)),
        "2",
        "paths-5m",
    )
    assert [row["step"] for row in detail["steps"]] == [1, 12, 24, 72, 144, 288]
    assert detail["steps"][-1]["quantiles"] == pytest.approx(one.quantiles(288), rel=1e-6)
    assert detail["highest"][9] > one.last_close > detail["lowest"][9]
    assert len(json.dumps(detail)) < 4000


def test_a_summary_that_cannot_be_kept_costs_a_warning(w: Path) -> None:
    with at(w, 1, simulate__store=True) as ws, pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "beside", lambda *_: paths.load(w))
        (warning,) = tick(ws, fetch=False).warnings
    assert warning.startswith("no summary of simulated paths is kept: the library of paths")


def wider(_: object, start: paths.ScaleCurve) -> Adaptation:
    """As if a market's moves were twice as large as the shared curve has them."""
    coefficients = start.coefficients.copy()
    coefficients[:, 0] += np.log(2)
    curve = dataclasses.replace(start, coefficients=coefficients)
    return Adaptation(curve, "its own is better on the newest 13 of 60 days", 0.02, 0.01)


def test_a_version_keeps_its_own_curve_from_training_to_paths(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "adapt_curve", wider)
    options = ("-w", workspace, "--as-of", NEXT)
    version = good("train", "--model", "random_walk", *options)["version"]
    frozen = workspace / "bundles" / version
    good("promote", version, "--force", "--reason", "wider", *options)
    text = (frozen / "curve.json").read_text()
    card, curve = json.loads((frozen / "card.json").read_text()), json.loads(text)
    assert card["paths"]["curve"] == "own"
    assert card["paths"]["reason"] == "its own is better on the newest 13 of 60 days"
    assert card["paths"]["curve_sha256"] == curve["sha256"]
    assert (curve["library"], curve["markets"]) == ("paths-5m", ["file:BTC/EUR:5m"])
    good("forecast", "--once", *options)
    (market,) = good("simulate", *options)["markets"]
    assert (market["model"]["version"], market["curve"]) == (version, f"version {version}")
    assert f"by version {version} (random_walk), own curve" in run("simulate", *options).out
    (frozen / "curve.json").write_text(text.replace("0.02", "0.03"))
    done = run("simulate", *options, "--json")
    assert (done.code, done.error["code"]) == (5, "model.paths_damaged")
    assert done.error["message"] == (
        f"the own curve of version {version} cannot be read: its hash is another"
    )
    (production,) = [
        check
        for check in run("doctor", *options, "--json").data["checks"]
        if check["name"] == "production"
    ]
    assert (production["status"], production["hint"]) == (
        "failed",
        f"cryptocast promote {version}",
    )
    good("promote", version, *options)
    assert (frozen / "curve.json").read_text() == text
    good("rollback", *options)
    assert not (workspace / "bundles" / "2" / "curve.json").exists()


def test_a_version_of_few_candles_says_that_it_rests_on_the_shared_curve(workspace: Path) -> None:
    card = json.loads((workspace / "bundles" / "2" / "card.json").read_text())["paths"]
    assert (card["curve"], card["library"]) == ("paths-5m", "paths-5m")
    assert card["library_sha256"] == paths.shipped().card.sha256
    assert card["reason"] == "5 days of candles, 60 are needed"


def test_simulating_loads_nothing_that_trains_or_draws() -> None:
    heavy = ("torch", "lightning", "mlflow", "optuna", "polars", "sklearn", "scipy", "matplotlib")
    look = "import sys, cryptocast; cryptocast.simulate; print([*sys.modules])"
    done = subprocess.run((sys.executable, "-c", look), capture_output=True, text=True, check=True)
    assert not [name for name in heavy if f"'{name}'" in done.stdout]
