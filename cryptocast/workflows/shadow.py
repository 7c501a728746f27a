"""shadow: let a challenger forecast beside production, unserved, to be compared live."""

from __future__ import annotations

from dataclasses import dataclass

from cryptocast import bundles
from cryptocast.errors import StateError
from cryptocast.workflows.learning.versions import registered_bundle, version_named
from cryptocast.workflows.serving.events import SHADOW, shadowing
from cryptocast.workspace import Workspace


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """The version that shadows now, and the one before; None if there is none."""

    version: str | None
    before: str | None


def shadow(ws: Workspace, version: str | None, *, stop: bool = False) -> ShadowReport:
    """Let a version shadow from the next tick on, or `stop`; without either only report.

    Raises StateError if the version is unknown, or serves.
    """
    with ws.store.read() as reader:
        before, productions = shadowing(reader), reader.productions()
    if version is None and not stop:
        return ShadowReport(before, before)
    if version is not None:
        version = version_named(ws, version)
        if version in {row.model_version for row in productions.of_markets(ws.markets()).values()}:
            raise StateError(
                f"version {version} is in production already",
                code="state.serves",
                hint="cryptocast models lists the others",
            )
        bundle = registered_bundle(ws, version)
        bundles.freeze(ws.bundle_folder(version), bundle.card, ws.registry().onnx(version))
    with ws.store.write() as writer:
        writer.put_event(ws.clock.now(), SHADOW, None, {"version": version})
    return ShadowReport(version, before)
