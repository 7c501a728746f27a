"""The pipeline of `init` and `retrain`: from candles in the store to a decision."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cryptocast import models
from cryptocast.evaluation import Verdict
from cryptocast.registry import SELECTION, Version
from cryptocast.seams import ModelKind
from cryptocast.values import iso
from cryptocast.workflows.fetch import FetchReport
from cryptocast.workflows.material import Material, gather
from cryptocast.workflows.models import tell_test
from cryptocast.workflows.promote import Decision, deploy, judge
from cryptocast.workflows.scoring import (
    WALK,
    frozen_bundle,
    score,
    score_rows,
    summary,
    version_bundle,
)
from cryptocast.workflows.train import FINGERPRINT, lacking, train_on
from cryptocast.workflows.tune import TuneReport, tune_on
from cryptocast.workspace import Workspace

PIPELINE = "pipeline"
"""The tag that ties runs and versions to the pipeline that made them."""

_SHORT_LOOKBACK = 4


@dataclass(frozen=True, slots=True)
class PipelineReport:
    """A whole pipeline: what came in, how it was split, tried, scored and decided."""

    candles: FetchReport
    split: Mapping[str, Any]
    tuning: TuneReport | None  # None: too few candles for the configured kind
    scores: list[dict[str, Any]]
    decision: Decision


def pipeline(
    ws: Workspace,
    name: str,
    fetched: FetchReport,
    *,
    trials: int | None,
    seed: int,
) -> PipelineReport:
    """Everything from the candles that were fetched to a decision. One of the same name goes
    on where it stopped: trials that are finished and versions that are trained are not made
    again.
    """
    ws.progress.stage("preprocess and split")
    material = gather(ws)
    kind = models.get(ws.settings.model.kind)
    unfit = _unfit(ws, kind, material)
    if unfit is not None:
        # The random walk needs no long window: with a short one even 24 candles give some.
        material = gather(ws, lookback=_SHORT_LOOKBACK)
    elif kind.kind == WALK:
        unfit = "[model] kind asks for the random walk"
    with ws.registry().pipeline(name, {PIPELINE: name}) as run_id:
        report = _renew(ws, name, fetched, material, unfit, trials=trials, seed=seed)
        chosen = report.decision
        told = {"decision": chosen.reason, "serves": f"version {chosen.version} ({chosen.model})"}
        ws.registry().tag(run_id, told)
    return report


def _renew(
    ws: Workspace,
    name: str,
    fetched: FetchReport,
    material: Material,
    unfit: str | None,
    *,
    trials: int | None,
    seed: int,
) -> PipelineReport:
    """Tune, train, evaluate, select and promote; `unfit`: why there is only the random walk."""
    kind = models.get(ws.settings.model.kind)
    tuned: TuneReport | None = None
    versions = [_trained(ws, material, WALK, name, {}, "default", seed)]
    if unfit is None:
        tuned = tune_on(
            ws,
            material,
            kind,
            name,
            trials=trials,
            timeout_seconds=None,
            seed=seed,
            tags={PIPELINE: name},
        )
        origin = "best" if tuned.trials else "default"
        versions.insert(0, _trained(ws, material, kind.kind, name, tuned.best, origin, seed))
    scores = _tested(ws, material, versions)
    ws.progress.stage("select and promote")
    registry = ws.registry()
    # A lone random walk needs no selection; of very few candles none is left to score it by.
    lone = [v for v in registry.versions() if [v.version] == versions]
    best = lone[0] if lone else registry.best(versions)
    decision = _decide(ws, material, best, versions, unfit)
    return PipelineReport(fetched, split_rows(material), tuned, scores, decision)


def _unfit(ws: Workspace, kind: ModelKind, material: Material) -> str | None:
    """Why the kind can learn nothing from the material, or nobody could say what; else None."""
    if (needed := lacking(ws, kind, material)) is not None:
        return f"too few candles for the {kind.kind}: {needed} would suffice"
    for name in ("train", "validation"):
        if not np.isfinite(material.windows(getattr(material.split, name)).targets).any():
            return (
                f"too many gaps for the {kind.kind}: the {name} part holds no whole window of "
                f"{material.lookback} candles with an outcome"
            )
    return None


def _tested(ws: Workspace, material: Material, versions: list[str]) -> list[dict[str, Any]]:
    """Scores on the test part, logged as a run of their own and with each version."""
    ws.progress.stage("evaluate")
    bundles = [version_bundle(ws, version) for version in versions]
    scores = score(ws, material, material.learned, material.split.test, bundles)
    rows = score_rows(scores)
    registry = ws.registry()
    with registry.run("evaluate", tags={"stage": "evaluate"}) as run_id:
        registry.log_document(run_id, rows, "test_scores.json")
        for version in registry.versions():
            if version.version in versions:
                figures = summary(scores, version.version)
                named = {f"{key}.version_{version.version}": x for key, x in figures.items()}
                registry.log(run_id, metrics=named)
                registry.log(version.run_id, metrics=figures)
                registry.log_document(version.run_id, rows, "test_scores.json")
                tell_test(ws, version.version, rows)
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
    kind: str,
    pipeline_name: str,
    params: Mapping[str, float | int | str],
    origin: str,
    seed: int,
) -> str:
    """The version of that kind which this pipeline has made, or makes now."""
    mine = {PIPELINE: pipeline_name, FINGERPRINT: material.fingerprint(material.learned)}
    for version in ws.registry().versions():
        if version.kind == kind and mine.items() <= version.tags.items():
            return version.version
    tags = {PIPELINE: pipeline_name}
    model = models.get(kind)
    return train_on(ws, material, model, params, origin, seed=seed, tags=tags).version


def _beaten(registered: list[Version], versions: list[str]) -> str:
    """Why the random walk was selected: what the others scored against it in validation."""
    others = [v for v in registered if v.version in versions and v.kind != WALK]
    told = ", ".join(f"{v.kind} {1 - v.metrics[SELECTION]:+.2%}" for v in others)
    return f"nothing beat it in validation (skill of the {told})"


def _decide(
    ws: Workspace, material: Material, best: Version, versions: list[str], unfit: str | None
) -> Decision:
    """Promote the best version if the gate agrees, else keep production, else the random walk."""
    with ws.store.read() as reader:
        current = reader.deployment()
    if current is not None and current.model_version in versions:
        serving = version_bundle(ws, current.model_version)
        verdict = judge(ws, material, serving)
        return Decision(True, serving.card.version, serving.card.kind, current.reason, verdict)
    chosen = version_bundle(ws, best.version)
    verdict = judge(ws, material, chosen)
    if verdict.promoted:
        reason = verdict.reason
        if unfit is not None:
            reason = unfit
        elif best.kind == WALK:
            reason = _beaten(ws.registry().versions(), versions)
        deploy(ws, chosen, "promote", reason, verdict)
        return Decision(True, best.version, best.kind, reason, verdict)
    if current is not None:
        served = frozen_bundle(ws, current.model_version).card.kind
        why = verdict.reason if unfit is None else f"{verdict.reason}; {unfit}"
        reason = f"version {best.version} is not promoted: {why}"
        return Decision(False, current.model_version, served, reason, verdict)
    walk = version_bundle(ws, versions[-1])
    reason = f"the {best.kind} of version {best.version} is not promoted: {verdict.reason}"
    # The verdict is of the one that was refused: none of its figures is a promise of the walk.
    deploy(ws, walk, "promote", reason, Verdict(True, reason))
    return Decision(True, walk.card.version, WALK, reason, verdict)
