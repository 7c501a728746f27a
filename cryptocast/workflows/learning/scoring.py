"""Score versions and baselines, a market a piece of work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from cryptocast import models
from cryptocast.bundles import Bundle
from cryptocast.compute.scoring import MarketSeries, Scored, ScoringPlan, score_market
from cryptocast.config import Settings
from cryptocast.dataset import Part
from cryptocast.seams import Engine, Progress
from cryptocast.values import Candles, Market
from cryptocast.workflows.learning.scope import served_markets


def scoring_plan(
    settings: Settings, span: Part, learned: Part, part: Part, lookback: int
) -> ScoringPlan:
    """Return the plan to score the origins of `part` on candles of `span`.

    The baselines learn from `learned`.
    """
    return ScoringPlan(
        learned=learned,
        part=part,
        span=span,
        levels=settings.model.levels,
        lookback=lookback,
        horizon=settings.model.horizon,
        max_stale_bars=settings.loop.max_stale_bars,
        baselines=tuple(models.baseline_kinds()),
    )


def score(
    engine: Engine,
    settings: Settings,
    plan: ScoringPlan,
    series: Iterable[tuple[Market, Candles]],
    versions: Sequence[Bundle],
    progress: Progress,
) -> Scored:
    """Score every series; a version only on the markets that it is meant to serve."""
    every = settings.markets()
    served = {bundle: served_markets(settings, bundle.card) for bundle in versions}

    def pieces() -> Iterator[MarketSeries]:
        for market, candles in series:
            own = tuple(bundle for bundle in versions if market in served[bundle])
            yield MarketSeries(market, candles, own)

    def scored() -> Iterator[Scored]:
        for done, part in enumerate(engine.map(score_market, pieces(), plan), 1):
            progress.advance(done, len(every), f"{done} of {len(every)} markets")
            yield part

    return Scored.joined(scored())
