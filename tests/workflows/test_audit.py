"""audit finds what is dishonest, each kind of it, and leaves an honest model alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from scipy import stats

from cryptocast import __version__, dataset, models
from cryptocast.bundles import Bundle, Card, Forecaster
from cryptocast.cli.root import output
from cryptocast.cli.root.hints import as_typed
from cryptocast.compute.material import Material
from cryptocast.dataset import Bars, features, windows
from cryptocast.dataset.features import Features
from cryptocast.models.lstm import Model as Lstm
from cryptocast.paths import shipped
from cryptocast.seams import Silence
from cryptocast.values import FEATURES, Candles, Check, Fitted, FloatArray, Market, Windows, iso
from cryptocast.workflows.auditing import perturbation as rules
from cryptocast.workflows.auditing.perturbation import perturbation
from cryptocast.workflows.auditing.placebo import placebo
from cryptocast.workflows.auditing.unseen import unseen
from cryptocast.workflows.auditing.whole_paths import whole_paths
from cryptocast.workflows.futures import simulating
from cryptocast.workflows.futures.simulating import PathModels
from support.commands import AS_OF, NOW, good, run, state
from support.synthetic import BAR, LEVELS, MARKET, START, candles

LOOKBACK, BARS = 8, 1600
AT = ("--as-of", AS_OF)
EARLY = NOW - 6 * 86_400
CHECKS = [
    "look-ahead",
    "tick",
    "purge",
    "paths",
    "placebo point",
    "placebo distribution",
    "placebo coverage",
    "bounce",
    "direction",
]


def peeking(feature: str, weight: float, *, width: float, lookback: int, horizon: int) -> bytes:
    """A graph whose quantiles lie about `weight` times the last bar's feature."""
    base = np.tile(width * stats.norm.ppf(LEVELS), (horizon, 1)).astype(np.float32)
    column = np.zeros((len(FEATURES), 1), dtype=np.float32)
    column[FEATURES.index(feature)] = weight
    tensors = {
        "last": np.array(-1, dtype=np.int64),
        "column": column,
        "axis": np.array([2], dtype=np.int64),
        "base": base[None],
    }
    nodes = [
        helper.make_node("Gather", ["inputs", "last"], ["newest"], axis=1),
        helper.make_node("MatMul", ["newest", "column"], ["middle"]),
        helper.make_node("Unsqueeze", ["middle", "axis"], ["wide"]),
        helper.make_node("Add", ["wide", "base"], ["quantiles"]),
    ]
    window = (lookback, len(FEATURES))
    graph = helper.make_graph(
        nodes,
        "peeking",
        [helper.make_tensor_value_info("inputs", TensorProto.FLOAT, ["N", *window])],
        [helper.make_tensor_value_info("quantiles", TensorProto.FLOAT, ["N", *base.shape])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return bytes(model.SerializeToString())


@dataclasses.dataclass(frozen=True)
class Peeking:
    """A model kind that always answers by one feature of the last bar."""

    feature: str = "return"
    weight: float = 1.0
    width: float = 1.0
    kind: str = "peeking"

    def fit(self, train: Windows, *_: object, **__: object) -> Fitted:
        lookback, horizon = train.inputs.shape[1], train.targets.shape[1]
        graph = peeking(
            self.feature, self.weight, width=self.width, lookback=lookback, horizon=horizon
        )
        return Fitted(self.kind, {}, graph)


def card(horizon: int, data_end: int) -> Card:
    context = dataset.context_bars(LOOKBACK, 300)
    return Card(
        "7", "peeking", LEVELS, horizon, LOOKBACK, context, FEATURES, "5m", (MARKET.id,),
        START, data_end, "", 0, {}, __version__, {},
    )  # fmt: skip


def material(found: Candles | None = None, *, horizon: int = 2, bars: int = BARS) -> Material:
    found = candles(bars, 3, clustering=False) if found is None else found
    end = START + bars * BAR
    split = dataset.plan(START, end, BAR, test_bars=24, gate_bars=288, validation_bars=288)
    return Material.of(
        (MARKET,), (found,), split, lookback=LOOKBACK, horizon=horizon, max_stale_bars=3
    )


def bundle(given: Material, model: Peeking) -> Bundle:
    fitted = model.fit(given.windows(given.split.train))
    return Bundle(card(given.horizon, given.split.gate.start), Forecaster(fitted.onnx), "")


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def leaking(name: str, look: Callable[[FloatArray], FloatArray]) -> Callable[..., Features]:
    """Features of which one is what `look` makes of it."""
    honest = features.compute

    def compute(bars: Bars, low: int = 0) -> Features:
        found = honest(bars)
        values, sigma = found.values.copy(), found.sigma
        if name == "sigma":
            sigma = look(sigma)
        else:
            values[:, FEATURES.index(name)] = look(values[:, FEATURES.index(name)])
        return Features(values[low:], sigma[low:])

    return compute


def test_paths_that_know_the_future_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    given = material()
    (check,) = whole_paths(given, bundle(given, Peeking()), PathModels(shipped(), {}))
    assert (check.name, check.status) == ("paths", "ok")
    honest = dataset.lay_out

    def lengthened(candles: Candles, market: Market, start: int, end: int) -> Bars:
        bars = honest(candles, market, start, end + 12 * BAR)
        return bars.part(12, len(bars))

    monkeypatch.setattr(simulating.dataset, "lay_out", lengthened)
    (check,) = whole_paths(given, bundle(given, Peeking()), PathModels(shipped(), {}))
    assert (check.status, "know the future" in check.detail) == ("failed", True)


def ahead(column: FloatArray) -> FloatArray:
    """Each bar tells what the next one was."""
    return np.append(column[1:], column[-1])


def test_an_honest_model_passes_and_nothing_is_written(workspace: Path) -> None:
    before = state(workspace)
    data = good("audit", "--placebos", "1", "-w", workspace, *AT)
    assert (data["version"], data["model"]) == ("2", "lstm")
    assert [check["name"] for check in data["checks"]] == CHECKS
    assert {check["status"] for check in data["checks"]} == {"ok"}
    told = {check["name"]: check["detail"] for check in data["checks"]}
    assert told["look-ahead"] == (
        "200 origins with every later candle changed, 3 times: "
        "the same inputs, sigma and quantiles, bit by bit"
    )
    assert told["tick"] == (
        "200 origins from their last 10,315 bars alone, as a tick sees them: "
        "the same as in training"
    )
    assert told["placebo point"].endswith(
        "its median is the last price, there is no point forecast"
    )
    assert told["direction"] == (
        "311 unseen origins; its median is the last price: it forecasts no direction"
    )
    assert data["placebo"]["repetitions"] == 1
    assert data["unseen"]["origins"] == 311
    assert data["unseen"]["without_delay"] == []
    assert state(workspace) == before


def test_a_version_that_serves_not_can_be_audited_and_a_person_reads_80_columns(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "_PIPE_WIDTH", 80)
    done = run("audit", "--version", "1", "--placebos", "2", "-w", workspace, *AT)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == "Audit of version 1 (random_walk)"
    assert lines[1].startswith("ok       look-ahead: 200 origins with every later candle changed")
    assert max(map(len, lines)) <= 80
    assert "✓ placebo" in done.err
    assert "2 random walks" in done.err


@pytest.mark.parametrize("name", ["return", "volume", "missing", "slow_volatility"])
def test_a_feature_that_looks_one_bar_ahead_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "ORIGINS", 40)
    given = material(candles(BARS, 3, gaps=range(50, BARS, 9)))
    served = bundle(given, Peeking(name))
    assert {check.status for check in perturbation(given, served)} == {"ok"}
    monkeypatch.setattr(features, "compute", leaking(name, ahead))
    found = by_name(list(perturbation(given, served)))
    assert found["look-ahead"].status == found["tick"].status == "failed"
    assert f": {name}, quantiles know the future at " in found["look-ahead"].detail
    assert f": {name}, quantiles differ from training at " in found["tick"].detail
    assert found["look-ahead"].hint == (
        "a bug: do not trust what this version scored; mend cryptocast/dataset, then train anew"
    )


@pytest.mark.parametrize(
    ("name", "look"),
    [
        ("sigma", ahead),
        ("place", lambda column: column - column.mean()),
        ("range", lambda column: column / column.std()),
        ("level", lambda column: np.append(column[100:], column[-100:])),
    ],
    ids=["sigma", "centred on the whole series", "scaled by its deviation", "100 bars ahead"],
)
def test_any_other_way_to_know_the_future_is_found(
    name: str, look: Callable[[FloatArray], FloatArray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "ORIGINS", 20)
    given = material()
    monkeypatch.setattr(features, "compute", leaking(name, look))
    found = by_name(list(perturbation(given, bundle(given, Peeking()))))
    assert found["look-ahead"].status == "failed"
    assert f": {name}" in found["look-ahead"].detail


def test_targets_that_reach_into_the_next_part_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = windows.log_returns

    def unpurged(bars: Bars, at: np.ndarray, horizon: int, end: int) -> FloatArray:
        return honest(bars, at, horizon, len(bars))

    given = material()
    monkeypatch.setattr(rules, "ORIGINS", 5)
    monkeypatch.setattr(windows, "log_returns", unpurged)
    found = by_name(list(perturbation(given, bundle(given, Peeking()))))
    assert found["purge"].status == "failed"
    assert found["purge"].detail == (
        "targets of the part train, validation, gate reach into the part that comes next"
    )
    assert found["look-ahead"].status == "ok"


def test_an_origin_that_counts_only_by_what_came_later_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rules, "ORIGINS", 40)
    honest = windows.usable

    def quiet(bars: Bars, at: np.ndarray, lookback: int, max_stale_bars: int) -> np.ndarray:
        moved = np.append(np.abs(bars.log_return), 0.0)[at] < 0.1
        return honest(bars, at, lookback, max_stale_bars) & moved

    given = material()
    monkeypatch.setattr(windows, "usable", quiet)
    found = by_name(list(perturbation(given, bundle(given, Peeking()))))
    assert found["look-ahead"].status == "failed"
    assert ": choice of origins know the future at " in found["look-ahead"].detail


def judge_placebo(model: Peeking, horizon: int, repetitions: int = 2) -> dict[str, Check]:
    given = material(horizon=horizon)
    checks, _ = placebo(
        given,
        model,  # type: ignore[arg-type]  # of a kind only `fit` is asked for
        card(horizon, given.split.gate.start),
        repetitions=repetitions,
        progress=Silence(),
    )
    return by_name(checks)


def test_a_pipeline_that_knows_the_future_forecasts_a_random_walk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(features, "compute", leaking("return", ahead))
    found = judge_placebo(Peeking("return", width=0.3), horizon=1)
    assert {c.status for c in found.values()} == {"failed"}
    point = found["placebo point"]
    assert point.detail.startswith("2 random walks, 624 origins: direction accuracy 100.0%")
    assert point.detail.endswith(": nothing can know that")
    assert found["placebo distribution"].detail.endswith("nothing can beat the truth")


def test_an_honest_point_forecast_has_no_skill_on_a_random_walk() -> None:
    found = judge_placebo(Peeking("return", weight=-0.02), horizon=2)
    assert [c.status for c in found.values()] == ["ok"] * 3, found
    assert found["placebo point"].detail.endswith("no skill, as it should be")


@pytest.mark.parametrize("width", [0.6, 1.6])
def test_ranges_that_hold_other_shares_than_they_say_are_found(width: float) -> None:
    found = judge_placebo(Peeking("return", weight=0.0, width=width), horizon=2)
    assert found["placebo coverage"].status == "failed"
    assert "in the 80% range at step 1" in found["placebo coverage"].detail
    assert found["placebo distribution"].status == "ok"
    assert found["placebo point"].detail.endswith("there is no point forecast")


@pytest.mark.parametrize("kind", ["random_walk", "lstm"])
def test_a_kind_of_ours_is_honest_on_random_walks(kind: str) -> None:
    given, model = material(horizon=6), models.get(kind)
    asked = dataclasses.replace(card(6, START), params=dict(model.defaults()))
    checks, figures = placebo(given, model, asked, repetitions=2, progress=Silence())
    assert [c.status for c in checks] == ["ok"] * 3, checks
    assert figures["skill_vs_truth"] < 0.01


def moving(returns: FloatArray) -> Candles:
    close = 60_000 * np.exp(np.cumsum(returns))
    opening = np.concatenate(([60_000.0], close[:-1]))
    return Candles.of(
        START + BAR * np.arange(len(close)),
        opening,
        np.maximum(opening, close) * 1.0005,
        np.minimum(opening, close) * 0.9995,
        close,
    )


def noise() -> FloatArray:
    return np.random.default_rng(4).normal(0, 1e-3, BARS)


def test_skill_that_a_delay_ends_is_bounce() -> None:
    # The price jumps between bid and ask about a random walk (Roll 1984).
    side = np.random.default_rng(5).choice([-1e-3, 1e-3], BARS)
    given = material(moving(noise() / 2 + np.diff(side, prepend=0.0)))
    checks, figures = unseen(given, bundle(given, Peeking("return", -0.5)))
    bounce, direction = checks
    assert (bounce.status, direction.status) == ("failed", "failed")
    assert bounce.detail.startswith("skill that a delay ends: direction accuracy ")
    assert ", a candle later " in bounce.detail
    assert direction.detail.endswith("a bug until shown otherwise")
    now, late = (figures[name][0] for name in ("without_delay", "with_delay"))
    assert now["value"] > 0.6
    assert 0.42 < late["value"] < 0.58
    assert now["n"] == figures["origins"] == 311


def test_skill_that_outlives_a_delay_is_no_bounce_yet_it_may_be_too_good() -> None:
    trend = 1e-3 * np.where(np.arange(BARS) // 40 % 2, 1.0, -1.0)
    given = material(moving(noise() + trend))
    bounce, direction = unseen(given, bundle(given, Peeking("return", 0.5)))[0]
    assert bounce.status == "ok"
    assert direction.status == "failed"


def test_a_direction_that_is_as_good_as_a_coin_raises_no_alarm() -> None:
    given = material(moving(noise()))
    bounce, direction = unseen(given, bundle(given, Peeking("return", 0.01)))[0]
    assert (bounce.status, direction.status) == ("ok", "ok")
    assert direction.detail.endswith(", no more than 55%")


def test_few_unseen_origins_are_told_and_raise_no_alarm() -> None:
    given = material(moving(noise()))
    served = bundle(given, Peeking("return", -0.5))
    late = dataclasses.replace(served.card, data_end=given.end - 20 * BAR)
    checks, figures = unseen(given, Bundle(late, served.forecaster, ""))
    assert [check.status for check in checks] == ["warning", "warning"]
    assert checks[0].detail == (
        f"skipped: 19 origins since {iso(late.data_end)} that version 7 has not learned from, "
        "24 are needed"
    )
    assert figures["origins"] == 19
    some = dataclasses.replace(served.card, data_end=given.end - 100 * BAR)
    bounce, direction = unseen(given, Bundle(some, served.forecaster, ""))[0]
    assert (bounce.status, direction.status) == ("ok", "warning")
    assert direction.detail.endswith("fewer than the 200 origins that an alarm needs")


def test_a_model_that_learned_its_targets_fails_the_audit_of_a_workspace(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with duckdb.connect(str(workspace / "cryptocast.duckdb")) as connection:
        connection.execute(
            "UPDATE candles SET high = high * 1.01, low = low * 0.99,"
            " close = close * (1 + 0.004 * (epoch(open_time)::BIGINT // 300 % 2))"
        )

    def fit(self: Lstm, *given: object, **named: object) -> Fitted:
        return Peeking("return", -0.9, width=0.5, kind="lstm").fit(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Lstm, "fit", fit)
    monkeypatch.setattr(rules, "ORIGINS", 20)
    assert good("train", "--params", "default", "-w", workspace, *AT)["version"] == "3"
    good("promote", "3", "--force", "--reason", "it is so good", "-w", workspace, *AT)
    done = run("audit", "--placebos", "1", "-w", workspace, *AT, "--json")
    assert done.code == 6
    found = {check["name"]: check for check in done.data["checks"]}
    assert found["bounce"]["status"] == found["direction"]["status"] == "failed"
    assert found["look-ahead"]["status"] == "ok"
    assert "direction accuracy 100.0% at step 1 (n = 311)" in found["direction"]["detail"]
    assert found["bounce"]["hint"].startswith("bid-ask bounce")
    plain = run("audit", "--placebos", "1", "-w", workspace, *AT)
    assert plain.code == 6
    assert "FAILED   direction: direction accuracy 100.0%" in plain.out
    assert "         -> look for the future in its inputs" in plain.out


def test_at_a_time_before_its_data_ended_a_version_has_seen_everything(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "ORIGINS", 20)
    data = good("audit", "--placebos", "1", "-w", workspace, "--as-of", iso(NOW - 2 * 86_400))
    found = {check["name"]: check["status"] for check in data["checks"]}
    assert (found["bounce"], found["direction"]) == ("warning", "warning")
    assert found["look-ahead"] == "ok"


@pytest.mark.parametrize(
    ("options", "code", "message", "hint"),
    [
        (("--version", "99"), "state.no_version", "there is no version '99'", "cryptocast models"),
        (
            ("--as-of", iso(NOW - 6 * 86_400)),
            "state.not_enough_candles",
            "the lstm needs",
            "--days",
        ),
        (("--as-of", "2020-01-01"), "state.no_candles", "has no candles", "cryptocast fetch"),
    ],
)
def test_what_cannot_be_audited_is_told_in_one_line(
    workspace: Path, options: tuple[str, ...], code: str, message: str, hint: str
) -> None:
    as_of = () if "--as-of" in options else AT
    done = run("audit", *options, *as_of, "-w", workspace, "--json")
    assert done.code == 3
    assert done.error["code"] == code
    assert message in done.error["message"]
    assert as_typed(hint) in done.error["hint"]


def test_without_a_production_model_there_is_nothing_to_audit(tmp_path: Path) -> None:
    (tmp_path / "cryptocast.toml").touch()
    done = run("audit", "-w", tmp_path, "--json")
    assert (done.code, done.error["code"]) == (3, "state.no_production")
    assert done.error["hint"] == as_typed("cryptocast init")


def test_a_version_of_other_features_is_not_audited(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cryptocast.workflows import audit

    monkeypatch.setattr(audit, "FEATURES", (*FEATURES, "another"))
    done = run("audit", "-w", workspace, *AT, "--json")
    assert (done.code, done.error["code"]) == (3, "state.other_version")
    assert done.error["message"] == "version 2 reads other features: it cannot be audited here"
