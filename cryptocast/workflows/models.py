"""models: the registered versions, their aliases, scores and verdicts."""

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
    serves: tuple[str, ...]  # ids of the markets that it is production of; `*`: of all
    created_at: str
    run_id: str
    missing: tuple[str, ...]  # of its files; with one missing it is of no use
    data_start: str | None  # None where its run was deleted
    data_end: str | None
    data_fingerprint: str | None
    validation_crps_bp: float | None
    validation_crps_relative: float | None  # to the random walk's: below 1 is better
    test: VersionScore | None  # None where no pipeline tested it
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


def _entry(found: RegisteredVersion, missing: tuple[str, ...], serves: tuple[str, ...]) -> Entry:
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
        test=VersionScore.of_tags(found.tags),
        gate=found.tags.get("gate.verdict"),
        gate_reason=found.tags.get("gate.reason"),
        forced=found.tags.get("gate.forced"),
        description=found.description,
        metrics=found.metrics,
        tags=found.tags,
    )
