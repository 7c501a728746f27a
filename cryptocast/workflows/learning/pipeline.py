"""The pipeline of `init` and `retrain` for one model: from candles in the store to a decision."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cryptocast import models
from cryptocast.evaluation import Verdict
from cryptocast.registry import SELECTION, RegisteredVersion
from cryptocast.seams import ModelKind, Params
from cryptocast.values import Market, iso
from cryptocast.workflows.learning.bases import Known, known_base
from cryptocast.workflows.learning.cards import BASE, FINGERPRINT
from cryptocast.workflows.learning.deployment import Decision
from cryptocast.workflows.learning.material import Material, gather
from cryptocast.workflows.learning.scoring import (
    WALK,
    score,
    score_rows,
    summary,
)
from cryptocast.workflows.learning.search import TuneReport, tune_on
from cryptocast.workflows.learning.selection import SCRATCHED, TRAINED, TUNED, decide
from cryptocast.workflows.learning.training import lacking, train_on
from cryptocast.workflows.learning.versions import VersionScore, version_bundle
from cryptocast.workspace import Workspace

PIPELINE = "pipeline"
"""The tag that ties runs and versions to the pipeline that made them."""

ROLE = "role"
"""The tag of a version that tells what it stood for in its pipeline."""

_SHORT_LOOKBACK = 4


@dataclass(frozen=True, slots=True)
class Contender:
    """One version that stood for selection; `verdict` None: it was not put before the gate."""

    role: str  # random_walk, base, scratch, fine-tuned; trained: where there is no base
    version: str
    model: str
    validation_skill: float  # against the random walk
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class Renewal:
    """One model: how its candles were split, what was tried, scored and decided."""

    split: Mapping[str, Any]
    tuning: TuneReport | None  # None: too few candles for the configured kind
    scores: list[dict[str, Any]]
    decision: Decision
    candidates: tuple[Contender, ...]
    no_base: str | None  # why the base network is none of them


def pipeline(
    ws: Workspace,
    name: str,
    markets: Sequence[Market],
    *,
    trials: int | None,
    seed: int,
) -> Renewal:
    """One model for these markets, from their stored candles to a decision. A pipeline of the
    same name goes on where it stopped: trials that are finished and versions that are trained
    are not made again.
    """
    ws.progress.stage("preprocess and split")
    material = gather(ws, markets)
    kind = models.get(ws.settings.model.kind)
    unfit = _unfit(ws, kind, material)
    if unfit is not None:
        # Neither the random walk nor a base network needs a long window: with a short one even
        # 24 candles give some.
        material = gather(ws, markets, lookback=_SHORT_LOOKBACK)
    base, no_base = None, None
    if kind.kind == WALK:
        unfit = "[model] kind asks for the random walk"
    else:
        base, no_base = known_base(ws, material)
    start = _Start(unfit, base, no_base)
    with ws.registry().pipeline(name, {PIPELINE: name}) as run_id:
        report = _renew(ws, name, material, start, trials=trials, seed=seed)
        chosen = report.decision
        told = {"decision": chosen.reason, "serves": f"version {chosen.version} ({chosen.model})"}
        ws.registry().tag(run_id, told)
    return report


@dataclass(frozen=True, slots=True)
class _Start:
    """What there is to begin with."""

    unfit: str | None  # why nothing can be trained
    base: Known | None
    no_base: str | None


def _renew(
    ws: Workspace,
    name: str,
    material: Material,
    start: _Start,
    *,
    trials: int | None,
    seed: int,
) -> Renewal:
    """The versions of one pipeline and the decision."""
    tuned, made = _versions(ws, name, material, start, trials=trials, seed=seed)
    registered = {
        version.tags[ROLE]: version
        for version in ws.registry().versions({PIPELINE: name})
        if version.version in made
    }
    scores = _tested(ws, material, list(registered.values()))
    ws.progress.stage("select and promote")
    decision, verdicts = decide(ws, material, registered, start.unfit)
    candidates = tuple(
        Contender(role, v.version, v.kind, 1 - v.metrics[SELECTION], verdicts.get(v.version))
        for role, v in registered.items()
    )
    return Renewal(split_rows(material), tuned, scores, decision, candidates, start.no_base)


def _versions(
    ws: Workspace,
    name: str,
    material: Material,
    start: _Start,
    *,
    trials: int | None,
    seed: int,
) -> tuple[TuneReport | None, list[str]]:
    """Every candidate, trained now or by an earlier run of this pipeline; the search of one."""
    kind, base, tuned = models.get(ws.settings.model.kind), start.base, None

    def trained(role: str, model: ModelKind, params: Params, origin: str) -> str:
        return _trained(ws, material, model, name, role, params, origin, seed)

    made = [trained(WALK, models.get(WALK), {}, "default")]
    if base is not None:
        known = models.get(BASE).started_at(base.network)
        made.append(trained(BASE, known, known.defaults(), "default"))
    if start.unfit is None and kind.kind != BASE:
        tunable = kind if base is None else kind.started_at(base.network)
        tuned = tune_on(
            ws,
            material,
            tunable,
            name,
            trials=trials,
            timeout_seconds=None,
            seed=seed,
            tags={PIPELINE: name},
        )
        role = TRAINED
        if tunable is not kind:
            role = TUNED
            made.append(trained(SCRATCHED, kind, kind.defaults(), "default"))
        made.append(trained(role, tunable, tuned.best, "best" if tuned.trials else "default"))
    return tuned, made


def _unfit(ws: Workspace, kind: ModelKind, material: Material) -> str | None:
    """Why the kind can learn nothing from the material, or nobody could say what; else None."""
    if (needed := lacking(ws, kind, material)) is not None:
        return f"too few candles for the {kind.kind}: {needed} would suffice"
    for name in ("train", "validation"):
        part = getattr(material.split, name)
        places = range(len(material.markets))
        if not any(np.isfinite(material.market_windows(i, part).targets).any() for i in places):
            return (
                f"too many gaps for the {kind.kind}: the {name} part holds no whole window of "
                f"{material.lookback} candles with an outcome"
            )
    return None


def _tested(
    ws: Workspace, material: Material, registered: Sequence[RegisteredVersion]
) -> list[dict[str, Any]]:
    """Scores on the test part, logged as a run of their own and with each version."""
    ws.progress.stage("evaluate")
    bundles = [version_bundle(ws, version.version) for version in registered]
    scores = score(ws, material, material.learned, material.split.test, bundles)
    rows = score_rows(scores)
    registry = ws.registry()
    with registry.run("evaluate", tags={"stage": "evaluate"}) as run_id:
        registry.log_document(run_id, rows, "test_scores.json")
        for version in registered:
            figures = summary(scores, version.version)
            named = {f"{key}.version_{version.version}": x for key, x in figures.items()}
            registry.log(run_id, metrics=named)
            registry.log(version.run_id, metrics=figures)
            registry.log_document(version.run_id, rows, "test_scores.json")
            if (tested := VersionScore.of_rows(rows, version.version)) is not None:
                registry.amend(version.version, "Test", tested.text, tested.tags)
    return rows


def split_rows(material: Material) -> dict[str, Any]:
    """The split in candles; the gate's are the last of the validation's."""
    split = material.split
    held = dataclasses.replace(split.validation, end=split.gate.end)
    parts = {"train": split.train, "validation": held, "gate": split.gate, "test": split.test}
    rows = {}
    for name, part in parts.items():
        count, first, last = material.rows(part)
        rows[name] = {
            "first": None if first is None else iso(first),
            "last": None if last is None else iso(last),
            "rows": count,
        }
    return rows


def _trained(
    ws: Workspace,
    material: Material,
    model: ModelKind,
    pipeline_name: str,
    role: str,
    params: Params,
    origin: str,
    seed: int,
) -> str:
    """The version of that role which this pipeline has made, or makes now."""
    tags = {PIPELINE: pipeline_name, ROLE: role}
    mine = tags | {FINGERPRINT: material.fingerprint(material.learned)}
    for version in ws.registry().versions(mine):
        return version.version
    return train_on(ws, material, model, params, origin, seed=seed, tags=tags).version
