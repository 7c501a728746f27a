"""cryptocast pretrain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cryptocast.cli._options import MOST_SEED, Run
from cryptocast.cli._output import Answer, percent

if TYPE_CHECKING:
    from rich.console import Console

NAME = "pretrain"
EXAMPLE = "cryptocast pretrain --data 'candles/*.parquet' --config configs/pretrain.toml --out base"


def command(
    run: Run,
    data: Annotated[
        list[str], typer.Option(help="Files, folders or globs of candles, repeatable.")
    ],
    out: Annotated[Path, typer.Option(help="The folder that the network is written to.")],
    config: Annotated[
        Path | None,
        typer.Option(help="Settings, as configs/pretrain.toml; default those of -w, or none."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=MOST_SEED, help="Seed: same candles, same seed, same network.")
    ] = 0,
    origin: Annotated[
        str | None,
        typer.Option(help="Whence the candles come, and their licence: for the card."),
    ] = None,
) -> Answer:
    """Train one network over many markets, for markets with little past of their own.

    It needs no workspace; of one that `-w` names it takes the settings. Trained on the older
    part of the time first, and scored on the newest; then on all of it. Interrupted, the same
    command goes on where it was. `[model] base` names the folder of the one to use; cryptocast
    brings its own for some intervals.
    """
    import os

    from rich.table import Table

    from cryptocast.config import load
    from cryptocast.values import iso
    from cryptocast.workflows.pretrain import pretrain

    if config is None and run.workspace is not None:
        settings = run.open().settings
    else:
        settings, _ = load(config, os.environ)
    report = pretrain(
        settings, data, out, seed=seed, origin=origin, now=run.clock.now(), progress=run.progress
    )
    held_out = iso(report.held_out_from)

    def show(console: Console) -> None:
        table = Table(title=f"CRPS skill against the random walk from {held_out}, in %")
        for name in ("series", "step 1", "all steps", "90 % interval", "n", "p", "in 90"):
            table.add_column(name, justify="left" if name == "series" else "right")
        names = dict.fromkeys(row["market"] for row in report.scores)
        for name in names:
            mine = {row["step"]: row for row in report.scores if row["market"] == name}
            first, every = mine[1], mine["all"]
            low, high = (percent(every[f"skill_{end}"], 2) for end in ("low", "high"))
            table.add_row(
                name,
                percent(first["skill_vs_random_walk"], 2),
                percent(every["skill_vs_random_walk"], 2),
                f"{low} .. {high}",
                f"{every['n']:,}",
                "-" if every["p_value"] is None else f"{every['p_value']:.3f}",
                f"{every['coverage90']:.3f}",
            )
        console.print(table)
        if (early := report.series - len(names)) > 0:
            console.print(f"{early} of {report.series} series end before: learned from, not scored")
        console.print(
            f"{report.folder}: {report.series} series, {report.origins:,} origins of "
            f"{report.interval}, {report.seconds:.0f} s"
        )

    found = {
        "folder": str(report.folder),
        "interval": report.interval,
        "series": report.series,
        "origins": report.origins,
        "held_out_from": held_out,
        "scores": report.scores,
        "evidence": report.evidence,
        "seconds": report.seconds,
    }
    return Answer(found, show)
