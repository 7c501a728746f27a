"""Search the parameters of a model kind over rolling-origin folds, each trial a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from cryptocast import models, tuning
from cryptocast.compute.folds import FoldsPlan, fold_score
from cryptocast.compute.material import Material, TrainingPlan
from cryptocast.config import TuneSettings
from cryptocast.display import percent
from cryptocast.registry import SELECTION, Registry
from cryptocast.reports import plots
from cryptocast.seams import ModelKind, Params, Progress
from cryptocast.store import Store
from cryptocast.tuning import EndedTrial, SearchPlan, Tried
from cryptocast.workflows.learning.cards import make_card, run_params
from cryptocast.workflows.learning.scope import study_market
from cryptocast.workspace import Workspace

TUNED = "tune.finished"
"""The event that keeps the best parameters of a study."""


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
        """Number of finished trials, however they ended."""
        return len(self.history)

    def ended(self, state: str) -> int:
        """Return how many trials ended complete, pruned or diverged."""
        return sum(trial.state == state for trial in self.history)


def idle_report(model: ModelKind, trials: int) -> TuneReport | None:
    """Return the report of a search that has nothing to do, or None if there is something."""
    reason = None
    if not tuning.space(model.suggest):
        reason = f"the {model.kind} has nothing to tune"
    elif trials == 0:
        reason = f"no trials wanted: the {model.kind} keeps its defaults"
    if reason is None:
        return None
    return TuneReport("", model.kind, (), 0, (), model.defaults(), float("nan"), {}, 0.0, reason)


def search_plan(settings: TuneSettings, storage: str | None, study: str, seed: int) -> SearchPlan:
    """Return the plan of a search as the settings have it."""
    trials, timeout, at_once = settings.trials, settings.timeout_seconds, settings.at_once
    return SearchPlan(storage, study, trials, seed, timeout, at_once)


def tune_on(
    ws: Workspace,
    material: Material,
    model: ModelKind,
    plan: SearchPlan,
    tags: Mapping[str, str] | None = None,
) -> TuneReport:
    """Search on material, log every trial, and keep the best parameters for `train`.

    `tags` are put on the run of the search.
    """
    started = time.perf_counter()
    settings, registry = ws.settings, ws.registry()
    training = TrainingPlan(model, {}, settings.model.levels, plan.seed)
    shared = FoldsPlan.of(material, training, settings.tune.folds, settings.data.validation_bars)
    folds = len(shared.folds)
    study = f"{plan.study} {_question(material, plan, shared)}"
    if settings.tune.storage is not None:  # other workspaces may keep studies there
        study = f"{ws.identity()} {study}"
    plan = replace(plan, study=study)
    tags = {"stage": "tune", "study": plan.study, **(tags or {})}
    with registry.runs.begin(f"tune {model.kind}", tags=tags) as parent:
        card = make_card(material, training)
        registry.runs.log(parent, params={**run_params(card), "folds": folds})
        result = tuning.search(
            plan,
            lambda pieces: ws.engine.map(fold_score, pieces, shared),
            model.suggest,
            folds=folds,
            workers=ws.engine.workers,
            start=model.defaults(),
            on_trial=_keeper(registry, parent, training, plan.trials, ws.progress),
        )
        report = TuneReport(
            study=plan.study,
            kind=model.kind,
            markets=card.markets,
            folds=folds,
            history=result.history,
            best=result.best,
            value=result.value,
            importance=result.importance,
            seconds=time.perf_counter() - started,
        )
        _log(registry, parent, report)
    market = study_market(settings, material.markets)
    with ws.store.write() as writer:
        writer.put_event(ws.clock.now(), TUNED, market, _remembered(report))
    return report


def _keeper(
    registry: Registry, parent: str, training: TrainingPlan, wanted: int, progress: Progress
) -> Callable[[EndedTrial, tuple[Tried, ...]], None]:
    """Return what keeps each trial that has ended, and shows how far the search is."""

    def keep(ended: EndedTrial, history: tuple[Tried, ...]) -> None:
        _log_trial(registry, parent, training, ended)
        _show(progress, history, wanted)

    return keep


def _question(material: Material, plan: SearchPlan, shared: FoldsPlan) -> str:
    """Return the part of a study's name that says which trials can be compared with each other."""
    training = shared.training
    levels, folds = len(training.levels), len(shared.folds)
    question = f"L{material.lookback} H{material.horizon} Q{levels} folds {folds}"
    if (start := training.model.defaults().get("start_at", models.HAR)) != models.HAR:
        question += f" from {start}"
    return question if plan.at_once == 1 else f"{question} {plan.at_once} at once"


def _log_trial(registry: Registry, parent: str, training: TrainingPlan, ended: EndedTrial) -> None:
    """Keep a trial as a nested run. No graph is logged: the best is trained anew."""
    scores = ended.scores
    metrics = {f"{SELECTION}_fold{i}": score.value for i, score in enumerate(scores)}
    if ended.state == tuning.COMPLETE:  # a mean of fewer folds could not be compared with others
        metrics[SELECTION] = fmean(score.value for score in scores)
        metrics["validation_crps_bp"] = fmean(score.crps_bp for score in scores)
    named = {"kind": training.model.kind, "seed": training.seed, "state": ended.state}
    with registry.runs.begin(
        f"trial {ended.number}", parent=parent, tags={"stage": "trial"}
    ) as run_id:
        registry.runs.log(
            run_id,
            params={**ended.params, **named},
            metrics={**metrics, "seconds": sum(score.seconds for score in scores)},
        )


def _show(progress: Progress, history: Sequence[Tried], wanted: int) -> None:
    complete = [trial.value for trial in history if trial.state == tuning.COMPLETE]
    best = f", the best so far {percent(1 - min(complete), 2)}" if complete else ""
    last = history[-1]
    result = last.state
    if result == tuning.COMPLETE:
        result = f"validation skill {percent(1 - last.value, 2)}"
    progress.advance(len(history), wanted, f"trial {len(history)} of {wanted}: {result}{best}")


def _log(registry: Registry, run_id: str, report: TuneReport) -> None:
    states = (tuning.COMPLETE, tuning.PRUNED, tuning.DIVERGED)
    registry.runs.log(
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
    registry.runs.log_bytes(run_id, plots.history(values, ends), "history.png")
    if report.importance:
        registry.runs.log_bytes(run_id, plots.importance(report.importance), "importance.png")


def _remembered(report: TuneReport) -> dict[str, Any]:
    """Return the detail of the event from which `train --params best` reads."""
    return {
        "study": report.study,
        "kind": report.kind,
        "trials": report.trials,
        "best": dict(report.best),
        "value": report.value,
    }


def tuned_params(store: Store, model: ModelKind, market: str | None) -> Params | None:
    """Return the best parameters of the last study of a market, or None if there was no study.

    `market` None means a study of all markets together.
    """
    with store.read() as reader:
        studies = [event.detail for event in reader.events(TUNED) if event.market == market]
    of_kind = [study for study in studies if study["kind"] == model.kind]
    if not of_kind:
        return None
    # The settings say where a training starts, not the study.
    start = {k: v for k, v in model.defaults().items() if k in ("start_at", "network")}
    return {**of_kind[-1]["best"], **start}
