"""Fit the paths that are shipped, and judge them on other years: `make league DATA=FOLDER`.

For candles of 5 and of 15 minutes. Curve and library learn from the files of 2024 alone, those of
the shipped base networks. On all others, paths of all coins of a year together are judged as
`evaluate --paths` judges them: in the units of the league Synth, beside GBM, GARCH-t and filtered
historical simulation. The first two hours are the shipped base network's. A second table judges
the first hour of the paths of 5 minutes, beside the network's own quantiles joined by rank.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cryptocast import bundles, models, paths
from cryptocast.compute.pretraining import Recorded
from cryptocast.config import EngineSettings, MarketSettings, Settings
from cryptocast.display import counted
from cryptocast.engines import open_engine
from cryptocast.evaluation import trajectories
from cryptocast.paths import MarketPaths, PathModel
from cryptocast.paths.joining import joined
from cryptocast.paths.rivals import FHS, GBM
from cryptocast.values import FloatArray, ForecastSet, IntArray, iso
from cryptocast.workflows.futures.fitting import path_model
from cryptocast.workflows.futures.judging import (
    OURS,
    Entrants,
    Judged,
    Judging,
    Rivals,
    Truth,
    table,
)
from cryptocast.workflows.futures.simulating import forecast_of
from cryptocast.workflows.learning.pretraining import read_series

SHIPPED = Path(paths.__file__).parent / "shipped"
RESULTS = Path(__file__).parent / "results" / "league.md"
LEARNED = "_2024"  # in the name of a file
ORIGIN = (
    "Binance, January to September 2024, from github.com/imsatoshi/GeneTrader, "
    "commit of 2024-09-07 (README: MIT)"
)
PATHS, PAIRS = 1000, 720  # pairs of origin and coin a year
HOUR = {"5m": 1, "15m": 3, "30m": 6, "1h": 12}  # steps of 5 minutes
JOINED, TOLD = "joined", "told"
WEEK_SECONDS = 7 * 86_400
INTRODUCTION = """# Whole paths in a league

`make league DATA=FOLDER`: fitted on the files of 2024, judged on files of other years: {paths}
paths of all coins of a year from origins that are spread evenly, so that every time of the day
comes. CRPS of increments, summed over a day, in % of that of geometric Brownian motion with an
EWMA volatility (decay 0.94); standard errors by weekly jackknife; below 0 is better. In 90 %: the
share of increments inside the range; at 24 h its standard error is in brackets. Basket: of all
coins in equal parts. Energy: the joint score of all coins from a step to 24 h. Brier scores of
four levels, half a standard deviation of that GBM's day and a whole one up and down; bias: mean
probability less what came, in points. `told` is a bound and no forecast: our paths, each with the
mean size of a move that the day then had. The hour: increments over 5 to 60 minutes, summed over
the first hour; `joined` is filtered historical simulation with the served quantiles, by rank.
"""


def common_origins(series: Sequence[Recorded]) -> IntArray:
    """Return origins that all series have a past and a day to come of."""
    interval = series[0].market.interval_seconds
    first = max(recorded.start for recorded in series) + paths.past_bars(interval) * interval
    last = min(recorded.end for recorded in series) - 86_400
    # A multiple of 12 less 1 shares no factor with the bars of a day.
    stride = -(-(last - first) // interval * len(series) // PAIRS // 12) * 12 - 1
    return np.arange(first, last + 1, stride * interval)


def judged(model: PathModel, series: Sequence[Recorded]) -> tuple[list[Judged], list[Any]]:
    """Judge joint paths of several series at common origins; the second list is their hour's."""
    market, curve = series[0].market, model.curve.name
    base = bundles.load(models.base_folder(market.interval))
    day = paths.day_bars(market.interval_seconds)
    days, hours = [], []
    for origin in common_origins(series).tolist():
        truths = [Truth.of(r.bars, r.bars.index(origin)) for r in series]
        known = [truth for truth in truths if truth is not None]
        if len(known) < len(truths):
            continue
        draw = paths.drawn(PATHS, model, 0, origin)
        judging, rivals, crps = Judging(origin, market), Rivals(origin), []
        for place, (recorded, truth) in enumerate(zip(series, known, strict=True)):
            at = recorded.bars.index(origin)
            bars = recorded.bars.part(at - paths.past_bars(market.interval_seconds), at)
            made = forecast_of(base, bars, Settings().model.horizon)
            prices = paths.prices(model, draw, made, bars, place, (PATHS, day))
            ours = MarketPaths(
                recorded.market, made.last_close, 0, made.model, made.levels, curve, prices
            )
            entrants = rivals.beside(ours, truth)
            judging.add({**entrants, TOLD: told(entrants[OURS], truth)}, truth)
            crps.append(hour_crps(with_joined(entrants, made), truth))
        days.append(judging.result())
        hours.append((origin, {name: np.mean([c[name] for c in crps], axis=0) for name in crps[0]}))
    return days, hours


def told(each: FloatArray, truth: Truth) -> FloatArray:
    """Return paths [N, D + 1], each with the true mean size of the day's moves."""
    moves, true = (np.diff(np.log(walk)) for walk in (each, truth.closes))
    moves *= np.abs(true).mean() / np.abs(moves).mean(axis=1, keepdims=True)
    return np.insert(np.exp(np.cumsum(moves, axis=1)), 0, 1.0, axis=1)


def with_joined(entrants: Entrants, served: ForecastSet) -> Entrants:
    """Add the rival that keeps the served quantiles: filtered simulation, mapped by rank."""
    logs = np.log(served.quantiles / served.last_close)
    walks = joined(np.log(entrants[FHS][:, 1:]), logs, served.levels)
    return {**entrants, JOINED: np.insert(np.exp(walks), 0, 1.0, axis=1)}


