"""cryptocast monitor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer, number, percent, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.table import Table

NAME = "monitor"
EXAMPLE = "cryptocast monitor --window day"
_SHIFTED = 0.25  # a PSI that is called a shift
_SHOWN_FEATURES = 3


def command(
    run: Run,
    window: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only 2h, day or week; default all.", show_default=False),
    ] = None,
) -> Answer:
    """Hold forecasts against what came: healthy, watch or declined.

    Each market's skill against the random walk and its ranges are tested in a
    way that a wild market alone does not alarm. Exit 6 on declined; unknown,
    exit 0, where too little is there. The verdict is kept as an event.
    """
    from cryptocast.errors import GateRefused
    from cryptocast.evaluation.monitoring import DECLINED
    from cryptocast.workflows.monitor import monitor
    from cryptocast.workflows.watching.live import REPLAYED
    from cryptocast.workflows.watching.verdicts import document

    with run.open() as ws:
        report = monitor(ws, window=window)
    data = document(report)
    warnings = list(report.warnings)
    if report.modes == REPLAYED and data["windows"]:
        warnings.append("nothing was served live: these are replayed")

    def show(console: Console) -> None:
        console.print(f"{report.verdict}: {report.reason}", markup=False)
        for each in _tables(data):
            console.print(each)
        for line in _shifted(data["drift"]):
            console.print(line, markup=False)

    code = GateRefused.exit_code if report.verdict == DECLINED else 0
    return Answer(data, show, warnings, code)


def _tables(data: dict[str, Any]) -> Iterator[Table]:
    if data["windows"]:
        columns = ("market", "window", "n", "CRPS", "skill", "promised", "in 80", "in 90")
        yield table(
            f"Served, at {data['now']}",
            (*columns, "bias", "off"),
            (
                [
                    row["market"],
                    row["window"],
                    f"{row['n']:,}",
                    number(row["crps_bp"]),
                    percent(row["skill_vs_random_walk"]),
                    percent(row["promised_skill"]),
                    *(number(row[name]) for name in ("coverage80", "coverage90")),
                    percent(row["bias"]),
                    number(row["pit_distance"], 3),
                ]
                for row in data["windows"]
            ),
        )
    if data["tests"]:
        yield table(
            "Tests (declined at the threshold, watch at half of it)",
            ("market", "test", "statistic", "threshold", "verdict", "input", "since"),
            (
                [
                    row["market"],
                    row["name"],
                    number(row["statistic"]),
                    number(row["threshold"]),
                    row["verdict"],
                    row["feature"] or "-",
                    row["since"] or "-",
                ]
                for row in data["tests"]
            ),
        )
    if data["scorecard"]:
        figures = ("n", "CRPS bp", "QLIKE", "rel. MAE", "direction", "90 %", "fee bp")
        yield table(
            "Scorecard",
            ("market", "minutes", *figures),
            (
                [
                    row["market"],
                    f"{row['minutes']:g}",
                    f"{row['n']:,}",
                    number(row["crps_bp"]),
                    number(row["qlike"]),
                    number(row["relative_mae"], 3),
                    number(row["direction_accuracy"], 3),
                    f"{number(row['direction_low'])}-{number(row['direction_high'])}"
                    if row["direction_low"] is not None
                    else "-",
                    number(row["break_even_fee_bp"]),
                ]
                for row in data["scorecard"]
            ),
        )


def _shifted(drift: list[dict[str, Any]]) -> Iterator[str]:
    """A line for each market whose inputs of the last week are not those of the training."""
    week = [row for row in drift if row["window"] == "week" and row["psi"] > _SHIFTED]
    for market in dict.fromkeys(row["market"] for row in week):
        most = sorted((r for r in week if r["market"] == market), key=lambda r: -r["psi"])
        told = ", ".join(f"{r['feature']} {r['psi']:.2f}" for r in most[:_SHOWN_FEATURES])
        more = f" and {len(most) - _SHOWN_FEATURES} more" if len(most) > _SHOWN_FEATURES else ""
        yield f"Inputs of {market} have drifted since training (PSI): {told}{more}"
