"""models: list the registered versions with their aliases, scores and verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cryptocast.registry import SELECTION, RegisteredVersion
from cryptocast.store import ALL_MARKETS
from cryptocast.values import iso
from cryptocast.workflows.learning.versions import VersionScore
from cryptocast.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Entry:
    """One version as `models` lists it."""

    version: str
    kind: str
    aliases: tuple[str, ...]
    serves: tuple[str, ...]  # ids of the markets that it is production of; `*` for all
    created_at: str
    run_id: str
    missing: tuple[str, ...]  # files that are lost; with one missing it is of no use
    data_start: str | None  # None if its run was deleted
    data_end: str | None
    data_fingerprint: str | None
    validation_crps_bp: float | None
    validation_crps_relative: float | None  # to the random walk's: below 1 is better
    test: VersionScore | None  # None if no pipeline tested it
    gate: str | None  # promoted, refused; None if it was never judged
    gate_reason: str | None
    forced: str | None  # why the gate was overruled
    description: str
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    usable: bool  # whether it can be evaluated and promoted


@dataclass(frozen=True, slots=True)
class ModelsReport:
    """All versions, newest first, and the one that `deployments` names as production."""

    production: str | None  # if there are several, the one that was deployed last
    versions: tuple[Entry, ...]


def models(ws: Workspace) -> ModelsReport:
    """List the versions in MLflow, and the markets that each serves."""
    markets = ws.markets()
    with ws.store.read() as reader:
        serving = reader.productions().of_markets(markets)
    production = max(serving.values(), key=lambda row: row.id, default=None)
    serves: dict[str, tuple[str, ...]] = {}
    for market, row in serving.items():
        serves[row.model_version] = (*serves.get(row.model_version, ()), market.id)
    if len(serves) == 1 and len(serving) == len(markets):
        serves = dict.fromkeys(serves, (ALL_MARKETS,))
    registry = ws.registry()
    return ModelsReport(
        production.model_version if production else None,
        tuple(
            _entry(version, registry.missing(version), serves.get(version.version, ()))
            for version in registry.versions()
        ),
    )


def _entry(version: RegisteredVersion, missing: tuple[str, ...], serves: tuple[str, ...]) -> Entry:
    return Entry(
        version=version.version,
        kind=version.kind,
        aliases=version.aliases,
        serves=serves,
        created_at=iso(round(version.created_at)),
        run_id=version.run_id,
        missing=missing,
        data_start=version.params.get("data_start"),
        data_end=version.params.get("data_end"),
        data_fingerprint=version.params.get("data_fingerprint"),
        validation_crps_bp=version.metrics.get("validation_crps_bp"),
        validation_crps_relative=version.metrics.get(SELECTION),
        test=VersionScore.of_tags(version.tags),
        gate=version.tags.get("gate.verdict"),
        gate_reason=version.tags.get("gate.reason"),
        forced=version.tags.get("gate.forced"),
        description=version.description,
        metrics=version.metrics,
        tags=version.tags,
        usable=not missing,
    )
