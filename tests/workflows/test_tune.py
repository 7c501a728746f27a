"""tune: trials over rolling origins, each a run; a study that goes on; what is shown of it."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

from cryptocast import evaluation, models
from cryptocast.clock import VirtualClock
from cryptocast.compute.folds import Fold, rolling_folds
from cryptocast.compute.material import Material, TrainingPlan
from cryptocast.errors import ModelError, StateError
from cryptocast.models import lstm
from cryptocast.seams import Silence
from cryptocast.values import Candles, Fitted
from cryptocast.workflows.learning.material import gather
from cryptocast.workspace import Workspace
from support.commands import AS_OF, BARS, INTERVAL, NOW, candles, good, query, run

PNG = b"\x89PNG\r\n\x1a\n"


def at(folder: Path) -> tuple[str | Path, ...]:
    return ("-w", folder, "--as-of", AS_OF)


def runs(folder: Path, study: str) -> tuple[list[mlflow.entities.Run], list[mlflow.entities.Run]]:
    """The searches of a study, and the trials under them in the order of time."""
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    ids = [e.experiment_id for e in client.search_experiments()]
    order = ["attributes.start_time ASC"]
    searches = client.search_runs(ids, f"tags.study = '{study}'", order_by=order)
    trials = [
        trial
        for search in searches
        for trial in client.search_runs(
            ids, f"tags.mlflow.parentRunId = '{search.info.run_id}'", order_by=order
        )
    ]
    return searches, trials


def scripted(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> None:
    """Let the folds of the trials score these, one after the other; one fit does for all."""
    rest, fit = iter(values), lstm.Model.fit
    monkeypatch.setattr(evaluation, "relative_crps", lambda *_: next(rest))
    given: list[Fitted] = []

    def once(*arguments: Any, **named: Any) -> Fitted:
        if not given:
            given.append(fit(*arguments, **named))
        return given[0]

    monkeypatch.setattr(lstm.Model, "fit", once)


def diverging(monkeypatch: pytest.MonkeyPatch, which: Callable[[int], bool]) -> None:
    """Let those of the fits (counted from 0) diverge."""
    fit, count = lstm.Model.fit, iter(range(1_000))

    def fitting(self: lstm.Model, *arguments: Any, **named: Any) -> Any:
        if which(next(count)):
            raise ModelError("the training diverged in epoch 1", code="model.diverged", hint="x")
        return fit(self, *arguments, **named)

    monkeypatch.setattr(lstm.Model, "fit", fitting)


def test_a_study_goes_on_and_each_trial_is_a_run_with_its_folds(fresh: Path) -> None:
    first = good("tune", *at(fresh), "--trials", "1")
    data = good("tune", *at(fresh), "--trials", "2")
    assert data["study"] == first["study"]
    assert data["history"][0] == first["history"][0]
    assert (data["trials"], data["pruned"], data["diverged"], data["folds"]) == (2, 0, 0, 3)
    assert [t["state"] for t in data["history"]] == ["complete", "complete"]
    assert data["value"] == min(t["value"] for t in data["history"])
    assert data["importance"] == {}  # of two trials nothing can be told
    assert data["seconds"] > 0

    searches, trials = runs(fresh, data["study"])
    assert [search.data.metrics["trials"] for search in searches] == [1, 2]
    assert [trial.info.run_name for trial in trials] == ["trial 0", "trial 1"]
    for trial, told in zip(trials, data["history"], strict=True):
        metrics, params = trial.data.metrics, trial.data.params
        folds = [metrics[f"validation_crps_relative_fold{i}"] for i in range(3)]
        assert metrics["validation_crps_relative"] == pytest.approx(told["value"])
        assert np.mean(folds) == pytest.approx(told["value"])
        assert (params["state"], params["seed"], params["kind"]) == ("complete", "0", "lstm")
        assert params["bound"]
        assert not trial.outputs.model_outputs  # no graph is kept of a trial
    known = {"kind": "lstm", "folds": "3", "data_end": "2024-06-01T22:00:00Z"}
    assert {key: searches[0].data.params[key] for key in known} == known


@pytest.mark.usefixtures("painted")
def test_the_pictures_are_artefacts_of_the_search(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [1.0 + trial / 100 for trial in range(8) for _ in range(3)])
    data = good("tune", *at(fresh), "--trials", "8")
    assert list(data["importance"]) == ["bound"]
    (search,), _ = runs(fresh, data["study"])
    folder = Path(search.info.artifact_uri.removeprefix("file://"))
    assert {file.name for file in folder.iterdir()} == {"history.png", "importance.png"}
    assert all(file.read_bytes().startswith(PNG) for file in folder.iterdir())


def test_a_trial_that_is_behind_is_pruned_and_told_so(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = [value for value in (1.0, 0.99, 0.98, 0.97) for _ in range(3)]
    scripted(monkeypatch, [*complete, 1.5, 0.9, 1.2])
    data = good("tune", *at(fresh), "--trials", "6")
    assert [t["state"] for t in data["history"]] == ["complete"] * 4 + ["pruned"] * 2
    assert [t["value"] for t in data["history"][4:]] == [1.5, pytest.approx(1.05)]
    assert (data["trials"], data["pruned"], data["value"]) == (6, 2, pytest.approx(0.97))
    _, trials = runs(fresh, data["study"])
    assert [trial.data.params["state"] for trial in trials[3:]] == ["complete", "pruned", "pruned"]
    assert {trial.info.status for trial in trials} == {"FINISHED"}
    metrics = trials[4].data.metrics
    assert metrics["validation_crps_relative_fold0"] == 1.5
    # A mean of fewer folds would be taken for one of all.
    assert "validation_crps_relative" not in metrics
    shown = run("tune", *at(fresh), "--trials", "6")
    assert "Best of 6 trials of lstm (2 pruned) over 3 folds" in shown.out
    assert "\n▁▃▆█··\n" in shown.out


def test_a_trial_that_diverges_is_counted_as_that_and_has_no_value(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diverging(monkeypatch, lambda fit: fit == 4)  # in the second fold of the second trial
    data = good("tune", *at(fresh), "--trials", "3")
    assert [t["state"] for t in data["history"]] == ["complete", "diverged", "complete"]
    assert (data["diverged"], data["pruned"], data["history"][1]["value"]) == (1, 0, None)
    _, trials = runs(fresh, data["study"])
    assert trials[1].data.params["state"] == "diverged"
    assert trials[1].info.status == "FINISHED"
    assert "validation_crps_relative" not in trials[1].data.metrics


def test_where_every_trial_diverges_it_is_one_line_and_the_best_stays(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = "SELECT detail FROM events WHERE kind = 'tune.finished'"
    before = query(fresh, finished)
    diverging(monkeypatch, lambda fit: True)
    done = run("tune", *at(fresh), "--trials", "2", "--json")
    assert (done.code, done.error["code"]) == (5, "model.diverged")
    assert done.error["message"] == "each of 2 trials diverged"
    assert query(fresh, finished) == before


def test_what_else_a_model_raises_ends_the_search(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(*_: Any, **__: Any) -> None:
        raise ModelError("it is broken", hint="mend it")

    monkeypatch.setattr(lstm.Model, "fit", fit)
    done = run("tune", *at(fresh), "--trials", "2")
    assert (done.code, done.err.splitlines()[-1]) == (5, "error: it is broken (mend it)")


def test_an_interrupted_tune_goes_on_and_ends_as_if_it_had_not_been(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = good("tune", *at(fresh), "--trials", "3")
    (fresh / "optuna.db").unlink()
    fit, count = lstm.Model.fit, iter(range(1_000))

    def interrupted(self: lstm.Model, *arguments: Any, **named: Any) -> Any:
        if next(count) == 4:  # in the second trial
            raise KeyboardInterrupt
        return fit(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(lstm.Model, "fit", interrupted)
        assert run("tune", *at(fresh), "--trials", "3").code == 130
    again = good("tune", *at(fresh), "--trials", "3")
    told = ("history", "best", "value", "importance")
    assert {key: again[key] for key in told} == {key: whole[key] for key in told}


@pytest.mark.parametrize("candles_there", [True, False])
def test_a_kind_without_a_search_space_has_nothing_to_tune(
    fresh: Path, tmp_path: Path, candles_there: bool
) -> None:
    folder = fresh if candles_there else tmp_path / "empty"
    if not candles_there:
        folder.mkdir()
        (folder / "cryptocast.toml").write_text("", encoding="utf-8")
    events = query(fresh, "SELECT count(*) FROM events")
    data = good("tune", "-w", folder, "--model", "random_walk", "--trials", "5")
    assert (data["trials"], data["value"], data["history"]) == (0, None, [])
    assert data["best"] == models.get("random_walk").defaults()
    shown = run("tune", "-w", folder, "--model", "random_walk")
    assert (shown.code, shown.out) == (0, "the random_walk has nothing to tune\n")
    assert query(fresh, "SELECT count(*) FROM events") == events


def test_no_trials_leave_the_defaults(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTOCAST_TUNE__TRIALS", "0")
    done = run("tune", *at(fresh))
    assert (done.code, done.out) == (0, "no trials wanted: the lstm keeps its defaults\n")


def test_another_question_is_another_study(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = good("tune", *at(fresh), "--trials", "1")
    monkeypatch.setenv("CRYPTOCAST_TUNE__FOLDS", "2")
    fewer = good("tune", *at(fresh), "--trials", "1")
    monkeypatch.setenv("CRYPTOCAST_MODEL__HORIZON", "6")
    nearer = good("tune", *at(fresh), "--trials", "1")
    assert (first["folds"], fewer["folds"], nearer["folds"]) == (3, 2, 2)
    assert len({first["study"], fewer["study"], nearer["study"]}) == 3


def test_a_damaged_file_of_studies_is_one_line(fresh: Path) -> None:
    (fresh / "optuna.db").write_bytes(b"no database" * 1_000)
    done = run("tune", *at(fresh), "--trials", "1", "--json")
    assert (done.code, done.error["code"]) == (4, "store.study")
    assert done.error["hint"] == "move that file away: the next search begins anew"
    with sqlite3.connect(fresh / "mlflow.db") as connection:
        status = "SELECT status FROM runs WHERE name = 'tune lstm' ORDER BY start_time DESC"
        assert connection.execute(status).fetchone() == ("FAILED",)
    connection.close()


# The rolling origins.


def material(folder: Path, c: Candles, **settings: Any) -> tuple[Workspace, Material]:
    """Material of these candles, the last of which closes at AS_OF."""
    (folder / "cryptocast.toml").touch()
    ws = Workspace.open(
        folder,
        environ={},
        options={"market.symbols": ["file:BTC/EUR:5m"], **settings},
        clock=VirtualClock(NOW),
        progress=Silence(),
    )
    (market,) = ws.markets()
    with ws.store.write() as writer:
        writer.put_candles(market, c, provenance="imported", fetched_at=NOW)
    return ws, gather(ws)


def folds_of(ws: Workspace, found: Material) -> list[Fold]:
    settings = ws.settings
    return rolling_folds(
        found,
        TrainingPlan(models.get("lstm"), {}, settings.model.levels, seed=0),
        folds=settings.tune.folds,
        validation_bars=settings.data.validation_bars,
    )


def bars(c: Candles, count: int) -> Candles:
    return c.take(slice(-count, None))


@pytest.mark.parametrize(("wanted", "got"), [(1, 1), (3, 3), (20, 20)])
def test_folds_are_as_many_as_asked_and_see_only_what_came_before(
    tmp_path: Path, wanted: int, got: int
) -> None:
    ws, found = material(tmp_path, candles(bars=BARS), **{"tune.folds": wanted})
    folds = folds_of(ws, found)
    assert len(folds) == got
    horizon = found.horizon * INTERVAL
    for fold in folds:
        # Also the targets of a part end where the next one begins.
        for before, after in ((fold.learn, fold.stop), (fold.stop, fold.judge)):
            whole = before.origin[np.isfinite(before.targets).all(axis=1)]
            assert whole[-1] + horizon <= after.origin[0]
            assert before.origin[-1] < after.origin[0]
        assert fold.judge.origin[-1] < found.split.gate.start
        assert len(fold.stop) < len(fold.learn)
    for one, next_one in itertools.pairwise(folds):
        assert one.judge.origin[-1] < next_one.judge.origin[0]


@pytest.mark.parametrize(("count", "got"), [(1_000, 3), (600, 1), (450, 1)])
def test_fewer_candles_have_fewer_folds(tmp_path: Path, count: int, got: int) -> None:
    ws, found = material(tmp_path, bars(candles(bars=BARS), count))
    folds = folds_of(ws, found)
    assert len(folds) == got
    assert all(np.isfinite(fold.walk).any() for fold in folds)


def test_a_hole_in_the_candles_leaves_the_folds_that_can_judge(tmp_path: Path) -> None:
    c = candles(bars=BARS)
    kept = np.ones(len(c), dtype=bool)
    kept[300:1600] = False
    ws, found = material(tmp_path, c.take(kept))
    folds = folds_of(ws, found)
    assert all(len(fold.learn) and np.isfinite(fold.walk).any() for fold in folds)


def test_gaps_that_leave_no_window_are_one_line(tmp_path: Path) -> None:
    c = candles(bars=BARS)
    ws, found = material(tmp_path, c.take(slice(None, None, 2)))
    with pytest.raises(StateError) as caught:
        folds_of(ws, found)
    assert caught.value.message == (
        "the lstm cannot be tuned: no origin has a whole window and an outcome"
    )
    assert caught.value.hint == "more [data] days in cryptocast.toml, then cryptocast fetch"


def test_constant_prices_are_no_reason_to_fail(tmp_path: Path) -> None:
    c = candles(bars=BARS)
    flat = np.full(len(c), 5.0)
    material(tmp_path, Candles.of(c.open_time, flat, flat, flat, flat, c.volume))
    (tmp_path / "cryptocast.toml").write_text(
        '[market]\nsymbols = ["file:BTC/EUR:5m"]\n', encoding="utf-8"
    )
    data = good("tune", *at(tmp_path), "--trials", "2")
    assert [trial["state"] for trial in data["history"]] == ["complete"] * 2
    assert data["value"] == pytest.approx(1, abs=0.01)
