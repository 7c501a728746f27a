"""Search the parameters of a model kind over rolling-origin folds, each trial a run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from cryptocast import evaluation, models, tuning
from cryptocast.errors import ModelError
from cryptocast.registry import SELECTION, Registry
from cryptocast.reports import plots
from cryptocast.seams import ModelKind, Params
from cryptocast.tuning import Report, Tried
from cryptocast.values import FloatArray
from cryptocast.workflows.learning.cards import make_card, run_params
from cryptocast.workflows.learning.folds import Fold, rolling_folds
from cryptocast.workflows.learning.material import Material
from cryptocast.workflows.learning.parameters import TUNED
from cryptocast.workflows.learning.scope import study_market
from cryptocast.workflows.learning.scoring import crps
from cryptocast.workspace import Workspace


@dataclass(frozen=True, slots=True)
class TuneReport:
    """The end of a study: its trials, the best one's parameters and score, what mattered."""

    study: str
    kind: str
    markets: tuple[str, ...]
    folds: int
    history: tuple[Tried, ...]
    best: Params
    value: float  # mean over the folds of CRPS relative to the random walk's
    importance: Mapping[str, float]  # share of each searched parameter, greatest first
    seconds: float  # of this call; a study may have taken several
    idle: str | None = None  # why there was nothing to do

    @property
    def trials(self) -> int:
        """How many trials are finished, however they ended."""
        return len(self.history)

    def ended(self, state: str) -> int:
        """How many of them are complete, pruned or diverged."""
        return sum(trial.state == state for trial in self.history)


def tune_on(
    ws: Workspace,
    material: Material,
    model: ModelKind,
    study: str,
    *,
    trials: int | None,
    timeout_seconds: float | None,
    seed: int,
    tags: Mapping[str, str] | None = None,
) -> TuneReport:
    """Search on material that is gathered already, in the study of that name."""
    if (idle := idle_report(ws, model, trials)) is not None:
        return idle
    started = time.perf_counter()
    settings, registry = ws.settings.tune, ws.registry()
    wanted = settings.trials if trials is None else trials
    folds = rolling_folds(ws, material, model)
    # A value is worth comparing only with those of the same question.
    study += f" L{material.lookback} H{material.horizon} Q{len(ws.settings.model.levels)}"
    study += f" folds {len(folds)}"
    if (start := model.defaults().get("start_at", models.HAR)) != models.HAR:
        study += f" from {start}"
    with registry.run(
        f"tune {model.kind}", tags={"stage": "tune", "study": study, **(tags or {})}
    ) as parent:
        card = make_card(ws, material, model.kind, {}, seed)
        registry.log(parent, params={**run_params(card), "folds": len(folds)})
        found = tuning.search(
            lambda number, params, report: _trial(
                ws, folds, model, number, params, parent, seed, report
            ),
            model.suggest,
            storage=ws.optuna,
            study=study,
            trials=wanted,
            folds=len(folds),
            seed=seed,
            timeout_seconds=timeout_seconds or settings.timeout_seconds,
            start=model.defaults(),
            on_trial=lambda history: _tell(ws, history, wanted),
        )
        report = TuneReport(
            study=study,
            kind=model.kind,
            markets=card.markets,
            folds=len(folds),
            history=found.history,
            best=found.best,
            value=found.value,
            importance=found.importance,
            seconds=time.perf_counter() - started,
        )
        _log(registry, parent, report)
    _remember(ws, report, study_market(ws.settings, material.markets))
    return report


def _trial(
    ws: Workspace,
    folds: list[Fold],
    model: ModelKind,
    number: int,
    params: Params,
    parent: str,
    seed: int,
    report: Report,
) -> bool:
    """Fit and judge fold by fold until the trial is hopeless; logged as a nested run.

    False where the training diverged. No graph is logged: the best is trained anew.
    """
    started, registry = time.perf_counter(), ws.registry()
    with registry.run(f"trial {number}", parent=parent, tags={"stage": "trial"}) as run_id:
        state, values, in_bp = tuning.COMPLETE, [], []
        for fold in folds:
            loss = _fitted_loss(ws, fold, model, params, seed)
            if loss is None:
                state = tuning.DIVERGED
                break
            values.append(evaluation.relative_crps(loss, fold.walk))
            in_bp.append(float(np.nanmean(loss)))
            if report(values[-1]):
                state = tuning.PRUNED
                break
        metrics = {f"{SELECTION}_fold{i}": value for i, value in enumerate(values)}
        if state == tuning.COMPLETE:  # of fewer folds a mean would not compare with the others'
            metrics |= {SELECTION: fmean(values), "validation_crps_bp": fmean(in_bp)}
        registry.log(
            run_id,
            params={**params, "kind": model.kind, "seed": seed, "state": state},
            metrics={**metrics, "seconds": time.perf_counter() - started},
        )
    return state != tuning.DIVERGED


def _fitted_loss(
    ws: Workspace, fold: Fold, model: ModelKind, params: Params, seed: int
) -> FloatArray | None:
    """[N, H] CRPS in bp of the kind fit on the fold; None where its training diverged."""
    levels = ws.settings.model.levels
    try:
        fitted = model.fit(fold.learn, fold.stop, levels=levels, params=params, seed=seed)
    except ModelError as error:
        if error.code != "model.diverged":
            raise
        return None
    loss = crps(fitted, fold.judge, levels)
    return loss if np.isfinite(loss[np.isfinite(fold.walk)]).all() else None


def idle_report(ws: Workspace, model: ModelKind, trials: int | None) -> TuneReport | None:
    """The report of a search with nothing to do."""
    reason = None
    if not tuning.space(model.suggest):
        reason = f"the {model.kind} has nothing to tune"
    elif (ws.settings.tune.trials if trials is None else trials) == 0:
        reason = f"no trials wanted: the {model.kind} keeps its defaults"
    if reason is None:
        return None
    return TuneReport("", model.kind, (), 0, (), model.defaults(), float("nan"), {}, 0.0, reason)


def _tell(ws: Workspace, history: tuple[Tried, ...], wanted: int) -> None:
    complete = [trial.value for trial in history if trial.state == tuning.COMPLETE]
    best = f", best {1 - min(complete):+.2%}" if complete else ""
    last = history[-1]
    how = f"{1 - last.value:+.2%}" if last.state == tuning.COMPLETE else last.state
    ws.progress.advance(len(history), wanted, f"trial {len(history)}: {how}{best}")


def _log(registry: Registry, run_id: str, report: TuneReport) -> None:
    states = (tuning.COMPLETE, tuning.PRUNED, tuning.DIVERGED)
    registry.log(
        run_id,
        params={f"best_{name}": value for name, value in report.best.items()},
        metrics={
            "trials": report.trials,
            f"best_{SELECTION}": report.value,
            "seconds": report.seconds,
            **{state: report.ended(state) for state in states},
            **{f"importance_{name}": share for name, share in report.importance.items()},
        },
    )
    values, ends = zip(*((trial.value, trial.state) for trial in report.history), strict=True)
    registry.log_bytes(run_id, plots.history(values, ends), "history.png")
    if report.importance:
        registry.log_bytes(run_id, plots.importance(report.importance), "importance.png")


def _remember(ws: Workspace, report: TuneReport, market: str | None) -> None:
    """Keep what `train --params best` asks for."""
    detail = {
        "study": report.study,
        "kind": report.kind,
        "trials": report.trials,
        "best": dict(report.best),
        "value": report.value,
    }
    with ws.store.write() as writer:
        writer.put_event(ws.clock.now(), TUNED, market, detail)
