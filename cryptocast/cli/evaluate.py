"""cryptocast evaluate; and how scores are shown by every command that scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast.cli.root.options import Engine, Run, read_time
from cryptocast.cli.root.output import Answer, table
from cryptocast.display import NOTHING, number, percent

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from cryptocast.workflows.evaluate import EvaluateReport

NAME = "evaluate"
EXAMPLE = "cryptocast evaluate --days 1"

SHOWN_MARKETS = 6
"""How many markets have tables of their own if there are more."""

_SHOWN_STEPS = (1, 6, 12, 24, "all")
_SKILL_LEGEND = (
    "eff: number of independent origins with as much information; CRPS in bp; skill against the "
    "random walk learned anew every week, with its 90% interval; p: how often chance alone gives "
    "as much"
)
_SHAPE_LEGEND = (
    "MAE: above that of the last price; right: share of right directions, with its 90% "
    "interval; in 80, in 90: coverage; off: mean distance from perfect calibration; QLIKE of the "
    "implied variance"
)

_Version = Annotated[
    list[str] | None,
    typer.Option(help="A version; repeatable. Default: production and each kind's newest."),
]
_Days = Annotated[float | None, typer.Option(min=0.01, help="Score the last N days.")]
_TestBars = Annotated[
    int | None,
    typer.Option(min=1, help="Score the last N candles. Default: [data] test_bars (24)."),
]
_Start = Annotated[
    str | None, typer.Option(metavar="TIME", help="Score candles from this open time on.")
]
_End = Annotated[
    str | None, typer.Option(metavar="TIME", help="Score candles before this. Default: now.")
]
_Live = Annotated[
    bool, typer.Option("--live", help="Score served forecasts instead, of the last N days.")
]
_Paths = Annotated[
    bool, typer.Option("--paths", help="Judge whole paths instead. Default: of 7 days.")
]


def command(
    run: Run,
    version: _Version = None,
    days: _Days = None,
    test_bars: _TestBars = None,
    start: _Start = None,
    end: _End = None,
    live: _Live = False,
    engine: Engine = None,
    paths: _Paths = False,
) -> Answer:
    """Score versions and baselines on stored candles, all on the same origins.

    By default on the last [data] test_bars candles. The scores are kept in the table `scores`
    and in MLflow. With --live, score the forecasts that were served, with and without
    calibration. With --paths, judge whole price paths to a day ahead (cryptocast guide futures).
    """
    from cryptocast.engines import JUDGES
    from cryptocast.errors import UsageError

    if live and (version or test_bars or start or end or engine or paths):
        raise UsageError("--live goes with --days alone", hint="cryptocast evaluate --live")
    if paths and (test_bars or len(version or ()) > 1):
        raise UsageError(
            "--paths goes with one --version, and with --days, or --start and --end",
            hint="cryptocast evaluate --paths --days 7",
        )
    if live:
        return _live(run, days)
    first, last = read_time(start), read_time(end)
    with run.open({"engine.kind": engine}) as ws:
        if not paths:
            ws.engine.prepare(JUDGES)
        from cryptocast.workflows.evaluate import evaluate, evaluate_paths  # takes seconds too

        if paths:
            from cryptocast.cli.screens.paths import paths_answer

            one = version[0] if version else None
            return paths_answer(evaluate_paths(ws, version=one, days=days, start=first, end=last))
        report = evaluate(
            ws,
            versions=tuple(version or ()),
            days=days,
            test_bars=test_bars,
            start=first,
            end=last,
        )
    return _answer(report)


def _answer(report: EvaluateReport) -> Answer:
    from cryptocast.compute.scoring import score_rows
    from cryptocast.documents import document

    rows, others = [*score_rows(report.scores)], ("left_out", "scores", "diagnoses")
    data = document(report, times=("start", "end"), without=others) | {"scores": rows}
    warnings = [
        f"version {version} learned from some of these candles: its scores are too good"
        for version in report.in_sample
    ]
    title = f"Scores on the candles from {data['start']} to {data['end']}"
    return Answer(
        data,
        lambda console: console.print(*scores_tables(rows, title)),
        [*warnings, *report.left_out],
    )


def _live(run: Run, days: float | None) -> Answer:
    from cryptocast.compute.scoring import score_rows
    from cryptocast.documents import document
    from cryptocast.workflows.watching.served import LIVE, live

    with run.open() as ws:
        report = live(ws, days=days)
    rows = [*score_rows(report.scores)]
    data = document(report, times=("start", "end"), without=("scores",)) | {"scores": rows}

    def show(console: Console) -> None:
        title = f"Served from {data['start']} to {data['end']}"
        console.print(*scores_tables(rows, title))
        for market, scale in report.scale.items():
            console.print(
                f"{market}: calibration widened step 1 by {percent(scale[0] - 1)} "
                f"and the last step by {percent(scale[-1] - 1)} on average"
            )

    warnings = [] if report.modes == LIVE else ["no forecast was served live: these are replayed"]
    return Answer(data, show, warnings)


def scores_tables(rows: Sequence[Mapping[str, Any]], title: str) -> Iterator[Table | str]:
    """Yield two tables per market; the JSON holds every step and figure.

    If there are many markets, only those have tables in which a version has the least skill.
    """
    markets = list(dict.fromkeys(row["market"] for row in rows))
    more = len(markets) - SHOWN_MARKETS
    if more > 0:
        markets.sort(key=lambda market: _least_skill(rows, market))
    for market in markets[:SHOWN_MARKETS]:
        own = [row for row in rows if row["market"] == market]
        yield _skill_table(own, f"{title}: {market}")
        yield _shape_table([row for row in own if row["step"] == "all"], market)
    if more > 0:
        yield f"and {more:,} more markets, in which the skill is larger (--json has all)"


def _least_skill(rows: Sequence[Mapping[str, Any]], market: str) -> float:
    """Return the least skill of the versions over all steps, or infinity if none is known."""
    overall = (r for r in rows if r["market"] == market and r["version"] and r["step"] == "all")
    skills = (row["skill_vs_random_walk"] for row in overall)
    return min((skill for skill in skills if skill is not None), default=math.inf)


def _skill_table(rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    """Return the skill of versions at a few steps, of baselines at the first and over all."""
    columns = ("model", "step", "n", "eff", "CRPS", "skill", "90%", "p")
    lines = (
        [
            _model(row),
            str(row["step"]),
            str(row["n"]),
            number(row["effective_n"], 0),
            number(row["crps_bp"]),
            percent(row["skill_vs_random_walk"], 2),
            _interval(row["skill_low"], row["skill_high"]),
            p_value(row["p_value"]),
        ]
        for row in rows
        if row["step"] in (_SHOWN_STEPS if row["version"] else (1, "all"))
    )
    scores = table(title, columns, lines)
    scores.caption = _SKILL_LEGEND
    return scores


def _shape_table(rows: Sequence[Mapping[str, Any]], market: str) -> Table:
    """Return what the distributions are like: direction, coverage, calibration, volatility."""
    columns = ("model", "MAE", "right", "90%", "in 80", "in 90", "off", "QLIKE")
    lines = (
        [
            _model(row),
            excess(row["relative_mae"]),
            percent(row["direction_accuracy"], sign=False),
            _interval(row["direction_low"], row["direction_high"], 0, sign=False),
            percent(row["coverage80"], sign=False),
            percent(row["coverage90"], sign=False),
            number(row["calibration"], 3),
            number(row["qlike"]),
        ]
        for row in rows
    )
    scores = table(f"Over all steps: {market}", columns, lines)
    scores.caption = _SHAPE_LEGEND
    return scores


def _model(row: Mapping[str, Any]) -> str:
    return f"{row['model']} v{row['version']}" if row["version"] else str(row["model"])


def excess(ratio: float | None) -> str:
    """Return how far a ratio is above 1, as a percentage, or a dash if there is none."""
    return percent(None if ratio is None else ratio - 1)


def p_value(value: float | None) -> str:
    """Return a p-value with two decimals, or a dash if there is none."""
    return "<.01" if value is not None and value < 0.01 else number(value)


def _interval(
    low: float | None, high: float | None, decimals: int = 1, *, sign: bool = True
) -> str:
    if low is None or high is None:
        return NOTHING
    return f"{percent(low, decimals, sign=sign)} {percent(high, decimals, sign=sign)}"
