"""Prometheus metrics as a text file for node exporter.

The text is written here and not by `prometheus_client`: its import (with a web server) would
cost each tick about 60 ms, and it writes counts and moments as floats (`1.7173728e+09`), which
would break scripts that match lines.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptocast import store
from cryptocast.config import Settings
from cryptocast.drafts import swapping
from cryptocast.errors import CryptocastError
from cryptocast.store import ALL_MARKETS, Reader
from cryptocast.values import DAY_SECONDS, Deployment, ForecastSet, Market
from cryptocast.workflows.watching.facts import MONITOR, shown_steps
from cryptocast.workspace import Workspace

_VERDICTS = ("healthy", "watch", "declined", "unknown")
_STATUSES = ("ok", "late", "missed", "failed")

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with its samples, each with labels; a sample of None is left out."""

    name: str
    help: str
    samples: tuple[tuple[Labels, float | None], ...]
    type: str = "gauge"


def write_metrics(ws: Workspace) -> list[str]:
    """Write `[metrics] file`, whole or not at all, and return a warning if that failed.

    Never raises a CryptocastError. If no file is configured, nothing is read.
    """
    if ws.settings.metrics.file is None:
        return []
    file = Path(ws.settings.metrics.file)
    try:
        with ws.store.read() as reader:
            text = exposition(gather(reader, ws.markets(), ws.settings, ws.clock.now()))
        # node exporter reads *.prom alone, so it never sees a draft.
        with swapping(file) as draft:
            draft.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        return [f"the metrics {file} cannot be written: {error.strerror}"]
    except CryptocastError as error:
        return [f"the metrics were not written: {error.message}"]
    return []


def exposition(families: Iterable[Family]) -> str:
    """Return metrics in Prometheus' text format 0.0.4; those without a sample are left out."""
    lines = []
    for family in families:
        samples = [(labels, value) for labels, value in family.samples if value is not None]
        if samples:
            lines.append(f"# HELP {family.name} {_escaped(family.help)}")
            lines.append(f"# TYPE {family.name} {family.type}")
        for labels, value in samples:
            pairs = (f'{name}="{_escaped(text, quoted=True)}"' for name, text in labels)
            shown = f"{{{','.join(pairs)}}}" if labels else ""
            lines.append(f"{family.name}{shown} {_number(value)}")
    return "\n".join(lines) + "\n"


