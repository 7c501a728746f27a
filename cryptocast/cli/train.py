"""cryptocast train."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from cryptocast.cli._options import MOST_SEED, Run, Start
from cryptocast.cli._output import Answer, percent

if TYPE_CHECKING:
    from cryptocast.workflows.learning.training import TrainReport

NAME = "train"
EXAMPLE = "cryptocast train --model lstm --params best --from scratch"


def command(
    run: Run,
    model: Annotated[str | None, typer.Option(help="The model kind to train.")] = None,
    params: Annotated[
        str | None,
        typer.Option(metavar="best|default|FILE", help="Where its parameters come from."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=MOST_SEED, help="Seed: same data, same seed, same forecast."),
    ] = None,
    symbol: Annotated[
        list[str] | None, typer.Option(help="Only from this market, repeatable; default all.")
    ] = None,
    start: Start = None,
    repeat: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="Train that version anew from its card, compare."),
    ] = None,
) -> Answer:
    """Train one model on the stored candles, log it to MLflow, register a version.

    One of all markets together, or one of each ([model] scope).
    """
    from cryptocast.cli._shared import failure_code, failure_warnings
    from cryptocast.errors import UsageError
    from cryptocast.workflows.train import train

    if repeat is not None:
        given = {"--model": model, "--params": params, "--seed": seed, "--symbol": symbol}
        given["--from"] = start
        for option, value in given.items():
            if value is not None:
                raise UsageError(
                    f"{option} goes not with --repeat",
                    hint="the version's card says how it was trained",
                )
        return _repeat(run, repeat)
    with run.open({"model.start": start}) as ws:
        made, failed_markets = train(
            ws, kind=model, params=params or "best", seed=seed or 0, symbols=tuple(symbol or ())
        )
    failed = {market.id: error for market, error in failed_markets.items()}
    told = "\n".join([*map(_told, made), f"Next: cryptocast promote {made[0].version}"])
    data = _data(made[0]) | {"versions": [_data(report) for report in made]}
    missing = dict.fromkeys(r.no_base for r in made if r.no_base is not None and start == "base")
    return Answer(
        data,
        lambda console: console.print(told),
        [f"--from base: it starts at nothing, for {why}" for why in missing]
        + failure_warnings(failed),
        failure_code(failed),
    )


def _repeat(run: Run, version: str) -> Answer:
    from cryptocast.workflows.train import repeat

    with run.open() as ws:
        report = repeat(ws, version)
    data = {
        **_data(report.trained),
        "repeated": report.repeated,
        "identical": report.identical,
        "largest_difference": report.largest_difference,
        "changed": list(report.changed),
    }
    if report.identical:
        found = f"It answers exactly what version {version} does."
    else:
        since = f" (changed since: {', '.join(report.changed)})" if report.changed else ""
        found = (
            f"Its answers are not those of version {version}: they differ by up to "
            f"{report.largest_difference:.3g} sigma{since}."
        )
    told = f"{_told(report.trained)}\n{found}"
    return Answer(data, lambda console: console.print(told))


def _told(report: TrainReport) -> str:
    skill = percent(1 - report.validation_crps_relative, 2)
    return (
        f"Version {report.version}: {report.kind}, parameters {report.params_from}, "
        f"{report.epochs} epochs, validation CRPS {report.validation_crps_bp:.3f} bp, "
        f"skill against the random walk {skill}"
    )


def _data(report: TrainReport) -> dict[str, object]:
    return {f.name: getattr(report, f.name) for f in dataclasses.fields(report)}
