"""The results of a pipeline, as `init` and `retrain` show them and write them as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast.cli.evaluate import SHOWN_MARKETS, p_value, scores_tables
from cryptocast.cli.fetch import candles_document, candles_table
from cryptocast.cli.promote import decision_document, show_decisions
from cryptocast.cli.root.output import (
    failure_code,
    failure_warnings,
    line,
    table,
)
from cryptocast.display import NOTHING, percent

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from cryptocast.workflows.learning.pipeline import Contender, Renewal
    from cryptocast.workflows.learning.renewals import Renewals
    from cryptocast.workflows.serving.fetching import FetchReport


Scores = Annotated[
    bool,
    typer.Option("--scores", help="Show candles, split and test scores, too; MLflow has them."),
]
"""The option of `init` and `retrain`."""

_LEGEND = (
    "gate: on candles that no candidate learned from; p: how often chance alone gives as much; "
    "promised: what to expect, from that and from what was shown elsewhere"
)


def renewals_document(candles: FetchReport, renewals: Renewals) -> dict[str, Any]:
    """Return a pipeline's results; several models share one split and one count of trials."""
    tuned = [tuning for r in renewals.renewals for tuning in r.tunings]
    only = tuned[0] if len(tuned) == len(renewals.renewals) == 1 else None
    no_base = (r.no_base for r in renewals.renewals if r.no_base is not None)
    return {
        "candles": candles_document(candles),
        "split": _split_document(renewals),
        "tuning": {
            "trials": sum(t.trials for t in tuned),
            "best": None if only is None else only.best,
            "value": None if only is None else only.value,
        },
        "scores": _scores(renewals),
        "decision": decision_document(renewals.decision),
        "candidates": [c for r in renewals.renewals for c in _candidate_documents(r)],
        "no_base": next(no_base, None),
        "decisions": [decision_document(decision) for decision in renewals.decisions],
    }


def show_renewals(
    console: Console,
    candles: FetchReport,
    renewals: Renewals,
    texts: Sequence[str],
    *,
    with_scores: bool,
) -> None:
    """Print what a pipeline decided, these texts, and its candidates; then its scores if wanted."""
    show_decisions(console, renewals.decisions)
    for text in texts:
        line(console, text)
    console.print()
    console.print(_candidates_table(renewals))
    for reason in dict.fromkeys(r.no_base for r in renewals.renewals if r.no_base is not None):
        console.print(f"No base network among them: {reason}", markup=False)
    if not with_scores:
        return
    console.print(candles_table(candles))
    parts = {name: part["rows"] for name, part in _split_document(renewals).items()}
    parts["validation"] -= parts["gate"]
    shown = ", ".join(f"{name} {rows:,}" for name, rows in parts.items())
    console.print(f"Split in candles: {shown}\n")
    console.print(*scores_tables(_scores(renewals), "Scores on the test set"))


def renewals_warnings(candles: FetchReport, renewals: Renewals) -> list[str]:
    """Return the warnings of a pipeline's fetch and of its failures, each of them once."""
    from cryptocast.workflows.fetch import warnings_of

    failed = {failure.decision.market: failure.error for failure in renewals.failures}
    return list(dict.fromkeys(warnings_of(candles) + failure_warnings(failed)))


def renewals_code(renewals: Renewals) -> int:
    """Return the exit code of a pipeline: that of the first market that failed, or 0."""
    return failure_code({f.decision.market: f.error for f in renewals.failures})


def _scores(renewals: Renewals) -> list[dict[str, Any]]:
    from cryptocast.compute.scoring import score_rows

    return [row for renewal in renewals.renewals for row in score_rows(renewal.scores)]


def _split_document(renewals: Renewals) -> dict[str, Any]:
    """Return the parts in candles; of several models the first and last of all, and the sum."""
    splits = [renewal.split for renewal in renewals.renewals]
    return {
        name: {
            "first": min((s[name]["first"] for s in splits if s[name]["rows"]), default=None),
            "last": max((s[name]["last"] for s in splits if s[name]["rows"]), default=None),
            "rows": sum(s[name]["rows"] for s in splits),
        }
        for name in splits[0]
    }


def _candidate_documents(renewal: Renewal) -> Iterator[dict[str, Any]]:
    """Yield what was considered for promotion, and what the gate said of it."""
    for candidate in renewal.candidates:
        verdict = candidate.verdict
        yield {
            "role": candidate.role,
            "version": candidate.version,
            "model": candidate.model,
            "validation_skill": candidate.validation_skill,
            "promoted": None if verdict is None else verdict.promoted,
            "gate": None if verdict is None else verdict.reason,
        }


def _candidates_table(renewals: Renewals) -> Table:
    """Return the candidates with their skills and the gate's verdicts, market by market."""
    from cryptocast.workflows.learning.pipeline import names_of

    shown = renewals.renewals[:SHOWN_MARKETS]
    rows = [
        _candidate_row(renewal, name, c)
        for renewal in shown
        for name, c in zip(names_of(renewal.candidates), renewal.candidates, strict=True)
    ]
    columns = ["candidate", "version", "validation", "gate", "p", "promised", ""]
    if len(renewals.renewals) > 1:
        columns.insert(0, "market")
    else:
        rows = [row[1:] for row in rows]
    candidates = table("Candidates: skill against the random walk", columns, rows)
    more = len(renewals.renewals) - len(shown)
    candidates.caption = (f"and {more:,} more markets; " if more else "") + _LEGEND
    return candidates


def _candidate_row(renewal: Renewal, name: str, c: Contender) -> list[str]:
    from cryptocast.values import OPPONENT_WALK

    comparisons = () if c.verdict is None else c.verdict.comparisons
    at_gate = [NOTHING] * 3
    for each in comparisons:
        if each.opponent == OPPONENT_WALK:
            promised = percent(each.shrunken, 2)
            at_gate = [percent(each.skill, 2), p_value(each.p_value), promised]
    word = NOTHING if c.verdict is None else "refused" if comparisons else "nothing new"
    if c.version == renewal.decision.version:
        word = "serves"
    validation = percent(c.validation_skill, 2)
    return [renewal.decision.market, name, c.version, validation, *at_gate, word]
