"""Versions of the model: load them, check them against the settings, keep their test scores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptocast import bundles
from cryptocast.bundles import Bundle, Forecaster, from_document, graph_hash
from cryptocast.display import chance, percent
from cryptocast.errors import ModelError, StateError
from cryptocast.workspace import Workspace

_MOST_DIGITS = 18
_CRPS, _SKILL, _COUNT, _P_VALUE = "test.crps_bp", "test.skill", "test.n", "test.p_value"


@dataclass(frozen=True, slots=True)
class VersionScore:
    """A version's score on the test part of its pipeline, over all steps."""

    crps_bp: float
    skill_vs_random_walk: float
    n: int | None  # pairs of origin and step, over all markets
    p_value: float | None  # one-sided, against the random walk; with several markets the greatest

    @classmethod
    def of_rows(cls, rows: Iterable[Mapping[str, Any]]) -> VersionScore | None:
        """Average the rows of one version over the markets, or return None if it has no score."""
        scored = [
            row
            for row in rows
            if row["step"] == "all" and row["n"] and row["skill_vs_random_walk"] is not None
        ]
        if not scored:
            return None
        count = len(scored)
        return cls(
            crps_bp=math.fsum(row["crps_bp"] for row in scored) / count,
            skill_vs_random_walk=math.fsum(row["skill_vs_random_walk"] for row in scored) / count,
            n=sum(row["n"] for row in scored),
            p_value=max(
                (row["p_value"] for row in scored if row["p_value"] is not None), default=None
            ),
        )

    @classmethod
    def of_tags(cls, tags: Mapping[str, str]) -> VersionScore | None:
        """Read the score back from a version's tags, or return None if it was never tested."""
        if _SKILL not in tags:
            return None
        count, p_value = tags.get(_COUNT), tags.get(_P_VALUE)
        return cls(
            crps_bp=float(tags[_CRPS]),
            skill_vs_random_walk=float(tags[_SKILL]),
            n=None if count is None else int(count),
            p_value=None if p_value is None else float(p_value),
        )

    @property
    def tags(self) -> dict[str, str]:
        """The tags that keep this score with a version."""
        tags = {
            _CRPS: f"{self.crps_bp:.6g}",
            _SKILL: f"{self.skill_vs_random_walk:.6g}",
            _COUNT: str(self.n),
        }
        return tags if self.p_value is None else tags | {_P_VALUE: f"{self.p_value:.4g}"}

    @property
    def text(self) -> str:
        """The score in one sentence, for a version's description."""
        p_value = "" if self.p_value is None else f", {chance(self.p_value)}"
        return (
            f"CRPS {self.crps_bp:.3f} bp, skill against the random walk "
            f"{percent(self.skill_vs_random_walk, 2)} (n = {self.n or 0:,}{p_value})"
        )


def version_named(ws: Workspace, name: str) -> str:
    """Return the number of the version that a person means: `4`, `v4` or an alias.

    MLflow is asked about aliases only. Raises StateError (`state.no_version`) for an unknown one.
    """
    number = name.removeprefix("v")
    if number.isdecimal() and len(number) <= _MOST_DIGITS:
        return str(int(number))  # as MLflow writes it, not `04` or in digits of another script
    aliases = ws.registry().aliases()
    if name in aliases:
        return aliases[name]
    raise StateError(
        f"there is no version '{name}'",
        code="state.no_version",
        hint="cryptocast models lists them, and their aliases",
    )


def registered_bundle(ws: Workspace, version: str) -> Bundle:
    """Load a version from MLflow.

    Raises StateError: `state.no_version`, or `state.other_model` if this workspace has deployed
    another model under that number, before the MLflow store was replaced.
    """
    registry = ws.registry()
    card, graph = from_document(registry.card(version)), registry.onnx(version)
    with ws.store.read() as reader:
        deployed = reader.graphs().get(card.version)
    if deployed not in (None, graph_hash(graph)):
        raise StateError(
            f"version {version} in MLflow is not the model that was deployed as version {version}",
            code="state.other_model",
            hint="the MLflow store was replaced: bring the old one back, or cryptocast train makes "
            "a version with a number of its own",
        )
    return Bundle(card, Forecaster(graph, card.features), graph_hash(graph))


def frozen_bundle(ws: Workspace, version: str) -> Bundle:
    """Load a deployed version as ticks read it, or from MLflow if its bundle is damaged."""
    with ws.store.read() as reader:
        graph = reader.graphs().get(version)
    try:
        return bundles.load_version(ws.bundle_folder(version), graph)
    except ModelError:
        return registered_bundle(ws, version)


def production_of(ws: Workspace) -> tuple[str | None, str | None]:
    """Return the version that serves all markets, and its kind.

    Both are None if no version serves, or if several do.
    """
    with ws.store.read() as reader:
        rows = reader.productions().of_markets(ws.markets())
    versions = {row.model_version for row in rows.values()}
    if len(versions) != 1:
        return None, None
    (version,) = versions
    return version, frozen_bundle(ws, version).card.kind
