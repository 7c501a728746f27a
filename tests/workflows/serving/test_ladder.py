"""Who answers a tick: production, the version before it, or the random walk that is built in."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from cryptocast import bundles
from cryptocast.bundles import Forecaster
from cryptocast.models import _graphs
from cryptocast.store import Store
from cryptocast.values import FloatArray, ForecastSet, ServedModel, Windows, iso
from cryptocast.workflows.forecast import tick
from cryptocast.workspace import Workspace
from support.commands import NOW, candles, run
from support.ticks import (
    BTC,
    SYMBOLS,
    at,
    change,
    drop,
    origin,
    quantiles_of,
    sets,
    tick_rows,
    ticked,
)

PRODUCTION = ServedModel("2", "lstm", None)
WALK = ("builtin:random_walk", "random_walk")


def served(folder: Path, bar: int = 1, **settings: object) -> ForecastSet:
    """What one tick serves for BTC."""
    (made,) = ticked(folder, bar, **settings).forecasts
    return made


def flip(folder: Path, version: str) -> None:
    """One wrong bit in the graph of a version."""
    graph = folder / "bundles" / version / "model.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(bytes(content))


def refreeze(folder: Path, version: str, /, **changes: object) -> None:
    """A bundle that is sound, of a model that is another one."""
    bundle = folder / "bundles" / version
    document = json.loads((bundle / "card.json").read_text(encoding="utf-8"))
    card = dataclasses.replace(bundles.from_document(document), **changes)
    bundles.freeze(bundle, card, (bundle / "model.onnx").read_bytes())


@dataclasses.dataclass(frozen=True)
class Spoilt:
    """A forecaster whose answers are bent."""

    honest: Forecaster
    bend: Callable[[FloatArray], FloatArray]

    def log_returns(self, windows: Windows) -> FloatArray:
        return self.bend(self.honest.log_returns(windows))


def bend(
    patch: pytest.MonkeyPatch, how: Callable[[FloatArray], FloatArray], *versions: str
) -> None:
    """Let versions give bent answers."""
    honest = Workspace.bundle

    def bundle(ws: Workspace, version: str) -> bundles.Bundle:
        found = honest(ws, version)
        if version not in versions:
            return found
        spoilt = Spoilt(found.forecaster, how)
        return dataclasses.replace(found, forecaster=spoilt)  # type: ignore[arg-type]

    patch.setattr(Workspace, "bundle", bundle)


def test_production_serves_without_a_label(w: Path) -> None:
    assert served(w).model == PRODUCTION
    assert tick_rows(w, "bar, status, detail") == [(1, "ok", None)]


def test_a_damaged_bundle_lets_the_version_before_serve_with_productions_reason(w: Path) -> None:
    flip(w, "2")
    report = ticked(w, 1)
    assert report.forecasts[0].model == ServedModel("1", "random_walk", "bundle_damaged")
    assert report.warnings == (
        "file:BTC/EUR:5m: served by 1 instead of production (bundle_damaged)",
    )
    assert tick_rows(w, "bar, status, detail") == [(1, "ok", "bundle_damaged")]


def test_two_damaged_bundles_leave_the_built_in_walk_with_productions_reason(w: Path) -> None:
    flip(w, "1")
    (w / "bundles" / "2" / "model.onnx").unlink()
    made = served(w)
    assert made.model == ServedModel(*WALK, "bundle_missing")
    assert (np.diff(made.quantiles) > 0).all()


def test_a_bundle_that_is_mended_serves_again_in_the_same_process(w: Path) -> None:
    graph = w / "bundles" / "2" / "model.onnx"
    whole = graph.read_bytes()
    flip(w, "2")
    with at(w) as ws:
        assert tick(ws, fetch=False).forecasts[0].model.fallback == "bundle_damaged"
        graph.write_bytes(whole)
        ws.clock.sleep_until(origin(2))
        assert tick(ws, fetch=False).forecasts[0].model == PRODUCTION


def test_another_versions_files_do_not_serve_under_this_ones_name(w: Path) -> None:
    shutil.rmtree(w / "bundles" / "2")
    shutil.copytree(w / "bundles" / "1", w / "bundles" / "2")
    assert served(w).model == ServedModel("1", "random_walk", "bundle_damaged")


def test_another_graph_than_the_deployed_one_does_not_serve_however_sound_its_card(
    w: Path,
) -> None:
    document = json.loads((w / "bundles" / "2" / "card.json").read_text(encoding="utf-8"))
    card = bundles.from_document(document)
    graph = _graphs.Graph(card.lookback).constant(_flat(card))
    bundles.freeze(w / "bundles" / "2", card, graph)
    assert served(w).model == ServedModel("1", "random_walk", "bundle_damaged")
    done = run("doctor", "-w", w, "--as-of", iso(origin(1)), "--json")
    (check,) = [c for c in done.data["checks"] if c["name"] == "production"]
    assert (check["status"], check["hint"]) == ("failed", "cryptocast promote 2")
    assert check["detail"].endswith("bundles/2 holds another model than version 2")


def _flat(card: bundles.Card) -> FloatArray:
    return np.tile(np.array(card.levels) - 0.5, (card.horizon, 1))


def _renamed_everywhere(graph: bytes, old: str, new: str) -> bytes:
    model = onnx.load_from_string(graph)
    for value in (*model.graph.input, *model.graph.output):
        value.name = new if value.name == old else value.name
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]
    return bytes(model.SerializeToString())


def _of_rank_2(graph: bytes) -> bytes:
    model = onnx.load_from_string(_renamed_everywhere(graph, "quantiles", "deep"))
    model.graph.node.append(onnx.helper.make_node("Flatten", ["deep"], ["quantiles"]))
    model.graph.output[0].CopyFrom(
        onnx.helper.make_tensor_value_info("quantiles", onnx.TensorProto.FLOAT, None)
    )
    return bytes(model.SerializeToString())


UNRUNNABLE: dict[str, Callable[[bundles.Card], bytes]] = {
    "another input": lambda card: _renamed_everywhere(_sound(card), "inputs", "x"),
    "another output": lambda card: _renamed_everywhere(_sound(card), "quantiles", "q"),
    "another lookback": lambda card: _graphs.Graph(card.lookback + 1).constant(_flat(card)),
    "fewer steps": lambda card: _graphs.Graph(card.lookback).constant(_flat(card)[:1]),
    "fewer levels": lambda card: _graphs.Graph(card.lookback).constant(_flat(card)[:, :-1]),
    "another rank": lambda card: _of_rank_2(_sound(card)),
}


def _sound(card: bundles.Card) -> bytes:
    return _graphs.Graph(card.lookback).constant(_flat(card))


@pytest.mark.parametrize("fault", UNRUNNABLE)
def test_a_graph_that_is_read_but_cannot_be_run_is_a_damaged_bundle(w: Path, fault: str) -> None:
    change(w, "UPDATE deployments SET scores = '{}'")  # as an older program has written them
    card = bundles.load(w / "bundles" / "2").card
    bundles.freeze(w / "bundles" / "2", card, UNRUNNABLE[fault](card))
    assert served(w).model == ServedModel("1", "random_walk", "bundle_damaged")


@pytest.mark.parametrize(
    "changes",
    [
        {"lookback": "64"},
        {"lookback": 10**12},
        {"lookback": -1},
        {"lookback": True},
        {"data_end": "2024"},
        {"data_end": None},
        {"levels": "0.5"},
        {"levels": (0.5, "0.6")},
        {"horizon": 2.5},
        {"features": (1, 2)},
        {"markets": (None,)},
        {"kind": 7},
        {"version": 2},
        {"version": "02"},
        {"params": "none"},
        {"context_bars": [1]},
    ],
    ids=str,
)
def test_a_card_of_other_types_is_a_damaged_bundle(w: Path, changes: dict[str, object]) -> None:
    refreeze(w, "2", **changes)
    assert served(w).model == ServedModel("1", "random_walk", "bundle_damaged")


def _one(value: float) -> Callable[[FloatArray], FloatArray]:
    def change(quantiles: FloatArray) -> FloatArray:
        bent = quantiles.copy()
        bent[:, 5, 3] = value
        return bent

    return change


def _crossing(quantiles: FloatArray) -> FloatArray:
    bent = quantiles.copy()
    bent[:, -1, [8, 9]] = bent[:, -1, [9, 8]]
    return bent


def _touching(quantiles: FloatArray) -> FloatArray:
    bent = quantiles.copy()
    bent[:, 0, 4] = bent[:, 0, 5]
    return bent


NOT_SANE = {
    "not a number": _one(np.nan),
    "infinite": _one(np.inf),
    "a hundred times too wide": lambda quantiles: 100 * quantiles,
    "a hundred times too narrow": lambda quantiles: quantiles / 100,
    "crossing": _crossing,
    "touching": _touching,
}


@pytest.mark.parametrize("how", NOT_SANE.values(), ids=NOT_SANE)
def test_an_answer_that_is_not_sane_is_not_served(
    w: Path, monkeypatch: pytest.MonkeyPatch, how: Callable[[FloatArray], FloatArray]
) -> None:
    bend(monkeypatch, how, "2")
    made = served(w)
    assert made.model == ServedModel("1", "random_walk", "output_not_sane")
    assert np.isfinite(made.quantiles).all()


def test_where_no_version_is_sane_the_built_in_walk_serves(
    w: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bend(monkeypatch, _one(np.nan), "1", "2")
    assert served(w).model == ServedModel(*WALK, "output_not_sane")


def test_the_reason_is_productions_not_that_of_the_version_before(
    w: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip(w, "2")
    bend(monkeypatch, _one(np.nan), "1")
    assert served(w).model == ServedModel(*WALK, "bundle_damaged")


@pytest.mark.parametrize("factor", [0.2, 5.0])
def test_an_unusual_width_is_still_served(
    w: Path, monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    bend(monkeypatch, lambda quantiles: factor * quantiles, "2")
    assert served(w).model == PRODUCTION


def test_one_market_that_is_not_sane_costs_the_others_nothing(
    w: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def second(quantiles: FloatArray) -> FloatArray:
        bent = quantiles.copy()
        bent[1] = np.nan
        return bent

    bend(monkeypatch, second, "2")
    report = ticked(w, 1, market__symbols=list(SYMBOLS))
    assert [made.model.fallback for made in report.forecasts] == [None, "output_not_sane", None]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"levels": (0.25, 0.5, 0.75)}, "settings_mismatch"),
        ({"horizon": 12}, "settings_mismatch"),
        ({"features": ("return", "range")}, "features_mismatch"),
        ({"context_bars": 400}, "features_mismatch"),
        ({"interval": "1h"}, "interval_mismatch"),
        ({"format": 99}, "bundle_format"),
    ],
)
def test_a_model_of_another_world_does_not_serve(
    w: Path, changes: dict[str, object], reason: str
) -> None:
    refreeze(w, "2", **changes)
    assert served(w).model == ServedModel("1", "random_walk", reason)


def test_other_settings_are_served_by_the_built_in_walk_in_their_own_shape(w: Path) -> None:
    made = served(w, model__levels=[0.1, 0.3, 0.5, 0.7, 0.9], model__horizon=5)
    assert made.model == ServedModel(*WALK, "settings_mismatch")
    assert made.quantiles.shape == (5, 5)
    assert made.levels == (0.1, 0.3, 0.5, 0.7, 0.9)


@pytest.mark.parametrize(("gone", "fallback"), [(3, None), (4, "stale_data")])
def test_a_newest_candle_that_is_too_old_is_a_reason(
    w: Path, gone: int, fallback: str | None
) -> None:
    drop(w, range(20 - gone, 20))
    made = served(w, 20)
    assert (made.stale_bars, made.model.fallback) == (gone, fallback)
    assert made.model.version == ("2" if fallback is None else WALK[0])


@pytest.mark.parametrize(("gone", "fallback"), [(16, None), (17, "missing_bars")])
def test_more_than_a_quarter_of_a_lookback_missing_is_a_reason(
    w: Path, gone: int, fallback: str | None
) -> None:
    # Every other bar of the 64 before the origin, the newest one there.
    drop(w, [98 - 2 * k for k in range(gone)])
    made = served(w, 100)
    assert (made.stale_bars, made.model.fallback) == (0, fallback)


def test_what_a_version_learned_from_is_asked_of_it_at_no_origin_before(w: Path) -> None:
    refreeze(w, "2", data_end=origin(3))
    ticked(w, 1, 2, 3, 4)
    assert sets(w, "bar, model_version, fallback") == [
        (1, "1", "learned_later"),
        (2, "1", "learned_later"),
        (3, "2", None),
        (4, "2", None),
    ]


def test_fewer_than_24_candles_are_told_with_exit_3(w: Path) -> None:
    drop(w, range(-2016, -22))
    done = run("forecast", "--once", "--no-fetch", "-w", w, "--as-of", iso(origin(1)), "--json")
    assert (done.code, done.error["code"]) == (3, "state.not_enough_candles")
    assert done.error["message"] == (
        f"file:BTC/EUR:5m has 23 candles before {iso(origin(1))}, at least 24 are needed"
    )
    assert sets(w, "bar") == []
    assert tick_rows(w, "bar, status, error_code") == [(1, "failed", "state.not_enough_candles")]


def test_24_candles_are_enough_for_the_built_in_walk(w: Path) -> None:
    drop(w, range(-2016, -23))
    assert served(w).model == ServedModel(*WALK, "missing_bars")


def test_candles_further_back_than_the_features_look_are_not_counted(w: Path) -> None:
    drop(w, range(-1000, 0))  # 99 of the 1,099 bars before the origin are left, and then 20
    made = served(w)
    assert made.model.fallback == "missing_bars"
    drop(w, range(-1200, -1000))
    with pytest.raises(Exception, match="has 2 candles before"):
        ticked(w, 2)


# Many markets at once.


def test_one_call_of_the_model_serves_all_markets(w: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    honest = Forecaster.__call__

    def counted(self: Forecaster, inputs: FloatArray) -> FloatArray:
        shapes.append(inputs.shape[0])
        return honest(self, inputs)

    monkeypatch.setattr(Forecaster, "__call__", counted)
    report = ticked(w, 1, market__symbols=list(SYMBOLS))
    assert shapes == [3]
    assert [made.market.symbol for made in report.forecasts] == list(SYMBOLS)


def test_together_the_markets_get_what_each_would_get_alone(w: Path, stocked: Path) -> None:
    together = ticked(w, 1, market__symbols=list(SYMBOLS))
    for symbol, row in zip(SYMBOLS, quantiles_of(together), strict=True):
        alone = Path(shutil.copytree(stocked, w.parent / symbol.replace("/", "-")))
        assert quantiles_of(ticked(alone, 1, market__symbols=[symbol])).tolist() == [row.tolist()]


def test_one_market_without_candles_harms_no_other(w: Path) -> None:
    symbols = ["BTC/EUR", "XRP/EUR", "ETH/EUR"]
    report = ticked(w, 1, market__symbols=symbols)
    assert report.new is True
    assert [made.market.symbol for made in report.forecasts] == ["BTC/EUR", "ETH/EUR"]
    assert report.warnings == (
        "file:XRP/EUR:5m: file:XRP/EUR:5m has 0 candles before "
        f"{iso(origin(1))}, at least 24 are needed (cryptocast fetch)",
    )
    assert sorted(tick_rows(w, "market, status")) == [
        ("file:BTC/EUR:5m", "ok"),
        ("file:ETH/EUR:5m", "ok"),
        ("file:XRP/EUR:5m", "failed"),
    ]


def test_a_repeated_tick_is_no_error_where_only_a_market_without_candles_is_left(w: Path) -> None:
    symbols = ["BTC/EUR", "XRP/EUR"]
    ticked(w, 1, market__symbols=symbols)
    again = ticked(w, 1, market__symbols=symbols)
    assert again.new is False
    assert [made.market.symbol for made in again.forecasts] == ["BTC/EUR"]
    assert "XRP/EUR" in again.warnings[0]


def test_a_market_that_comes_to_have_candles_is_served_at_the_same_origin(w: Path) -> None:
    symbols = ["BTC/EUR", "XRP/EUR"]
    first = ticked(w, 1, market__symbols=symbols)
    with Store(w / "cryptocast.duckdb", 60).write() as writer:
        xrp = dataclasses.replace(BTC, base="XRP")
        writer.put_candles(xrp, candles("XRP/EUR"), provenance="live", fetched_at=NOW)
    second = ticked(w, 1, market__symbols=symbols)
    assert second.new is True
    assert [made.market.symbol for made in second.forecasts] == symbols
    assert second.forecasts[0].quantiles.tolist() == first.forecasts[0].quantiles.tolist()


def test_what_is_there_already_is_told_in_the_order_of_the_settings(w: Path) -> None:
    symbols = ["SOL/EUR", "BTC/EUR", "ETH/EUR"]
    for new in (True, False):
        report = ticked(w, 1, market__symbols=symbols)
        assert report.new is new
        assert [made.market.symbol for made in report.forecasts] == symbols
