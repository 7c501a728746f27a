"""evaluate: scores of versions and baselines on stored candles, all on the same origins."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl

from cryptocast.bundles import Bundle
from cryptocast.compute.ladder import Ladder, mismatch, production_versions
from cryptocast.compute.pictures import market_pictures
from cryptocast.compute.scoring import Scored, score_rows, summary
from cryptocast.config import Settings
from cryptocast.dataset import Part
from cryptocast.documents import document
from cryptocast.errors import StateError, UsageError, no_production
from cryptocast.evaluation import Diagnosis
from cryptocast.registry import Registry
from cryptocast.reports import plots
from cryptocast.seams import Engine
from cryptocast.store import Store
from cryptocast.values import DAY_SECONDS, Market, iso
from cryptocast.workflows.futures.simulating import PATHS_EVENT, path_models, require_interval
from cryptocast.workflows.futures.stored import PathOrigins, PathsReport, judged_paths
from cryptocast.workflows.learning.material import planned_split, series
from cryptocast.workflows.learning.scope import per_market
from cryptocast.workflows.learning.scoring import score, scoring_plan
from cryptocast.workflows.learning.versions import (
    frozen_bundle,
    registered_bundle,
    version_named,
)
from cryptocast.workspace import Workspace

_PATH_DAYS = 7.0


@dataclass(frozen=True, slots=True)
class EvaluateReport:
    """Scores (`schemas.SCORES`) over the origins of `[start, end)`."""

    evaluation: int  # its number in the table `scores`
    start: int
    end: int
    in_sample: tuple[str, ...]  # versions that learned from some of these candles
    left_out: tuple[str, ...]  # baselines that could not be fitted, and why
    scores: pl.DataFrame
    diagnoses: tuple[Diagnosis, ...]  # of each version on each market


def evaluate(
    ws: Workspace,
    *,
    versions: Sequence[str] = (),
    days: float | None = None,
    test_bars: int | None = None,
    start: int | None = None,
    end: int | None = None,
) -> EvaluateReport:
    """Score versions (default: production and the newest of each kind) and the baselines.

    They are scored on the candles that opened in `[start, end)` (Unix seconds): `end` is by
    default now, `start` the last `days` or `test_bars` (default `[data] test_bars`) before it.
    The baselines learn anew every week from the week before, from targets that were known by
    then. The result is kept in the table `scores` and in the versions' MLflow runs. Raises
    StateError for an unknown version, or if there are too few candles before `start`.
    """
    market = ws.markets()[0]
    now = market.floor(ws.clock.now())
    end = now if end is None else min(market.floor(end), now)
    if days is None and test_bars is None and start is None:
        test_bars = ws.settings.data.test_bars
    start = _first(market, end, days=days, test_bars=test_bars, start=start)
    bundles = ws.step("load versions", lambda: _bundles(ws, versions))
    lookback = max((b.card.lookback for b in bundles), default=ws.settings.model.lookback)
    span = _span(ws.store, ws.settings, Part(start, end), lookback)
    part = Part(max(start, span.start), end)
    plan = scoring_plan(ws.settings, span, Part(span.start, part.start), part, lookback)
    candles = series(ws.store, ws.markets(), span.start, span.end)
    scored = ws.step(
        "score", lambda: score(ws.engine, ws.settings, plan, candles, bundles, ws.progress)
    )
    in_sample = tuple(b.card.version for b in bundles if b.card.data_end > part.start)
    return ws.step("keep scores and pictures", lambda: _keep(ws, part, scored, in_sample))


def evaluate_paths(
    ws: Workspace,
    *,
    version: str | None = None,
    days: float | None = None,
    start: int | None = None,
    end: int | None = None,
) -> PathsReport:
    """Judge paths of all markets together on stored candles, and keep the table as an event.

    The first steps are forecast by a version (default: what serves), without calibration.
    `end` is by default now, `start` the last `days` (default 7) before it. Raises StateError
    without a production model or enough candles.
    """
    markets = ws.markets()
    require_interval(markets)
    now = markets[0].floor(ws.clock.now())
    end = now if end is None else min(markets[0].floor(end), now)
    days = _PATH_DAYS if days is None and start is None else days
    part = Part(_first(markets[0], end, days=days, test_bars=None, start=start), end)
    with ws.store.read() as reader:
        productions, graphs = reader.productions().of_markets(markets), reader.graphs()
    versions = production_versions(productions)
    if version is not None:
        versions = {market: [version_named(ws, version)] for market in markets}
    if not versions:
        raise no_production()
    load = ws.bundle if version is None else partial(registered_bundle, ws)
    ladder = Ladder(ws.settings, load, versions, graphs=graphs, in_sample=True)
    with ws.store.read() as reader:
        past = PathOrigins.read(reader, ws.settings, ladder, markets, part)
    curve_of = ws.frozen_curve if version is None else ws.registry().curve
    base, interval = ws.settings.model.base, markets[0].interval
    models = path_models(base, interval, past.versions, curve_of)
    judge = partial(judged_paths, past, ws.store, part, load, models, ws.progress)
    report = ws.step("judge paths", judge)
    with ws.store.write() as writer:
        row = document(report, times=("start", "end"))
        writer.put_event(ws.clock.now(), PATHS_EVENT, None, row)
    return report


def _span(store: Store, settings: Settings, part: Part, lookback: int) -> Part:
    """Return the time of a part, and before it that which the baselines learn from.

    Raises StateError if that holds too few candles.
    """
    markets, data = settings.markets(), settings.data
    interval = markets[0].interval_seconds
    bars = part.bars(interval)
    days = bars * interval / DAY_SECONDS + data.days
    with store.read() as reader:
        split = planned_split(reader, data, markets, end=part.end, days=days, test_bars=bars)
    span = Part(split.train.start, split.test.end)
    if Part(span.start, part.start).bars(interval) <= lookback:
        stored = span.bars(interval)
        raise StateError(
            f"there are {stored} candles, too few to learn baselines before the last {bars}",
            code="state.not_enough_candles",
            hint=f"cryptocast fetch --days {math.ceil(days)}, or a smaller --days or --test-bars",
        )
    return span


def _keep(ws: Workspace, part: Part, scored: Scored, in_sample: tuple[str, ...]) -> EvaluateReport:
    """Write the scores into the table `scores`, and with pictures into the versions' runs."""
    rows = (
        {**row, "in_sample": row["version"] in in_sample}
        for row in scored.scores.iter_rows(named=True)
    )
    with ws.store.write() as writer:
        number = writer.ledger.put_scores(rows, at=ws.clock.now(), start=part.start, end=part.end)
    report = EvaluateReport(
        evaluation=number,
        start=part.start,
        end=part.end,
        in_sample=in_sample,
        left_out=scored.left_out,
        scores=scored.scores,
        diagnoses=scored.diagnoses,
    )
    _log(ws.registry(), ws.engine, report, [market.id for market in ws.markets()])
    return report


