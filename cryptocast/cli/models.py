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
        "\n".join(entry.aliases) or "-",
        f"{(entry.data_start or '-')[:10]}\n{(entry.data_end or '-')[:10]}",
        number(entry.validation_crps_relative, 4),
        test,
        gate if entry.usable else "no use",
    ]
