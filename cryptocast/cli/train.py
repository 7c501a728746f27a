"""cryptocast train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cryptocast.cli.root.options import Engine, Run, Seed, Start, Symbols, completing
from cryptocast.cli.root.output import Answer, failure_code, failure_warnings, sentences
from cryptocast.cli.tune import Kind
from cryptocast.display import percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptocast.errors import CryptocastError
    from cryptocast.workflows.learning.training import TrainReport

NAME = "train"
EXAMPLE = "cryptocast train --model lstm --params best --from scratch"


def command(
    run: Run,
    model: Kind = None,
    params: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            autocompletion=completing(lambda: ("best", "default")),
            help="Its parameters: best (of the last search), default, or a file. Default: best.",
        ),
    ] = None,
    seed: Seed = None,
    symbols: Symbols = None,
    start: Start = None,
    repeat: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="Train that version again from its card, compare."),
    ] = None,
    engine: Engine = None,
) -> Answer:
    """Train one model on the stored candles, log it to MLflow, register a version.

    One model for all markets, or one for each ([model] scope).
    """
    from cryptocast.workflows.train import train

    if repeat is not None:
        options = {"--model": model, "--params": params, "--seed": seed, "--symbol": symbols}
        return _repeat(run, repeat, options | {"--from": start, "--engine": engine})
    with run.open({"model.start": start, "engine.kind": engine}) as ws:
        reports, failed = train(
            ws, kind=model, params=params or "best", seed=seed or 0, symbols=tuple(symbols or ())
        )
    missing = dict.fromkeys(r.no_base for r in reports if r.no_base and start == "base")
    warnings = [f"--from base: it starts from scratch, because {reason}" for reason in missing]
    return _answer(reports, {market.id: error for market, error in failed.items()}, warnings)


def _answer(
    reports: Sequence[TrainReport], failed: Mapping[str, CryptocastError], warnings: list[str]
) -> Answer:
    from cryptocast.documents import document

    documents = [document(report) for report in reports]
    return Answer(
        {**documents[0], "versions": documents},
        sentences(
            *(_sentence(report) for report in reports),
            f"Next: cryptocast promote {reports[0].version}",
        ),
        warnings + failure_warnings(failed),
        failure_code(failed),
    )


def _repeat(run: Run, version: str, options: Mapping[str, object]) -> Answer:
    from cryptocast.documents import document
    from cryptocast.errors import UsageError
    from cryptocast.workflows.train import repeat

    for option, value in options.items():
        if value is not None:
            raise UsageError(
                f"{option} cannot be combined with --repeat",
                hint="the version's card says how it was trained",
            )
    with run.open() as ws:
        report = repeat(ws, version)
    data = document(report)
    data = data.pop("trained") | data
    if report.identical:
        comparison = f"It forecasts exactly what version {version} does."
    else:
        since = f" (changed since: {', '.join(report.changed)})" if report.changed else ""
        comparison = (
            f"Its forecasts are not those of version {version}: they differ by up to "
            f"{report.largest_difference:.3g} sigma{since}."
        )
    return Answer(data, sentences(_sentence(report.trained), comparison))


def _sentence(report: TrainReport) -> str:
    skill = percent(1 - report.validation_crps_relative, 2)
    return (
        f"Version {report.version}: {report.kind}, parameters {report.params_from}, "
        f"{report.epochs} epochs, validation CRPS {report.validation_crps_bp:.3f} bp, "
        f"skill against the random walk {skill}"
    )
