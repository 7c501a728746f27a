"""Fit the paths that are shipped, and judge them on other years: `make league DATA=FOLDER`.

The curve and the library learn from the files of 2024 alone, those of the shipped base network.
On all others, paths of all coins of a year together are judged as `evaluate --paths` judges
them: in the units of the league Synth, beside GBM, GARCH-t and filtered historical simulation.
The first two hours are the shipped base network's.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cryptocast import bundles, models, paths
from cryptocast.compute.pretraining import Recorded
from cryptocast.config import EngineSettings, Settings
from cryptocast.display import counted
from cryptocast.engines import open_engine
from cryptocast.paths import PathModel
from cryptocast.values import IntArray, iso
from cryptocast.workflows.futures.fitting import path_model
from cryptocast.workflows.futures.judging import LEAST_STEPS, Judged, Truth, judge, table
from cryptocast.workflows.futures.simulating import forecast_of
from cryptocast.workflows.learning.pretraining import read_series

SHIPPED = Path(paths.__file__).parent / "shipped" / "5m"
RESULTS = Path(__file__).parent / "results" / "league.md"
LEARNED = "_2024"  # in the name of a file
ORIGIN = (
    "Binance, January to September 2024, from github.com/imsatoshi/GeneTrader, "
    "commit of 2024-09-07 (README: MIT)"
)
PATHS, ORIGINS = 1000, 120
SETTINGS = Settings()
INTRODUCTION = """# Whole paths in a league

`make league DATA=FOLDER`: fitted on {series}, {start} to {end}; {library} origins in the
library. On files of other years, {paths} paths of all coins of a year from origins drawn at
random. CRPS of increments, summed over a day, in % of that of geometric Brownian motion with an
EWMA volatility (decay 0.94); standard errors by weekly jackknife; below 0 is better. In 90 %: the
share of increments inside the range. Basket: of all coins in equal parts. Energy: the joint score
of all coins at 5 min to 24 h. Brier scores of four levels, half a standard deviation of that GBM's
day and a whole one up and down; bias: mean probability less what came, in points.
"""


def common_origins(series: Sequence[Recorded]) -> IntArray:
    """Return origins that all series have a past and a day to come of."""
    first = max(recorded.start for recorded in series) + paths.PAST_BARS * paths.STEP_SECONDS
    last = min(recorded.end for recorded in series) - LEAST_STEPS * paths.STEP_SECONDS
    every = np.arange(first, last + 1, paths.STEP_SECONDS)
    return np.sort(np.random.default_rng(7).choice(every, ORIGINS, replace=False))


def judged(model: PathModel, series: Sequence[Recorded]) -> list[Judged]:
    """Judge joint paths of several series at common origins."""
    base = bundles.load(models.base_folder("5m"))
    done = []
    for origin in common_origins(series).tolist():
        truths = [Truth.of(r.bars, r.bars.index(origin)) for r in series]
        if not all(truths):
            continue
        draw = paths.drawn(PATHS, model, 0, origin)
        ours = []
        for place, recorded in enumerate(series):
            at = recorded.bars.index(origin)
            bars = recorded.bars.part(at - paths.PAST_BARS, at)
            made = forecast_of(base, bars, SETTINGS.model.horizon)
            prices = paths.prices(model, draw, made, bars, place, (PATHS, LEAST_STEPS))
            ours.append(
                paths.MarketPaths(
                    recorded.market, made.last_close, 0, made.model, made.levels, prices
                )
            )
        done.append(judge(origin, ours, [truth for truth in truths if truth is not None]))
    return done


def lines(year: str, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the tables of a year."""
    first = [
        "| year | entrant | origins | all | 5 min | 30 min | 3 h | 24 h | energy |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    second = [
        "| year | entrant | in 90 %: 5 min | 30 min | 3 h | 24 h | basket 24 h | "
        "above: Brier | bias | touch: Brier | bias |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        head = f"| {year} | {row['entrant']} "
        scales = " | ".join(f"{100 * v:+.1f}" for v in row["vs_gbm_by_scale"].values())
        first.append(
            f"{head}| {row['origins']} | {percent(row['vs_gbm'], row['vs_gbm_error'])} | {scales} "
            f"| {percent(row['energy_vs_gbm'], row['energy_vs_gbm_error'])} |"
        )
        inside = " | ".join(f"{100 * v:.1f}" for v in row["coverage90"].values())
        asked = " | ".join(
            f"{percent(row[kind]['vs_gbm'], row[kind]['vs_gbm_error'])} "
            f"| {percent(row[kind]['bias'], row[kind]['bias_error'])}"
            for kind in ("above", "touch")
        )
        second.append(f"{head}| {inside} | {100 * row['basket_coverage90']['24h']:.1f} | {asked} |")
    return ["", *first, "", *second]


def percent(value: float, error: float | None) -> str:
    """Return a figure in % with its standard error."""
    return f"{100 * value:+.2f} ({100 * (error or 0):.2f})"


def main() -> None:
    """Fit on 2024, ship, and judge on the other files."""
    here = open_engine(EngineSettings())
    series = read_series(here, SETTINGS, [f"{sys.argv[1]}/*.parquet"], 2e9)
    learned = [recorded for recorded in series if LEARNED in recorded.name]
    model = path_model(learned, ORIGIN)
    assert model is not None
    card = model.save(SHIPPED)
    text = INTRODUCTION.format(
        series=counted(len(learned), "file"),
        start=iso(card.data_start)[:10],
        end=iso(card.data_end)[:10],
        library=card.library_origins,
        paths=PATHS,
    ).splitlines()
    least = paths.PAST_BARS + 10 * LEAST_STEPS
    others = [r for r in series if LEARNED not in r.name and len(r.bars) > least]
    for year in sorted({iso(recorded.start)[:4] for recorded in others}):
        together = [r for r in others if iso(r.start)[:4] == year]
        print(f"{year}: {', '.join(r.market.symbol for r in together)}", file=sys.stderr)
        text += lines(year, table(judged(model, together)))
    RESULTS.write_text("\n".join(text) + "\n", encoding="utf-8")
    print("\n".join(text))


if __name__ == "__main__":
    main()
