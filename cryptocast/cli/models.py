"""cryptocast models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptocast.cli.root.options import Run
from cryptocast.cli.root.output import Answer, table
from cryptocast.display import NOTHING, percent

if TYPE_CHECKING:
    from cryptocast.workflows.models import Entry

NAME = "models"
EXAMPLE = "cryptocast models --json"

_SHOWN_MARKETS = 3
_COLUMNS = ("v", "kind, made", "aliases", "data", "validation", "test", "gate")


def command(run: Run) -> Answer:
    """List the registered versions with their aliases and scores."""
    from cryptocast.documents import document
    from cryptocast.workflows.models import models

    with run.open() as ws:
        report = models(ws)
    rows = [_row(entry) for entry in report.versions]
    warnings = [
        f"version {entry.version} cannot be used: its {' and '.join(entry.missing)} is lost"
        for entry in report.versions
        if not entry.usable
    ]
    return Answer(
        document(report),
        lambda console: console.print(
            table("Models: skill against the random walk", _COLUMNS, rows)
        ),
        warnings,
    )


def _names(entry: Entry) -> list[str]:
    """Return the aliases; those of single markets are replaced by the markets' symbols."""
    own = [alias for alias in entry.aliases if "-" not in alias]
    markets = [market.rsplit(":", 2)[1] for market in entry.serves if market != "*"]
    more = len(markets) - _SHOWN_MARKETS
    own += [f"serves {market}" for market in markets[:_SHOWN_MARKETS]]
    return [*own, *([f"and {more} more"] if more > 0 else [])]


def _row(entry: Entry) -> list[str]:
    """Return a version's row, of two or three lines, so that it fits into 80 columns.

    Two networks of one kind are told apart by where they began: `lstm, scratch`.
    """
    from cryptocast.workflows.learning.selection import NOTHING_NEW, SCRATCHED, TUNED

    test = NOTHING
    if entry.test is not None:
        test = percent(entry.test.skill_vs_random_walk, 2)
        if entry.test.n is not None:
            test += f"\nn {entry.test.n:,}"
    relative = entry.validation_crps_relative
    gate = "forced" if entry.forced else entry.gate or NOTHING
    if entry.gate_reason == NOTHING_NEW:
        gate = "nothing\nnew"
    data = (entry.data_start, entry.data_end)
    learned = [(moment or NOTHING)[:10] for moment in data] if data[0] != data[1] else [NOTHING]
    role = entry.tags.get("role")
    kind = f"{entry.kind}, {role}" if role in (SCRATCHED, TUNED) else entry.kind
    return [
        entry.version,
        f"{kind}\n{entry.created_at[:10]}",
        "\n".join(_names(entry)) or NOTHING,
        "\n".join(learned),
        percent(None if relative is None else 1 - relative, 2),
        test,
        gate if entry.usable else "unusable",
    ]