def hour_crps(entrants: Entrants, truth: Truth) -> Mapping[str, FloatArray]:
    """Return the CRPS [K] of each entrant's first hour on one market."""
    end, scales = HOUR["1h"] + 1, tuple(HOUR.values())
    return {
        name: trajectories.increments(each[:, :end], truth.closes[:end], scales).crps
        for name, each in entrants.items()
    }


def lines(year: str, rows: Sequence[dict[str, Any]], days: Sequence[Judged]) -> list[str]:
    """Return the tables of a year."""
    scales = tuple(rows[0]["vs_gbm_by_scale"])
    first = [
        f"| year | entrant | origins | all | {' | '.join(scales)} | energy | ours against it |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    second = [
        f"| year | entrant | in 90 %: {' | '.join(scales)} | basket 24 h | "
        "above: Brier | bias | touch: Brier | bias |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    weeks = np.array([one.origin for one in days]) // WEEK_SECONDS
    losses = {name: np.array([d.marks[name].crps.sum() for d in days]) for name in days[0].marks}
    for row in rows:
        head = f"| {year} | {row['entrant']} "
        by_scale = " | ".join(f"{100 * v:+.1f}" for v in row["vs_gbm_by_scale"].values())
        against = trajectories.relative(losses[OURS], losses[row["entrant"]], weeks)
        first.append(
            f"{head}| {row['origins']} | {percent(row['vs_gbm'], row['vs_gbm_error'])} "
            f"| {by_scale} | {percent(row['energy_vs_gbm'], row['energy_vs_gbm_error'])} "
            f"| {percent(*against)} |"
        )
        inside = " | ".join(f"{100 * v:.1f}" for v in row["coverage90"].values())
        marks = [one.marks[row["entrant"]] for one in days]
        errors = [
            100 * (trajectories.jackknife(weeks, lambda kept, v=v: float(v[kept].mean())) or 0)
            for v in (
                np.array([m.inside[1, -1] for m in marks]),
                np.array([m.basket[-1] for m in marks]),
            )
        ]
        asked = " | ".join(
            f"{percent(row[kind]['vs_gbm'], row[kind]['vs_gbm_error'])} "
            f"| {percent(row[kind]['bias'], row[kind]['bias_error'])}"
            for kind in ("above", "touch")
        )
        basket = 100 * row["basket_coverage90"]["24h"]
        second.append(
            f"{head}| {inside} ({errors[0]:.1f}) | {basket:.1f} ({errors[1]:.1f}) | {asked} |"
        )
    return ["", *first, "", *second]


def hour_lines(year: str, hours: Sequence[Any]) -> list[str]:
    """Return the table of the first hour of a year."""
    weeks = np.array([origin for origin, _ in hours]) // WEEK_SECONDS
    crps = {name: np.array([marks[name] for _, marks in hours]) for name in hours[0][1]}
    made = [
        f"| year | the hour | origins | all | {' | '.join(HOUR)} | ours against it |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, own in crps.items():
        by_scale = own.sum(axis=0) / crps[GBM].sum(axis=0) - 1
        against = [trajectories.relative(own.sum(axis=1), crps[GBM].sum(axis=1), weeks)]
        against.append(trajectories.relative(crps[OURS].sum(axis=1), own.sum(axis=1), weeks))
        scales = " | ".join(f"{100 * v:+.1f}" for v in by_scale)
        made.append(
            f"| {year} | {name} | {len(hours)} | {percent(*against[0])} | {scales} "
            f"| {percent(*against[1])} |"
        )
    return ["", *made]


def percent(value: float, error: float | None) -> str:
    """Return a figure in % with its standard error."""
    return f"{100 * value:+.2f} ({100 * (error or 0):.2f})"


def section(interval: str, data: str) -> list[str]:
    """Fit the paths of an interval on 2024, ship them, and judge them on the other files."""
    settings = Settings(market=MarketSettings(interval=interval))
    series = read_series(open_engine(EngineSettings()), settings, [f"{data}/*.parquet"], 2e9)
    learned = [recorded for recorded in series if LEARNED in recorded.name]
    model = path_model(learned, ORIGIN)
    assert model is not None
    card = model.save(SHIPPED / interval)
    start, end = iso(card.data_start)[:10], iso(card.data_end)[:10]
    fitted = f"Fitted on {counted(len(learned), 'file')}, {start} to {end}"
    count = f"{card.library_origins} origins in the library."
    text = ["", f"## Candles of {interval}", "", f"{fitted}; {count}"]
    seconds = series[0].market.interval_seconds
    least = paths.past_bars(seconds) + 10 * paths.day_bars(seconds)
    others = [r for r in series if LEARNED not in r.name and len(r.bars) > least]
    for year in sorted({iso(recorded.start)[:4] for recorded in others}):
        together = [r for r in others if iso(r.start)[:4] == year]
        coins = ", ".join(r.market.symbol for r in together)
        print(f"{interval}, {year}: {coins}", file=sys.stderr)
        days, hours = judged(model, together)
        text += lines(year, table(days), days)
        if interval == "5m":
            text += hour_lines(year, hours)
    return text


def main() -> None:
    """Fit, ship and judge; what was tried besides stays in the results."""
    heading, kept = "## Tried, and not shipped", ""
    if RESULTS.exists() and heading in (old := RESULTS.read_text(encoding="utf-8")):
        kept = "\n" + old[old.index(heading) :]
    text = INTRODUCTION.format(paths=PATHS).splitlines()
    for interval in ("5m", "15m"):
        text += section(interval, sys.argv[1])
    RESULTS.write_text("\n".join(text) + "\n" + kept, encoding="utf-8")
    print("\n".join(text))


if __name__ == "__main__":
    main()
