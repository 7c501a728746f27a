"""cryptocast promote; and how decisions are shown by every command that makes one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast.cli.root.options import Run
from cryptocast.cli.root.output import Answer
from cryptocast.display import percent

if TYPE_CHECKING:
    from rich.console import Console

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
    data = {"decision": decision_document(decision)}
    return Answer(data, lambda console: show_decisions(console, [decision]))


def decision_document(decision: Decision) -> dict[str, Any]:
    """Return the decision with the gate's comparisons."""
    return {
        "market": decision.market,
        "promoted": decision.promoted,
        "version": decision.version,
        "model": decision.model,
        "reason": decision.reason,
        "promised_skill": decision.promised,
        "gate": decision.verdict.comparisons,
    }


def show_decisions(console: Console, decisions: Sequence[Decision]) -> None:
    """Print what serves, why, and what is promised of it; of several decisions a line each.

    Those that changed nothing come first, and no more than a screen holds are shown.
    """
    ordered = sorted(decisions, key=lambda decision: decision.promoted)
    if len(ordered) == 1:
        _show_decision(console, ordered[0])
        return
    for decision in ordered[:_SHOWN_DECISIONS]:
        console.print(f"{_head(decision)}: {decision.reason}", markup=False)
    if more := ordered[_SHOWN_DECISIONS:]:
        promoted = sum(decision.promoted for decision in more)
        console.print(f"and {len(more):,} more, {promoted:,} of them promoted")


def _show_decision(console: Console, decision: Decision) -> None:
    import textwrap

    console.print(f"{_head(decision)}:", markup=False)
    for clause in decision.reason.split("; "):
        shown = textwrap.fill(clause, console.width, initial_indent="  ", subsequent_indent="    ")
        console.print(shown, markup=False)


def _head(decision: Decision) -> str:
    """Return what serves, and what skill is promised of it, if any."""
    verb = "is production" if decision.promoted else "stays production"
    market = "" if decision.market == "*" else f" for {decision.market}"
    skill = percent(decision.promised, 2)
    promise = "" if decision.promised is None else f", promised skill {skill}"
    return f"Version {decision.version} ({decision.model}) {verb}{market}{promise}"
