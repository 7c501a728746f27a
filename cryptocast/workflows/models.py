"""models: the registered versions, their aliases and scores."""

from __future__ import annotations

from dataclasses import dataclass

from cryptocast.registry import Version
from cryptocast.workspace import Workspace


@dataclass(frozen=True, slots=True)
class ModelsReport:
    """All versions, newest first, and the one that `deployments` says is production."""

    production: str | None
    versions: tuple[Version, ...]


def models(ws: Workspace) -> ModelsReport:
    """List what MLflow has, and what serves."""
    with ws.store.read() as reader:
        deployment = reader.deployment()
    return ModelsReport(
        deployment.model_version if deployment else None, tuple(ws.registry().versions())
    )
