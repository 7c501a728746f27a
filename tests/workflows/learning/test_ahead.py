"""A pipeline whose pieces were computed before it ran: it computes none of them again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cryptocast.compute.ahead import compute_ahead
from cryptocast.errors import ModelError
from cryptocast.models import gru, lstm
from cryptocast.workflows.learning.ahead import Recalled
from cryptocast.workflows.learning.pipeline import pipeline
from cryptocast.workflows.learning.preparing import ahead_of
from cryptocast.workspace import Workspace
from support.ticks import BTC, at

QUICK = {"model__scope": "market", "tune__trials": 2, "tune__folds": 2, "data__days": 4}


def ahead(ws: Workspace) -> Recalled:
    work = ahead_of(ws, "p", (BTC,), 0)
    assert work is not None
    return Recalled(work.material.digest, compute_ahead(work, None))


def fail(*_: Any, **__: Any) -> None:
    raise ModelError("the network is fit again")


def test_all_that_a_worker_has_fit_is_recorded_and_not_fit_again(
    w: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with at(w, 0, **QUICK) as ws:
        recalled = ahead(ws)
        with monkeypatch.context() as patch, ws.on(recalled):
            patch.setattr(lstm.Model, "fit", fail)
            first = pipeline(ws, "p", (BTC,), seed=0)
        assert ahead_of(ws, "p", (BTC,), 0) is None  # a second run has nothing to compute
        again = pipeline(ws, "q", (BTC,), seed=0)
        graphs = [ws.registry().onnx(c.version) for c in (*first.candidates, *again.candidates)]
    half = len(graphs) // 2
    assert graphs[:half] == graphs[half:]
    losses = [renewal.scores["crps_bp"].to_list() for renewal in (first, again)]
    assert losses[0] == losses[1] != []
    histories = [[tuning.history for tuning in r.tunings] for r in (first, again)]
    assert histories[0] == histories[1] != []


def test_kinds_whose_trials_have_the_same_parameters_are_not_taken_for_each_other(
    w: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = {"model__kinds": ["lstm", "gru"], "model__start": "scratch", "tune__trials": 1}
    monkeypatch.setattr(gru.Model, "defaults", lstm.Model.defaults)
    monkeypatch.setattr(gru.Model, "suggest", lstm.Model.suggest)
    with at(w, 0, **QUICK | kinds) as ws:
        work = ahead_of(ws, "p", (BTC,), 0)
        assert work is not None
        folds = {k: v for k, v in compute_ahead(work, None).items() if "fold 0" in k}
    assert [key.partition(" ")[0] for key in folds] == ["lstm", "gru"]
    assert len({score.value for score in folds.values()}) == 2


def test_what_was_computed_of_other_candles_is_not_used(
    w: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with at(w, 0, **QUICK) as ws:
        recalled = ahead(ws)
    with at(w, 1, **QUICK) as ws, ws.on(recalled):
        monkeypatch.setattr(lstm.Model, "fit", fail)
        with pytest.raises(ModelError, match="the network is fit again"):
            pipeline(ws, "p", (BTC,), seed=0)
