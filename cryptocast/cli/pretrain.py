"""cryptocast pretrain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast.cli.root.options import Engine, Run, Seed, completing, configuration, configurations
from cryptocast.cli.root.output import Answer, line, table
from cryptocast.display import counted, number, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from cryptocast.config import Settings
    from cryptocast.workflows.pretrain import PretrainReport

NAME = "pretrain"
EXAMPLE = "cryptocast pretrain --data 'candles/*.parquet' --config pretrain --out base"
_COLUMNS = ("series", "step 1", "all steps", "90% interval", "n", "p", "in 90")


def command(
    run: Run,
    data: Annotated[
        list[str], typer.Option(help="Files, folders or globs of candles; repeatable.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to write the network into.")],
    unseen: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DATA",
            help="Files of other years to score it on; repeatable. Default: the newest of --data.",
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            autocompletion=completing(configurations),
            help="Settings: pretrain, or a file. Default: those of -w, or none.",
        ),
    ] = None,
    seed: Seed = None,
    origin: Annotated[
        str | None,
        typer.Option(help="Where the candles come from, and their licence: for the card."),
    ] = None,
    engine: Engine = None,
) -> Answer:
    """Train one network on many markets, for markets with little history of their own.

    It needs no workspace; if -w names one, its settings are used. The network is trained on all
    candles and scored on those of --unseen. Without --unseen it is first trained on the older
    candles and scored on the newest. The score is what the gate believes of it before your
    candles can tell. If it is interrupted, the same command continues. `[model] base` names the
    folder of the network to use; cryptocast brings its own for some intervals.
    """
    from cryptocast.documents import document
    from cryptocast.workflows.pretrain import PretrainData, pretrain

    report = pretrain(
        _settings(run, configuration(config), engine),
        PretrainData(data, unseen or ()),
        out,
        seed=seed or 0,
        origin=origin,
        now=run.clock.now(),
        progress=run.progress,
    )
    answer = document(report, times=("held_out_from",))
    return Answer(answer, lambda console: _show(console, report))


def _settings(run: Run, config: Path | None, engine: str | None) -> Settings:
    """Return the settings of a file, else of the workspace of -w, else the defaults."""
    import os

    from cryptocast.config import load

    options = {} if engine is None else {"engine.kind": engine}
    if config is None and run.workspace is not None:
        return run.open(options).settings
    settings, _ = load(config, os.environ, options)
    return settings


def _show(console: Console, report: PretrainReport) -> None:
    from cryptocast.values import iso

    rows = list(_rows(report.scores))
    where = "on unseen files"
    if report.held_out_from is not None:
        where = f"from {iso(report.held_out_from)}"
    console.print(table(f"CRPS skill against the random walk {where}", _COLUMNS, rows))
    early = 0 if report.held_out_from is None else report.series - len(rows)
    if early > 0:
        console.print(
            f"{early} of {report.series} series end earlier: used for training, not scored"
        )
    line(
        console,
        f"{report.folder}: {report.series} series, {counted(report.origins, 'origin')} of "
        f"{report.interval}, {report.seconds:.0f} s",
    )


def _rows(scores: list[dict[str, Any]]) -> Iterator[list[str]]:
    """Yield a row per series: the skill of the first step and of all steps together."""
    for name in dict.fromkeys(row["market"] for row in scores):
        by_step = {row["step"]: row for row in scores if row["market"] == name}
        first, overall = by_step[1], by_step["all"]
        low, high = (percent(overall[f"skill_{end}"], 2) for end in ("low", "high"))
        yield [
            name,
            percent(first["skill_vs_random_walk"], 2),
            percent(overall["skill_vs_random_walk"], 2),
            f"{low} .. {high}",
            f"{overall['n']:,}",
            number(overall["p_value"], 3),
            number(overall["coverage90"], 3),
        ]
