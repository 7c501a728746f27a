"""cryptocast monitor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast.cli.evaluate import excess
from cryptocast.cli.root.options import Run, completing
from cryptocast.cli.root.output import Answer, table
from cryptocast.display import NOTHING, first_few, number, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.table import Table

    from cryptocast.workflows.watching.verdicts import MonitorReport

NAME = "monitor"
EXAMPLE = "cryptocast monitor --window day"
_WINDOWS = ("2h", "day", "week")
_SHIFTED = 0.25  # a PSI from which on an input is said to have drifted
_SHOWN_FEATURES = 3


def command(
    run: Run,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=completing(lambda: _WINDOWS),
            help="Only this window: {choices}. Default: all.",
        ),
    ] = None,
) -> Answer:
    """Compare forecasts with what happened: healthy, watch or declined.

    Each market's skill against the random walk and its ranges are tested in a way that a wild
    market alone does not trigger. Exit 6 on declined; unknown, with exit 0, if there are too
    few outcomes. The verdict is kept as an event.
    """
    from cryptocast.workflows.monitor import monitor

    with run.open() as ws:
        report = monitor(ws, window=window)
    return _answer(report)


def _answer(report: MonitorReport) -> Answer:
    from cryptocast.errors import GateRefused
    from cryptocast.evaluation.monitoring import DECLINED
    from cryptocast.workflows.watching.served import REPLAYED
    from cryptocast.workflows.watching.verdicts import document

    data = document(report)
    warnings = list(report.warnings)
    if report.modes == REPLAYED and data["windows"]:
        warnings.append("no forecast was served live: these are replayed")

    def show(console: Console) -> None:
        console.print(f"{report.verdict}: {report.reason}", markup=False)
        if data["windows"]:
            console.print(_windows_table(data["windows"], data["now"]))
        if data["tests"]:
            console.print(_tests_table(data["tests"]))
        if data["scorecard"]:
            console.print(_scorecard_table(data["scorecard"]))
        for text in _drift_lines(data["drift"]):
            console.print(text, markup=False)

    code = GateRefused.exit_code if report.verdict == DECLINED else 0
    return Answer(data, show, warnings, code)


def _windows_table(windows: list[dict[str, Any]], now: str) -> Table:
    columns = ("market", "window", "n", "CRPS", "skill", "promised", "in 80", "in 90")
    rows = (
        [
            row["market"],
            row["window"],
            f"{row['n']:,}",
            number(row["crps_bp"]),
            percent(row["skill_vs_random_walk"]),
            percent(row["promised_skill"]),
            percent(row["coverage80"], sign=False),
            percent(row["coverage90"], sign=False),
            percent(row["bias"]),
            number(row["pit_distance"], 3),
        ]
        for row in windows
    )
    return table(f"Served, as of {now}", (*columns, "bias", "off"), rows)


def _tests_table(tests: list[dict[str, Any]]) -> Table:
    columns = ("market", "test", "statistic", "threshold", "verdict", "input", "since")
    rows = (
        [
            row["market"],
            row["name"],
            number(row["statistic"]),
            number(row["threshold"]),
            row["verdict"],
            row["feature"] or NOTHING,
            row["since"] or NOTHING,
        ]
        for row in tests
    )
    return table("Tests (declined at the threshold, watch at half of it)", columns, rows)


def _scorecard_table(scorecard: list[dict[str, Any]]) -> Table:
    figures = ("n", "CRPS bp", "QLIKE", "MAE", "direction", "90%", "fee bp")
    rows = (
        [
            row["market"],
            f"{row['minutes']:g}",
            f"{row['n']:,}",
            number(row["crps_bp"]),
            number(row["qlike"]),
            excess(row["relative_mae"]),
            percent(row["direction_accuracy"], sign=False),
            f"{row['direction_low']:.0%} {row['direction_high']:.0%}"
            if row["direction_low"] is not None
            else NOTHING,
            number(row["break_even_fee_bp"]),
        ]
        for row in scorecard
    )
    return table("Scorecard", ("market", "minutes", *figures), rows)


def _drift_lines(drift: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a line for each market whose inputs of the last week have drifted since training."""
    week = [row for row in drift if row["window"] == "week" and row["psi"] > _SHIFTED]
    for market in dict.fromkeys(row["market"] for row in week):
        rows = sorted((r for r in week if r["market"] == market), key=lambda r: -r["psi"])
        features = first_few([f"{r['feature']} {r['psi']:.2f}" for r in rows], _SHOWN_FEATURES)
        yield f"Inputs of {market} have drifted since training (PSI): {features}"
