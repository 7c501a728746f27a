"""The tick's side of `shadow`: a challenger forecasts beside production, unserved."""

from __future__ import annotations

from collections.abc import Sequence

from cryptocast.store import Reader
from cryptocast.workflows.ladder import Ladder
from cryptocast.workflows.serving import Question, forecast_sets
from cryptocast.workflows.tracks import Tracks
from cryptocast.workspace import Workspace

SHADOW = "shadow"
"""The kind of the events that say which version shadows from then on, null: none."""


def shadowing(reader: Reader) -> str | None:
    """The version that shadows production now."""
    events = reader.events(SHADOW)
    return events[-1].detail["version"] if events else None


def cast_shadow(
    ws: Workspace, version: str, questions: Sequence[Question], *, mode: str | None = None
) -> list[str]:
    """Store what the version forecasts, unserved; returns why it could not.

    What another one would answer in its stead is not stored.
    """
    with ws.store.read() as reader:
        made, _ = forecast_sets(
            ws, reader, Ladder(ws, [version]), questions, Tracks(ws, served=False), mode=mode
        )
    own = [s for s in made if s.model.version == version]
    with ws.store.write() as writer:
        writer.ledger.put_sets(own, served=False)
    reasons = {str(s.model.fallback) for s in made if s.model.version != version}
    return [f"shadow version {version} did not forecast ({reason})" for reason in sorted(reasons)]
