"""Fit the paths that are shipped, and judge them on other years: `make paths DATA=FOLDER`.

The curve and the library learn from the files of 2024 alone, those of the shipped base network.
They are scored on all others as the league Synth scores: the CRPS of increments over 5 minutes,
30 minutes, 3 hours and a day, in bp, summed over a day, beside geometric Brownian motion whose
volatility is an exponentially weighted one.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cryptocast import __version__, paths
from cryptocast.config import Settings
from cryptocast.paths.fitting import fill_library, fit_curve
from cryptocast.paths.library import Draw
from cryptocast.paths.model import PathCard, PathModel
from cryptocast.paths.predictors import predictors
from cryptocast.values import FloatArray, IntArray, iso
from cryptocast.workflows.learning.pretraining import Recorded, read_series

SHIPPED = Path(paths.__file__).parent / "shipped" / "5m"
RESULTS = Path(__file__).parent / "results" / "paths.md"
STRIDE = 47  # bars between origins of the library: coprime with 12
LEARNED = "_2024"  # in the name of a file
ORIGIN = (
    "Binance, January to September 2024, from github.com/imsatoshi/GeneTrader, "
    "commit of 2024-09-07 (README: MIT)"
)
DECAYS = (0.94, 0.98, 0.995)
SCALES = (1, 6, 36, 288)
PATHS, ORIGINS = 400, 120


def make(series: Sequence[Recorded]) -> PathModel:
    """Fit the curve and fill the library."""
    bars = [recorded.bars for recorded in series]
    curve = fit_curve(bars)
    library = fill_library(bars, curve, STRIDE)
    digest = hashlib.sha256("".join(recorded.fingerprint for recorded in series).encode())
    card = PathCard(
        name="paths-5m",
        interval="5m",
        coins=tuple(recorded.market.symbol for recorded in series),
        data_start=min(recorded.start for recorded in series),
        data_end=max(recorded.end for recorded in series),
        library_origins=len(library.codes),
        fingerprint=digest.hexdigest()[:16],
        origin=ORIGIN,
        code_version=__version__,
    )
    return PathModel(card, curve, library)


def league(moves: FloatArray, truth: FloatArray) -> list[list[float]]:
    """Return what paths of moves [N, 288] get at each scale.

    First the CRPS in bp, summed over the day, then the share of increments inside the 90 % range.
    """
    walks = np.exp(np.cumsum(np.pad(moves, ((0, 0), (1, 0))), axis=1))
    actual = np.exp(np.cumsum(np.pad(truth, (1, 0))))
    weight = 2 * np.arange(1, len(moves) + 1) - len(moves) - 1
    scores, inside = [], []
    for scale in SCALES:
        step, real = (1e4 * np.diff(w[..., ::scale]) / w[..., :-1:scale] for w in (walks, actual))
        spread = weight @ np.sort(step, axis=0) / len(moves) ** 2
        scores.append(float((np.abs(step - real).mean(axis=0) - spread).sum()))
        low, high = np.quantile(step, (0.05, 0.95), axis=0)
        inside.append(float(((low <= real) & (real <= high)).mean()))
    return [scores, inside]


def score(model: PathModel, recorded: Recorded) -> tuple[FloatArray, IntArray]:
    """Return [origins, entrants, 2, scales] of `league`, paths last, and each origin's week."""
    bars, rng = recorded.bars, np.random.default_rng(7)
    first = paths.CONTEXT_BARS
    at = np.sort(rng.choice(np.arange(first, len(bars) - 288), ORIGINS, replace=False))
    at = at[[not bars.missing[a - 288 : a + 288].any() for a in at]]
    size = model.curve.sizes(predictors(bars, at))
    rows = []
    for i, a in enumerate(at):
        truth = bars.log_return[a : a + 288]
        past = bars.log_return[a - first : a][::-1] ** 2
        decayed = [decay ** np.arange(first) for decay in DECAYS]
        sigma = [np.sqrt(weight @ past / weight.sum()) for weight in decayed]
        row = [league(each * rng.standard_normal((PATHS, 288)), truth) for each in sigma]
        draw = Draw.of(PATHS, model.library, 0, int(a))
        row.append(league(model.library.residuals(draw, 0, 288) * size[i].astype(float), truth))
        rows.append(row)
    return np.array(rows), at // 2016


def lines(name: str, scores: FloatArray, week: IntArray) -> list[str]:
    """Return table rows: paths against each entrant in %, with the error by weekly jackknife."""
    rows = []
    for i, decay in enumerate(DECAYS):
        ours, theirs = scores[:, -1, 0], scores[:, i, 0]
        gain = 100 * (ours.sum() / theirs.sum() - 1)
        weeks = np.unique(week)
        left = [ours[week != w].sum() / theirs[week != w].sum() for w in weeks]
        error = 100 * np.sqrt((len(weeks) - 1) * np.var(left))
        each = 100 * (ours.sum(axis=0) / theirs.sum(axis=0) - 1)
        cells = " | ".join(f"{value:+.1f}" for value in each)
        rows.append(f"| {name} | {decay} | {len(scores)} | {gain:+.2f} ({error:.2f}) | {cells} |")
    return rows


def main() -> None:
    """Fit on 2024, ship, and score on the other files."""
    series = read_series(Settings(), [f"{sys.argv[1]}/*.parquet"], 2e9)
    learned = [recorded for recorded in series if LEARNED in recorded.name]
    model = make(learned)
    card = model.save(SHIPPED)
    text = [
        "# Whole paths",
        "",
        f"`make paths DATA=FOLDER`: fitted on {len(learned)} series, {iso(card.data_start)} to "
        f"{iso(card.data_end)}; {card.library_origins} origins in the library.",
        "CRPS of a day against geometric Brownian motion with an EWMA volatility, in % (standard",
        "error by weekly jackknife); below 0 the paths are better. The steps that a served",
        "forecast would take over are the paths' own here. Only the strength of the fit's ridge",
        "was chosen on these years, among three.",
        "",
        "| from | decay of GBM | origins | all | 5 min | 30 min | 3 h | 24 h |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    others = [r for r in series if LEARNED not in r.name and len(r.bars) > 2 * paths.CONTEXT_BARS]
    for year in sorted({iso(recorded.start)[:4] for recorded in others}):
        judged = [score(model, r) for r in others if iso(r.start)[:4] == year]
        scores, week = (np.concatenate(parts) for parts in zip(*judged, strict=True))
        text += lines(year, scores, week)
        held = " | ".join(f"{share:.3f}" for share in scores[:, -1, 1].mean(axis=0))
        text.append(f"| {year} | in 90 % of the paths | {len(scores)} | | {held} |")
    RESULTS.write_text("\n".join(text) + "\n", encoding="utf-8")
    print("\n".join(text))


if __name__ == "__main__":
    main()
