"""cryptocast train."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer, percent

NAME = "train"
EXAMPLE = "cryptocast train --model lstm --params best"


def command(
    run: Run,
    model: Annotated[str | None, typer.Option(help="The model kind to train.")] = None,
    params: Annotated[
        str, typer.Option(metavar="best|default|FILE", help="Where its parameters come from.")
    ] = "best",
    seed: Annotated[int, typer.Option(help="Seed: same data, same seed, same forecast.")] = 0,
) -> Answer:
    """Train one model on the stored candles, log it to MLflow, register a version."""
    from cryptocast.workflows.train import train

    with run.open() as ws:
        report = train(ws, kind=model, params=params, seed=seed)
    skill = percent(1 - report.validation_crps_relative, 2)
    told = (
        f"Version {report.version}: {report.kind}, parameters {report.params_from}, "
        f"{report.epochs} epochs, validation CRPS {report.validation_crps_bp:.3f} bp, "
        f"skill against the random walk {skill}\n"
        f"Next: cryptocast promote {report.version}"
    )
    data = {f.name: getattr(report, f.name) for f in dataclasses.fields(report)}
    return Answer(data, lambda console: console.print(told))
