"""Pieces of answers that several commands give: fetched markets, scores, decisions."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cryptocast.cli._output import number, percent, table

if TYPE_CHECKING:
    from rich.table import Table

    from cryptocast.errors import CryptocastError
    from cryptocast.values import Gap
    from cryptocast.workflows.keeping.flush import Flushed
    from cryptocast.workflows.learning.deployment import Decision
    from cryptocast.workflows.learning.pipeline import Renewal
    from cryptocast.workflows.learning.renewals import Renewals
    from cryptocast.workflows.serving.fetching import FetchReport, MarketFetch

_SHOWN_STEPS = (1, 6, 12, 24, "all")
_SHOWN_DECISIONS = 20
SHOWN_MARKETS = 6
"""Of how many markets an answer has tables, where there are more."""


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
    """Markets that failed, rows that were refused or replaced, and gaps."""
    from cryptocast.values import iso
    from cryptocast.workflows.serving.bring import OVERLAP_BARS

    warnings = []
    for m in report.markets:
        if m.error is not None:
            warnings.append(f"{m.market}: {m.error.message} ({m.error.hint})")
        if m.rejected:
            rows = counted(m.rejected, "row")
            warnings.append(f"{m.market}: {rows} refused, for example {m.example}")
        if m.revised > OVERLAP_BARS:  # so many are asked for again as a rule
            candles = counted(m.revised, "stored candle")
            warnings.append(
                f"{m.market}: {candles} had other values and were replaced "
                "(the events candle.revised hold the old ones)"
            )
        gaps, after = m.gaps, _after_the_files(m)
        if after is not None:
            gaps = gaps[:-1]
            warnings.append(
                f"{m.market}: its files end at {iso(after)} "
                f"(recorded candles are used with --as-of {iso(after)})"
            )
        if gaps:
            missing = sum(gap.bars for gap in gaps)
            one = gaps_data(gaps)[0]
            first = "" if len(gaps) == 1 else ", the first"
            verb = "is" if missing == 1 else "are"
            warnings.append(
                f"{m.market}: {counted(missing, 'bar')} {verb} missing in "
                f"{counted(len(gaps), 'gap')}{first} from {one['start']} to {one['end']}; "
                "nothing is invented for them"
            )
        if m.unreachable_bars:
            source = m.market.partition(":")[0]
            warnings.append(
                f"{m.market}: {counted(m.unreachable_bars, 'bar')} of these are older than what "
                f"{source} still gives (import them: cryptocast fetch --source file)"
            )
    return warnings


def _after_the_files(market: MarketFetch) -> int | None:
    """Where the newest candle of files ends, if none is there for what comes after."""
    if not market.gaps or market.last is None or not market.market.startswith("file:"):
        return None
    return market.gaps[-1].start if market.gaps[-1].start > market.last else None


def scores_tables(rows: Sequence[Mapping[str, Any]], title: str) -> Iterator[Table | str]:
    """The scores for a person, two tables a market; the JSON holds every step and figure.

    Of many markets some have tables, those first where a version has the least skill.
    """
    markets = list(dict.fromkeys(row["market"] for row in rows))
    more = len(markets) - SHOWN_MARKETS
    if more > 0:
        markets.sort(key=lambda market: _least_skill(rows, market))
    for market in markets[:SHOWN_MARKETS]:
        found = [row for row in rows if row["market"] == market]
        yield _skill_table(found, f"{title}: {market}")
        whole = [row for row in found if row["step"] == "all"]
        yield _shape_table(whole, f"Over all steps: {market}")

    if more > 0:
        yield f"and {more:,} more markets, where the skill is larger (--json has all)"


def _least_skill(rows: Sequence[Mapping[str, Any]], market: str) -> float:
    """Of the versions over all steps of a market; infinite where none is known."""
    whole = (r for r in rows if r["market"] == market and r["version"] and r["step"] == "all")
    skills = (row["skill_vs_random_walk"] for row in whole)
    return min((skill for skill in skills if skill is not None), default=math.inf)


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
        "market": decision.market,
        "promoted": decision.promoted,
        "version": decision.version,
        "model": decision.model,
        "reason": decision.reason,
        "gate": [dataclasses.asdict(c) for c in decision.verdict.comparisons],
    }


def decision_line(decision: Decision) -> str:
    """The decision in one sentence."""
    verb = "is production" if decision.promoted else "stays production"
    of = "" if decision.market == "*" else f" of {decision.market}"
    return f"Version {decision.version} ({decision.model}) {verb}{of}: {decision.reason}"


def decision_lines(decisions: Sequence[Decision]) -> Iterator[str]:
    """A sentence each; of hundreds of markets those that changed nothing, and some of the rest."""
    ordered = sorted(decisions, key=lambda decision: decision.promoted)
    yield from map(decision_line, ordered[:_SHOWN_DECISIONS])
    if more := ordered[_SHOWN_DECISIONS:]:
        yield f"and {len(more):,} more, {sum(d.promoted for d in more):,} of them promoted"


def candidates_data(renewal: Renewal) -> list[dict[str, Any]]:
    """What stood for selection, and what the gate said of each that was put before it."""
    return [
        {
            "role": c.role,
            "version": c.version,
            "model": c.model,
            "validation_skill": c.validation_skill,
            "promoted": None if c.verdict is None else c.verdict.promoted,
            "gate": None if c.verdict is None else c.verdict.reason,
        }
        for c in renewal.candidates
    ]


def candidates_table(renewal: Renewal) -> Table:
    """The same for a person: skills against the random walk, and who was chosen."""
    from cryptocast.store import ALL_MARKETS

    rows = []
    for c in renewal.candidates:
        against = [] if c.verdict is None else c.verdict.comparisons
        walk = next((found.skill for found in against if found.opponent == "the random walk"), None)
        word = "-" if c.verdict is None else "no"
        if c.version == renewal.decision.version:
            word = "serves"
        rows.append([c.role, c.version, percent(c.validation_skill, 2), percent(walk, 2), word])
    columns = ("candidate", "version", "validation", "gate", "")
    whose = "" if (market := renewal.decision.market) == ALL_MARKETS else f" for {market}"
    return table(f"Candidates{whose}: skill against the random walk", columns, rows)


def pipeline_data(candles: FetchReport, report: Renewals) -> dict[str, Any]:
    """What `init` and `retrain` tell: of several models the split and trials of all together."""
    tuned = [r.tuning for r in report.renewals if r.tuning is not None]
    alone = tuned[0] if len(tuned) == len(report.renewals) == 1 else None
    return {
        "candles": candles_data(candles),
        "split": split_data(report),
        "tuning": {
            "trials": sum(t.trials for t in tuned),
            "best": None if alone is None else dict(alone.best),
            "value": None if alone is None else alone.value,
        },
        "scores": [row for renewal in report.renewals for row in renewal.scores],
        "decision": decision_data(report.decision),
        "candidates": [row for renewal in report.renewals for row in candidates_data(renewal)],
        "no_base": next((r.no_base for r in report.renewals if r.no_base is not None), None),
        "decisions": [decision_data(decision) for decision in report.decisions],
    }


def split_line(split: Mapping[str, Mapping[str, Any]]) -> str:
    """What `split_data` gives, for a person."""
    told = ", ".join(f"{name} {part['rows']:,}" for name, part in split.items())
    return f"Split in candles: {told} (the gate's are the last of the validation's)\n"


def split_data(report: Renewals) -> dict[str, Any]:
    """The parts in candles: of several models the first and the last of all, and their sum."""
    splits = [renewal.split for renewal in report.renewals]
    return {
        name: {
            "first": min((s[name]["first"] for s in splits if s[name]["rows"]), default=None),
            "last": max((s[name]["last"] for s in splits if s[name]["rows"]), default=None),
            "rows": sum(s[name]["rows"] for s in splits),
        }
        for name in splits[0]
    }


def failure_warnings(failed: Mapping[str, CryptocastError]) -> list[str]:
    """A line for each market that got no model."""
    return [f"{market}: {error.message} ({error.hint})" for market, error in failed.items()]


def failure_code(failed: Mapping[str, CryptocastError]) -> int:
    """The exit code where the others were done: that of the first failure."""
    return next((error.exit_code for error in failed.values()), 0)


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
