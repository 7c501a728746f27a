"""cryptocast promote; and how decisions are shown by every command that makes one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast.cli.root.options import Run
from cryptocast.cli.root.output import Answer, sentences

if TYPE_CHECKING:
    from cryptocast.workflows.learning.deployment import Decision

NAME = "promote"
EXAMPLE = "cryptocast promote 3"
_SHOWN_DECISIONS = 20


def command(
    run: Run,
    version: Annotated[
        str,
        typer.Argument(
            help="A number from `cryptocast models` (4 or v4), or an alias: challenger."
        ),
    ],
    force: Annotated[bool, typer.Option("--force", help="Overrule the gate.")] = False,
    reason: Annotated[str | None, typer.Option(help="The reason; needed with --force.")] = None,
) -> Answer:
    """Make a version production if the gate agrees; if it refuses: exit 6.

    If each market has a model of its own, a version that learned from one market is promoted
    for that market.
    """
    from cryptocast.workflows.promote import promote

    with run.open() as ws:
        decision = promote(ws, version, force=force, reason=reason)
    return Answer({"decision": decision_document(decision)}, sentences(decision_sentence(decision)))


def decision_document(decision: Decision) -> dict[str, Any]:
    """Return the decision with the gate's comparisons."""
    return {
        "market": decision.market,
        "promoted": decision.promoted,
        "version": decision.version,
        "model": decision.model,
        "reason": decision.reason,
        "gate": decision.verdict.comparisons,
    }


def decision_sentence(decision: Decision) -> str:
    """Return the decision in one sentence."""
    verb = "is production" if decision.promoted else "stays production"
    market = "" if decision.market == "*" else f" for {decision.market}"
    return f"Version {decision.version} ({decision.model}) {verb}{market}: {decision.reason}"


def decision_sentences(decisions: Sequence[Decision]) -> Iterator[str]:
    """Yield a sentence per decision, up to a limit; those that changed nothing come first."""
    ordered = sorted(decisions, key=lambda decision: decision.promoted)
    yield from map(decision_sentence, ordered[:_SHOWN_DECISIONS])
    if more := ordered[_SHOWN_DECISIONS:]:
        yield f"and {len(more):,} more, {sum(d.promoted for d in more):,} of them promoted"
