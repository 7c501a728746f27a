"""evaluate: scores of versions and baselines on stored candles, all on the same origins."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from cryptocast.bundles import Bundle
from cryptocast.dataset import Part
from cryptocast.errors import StateError, UsageError
from cryptocast.evaluation import Diagnosis
from cryptocast.reports import plots
from cryptocast.values import iso
from cryptocast.workflows.learning.material import Material, gather
from cryptocast.workflows.learning.scope import per_market
from cryptocast.workflows.learning.scoring import (
    Scored,
    score_all,
    score_rows,
    summary,
)
from cryptocast.workflows.learning.versions import frozen_bundle, mismatch, registered_bundle
from cryptocast.workspace import Workspace

_DAY = 86_400


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

    def rows(self) -> list[dict[str, Any]]:
        """The scores as the contract writes them: the step of all steps together is "all"."""
        return score_rows(self.scores)


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

    Over the candles that opened in `[start, end)` (Unix seconds): `end` is by default now,
    `start` by default the last `days` or `test_bars` (default `[data] test_bars`) before it.
    The baselines learn from the `[data] days` before `start`, their targets purged there, and
    are not renewed inside; with nothing learned from beyond `start` there is nothing to embargo.
    The result is kept in the table `scores` and in the versions' MLflow runs. Raises
    StateError for an unknown version, or where nothing lies before `start`.
    """
    part = _part(ws, days, test_bars, start, end)
    interval = ws.markets()[0].interval_seconds
    bars = part.bars(interval)
    total = bars * interval / _DAY + ws.settings.data.days
    ws.progress.stage("load versions")
    chosen = [registered_bundle(ws, version) for version in versions] or _usual(ws)
    lookback = max((b.card.lookback for b in chosen), default=ws.settings.model.lookback)
    material = gather(ws, lookback=lookback, days=total, test_bars=bars, end=part.end)
    part = Part(max(part.start, material.start), part.end)
    learned = Part(material.start, part.start)
    if learned.bars(interval) <= lookback:
        have = (material.end - material.start) // interval
        raise StateError(
            f"there are {have} candles, too few to learn baselines before the last {bars}",
            code="state.not_enough_candles",
            hint=f"cryptocast fetch --days {math.ceil(total)}, or a smaller --days or --test-bars",
        )
    ws.progress.stage("score")
    scored = score_all(ws, material, learned, part, chosen)
    in_sample = tuple(b.card.version for b in chosen if b.card.data_end > part.start)
    ws.progress.stage("keep scores and pictures")
    number = _keep(ws, material, part, scored, in_sample)
    return EvaluateReport(
        number, part.start, part.end, in_sample, scored.left_out, scored.scores, scored.diagnoses
    )


def _part(
    ws: Workspace,
    days: float | None,
    test_bars: int | None,
    start: int | None,
    end: int | None,
) -> Part:
    """The open times to score, on the grid. Raises UsageError for what does not go together."""
    given = [("--days", days), ("--test-bars", test_bars), ("--start", start)]
    named = [name for name, value in given if value is not None]
    if len(named) > 1:
        raise UsageError(f"{named[0]} goes not with {named[1]}", hint="name one of them")
    market = ws.markets()[0]
    interval = market.interval_seconds
    now = market.floor(ws.clock.now())
    stop = now if end is None else min(market.floor(end), now)
    if start is not None:
        first = -(-start // interval) * interval
        if first >= stop:
            raise UsageError(
                f"no candle opens and closes between {iso(start)} and {iso(stop)}",
                hint="--start must lie before --end and before now",
            )
        return Part(first, stop)
    bars = round(days * _DAY) // interval if days else test_bars or ws.settings.data.test_bars
    return Part(stop - max(bars, 1) * interval, stop)


def _keep(
    ws: Workspace, material: Material, part: Part, scored: Scored, in_sample: Sequence[str]
) -> int:
    """Write the scores into the table `scores`, and with pictures into the versions' runs."""
    scores = scored.scores
    rows = [{**row, "in_sample": row["version"] in in_sample} for row in scores.to_dicts()]
    with ws.store.write() as writer:
        number = writer.ledger.put_scores(rows, at=ws.clock.now(), start=part.start, end=part.end)
    registry = ws.registry()
    judged = {d.version for d in scored.diagnoses}
    for version in registry.versions():
        if version.version not in judged:
            continue
        mine = scores.filter(pl.col("version") == version.version)
        document = {
            "evaluation": number,
            "start": iso(part.start),
            "end": iso(part.end),
            "markets": [market.id for market in material.markets],
            "in_sample": version.version in in_sample,
            "scores": score_rows(mine),
        }
        folder = f"evaluations/{number}"
        registry.log(version.run_id, metrics=summary(scores, version.version, "evaluate"))
        registry.log_document(version.run_id, document, f"{folder}/scores.json")
        looked = [d for d in scored.diagnoses if d.version == version.version]
        for name, png in _pictures(looked, mine):
            registry.log_bytes(version.run_id, png, f"{folder}/{name}.png")
    return number


def _pictures(looked: Sequence[Diagnosis], scores: pl.DataFrame) -> Iterator[tuple[str, bytes]]:
    """The pictures of a version, with their names: all markets in one where they fit."""
    steps = scores.filter(pl.col("step").is_not_null()).sort("step")
    ends = {
        d.market: steps.filter(pl.col("market") == d.market).select("skill_low", "skill_high")
        for d in looked
    }
    observed = {d.market: d.observed for d in looked}
    yield "calibration", plots.calibration(looked[0].levels, observed)
    yield (
        "skill_by_step",
        plots.skill_by_step(
            {d.market: d.skill_by_step for d in looked},
            low={name: end["skill_low"].to_numpy() for name, end in ends.items()},
            high={name: end["skill_high"].to_numpy() for name, end in ends.items()},
        ),
    )
    for d in looked:
        place = re.sub(r"[^A-Za-z0-9]+", "-", d.market)
        title = f"Skill by hour of day, {d.market}"
        picture = plots.skill_by_hour(d.skill_by_hour, d.origins_by_hour, title=title)
        yield f"skill_by_hour_{place}", picture
        if d.fan is not None:
            fan = d.fan
            picture = plots.fan(
                fan.times, fan.closes, fan.target_times, d.levels, fan.quantiles, title=d.market
            )
            yield f"fan_{place}", picture


def _usual(ws: Workspace) -> list[Bundle]:
    """Production, and the newest of each kind; of each market its own, where it has one.

    Left out is what does not answer what the settings ask for now.
    """
    with ws.store.read() as reader:
        serving = reader.productions().of_markets(ws.markets())
    versions = dict.fromkeys(row.model_version for row in serving.values())
    chosen = {version: frozen_bundle(ws, version) for version in versions}
    newest: set[tuple[str, str]] = set()
    for version in ws.registry().versions():
        markets = version.params.get("markets", "") if per_market(ws.settings) else ""
        if (version.kind, markets) not in newest:
            newest.add((version.kind, markets))
            if version.version not in chosen:
                chosen[version.version] = registered_bundle(ws, version.version)
    return [each for each in chosen.values() if mismatch(each.card, ws.settings) is None]
