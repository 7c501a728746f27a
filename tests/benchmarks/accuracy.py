"""How good the defaults are on recorded candles: `make accuracy DATA=FOLDER` (minutes).

Of each file, weeks that are spread over it: every kind of model learns from 7 days as `init`
splits them, and is scored on the 2 days after (576 origins). Skill is against the random
walk that learned from the same candles; a standard error is over (coin, week) pairs. Coins
and years that were used to choose the design are told apart from those that were not.
The tables go into README.md.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from cryptocast import dataset, evaluation, models
from cryptocast.bundles import Forecaster
from cryptocast.candles import normalise
from cryptocast.clock import SystemClock
from cryptocast.config import Secrets, Settings, SourceSettings
from cryptocast.dataset import Part
from cryptocast.evaluation.metrics import inside
from cryptocast.sources import _names
from cryptocast.sources.file import Source
from cryptocast.values import Candles, FloatArray, Market, Windows

DAY = 86_400
LEARNED_DAYS, SCORED_DAYS = 7, 2
WALK = "random_walk"
README = Path(__file__).parents[2] / "README.md"
DESIGN = (
    *("BTC-USDT 2024", "ETH-USDT 2024", "LTC-USDT 2024", "XRP-USDT 2024"),
    *("BTC-USDT 2020", "LTC-USDT 2020", "XRP-USDT 2020"),
)
"""Coins and years by which the LSTM and the random walk were designed."""


@dataclass(frozen=True)
class Pair:
    """One coin and one week of it."""

    file: Path
    market: Market
    start: int  # of the 7 days, Unix seconds

    @property
    def coin(self) -> str:
        """Venue, pair and year, as the tables name it."""
        venue = self.file.name.split("_")[0]
        year = re.search(r"(20\d\d)\d{4}", self.file.name)
        symbol = self.market.symbol.replace("/", "-")
        return f"{venue} {symbol} {year[1] if year else ''}".strip()

    @property
    def designed(self) -> bool:
        """Whether the design was chosen by this coin and year."""
        return any(name in self.coin for name in DESIGN)


@dataclass(frozen=True)
class Scored:
    """What a kind of model came to on a pair: [H] mean CRPS in bp, coverage of the 90 % range."""

    pair: Pair
    crps_bp: dict[str, FloatArray]
    coverage90: dict[str, FloatArray]


def read(pair: Pair) -> Candles:
    """The candles of a pair's weeks."""
    settings = SourceSettings(name="file", path=str(pair.file))
    source = Source(settings, [pair.market], Secrets({}), clock=SystemClock())
    end = pair.start + (LEARNED_DAYS + SCORED_DAYS) * DAY
    (page,) = source.pages(pair.market, pair.start, end)
    source.close()
    return normalise(page.candles, pair.market, now=time.time()).candles


