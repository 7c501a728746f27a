"""Pieces of answers that several commands give: fetched markets, scores, decisions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cryptocast.cli._output import number, table

if TYPE_CHECKING:
    from rich.table import Table

    from cryptocast.values import Gap
    from cryptocast.workflows.fetch import FetchReport
    from cryptocast.workflows.flush import Flushed
    from cryptocast.workflows.pipeline import PipelineReport
    from cryptocast.workflows.promote import Decision

_SHOWN_STEPS = (1, 6, 12, 24, "all")


def gaps_data(gaps: Sequence[Gap]) -> list[dict[str, Any]]:
    """Gaps with their first and end time and number of bars."""
    from cryptocast.values import iso

    return [{"start": iso(g.start), "end": iso(g.end), "bars": g.bars} for g in gaps]


def candles_data(report: FetchReport) -> list[dict[str, Any]]:
    """A market each: what is stored in the range and what is missing."""
    from cryptocast.values import iso

    return [
        {
            "market": m.market,
            "rows": m.rows,
            "first": None if m.first is None else iso(m.first),
            "last": None if m.last is None else iso(m.last),
            "new": m.new,
            "revised": m.revised,
            "repaired": m.repaired,
            "rejected": m.rejected,
            "missing": m.missing,
            "confirmed": m.confirmed,
            "gaps": gaps_data(m.gaps),
            "error": None
            if m.error is None
            else {"code": m.error.code, "message": m.error.message, "hint": m.error.hint},
        }
        for m in report.markets
    ]


def candles_table(report: FetchReport) -> Table:
    """The same for a person."""
    columns = ("market", "candles", "new", "missing", "last")
    rows = (
        [
            row["market"],
            *(f"{row[name]:,}" for name in ("rows", "new", "missing")),
            row["last"] or "-",
        ]
        for row in candles_data(report)
    )
    return table("Candles", columns, rows)


def counted(number: int, thing: str) -> str:
    """A number with its noun: `1 gap`, `2 gaps`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def fetch_warnings(report: FetchReport) -> list[str]:
    """Markets that failed, rows that were refused, and gaps."""
    warnings = []
    for m in report.markets:
        if m.error is not None:
            warnings.append(f"{m.market}: {m.error.message} ({m.error.hint})")
        if m.rejected:
            rows = counted(m.rejected, "row")
            warnings.append(f"{m.market}: {rows} refused, for example {m.example}")
        if m.missing:
            one = gaps_data(m.gaps)[0]
            first = "" if len(m.gaps) == 1 else ", the first"
            verb = "is" if m.missing == 1 else "are"
            warnings.append(
                f"{m.market}: {counted(m.missing, 'bar')} {verb} missing in "
                f"{counted(len(m.gaps), 'gap')}{first} from {one['start']} to {one['end']}; "
                "nothing is invented for them"
            )
        if m.unreachable_bars:
            source = m.market.partition(":")[0]
            warnings.append(
                f"{m.market}: {counted(m.unreachable_bars, 'bar')} of these are older than what "
                f"{source} still gives (import them: cryptocast fetch --source file)"
            )
    return warnings


def scores_tables(rows: Sequence[Mapping[str, Any]], title: str) -> Iterator[Table]:
    """The scores for a person, two tables a market; the JSON holds every step and figure."""
    for market in dict.fromkeys(row["market"] for row in rows):
        found = [row for row in rows if row["market"] == market]
        yield _skill_table(found, f"{title}: {market}")
        whole = [row for row in found if row["step"] == "all"]
        yield _shape_table(whole, f"Over all steps: {market}")


def _skill_table(rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    """The skill of versions at a few steps, of baselines at the first and over all."""
    columns = ("model", "step", "n", "eff", "CRPS", "skill", "90 %", "p")
    lines = (
        [
            _model(row),
            str(row["step"]),
            str(row["n"]),
            number(row["effective_n"], 0),
            number(row["crps_bp"]),
            number(_times(100, row["skill_vs_random_walk"])),
            _interval(_times(100, row["skill_low"]), _times(100, row["skill_high"]), "+.1f"),
            _chance(row["p_value"]),
        ]
        for row in rows
        if row["step"] in (_SHOWN_STEPS if row["version"] else (1, "all"))
    )
    made = table(title, columns, lines)
    made.caption = (
        "eff: independent origins that tell as much; CRPS in bp; skill against the random walk "
        "in %, its 90 % interval; p: how often luck alone gives as much"
    )
    return made


def _shape_table(rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    """What the distributions are like: direction, coverage, calibration, volatility."""
    columns = ("model", "MAE", "right", "90 %", "in 80", "in 90", "off", "QLIKE")
    lines = (
        [
            _model(row),
            number(row["relative_mae"], 3),
            number(row["direction_accuracy"]),
            _interval(row["direction_low"], row["direction_high"], ".2f"),
            number(row["coverage80"]),
            number(row["coverage90"]),
            number(row["calibration"], 3),
            number(row["qlike"]),
        ]
        for row in rows
    )
    made = table(title, columns, lines)
    made.caption = (
        "MAE against that of the last price; right: directions, their 90 % interval; in 80, in "
        "90: coverage; off: mean distance from calibration; QLIKE of the implied variance"
    )
    return made


def _model(row: Mapping[str, Any]) -> str:
    return f"{row['model']} v{row['version']}" if row["version"] else str(row["model"])


def _times(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value


def _chance(p_value: float | None) -> str:
    return "<.01" if p_value is not None and p_value < 0.01 else number(p_value)


def _interval(low: float | None, high: float | None, form: str) -> str:
    return "-" if low is None or high is None else f"{low:{form}} {high:{form}}"


def decision_data(decision: Decision) -> dict[str, Any]:
    """The decision with the gate's comparisons."""
    return {
        "promoted": decision.promoted,
        "version": decision.version,
        "model": decision.model,
        "reason": decision.reason,
        "gate": [dataclasses.asdict(c) for c in decision.verdict.comparisons],
    }


def decision_line(decision: Decision) -> str:
    """The decision in one sentence."""
    verb = "is production" if decision.promoted else "stays production"
    return f"Version {decision.version} ({decision.model}) {verb}: {decision.reason}"


def pipeline_data(report: PipelineReport) -> dict[str, Any]:
    """What `init` and `retrain` tell."""
    tuned = report.tuning
    return {
        "candles": candles_data(report.candles),
        "split": report.split,
        "tuning": {"trials": tuned.trials, "best": dict(tuned.best), "value": tuned.value}
        if tuned
        else {"trials": 0, "best": None, "value": None},
        "scores": report.scores,
        "decision": decision_data(report.decision),
    }


def flushed_data(flushed: Flushed | None) -> dict[str, Any] | None:
    """What was archived; None where that was not asked for."""
    if flushed is None:
        return None
    return {
        "folder": None if flushed.folder is None else str(flushed.folder),
        "rows": {table.table: table.rows for table in flushed.tables},
    }


def flushed_line(flushed: Flushed) -> str:
    """The same in one sentence."""
    if flushed.folder is None:
        return "Nothing was old enough to be archived"
    rows = {table.table: table.rows for table in flushed.tables}
    return (
        f"Archived {counted(rows['candles'], 'candle')} and "
        f"{counted(rows['forecast_sets'], 'forecast set')} in {flushed.folder}"
    )
