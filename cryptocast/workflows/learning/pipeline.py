"""The pipeline of `init` and `retrain` for one model: from candles in the store to a decision.

Its steps are named functions that are run by `Workspace.step`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from cryptocast.compute.material import Material, TrainingPlan
from cryptocast.compute.scoring import score_rows, summary
from cryptocast.dataset import Part
from cryptocast.evaluation import Verdict
from cryptocast.registry import SELECTION, RegisteredVersion, Registry
from cryptocast.seams import ModelKind
from cryptocast.values import OPPONENT_WALK, Market, iso
from cryptocast.workflows.learning.cards import FINGERPRINT
from cryptocast.workflows.learning.deployment import Decision
from cryptocast.workflows.learning.preparing import PIPELINE, Prepared, prepare, untuned
from cryptocast.workflows.learning.scoring import score, scoring_plan
from cryptocast.workflows.learning.search import TuneReport, idle_report, search_plan, tune_on
from cryptocast.workflows.learning.selection import ROLE, SCRATCHED, TRAINED, TUNED, decide
from cryptocast.workflows.learning.training import train_on
from cryptocast.workflows.learning.versions import VersionScore, registered_bundle
from cryptocast.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Contender:
    """One version that was considered for promotion."""

    role: str  # random_walk, base, scratch, fine-tuned; or trained, if there is no base network
    version: str
    model: str
    validation_skill: float  # against the random walk
    verdict: Verdict | None  # None: it did not get as far as the gate


@dataclass(frozen=True, slots=True)
class Renewal:
    """The report of one pipeline: the split, the search, the test scores and the decision."""

    split: Mapping[str, Any]
    tunings: tuple[TuneReport, ...]  # of each kind that was trained
    scores: pl.DataFrame  # `schemas.SCORES`
    decision: Decision
    candidates: tuple[Contender, ...]
    no_base: str | None  # why the base network is not among them


@dataclass(frozen=True, slots=True)
class _Run:
    """The name of a pipeline, which finds its earlier versions again, and its seed."""

    name: str
    seed: int


def pipeline(ws: Workspace, name: str, markets: Sequence[Market], *, seed: int) -> Renewal:
    """Make one model for these markets, from their stored candles to a decision.

    A pipeline that was interrupted goes on under the same name: finished trials and trained
    versions are not made again.
    """
    prepared = ws.step("preprocess and split", lambda: prepare(ws, markets))
    material, registry = prepared.material, ws.registry()
    with registry.runs.pipeline(name, {PIPELINE: name}) as run_id:
        tunings, trained = _train_all(ws, prepared, _Run(name, seed))
        versions = tuple(
            version for version in registry.versions({PIPELINE: name}) if version.version in trained
        )
        scores = ws.step("evaluate", lambda: score_versions(ws, material, versions))
        decision, verdicts = ws.step(
            "select and promote", lambda: decide(ws, material, versions, prepared.unfit)
        )
        contenders = tuple(
            Contender(
                v.tags[ROLE], v.version, v.kind, 1 - v.metrics[SELECTION], verdicts.get(v.version)
            )
            for v in versions
        )
        _log_result(registry, run_id, decision, contenders)
    return Renewal(split_rows(material), tunings, scores, decision, contenders, prepared.no_base)


def names_of(contenders: Sequence[Contender]) -> list[str]:
    """Return a name for each contender: its role, and its kind too if several share that role."""
    roles = [contender.role for contender in contenders]
    return [c.role if roles.count(c.role) == 1 else f"{c.role} {c.model}" for c in contenders]


def _log_result(
    registry: Registry, run_id: str, decision: Decision, contenders: Sequence[Contender]
) -> None:
    """Let a pipeline's run show what came out of it: skills are against the random walk."""
    names = names_of(contenders)
    skills = {
        f"validation_skill.{name}": c.validation_skill
        for name, c in zip(names, contenders, strict=True)
    }
    for name, contender in zip(names, contenders, strict=True):
        for comparison in () if contender.verdict is None else contender.verdict.comparisons:
            if comparison.opponent == OPPONENT_WALK:
                skills[f"gate_skill.{name}"] = comparison.skill
                skills[f"gate_origins.{name}"] = comparison.n
    registry.runs.log(run_id, metrics=skills)
    tags = {
        "decision": decision.reason,
        "serves": f"version {decision.version} ({decision.model})",
        "promoted": "yes" if decision.promoted else "no",
    }
    registry.runs.tag(run_id, tags)