def pairs(folder: Path, each: int) -> Iterable[Pair]:
    """Weeks spread evenly over every file that holds at least a month."""
    for file in sorted(folder.glob("*.parquet")):
        symbol = _names.pair(file.name)
        if symbol is None:
            continue
        market = Market.of(symbol, "file", "5m")
        settings = SourceSettings(name="file", path=str(file))
        source = Source(settings, [market], Secrets({}), clock=SystemClock())
        span = source.span(market)
        source.close()
        if span is None or span[1] - span[0] < 30 * DAY:
            continue
        first = -(-span[0] // DAY) * DAY
        room = (span[1] - first) // DAY - LEARNED_DAYS - SCORED_DAYS
        for number in range(each):
            yield Pair(file, market, first + round((number + 0.5) / each * room) * DAY)


def score(pair: Pair) -> Scored:
    """Train every kind on a pair's 7 days, and score it on the 2 days after."""
    import torch

    torch.set_num_threads(1)
    settings = Settings()
    model, data, step = settings.model, settings.data, pair.market.interval_seconds
    candles = read(pair)
    end = pair.start + LEARNED_DAYS * DAY
    last = end + SCORED_DAYS * DAY
    split = dataset.plan(
        pair.start,
        end,
        step,
        test_bars=data.test_bars,
        gate_bars=data.gate_bars,
        validation_bars=data.validation_bars,
    )

    def windows(part: Part, until: int) -> Windows:
        bars = dataset.lay_out(candles, pair.market, pair.start, until)
        return dataset.cut(
            bars,
            part,
            lookback=model.lookback,
            horizon=model.horizon,
            max_stale_bars=settings.loop.max_stale_bars,
        )

    train, validation = (windows(part, end) for part in (split.train, split.validation))
    unseen = windows(Part(end, last), last)
    crps, coverage = {}, {}
    for kind in models.kinds():
        made = models.get(kind).fit(train, validation, levels=model.levels, params={}, seed=0)
        quantiles = Forecaster(made.onnx).log_returns(unseen)
        loss = evaluation.crps_bp(quantiles, unseen.targets, model.levels)
        crps[kind] = np.nanmean(loss, axis=0)
        hit = inside(quantiles, unseen.targets, model.levels, 0.9)
        coverage[kind] = np.nanmean(hit, axis=0)
    return Scored(pair, crps, coverage)


def skill(scored: Sequence[Scored], kind: str) -> FloatArray:
    """[P, H] skill against the random walk, a row a pair."""
    return np.stack([1 - s.crps_bp[kind] / s.crps_bp[WALK] for s in scored])


def told(values: FloatArray) -> str:
    """A mean over pairs with its standard error, in per cent."""
    error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    return f"{100 * values.mean():+.2f} ({100 * error:.2f})"


def kinds_table(scored: Sequence[Scored]) -> list[str]:
    """Every kind at some steps and over all of them."""
    horizon = len(scored[0].crps_bp[WALK])
    steps = [s for s in (1, 6, 12, 24) if s <= horizon]
    heads = [f"step {s}" for s in steps]
    lines = [
        f"| model | {' | '.join(heads)} | mean of {horizon} steps | in 90 % |",
        "| --- |" + " --- |" * (len(steps) + 2),
    ]
    for kind in sorted(scored[0].crps_bp, key=lambda k: -float(skill(scored, k).mean())):
        found = skill(scored, kind)
        cells = [told(found[:, s - 1]) for s in steps] + [told(found.mean(axis=1))]
        covered = np.mean([s.coverage90[kind] for s in scored])
        lines.append(f"| {kind} | {' | '.join(cells)} | {100 * covered:.1f} % |")
    return lines


def coins_table(scored: Sequence[Scored], kind: str) -> list[str]:
    """One kind, a coin and year a row."""
    lines = [
        "| coin and year | weeks | step 1 | mean of all steps | used for the design |",
        "| --- | --- | --- | --- | --- |",
    ]
    for coin in sorted({s.pair.coin for s in scored}):
        mine = [s for s in scored if s.pair.coin == coin]
        found = skill(mine, kind)
        seen = "yes" if mine[0].pair.designed else "no"
        lines.append(
            f"| {coin} | {len(mine)} | {told(found[:, 0])} | {told(found.mean(axis=1))} | {seen} |"
        )
    return lines


def report(scored: Sequence[Scored], command: str) -> str:
    """All tables as Markdown."""
    unseen = [s for s in scored if not s.pair.designed]
    seen = [s for s in scored if s.pair.designed]
    parts = [f"Measured on {datetime.now(UTC):%Y-%m-%d} by `{command}`."]
    for title, group in (
        ("coins and years that were not used to choose the design", unseen),
        ("those that were", seen),
    ):
        if group:
            parts += [f"CRPS skill in per cent (standard error), {len(group)} pairs of {title}:"]
            parts += ["\n".join(kinds_table(group))]
    parts += ["The LSTM, coin by coin:", "\n".join(coins_table(scored, "lstm"))]
    return "\n\n".join(parts)


def main() -> None:
    """Score all pairs, print the tables, and put them into the README."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weeks", type=int, default=3, help="weeks of each file")
    parser.add_argument("--no-readme", action="store_true", help="only print")
    options = parser.parse_args()
    chosen = list(pairs(options.folder, options.weeks))
    if not chosen:
        sys.exit(f"{options.folder} holds no Parquet file with a month of candles of a pair")
    scored: list[Scored] = []
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        for found in pool.imap(score, chosen):
            scored.append(found)
            best = 100 * float(skill([found], "lstm").mean())
            print(f"{len(scored)}/{len(chosen)} {found.pair.coin}: lstm {best:+.2f} %", flush=True)
    text = report(scored, "make accuracy DATA=FOLDER")
    print(text)
    if not options.no_readme:
        before, _, rest = README.read_text(encoding="utf-8").partition("<!-- accuracy -->\n")
        _, mark, after = rest.partition("<!-- end of accuracy -->")
        if not mark:
            sys.exit("README.md has no place for the tables")
        whole = f"{before}<!-- accuracy -->\n{text}\n{mark}{after}"
        README.write_text(whole, encoding="utf-8")


if __name__ == "__main__":
    main()
