"""The tick's side of `shadow`: a challenger forecasts beside production, unserved."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from cryptocast.errors import ModelError
from cryptocast.store import Reader
from cryptocast.workflows.learning.scope import markets_of
from cryptocast.workflows.serving.ladder import Ladder
from cryptocast.workflows.serving.sets import Question, forecast_sets
from cryptocast.workflows.serving.tracks import Tracks
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

    What another one would answer in its stead is not stored, and markets that it is not meant
    for are none of its business.
    """
    with suppress(ModelError):  # a bundle that is damaged: the ladder tells
        meant = markets_of(ws, ws.bundle(version).card)
        questions = [question for question in questions if question.market in meant]
    ladder = Ladder(ws, {question.market: [version] for question in questions})
    with ws.store.read() as reader:
        made, _ = forecast_sets(ws, reader, ladder, questions, Tracks(ws, served=False), mode=mode)
    own = [s for s in made if s.model.version == version]
    with ws.store.write() as writer:
        writer.ledger.put_sets(own, served=False)
    reasons = {str(s.model.fallback) for s in made if s.model.version != version}
    return [f"shadow version {version} did not forecast ({reason})" for reason in sorted(reasons)]