def _train_all(
    ws: Workspace, prepared: Prepared, run: _Run
) -> tuple[tuple[TuneReport, ...], list[str]]:
    """Search and train what the pipeline needs; return the searches' reports and the versions."""
    material, levels = prepared.material, ws.settings.model.levels
    plans = untuned(prepared, levels, run.seed)
    versions = [_train(ws, material, run, role, plan) for role, plan in plans]
    tunings = []
    for kind in prepared.kinds:
        tunable = prepared.tunable(kind)
        tuning = _search(ws, material, run, tunable)
        tunings.append(tuning)
        role = TRAINED
        if tunable is not kind:
            role, scratch = TUNED, TrainingPlan(kind, kind.defaults(), levels, run.seed)
            versions.append(_train(ws, material, run, SCRATCHED, scratch))
        params_from = "best" if tuning.trials else "default"
        best = TrainingPlan(tunable, tuning.best, levels, run.seed, params_from)
        versions.append(_train(ws, material, run, role, best))
    return tuple(tunings), versions


def _search(ws: Workspace, material: Material, run: _Run, model: ModelKind) -> TuneReport:
    """Run the search for the best parameters, unless there is nothing to search."""
    settings, tags = ws.settings.tune, {PIPELINE: run.name}
    if (idle := idle_report(model, settings.trials)) is not None:
        return idle
    plan = search_plan(settings, ws.studies, f"{run.name} {model.kind}", run.seed)
    return ws.step(f"tune {model.kind}", lambda: tune_on(ws, material, model, plan, tags))


def _train(ws: Workspace, material: Material, run: _Run, role: str, training: TrainingPlan) -> str:
    """Return the version that an earlier run of this pipeline trained, or train it."""
    tags = {PIPELINE: run.name, ROLE: role}
    same = {FINGERPRINT: material.fingerprint(material.learned), "kind": training.model.kind}
    earlier = ws.registry().versions(tags | same)
    if earlier:
        return earlier[0].version
    report = ws.step(training.name, lambda: train_on(ws, material, training, tags))
    return report.version


def score_versions(
    ws: Workspace, material: Material, versions: Sequence[RegisteredVersion]
) -> pl.DataFrame:
    """Score versions on the test part, and log the rows as a run and with each version.

    Returns the rows, `schemas.SCORES`.
    """
    bundles = [registered_bundle(ws, version.version) for version in versions]
    span, settings = Part(material.start, material.end), ws.settings
    plan = scoring_plan(settings, span, material.learned, material.split.test, material.lookback)
    series = zip(material.markets, material.candles, strict=True)
    scores = score(ws.engine, settings, plan, series, bundles, ws.progress).scores
    registry = ws.registry()
    with registry.runs.begin("evaluate", tags={"stage": "evaluate"}) as run_id:
        runs = [run_id, *(version.run_id for version in versions)]
        registry.runs.log_rows(runs, score_rows(scores), "test_scores.json")
        for version in versions:
            figures = summary(scores, version.version)
            named = {f"{key}.version_{version.version}": x for key, x in figures.items()}
            registry.runs.log(run_id, metrics=named)
            registry.runs.log(version.run_id, metrics=figures)
            own = score_rows(scores.filter(pl.col("version") == version.version))
            if (tested := VersionScore.of_rows(own)) is not None:
                registry.amend(version.version, "Test", tested.text, tested.tags)
    return scores


def split_rows(material: Material) -> dict[str, Any]:
    """Return the parts of the split in candles; validation ends with the gate's candles."""
    split = material.split
    held_out = dataclasses.replace(split.validation, end=split.gate.end)
    parts = {"train": split.train, "validation": held_out, "gate": split.gate, "test": split.test}
    rows = {}
    for name, part in parts.items():
        count, first, last = material.rows(part)
        rows[name] = {
            "first": None if first is None else iso(first),
            "last": None if last is None else iso(last),
            "rows": count,
        }
    return rows