def _first(
    market: Market,
    end: int,
    *,
    days: float | None,
    test_bars: int | None,
    start: int | None,
) -> int:
    """Return the first open time to score, on the grid.

    Raises UsageError if more than one of the options is given, or if nothing lies before `end`.
    """
    options = [("--days", days), ("--test-bars", test_bars), ("--start", start)]
    named = [name for name, value in options if value is not None]
    if len(named) > 1:
        raise UsageError(f"{named[0]} cannot be used with {named[1]}", hint="use only one of them")
    interval = market.interval_seconds
    if start is None:
        bars = round(days * DAY_SECONDS) // interval if days else test_bars or 1
        return end - max(bars, 1) * interval
    first = -(-start // interval) * interval
    if first >= end:
        raise UsageError(
            f"no candle opens and closes between {iso(start)} and {iso(end)}",
            hint="--start must lie before --end and before now",
        )
    return first


def _bundles(ws: Workspace, versions: Sequence[str]) -> list[Bundle]:
    """Load the named versions, or else production and the newest of each kind.

    If each market has models of its own, that is the newest of each kind on each market. Of
    these defaults, versions that do not forecast what the settings now ask for are left out.
    """
    if versions:
        return [registered_bundle(ws, version_named(ws, version)) for version in versions]
    with ws.store.read() as reader:
        serving = reader.productions().of_markets(ws.markets())
    served = dict.fromkeys(row.model_version for row in serving.values())
    bundles = {version: frozen_bundle(ws, version) for version in served}
    newest: set[tuple[str, str]] = set()
    for registered in ws.registry().versions():
        markets = registered.params.get("markets", "") if per_market(ws.settings) else ""
        if (registered.kind, markets) not in newest:
            newest.add((registered.kind, markets))
            if registered.version not in bundles:
                bundles[registered.version] = registered_bundle(ws, registered.version)
    return [b for b in bundles.values() if mismatch(b.card, ws.settings) is None]


def _log(
    registry: Registry, engine: Engine, report: EvaluateReport, markets: Sequence[str]
) -> None:
    """Keep the scores with pictures in the MLflow run of each version."""
    folder = f"evaluations/{report.evaluation}"
    for version in registry.versions():
        diagnoses = [d for d in report.diagnoses if d.version == version.version]
        if not diagnoses:
            continue
        scores = report.scores.filter(pl.col("version") == version.version)
        document = {
            "evaluation": report.evaluation,
            "start": iso(report.start),
            "end": iso(report.end),
            "markets": markets,
            "in_sample": version.version in report.in_sample,
            "scores": [*score_rows(scores)],
        }
        registry.runs.log(version.run_id, metrics=summary(scores, version.version, "evaluate"))
        registry.runs.log_document(version.run_id, document, f"{folder}/scores.json")
        of_markets = engine.map(market_pictures, diagnoses, None)
        pictures = itertools.chain(
            _pictures(diagnoses, scores), itertools.chain.from_iterable(of_markets)
        )
        for name, png in pictures:
            registry.runs.log_bytes(version.run_id, png, f"{folder}/{name}.png")


def _pictures(diagnoses: Sequence[Diagnosis], scores: pl.DataFrame) -> Iterator[tuple[str, bytes]]:
    """Yield the pictures of a version that the markets share, with their names."""
    steps = scores.filter(pl.col("step").is_not_null()).sort("step")
    ends = {
        d.market: steps.filter(pl.col("market") == d.market).select("skill_low", "skill_high")
        for d in diagnoses
    }
    observed = {d.market: d.observed for d in diagnoses}
    yield "calibration", plots.calibration(diagnoses[0].levels, observed)
    yield (
        "skill_by_step",
        plots.skill_by_step(
            {d.market: d.skill_by_step for d in diagnoses},
            low={name: end["skill_low"].to_numpy() for name, end in ends.items()},
            high={name: end["skill_high"].to_numpy() for name, end in ends.items()},
        ),
    )