def _escaped(text: str, *, quoted: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quoted else text


def _number(value: float) -> str:
    if math.isfinite(value):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def gather(
    reader: Reader, markets: tuple[Market, ...], settings: Settings, now: float
) -> Iterator[Family]:
    """Yield all metrics of a workspace."""
    newest = reader.ledger.newest(markets, now)
    yield from _ticks(reader, markets, now)
    yield from _forecasts(newest)
    yield from _serving(reader, markets, now)
    yield from _candles(reader, markets, settings.data.days, now)
    yield from _quality(reader, markets, newest, now)
    spent = reader.credits([m.source for m in markets], time.time())
    costs = {source: float(cost.credits) for source, cost in spent.items() if cost.used}
    yield _by("source", "credits_spent", "credits that a source has cost this month", costs)
    monthly = dict.fromkeys(costs, float(settings.source.monthly_credits))
    yield _by("source", "credits_budget", "credits that a month may cost", monthly)
    yield _one("written_timestamp_seconds", "when this file was written", now)


def _ticks(reader: Reader, markets: tuple[Market, ...], now: float) -> Iterator[Family]:
    last = store.last_ticks(reader, markets, now)
    finished = {m: tick.finished_at for m, tick in last.items()}
    yield _each("last_tick_timestamp_seconds", "when the last tick ended", finished)
    failed = {m: float(tick.status == "failed") for m, tick in last.items()}
    yield _each("last_tick_failed", "whether the last tick failed", failed)
    counts = store.tick_counts(reader, markets, 0, now)
    yield Family(
        "cryptocast_ticks_total",
        "stored ticks by how they ended",
        tuple(
            ((("market", m.id), ("status", status)), float(by_status.get(status, 0)))
            for m, by_status in counts.items()
            for status in _STATUSES
        ),
        "counter",
    )
    sets = {m: float(n) for m, n in store.fallback_counts(reader, markets).items()}
    yield _each("fallbacks_total", "served forecasts that a stand-in made", sets, type="counter")


def _forecasts(newest: Mapping[Market, ForecastSet]) -> Iterator[Family]:
    origins = {m: float(s.origin) for m, s in newest.items()}
    yield _each("origin_timestamp_seconds", "origin of the newest forecast", origins)
    lags = {m: s.issued_at - s.origin for m, s in newest.items()}
    yield _each("lag_seconds", "seconds from its origin until it was issued", lags)
    stale = {m: float(s.stale_bars) for m, s in newest.items()}
    yield _each("stale_bars", "bars by which its newest candle was too old", stale)
    closes = {m: s.last_close for m, s in newest.items()}
    yield _each("last_close", "last close when it was made, in quote currency", closes)
    yield Family(
        "cryptocast_forecast_price",
        "quantiles of the newest forecast: lowest level, median, highest",
        tuple(
            (
                (("market", m.id), ("step", str(step)), ("level", f"{s.levels[at]:g}")),
                float(s.quantiles[step - 1, at]),
            )
            for m, s in newest.items()
            for step in shown_steps(m, len(s.quantiles))
            for at in (0, len(s.levels) // 2, len(s.levels) - 1)
        ),
    )


def _serving(reader: Reader, markets: tuple[Market, ...], now: float) -> Iterator[Family]:
    stands = store.stand_ins(reader, markets, now)
    serving = {m: float(m in stands) for m in reader.ledger.newest_origins(markets, now)}
    yield _each("fallback", "whether a stand-in made the newest forecast", serving)
    rows = dict.fromkeys(reader.productions().of_markets(markets).values())
    labels: dict[Deployment, Labels] = {
        row: () if row.market == ALL_MARKETS else (("market", row.market),) for row in rows
    }
    yield Family(
        "cryptocast_production_info",
        "the version that is production",
        tuple(((*own, ("version", row.model_version)), 1.0) for row, own in labels.items()),
    )
    yield Family(
        "cryptocast_production_timestamp_seconds",
        "when it became production",
        tuple((own, row.at) for row, own in labels.items()),
    )


def _candles(
    reader: Reader, markets: tuple[Market, ...], days: float, now: float
) -> Iterator[Family]:
    start = now - days * DAY_SECONDS
    stored = store.candle_summaries(reader, markets, round(start), markets[0].floor(now))
    closed = {m: float(s.last + m.interval_seconds) for m, s in stored.items()}
    yield _each("candle_timestamp_seconds", "when the newest stored candle closed", closed)
    missing = {m: float(sum(gap.bars for gap in s.gaps)) for m, s in stored.items()}
    yield _each("missing_bars", "bars of the last [data] days without a candle", missing)


def _quality(
    reader: Reader, markets: tuple[Market, ...], newest: Mapping[Market, ForecastSet], now: float
) -> Iterator[Family]:
    horizon = max((len(s.quantiles) for s in newest.values()), default=1)
    steps = shown_steps(markets[0], horizon)
    coverage = store.coverage(reader, markets, now - DAY_SECONDS, now, steps)
    yield Family(
        "cryptocast_coverage_ratio",
        "share of the last day's outcomes inside the served range, at the shown steps",
        tuple(
            ((("market", m.id), ("range", name)), share)
            for m, cover in coverage.items()
            for name, share in (("80", cover.in80), ("90", cover.in90))
        ),
    )
    widths = {m: float(s.scale.mean()) if s.scale is not None else 1.0 for m, s in newest.items()}
    yield _each("calibration_scale", "mean widening of the newest forecast", widths)
    verdict = reader.newest_event(MONITOR, now)
    if verdict is None:
        return
    states = {name: float(name == verdict.detail.get("verdict")) for name in _VERDICTS}
    yield _by("verdict", "health", "the last verdict of the monitor", states)
    yield _one("health_timestamp_seconds", "when the monitor gave it", verdict.at)
    windows = verdict.detail.get("windows") or ()
    yield Family(
        "cryptocast_skill_ratio",
        "CRPS skill against the random walk, as the monitor measured it",
        tuple(
            (
                (("market", str(w.get("market"))), ("window", str(w.get("window")))),
                w.get("skill_vs_random_walk"),
            )
            for w in windows
        ),
    )


def _each(name: str, help: str, values: Mapping[Market, float], *, type: str = "gauge") -> Family:
    """Return a metric with one sample per market."""
    return _by("market", name, help, {m.id: value for m, value in values.items()}, type=type)


def _by(
    label: str, name: str, help: str, values: Mapping[str, float], *, type: str = "gauge"
) -> Family:
    """Return a metric with one label."""
    samples = tuple((((label, text),), value) for text, value in values.items())
    return Family(f"cryptocast_{name}", help, samples, type)


def _one(name: str, help: str, value: float) -> Family:
    """Return a metric of the whole workspace."""
    return Family(f"cryptocast_{name}", help, (((), value),))
