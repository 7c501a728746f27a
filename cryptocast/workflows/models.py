"""models: the registered versions, their aliases, scores and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptocast.registry import SELECTION, Version
from cryptocast.store import ALL_MARKETS
from cryptocast.values import iso
from cryptocast.workspace import Workspace

_CRPS, _SKILL, _COUNT, _P_VALUE = "test.crps_bp", "test.skill", "test.n", "test.p_value"


@dataclass(frozen=True, slots=True)
class Test:
    """What a version scored on its pipeline's test part, over all steps."""

    crps_bp: float
    skill_vs_random_walk: float
    n: int | None  # pairs of origin and step, of all markets
    p_value: float | None  # one-sided, against the random walk; of several markets the greatest


@dataclass(frozen=True, slots=True)
class Entry:
    """One version as `models` lists it."""

    version: str
    kind: str
    aliases: tuple[str, ...]
    serves: tuple[str, ...]  # ids of the markets that it is production of; `*`: of all
    created_at: str
    run_id: str
    missing: tuple[str, ...]  # of its files; with one missing it is of no use
    data_start: str | None  # None where its run was deleted
    data_end: str | None
    data_fingerprint: str | None
    validation_crps_bp: float | None
    validation_crps_relative: float | None  # to the random walk's: below 1 is better
    test: Test | None  # None where no pipeline tested it
    gate: str | None  # promoted, refused; None where it was never judged
    gate_reason: str | None
    forced: str | None  # why the gate was overruled
    description: str
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @property
    def usable(self) -> bool:
        """Whether it can be evaluated and promoted."""
        return not self.missing


@dataclass(frozen=True, slots=True)
class ModelsReport:
    """All versions, newest first, and the one that `deployments` says is production."""

    production: str | None  # where several are, the one that was deployed last
    versions: tuple[Entry, ...]


def models(ws: Workspace) -> ModelsReport:
    """List what MLflow has, and what serves."""
    with ws.store.read() as reader:
        serving = reader.productions().of_markets(ws.markets())
    production = max(serving.values(), key=lambda row: row.id, default=None)
    serves: dict[str, list[str]] = {}
    for market, row in serving.items():
        serves.setdefault(row.model_version, []).append(market.id)
    if len(serves) == 1 and len(serving) == len(ws.markets()):
        serves = {version: [ALL_MARKETS] for version in serves}
    registry = ws.registry()
    return ModelsReport(
        production.model_version if production else None,
        tuple(
            _entry(found, registry.missing(found), tuple(serves.get(found.version, ())))
            for found in registry.versions()
        ),
    )


def tell_test(ws: Workspace, version: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write what a version scored on the test part into its tags and description."""
    mine = [row for row in rows if row["version"] == version and row["step"] == "all"]
    scored = [row for row in mine if row["n"] and row["skill_vs_random_walk"] is not None]
    if not scored:
        return
    crps, skill = (
        sum(row[name] for row in scored) / len(scored)
        for name in ("crps_bp", "skill_vs_random_walk")
    )
    count = sum(row["n"] for row in scored)
    known = [row["p_value"] for row in scored if row["p_value"] is not None]
    tags = {_CRPS: f"{crps:.6g}", _SKILL: f"{skill:.6g}", _COUNT: str(count)}
    shown = f"n = {count:,}"
    if known:
        tags[_P_VALUE] = f"{max(known):.4g}"
        shown += f", p = {max(known):.2f}"
    told = f"CRPS {crps:.3f} bp, skill against the random walk {skill:+.2%} ({shown})"
    ws.registry().amend(version, "Test", told, tags)


def _entry(found: Version, missing: tuple[str, ...], serves: tuple[str, ...]) -> Entry:
    return Entry(
        version=found.version,
        kind=found.kind,
        aliases=found.aliases,
        serves=serves,
        created_at=iso(round(found.created_at)),
        run_id=found.run_id,
        missing=missing,
        data_start=found.params.get("data_start"),
        data_end=found.params.get("data_end"),
        data_fingerprint=found.params.get("data_fingerprint"),
        validation_crps_bp=found.metrics.get("validation_crps_bp"),
        validation_crps_relative=found.metrics.get(SELECTION),
        test=_test(found),
        gate=found.tags.get("gate.verdict"),
        gate_reason=found.tags.get("gate.reason"),
        forced=found.tags.get("gate.forced"),
        description=found.description,
        metrics=found.metrics,
        tags=found.tags,
    )


def _test(found: Version) -> Test | None:
    if _SKILL not in found.tags:
        return None
    count, p_value = found.tags.get(_COUNT), found.tags.get(_P_VALUE)
    return Test(
        crps_bp=float(found.tags[_CRPS]),
        skill_vs_random_walk=float(found.tags[_SKILL]),
        n=None if count is None else int(count),
        p_value=None if p_value is None else float(p_value),
    )
