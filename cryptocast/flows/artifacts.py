"""Artifacts: tables and texts that Prefect shows on the page of a run, at most 200 rows each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from cryptocast.compute.scoring import score_rows
from cryptocast.display import last_price, percent, price, price_range
from cryptocast.documents import plain
from cryptocast.flows.steps import TaskSteps
from cryptocast.schedulers.prefect import deployment_name
from cryptocast.values import ForecastSet, iso

if TYPE_CHECKING:
    from cryptocast.workflows.learning.renewals import Renewals

MOST_ROWS = 200

_SHARES = {"80 %": 0.8, "90 %": 0.9}
_SCORES = ("model", "version", "market", "step", "n", "crps_bp", "skill_vs_random_walk", "p_value")


def show_forecasts(folder: Path, forecasts: Sequence[ForecastSet], steps: TaskSteps) -> None:
    """Publish the table `forecast`: for each market and step the median and two ranges."""
    rows = list(islice((row for f in forecasts for row in _forecast_rows(f)), MOST_ROWS))
    description = "; ".join(
        f"{f.market.id} at {iso(f.origin)}: last close {last_price(f)} {f.market.quote}"
        for f in forecasts[:MOST_ROWS]
    )
    key = f"forecast-{deployment_name(folder)}"
    _publish(lambda: create_table_artifact(rows, key=key, description=description), steps)


def show_renewals(
    folder: Path, renewals: Renewals, findings: Mapping[str, str | None], steps: TaskSteps
) -> None:
    """Publish the table `scores` of a pipeline's test and the text `decision`."""
    name = deployment_name(folder)
    every = (row for renewal in renewals.renewals for row in score_rows(renewal.scores))
    scores = sorted(every, key=lambda row: row["step"] != "all")  # the sums first
    rows = [{key: _short(row.get(key)) for key in _SCORES} for row in islice(scores, MOST_ROWS)]
    text = "\n".join(islice(_decision_lines(renewals, findings), MOST_ROWS))

    def publish() -> None:
        create_table_artifact(
            rows, key=f"scores-{name}", description="Scores on the test candles, in basis points"
        )
        create_markdown_artifact(
            text, key=f"decision-{name}", description="What serves now, and why"
        )

    _publish(publish, steps)


def _publish(publish: Callable[[], object], steps: TaskSteps) -> None:
    """Publish artifacts; if the server does not take them, only warn: the work itself is done."""
    try:
        publish()
    except Exception as error:  # whatever Prefect's client raises, the run has succeeded
        steps.warn([f"no artifact was written: {type(error).__name__}: {error}"])


def _short(value: Any) -> Any:
    """Return a value as JSON takes it, a figure with four digits."""
    return plain(float(f"{value:.4g}") if isinstance(value, float) else value)


def _forecast_rows(forecast: ForecastSet) -> list[dict[str, Any]]:
    """Return the rows of one set; a range is left out if its levels were not forecast."""
    ends = {name: pair for name, share in _SHARES.items() if (pair := forecast.ends(share))}
    median, width = forecast.levels.index(0.5), forecast.narrowest
    return [
        {
            "market": forecast.market.symbol,
            "step": step,
            "at": iso(forecast.target_time(step)),
            "median": price(row[median], width),
            **{name: price_range(row[low], row[high], width) for name, (low, high) in ends.items()},
        }
        for step, row in enumerate(forecast.quantiles, start=1)
    ]


def _decision_lines(renewals: Renewals, findings: Mapping[str, str | None]) -> list[str]:
    """Return what serves now and why, and what was considered, as Markdown."""
    lines = []
    for decision in renewals.decisions:
        verb = "promoted" if decision.promoted else "kept"
        market = "" if decision.market == "*" else f" for {decision.market}"
        lines += [f"### Version {decision.version} ({decision.model}) {verb}{market}"]
        lines += ["", decision.reason, ""]
        if finding := findings.get(decision.market):
            lines += [finding, ""]
    lines += ["| candidate | version | model | skill in validation |", "|---|---|---|---|"]
    lines += [
        f"| {c.role} | {c.version} | {c.model} | {percent(c.validation_skill, 2)} |"
        for renewal in renewals.renewals
        for c in renewal.candidates
    ]
    return lines
