"""Registered versions as documents: the fields of `workflows.models.ModelsReport`.

They are written down here because that module imports MLflow, which a light installation lacks.
"""

from __future__ import annotations

from typing_extensions import TypedDict

from cryptocast.documents import Moment, documented


@documented
class VersionScoreDocument(TypedDict):
    """The score on the test part of a version's pipeline, over all steps."""

    crps_bp: float
    """Mean CRPS of log-returns, in basis points."""
    skill_vs_random_walk: float
    """1 - CRPS / CRPS of the random walk: 0.01 is 1 % better."""
    n: int | None
    """Pairs of origin and step, over all markets."""
    p_value: float | None
    """One-sided, against the random walk; with several markets the greatest."""


@documented
class VersionDocument(TypedDict):
    """A registered version."""

    version: str
    """Its number."""
    kind: str
    """For example `lstm`."""
    aliases: list[str]
    """Its names in MLflow."""
    serves: list[str]
    """Ids of the markets that it is production of; `*` for all."""
    created_at: Moment
    """When it was registered."""
    run_id: str
    """Its run in MLflow."""
    missing: list[str]
    """Files that are lost."""
    data_start: str | None
    """The first candle that it learned from; null if its run was deleted."""
    data_end: str | None
    """The end of those candles."""
    data_fingerprint: str | None
    """Their hash."""
    validation_crps_bp: float | None
    """CRPS on the validation part, in basis points."""
    validation_crps_relative: float | None
    """Relative to the random walk's: below 1 is better."""
    test: VersionScoreDocument | None
    """Null if no pipeline tested it."""
    gate: str | None
    """`promoted` or `refused`; null if it was never judged."""
    gate_reason: str | None
    """The gate's sentence."""
    forced: str | None
    """Why the gate was overruled."""
    description: str
    """Its description in MLflow."""
    metrics: dict[str, float]
    """The metrics of its run."""
    tags: dict[str, str]
    """Its tags in MLflow."""
    usable: bool
    """Whether it can be evaluated and promoted."""


@documented
class ModelsDocument(TypedDict):
    """All registered versions."""

    production: str | None
    """The version that was deployed last."""
    versions: list[VersionDocument]
    """Newest first."""
