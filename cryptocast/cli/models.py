"""cryptocast models."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer, number, percent, table

if TYPE_CHECKING:
    from cryptocast.workflows.models import Entry

NAME = "models"
EXAMPLE = "cryptocast models --json"

_SHOWN_MARKETS = 3
_COLUMNS = ("v", "kind, made", "aliases", "data", "vs walk", "test skill", "gate")


def command(run: Run) -> Answer:
    """List the registered versions with their aliases and scores."""
    from cryptocast.workflows.models import models

    with run.open() as ws:
        report = models(ws)
    entries = [dataclasses.asdict(entry) | {"usable": entry.usable} for entry in report.versions]
    data = {"production": report.production, "versions": entries}
    rows = [_row(entry) for entry in report.versions]
    warnings = [
        f"version {entry.version} is of no use: its {' and '.join(entry.missing)} is lost"
        for entry in report.versions
        if not entry.usable
    ]
    return Answer(data, lambda console: console.print(table("Models", _COLUMNS, rows)), warnings)


def _names(entry: Entry) -> list[str]:
    """Its aliases; of what serves single markets these are named as people do."""
    own = [alias for alias in entry.aliases if "-" not in alias]
    markets = [market.rsplit(":", 2)[1] for market in entry.serves if market != "*"]
    more = len(markets) - _SHOWN_MARKETS
    own += [f"serves {market}" for market in markets[:_SHOWN_MARKETS]]
    return [*own, *([f"and {more} more"] if more > 0 else [])]


def _row(entry: Entry) -> list[str]:
    """Two lines a version, so that 80 columns hold them."""
    test = "-"
    if entry.test is not None:
        test = percent(entry.test.skill_vs_random_walk, 2)
        if entry.test.n is not None:
            test += f"\nn {entry.test.n:,}"
    gate = "forced" if entry.forced else entry.gate or "-"
    return [
        entry.version,
        f"{entry.kind}\n{entry.created_at[:10]}",
        "\n".join(_names(entry)) or "-",
        f"{(entry.data_start or '-')[:10]}\n{(entry.data_end or '-')[:10]}",
        number(entry.validation_crps_relative, 4),
        test,
        gate if entry.usable else "no use",
    ]
