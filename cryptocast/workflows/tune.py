"""tune: search the parameters of a model kind over rolling-origin folds, each trial a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cryptocast import models, tuning
from cryptocast.dataset import Split, rolling
from cryptocast.errors import ModelError, UsageError
from cryptocast.registry import SELECTION
from cryptocast.seams import ModelKind, Params, Silence
from cryptocast.values import iso
from cryptocast.workflows.material import Material, gather
from cryptocast.workflows.train import TUNED, fit, make_card, require_bars, run_params, validate
from cryptocast.workspace import Workspace

FOLDS = 2
_DIVERGED = 10.0  # the value of a trial whose training diverged: far from any minimum


@dataclass(frozen=True, slots=True)
class TuneReport:
    """The end of a study: how many trials it holds, the best one's parameters and score."""

    study: str
    kind: str
    trials: int
    best: Params
    value: float  # mean over the folds of CRPS relative to the random walk's


def tune(
    ws: Workspace,
    *,
    kind: str | None = None,
    trials: int | None = None,
    timeout_seconds: float | None = None,
    seed: int = 0,
) -> TuneReport:
    """Search on the stored candles. A study of the same candles goes on where it stopped.

    `trials` is how many the study shall hold in the end. Raises StateError where there are
    too few candles for the kind.
    """
    model = models.get(kind or ws.settings.model.kind)
    material = gather(ws)
    require_bars(ws, model, material)
    name = f"{model.kind} {iso(material.end)} {material.fingerprint(material.learned)}"
    return tune_on(
        ws, material, model, name, trials=trials, timeout_seconds=timeout_seconds, seed=seed
    )


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
    settings = ws.settings.tune
    if timeout_seconds is not None and not timeout_seconds > 0:
        raise UsageError(f"--timeout {timeout_seconds:g} is no time", hint="--timeout 600")
    wanted = settings.trials if trials is None else trials
    if wanted == 0:
        return TuneReport(study, model.kind, 0, model.defaults(), float("nan"))
    registry = ws.registry()
    ws.progress.stage(f"tune {model.kind}")
    best = np.inf
    with registry.run(
        f"tune {model.kind}", tags={"stage": "tune", "study": study, **(tags or {})}
    ) as parent:

        def on_trial(number: int, value: float) -> None:
            nonlocal best
            best = min(best, value)
            ws.progress.advance(
                number + 1, wanted, f"trial {number + 1}: {1 - value:+.2%}, best {1 - best:+.2%}"
            )

        found = tuning.search(
            lambda number, params: _trial(ws, material, model, number, params, parent, seed),
            model.suggest,
            storage=ws.optuna,
            study=study,
            trials=wanted,
            seed=seed,
            timeout_seconds=timeout_seconds or settings.timeout_seconds,
            start=model.defaults(),
            on_trial=on_trial,
        )
        registry.log(
            parent,
            params={f"best_{name}": value for name, value in found.best.items()},
            metrics={"trials": found.trials, f"best_{SELECTION}": found.value},
        )
    report = TuneReport(study, model.kind, found.trials, found.best, found.value)
    with ws.store.write() as writer:
        writer.put_event(
            ws.clock.now(), TUNED, None, {**dataclasses.asdict(report), "best": dict(report.best)}
        )
    return report


def _trial(
    ws: Workspace,
    material: Material,
    model: ModelKind,
    number: int,
    params: Params,
    parent: str,
    seed: int,
) -> float:
    """Mean over the folds of CRPS relative to the random walk's, logged as a nested run."""
    registry = ws.registry()
    with registry.run(f"trial {number}", parent=parent, tags={"stage": "trial"}) as run_id:
        values, crps = [], []
        for train, validation in rolling(material.learned, material.interval_seconds, folds=FOLDS):
            fold = dataclasses.replace(
                material,
                split=Split(train, validation, material.split.gate, material.split.test),
            )
            try:
                fitted = fit(ws, fold, model, params, seed=seed, progress=Silence())
            except ModelError as error:
                registry.tag(run_id, {"diverged": error.message})
                return _DIVERGED
            scores = validate(ws, fold, fitted, validation)
            values.append(scores[SELECTION])
            crps.append(scores["validation_crps_bp"])
        value = float(np.mean(values))
        registry.log(
            run_id,
            params={**run_params(make_card(ws, material, fitted, seed)), **params},
            metrics={SELECTION: value, "validation_crps_bp": float(np.mean(crps))}
            | {f"{SELECTION}_fold{i}": v for i, v in enumerate(values)},
            history=fitted.history,
        )
        registry.log_model(run_id, fitted)
    return value
