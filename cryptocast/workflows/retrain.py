"""retrain: fetch, split, tune, train, evaluate, select through MLflow, promote."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptocast import models
from cryptocast.registry import SELECTION, Version
from cryptocast.values import iso
from cryptocast.workflows.fetch import FetchReport, fetch
from cryptocast.workflows.material import Material, gather
from cryptocast.workflows.models import tell_test
from cryptocast.workflows.promote import Decision, deploy, judge
from cryptocast.workflows.scoring import score, score_rows, summary, version_bundle
from cryptocast.workflows.train import FINGERPRINT, lacking, train_on
from cryptocast.workflows.tune import TuneReport, tune_on
from cryptocast.workspace import Workspace

PIPELINE = "pipeline"
"""The tag that ties runs and versions to the pipeline that made them."""

BASELINE = "random_walk"

_SHORT_LOOKBACK = 4


@dataclass(frozen=True, slots=True)
class RetrainReport:
    """A whole pipeline: what came in, how it was split, tried, scored and decided."""

    candles: FetchReport
    split: Mapping[str, Any]
    tuning: TuneReport | None  # None: too few candles for the configured kind
    scores: list[dict[str, Any]]
    decision: Decision


def retrain(ws: Workspace, *, seed: int = 0) -> RetrainReport:
    """Renew the model from the newest candles; production stays where nothing is better."""
    return pipeline(ws, f"retrain {iso(ws.clock.now())}", trials=None, seed=seed)


def pipeline(
    ws: Workspace,
    name: str,
    *,
    trials: int | None,
    seed: int,
    range_: tuple[int, int] | None = None,
) -> RetrainReport:
    """Everything from fetch to promote. One of the same name goes on where it stopped:
    candles that are stored, trials that are finished and versions that are trained are not
    made again. `range_` of open times; default the last `[data] days`.
    """
    ws.progress.stage("fetch candles")
    if range_ is not None:
        fetched = fetch(ws, start=range_[0], end=range_[1])
    else:
        fetched = fetch(ws, days=ws.settings.data.days)
    fetched.demand_all()
    ws.progress.stage("preprocess and split")
    material = gather(ws)
    kind = models.get(ws.settings.model.kind)
    needed = lacking(ws, kind, material)
    if needed is not None:
        # The random walk needs no long window: with a short one even 24 candles give some.
        material = gather(ws, lookback=_SHORT_LOOKBACK)
    with ws.registry().pipeline(name, {PIPELINE: name}) as run_id:
        report = _renew(ws, name, fetched, material, needed, trials=trials, seed=seed)
        chosen = report.decision
        told = {"decision": chosen.reason, "serves": f"version {chosen.version} ({chosen.model})"}
        ws.registry().tag(run_id, told)
    return report


def _renew(
    ws: Workspace,
    name: str,
    fetched: FetchReport,
    material: Material,
    needed: int | None,
    *,
    trials: int | None,
    seed: int,
) -> RetrainReport:
    """Tune, train, evaluate, select and promote on material; `needed`: too little for the kind."""
    kind = models.get(ws.settings.model.kind)
    tuned: TuneReport | None = None
    versions = [_trained(ws, material, BASELINE, name, {}, "default", seed)]
    if needed is None and kind.kind != BASELINE:
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
    decision = _decide(ws, material, best, versions, needed)
    return RetrainReport(fetched, split_rows(material), tuned, scores, decision)


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
    others = [v for v in registered if v.version in versions and v.kind != BASELINE]
    told = ", ".join(f"{v.kind} {1 - v.metrics[SELECTION]:+.2%}" for v in others)
    return f"nothing beat it in validation (skill of the {told})"


def _decide(
    ws: Workspace, material: Material, best: Version, versions: list[str], needed: int | None
) -> Decision:
    """Promote the best version if the gate agrees, else keep production, else the random walk."""
    with ws.store.read() as reader:
        current = reader.deployment()
    if current is not None and current.model_version in versions:
        verdict = judge(ws, material, version_bundle(ws, current.model_version))
        kind = version_bundle(ws, current.model_version).card.kind
        return Decision(True, current.model_version, kind, current.reason, verdict)
    chosen = version_bundle(ws, best.version)
    verdict = judge(ws, material, chosen)
    if verdict.promoted:
        reason = verdict.reason
        if needed is not None:
            reason = f"too few candles for the {ws.settings.model.kind}: {needed} would suffice"
        elif best.kind == BASELINE:
            reason = _beaten(ws.registry().versions(), versions)
        deploy(ws, chosen, "promote", reason, verdict)
        return Decision(True, best.version, best.kind, reason, verdict)
    if current is not None:
        served = version_bundle(ws, current.model_version).card.kind
        reason = f"version {best.version} is not promoted: {verdict.reason}"
        return Decision(False, current.model_version, served, reason, verdict)
    walk = version_bundle(ws, versions[-1])
    reason = f"the {best.kind} of version {best.version} is not promoted: {verdict.reason}"
    deploy(ws, walk, "promote", reason, verdict)
    return Decision(True, walk.card.version, BASELINE, reason, verdict)
