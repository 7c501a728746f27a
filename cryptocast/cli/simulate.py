"""cryptocast simulate."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast.cli.root.options import Run, Seed, Symbols, read_time
from cryptocast.cli.root.output import Answer, line, table
from cryptocast.display import ahead, counted, percent, price, price_range, size

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from cryptocast.paths import Estimate, Likelihood, MarketPaths, Simulation
    from cryptocast.workflows.futures.asking import PathsFile

NAME = "simulate"
EXAMPLE = "cryptocast simulate --paths 1000 --horizon 24h --out paths.parquet"

_Out = Annotated[
    Path | None, typer.Option(help="The file to write them into: .parquet, .csv, .npz or .json.")
]
_Format = Annotated[
    str | None,
    typer.Option("--format", metavar="synth", help="The league Synth's answer, in .json."),
]
_Above = Annotated[
    float | None, typer.Option(metavar="PRICE", help="How likely is it above this price then?")
]
_Below = Annotated[
    float | None, typer.Option(metavar="PRICE", help="How likely is it below this price then?")
]
_Touch = Annotated[
    float | None, typer.Option(metavar="PRICE", help="How likely does it get there until then?")
]
_Inside = Annotated[
    tuple[float, float] | None,
    typer.Option(metavar="LOW HIGH", help="How likely is it between these prices then?"),
]
_Quantile = Annotated[
    float | None, typer.Option(metavar="LEVEL", help="Which price is it then, at this quantile?")
]
_Shortfall = Annotated[
    float | None,
    typer.Option(metavar="LEVEL", help="What is it then on average, in this share of worst cases?"),
]
_Weights = Annotated[
    str | None,
    typer.Option(
        metavar="SYMBOL=W,...",
        help="Ask about a basket, worth the sum of the weights at the start.",
    ),
]
_By = Annotated[
    str | None, typer.Option(metavar="TIME", help="The moment asked about. Default: the end.")
]


def command(
    run: Run,
    paths: Annotated[int, typer.Option(min=1, help="Paths of each market.")] = 1000,
    horizon: Annotated[
        str, typer.Option(metavar="TIME", help="How far they reach, at most 24h.")
    ] = "24h",
    symbols: Symbols = None,
    seed: Seed = None,
    out: _Out = None,
    form: _Format = None,
    above: _Above = None,
    below: _Below = None,
    touch: _Touch = None,
    inside: _Inside = None,
    quantile: _Quantile = None,
    shortfall: _Shortfall = None,
    weights: _Weights = None,
    by: _By = None,
) -> Answer:
    """Simulate whole price paths that continue the newest forecast, of all markets together.

    Path n of one market happens together with path n of the others. At the steps that the
    forecast covers, the paths have its quantiles. Asked again, it gives the same paths. See:
    cryptocast guide futures.
    """
    from cryptocast.workflows.futures.asking import answered, as_questions, read_weights
    from cryptocast.workflows.simulate import output, simulate, write

    at = {"above": above, "below": below, "touch": touch, "inside": inside}
    questions = as_questions(at | {"quantile": quantile, "shortfall": shortfall})
    held, moment = read_weights(weights), read_time(by)
    chosen = tuple(symbols or held)
    with run.open() as ws:
        target = output(ws.markets(chosen), out, form)
        simulation = simulate(ws, count=paths, horizon=horizon, symbols=chosen, seed=seed or 0)
    answers = answered(simulation, questions, moment, held)
    written = None if target is None else write(simulation, *target, form)
    show = partial(_show, simulation, answers, written)
    return Answer(_document(simulation, answers, written), show, simulation.warnings)


def _document(
    simulation: Simulation, answers: list[Likelihood | Estimate], written: PathsFile | None
) -> dict[str, Any]:
    """Return what the paths rest on, the answers, and which file holds the paths."""
    from cryptocast.answers.futures import paths_document
    from cryptocast.documents import document

    file = None if written is None else document(written)
    return {**paths_document(simulation, answers), "file": file}


def _show(
    simulation: Simulation,
    answers: list[Likelihood | Estimate],
    written: PathsFile | None,
    console: Console,
) -> None:
    for one in simulation.markets:
        console.print(_table(simulation, one))
    if answers:
        console.print(table("", ("question", "by", "answer", "error"), map(_row, answers)))
    line(console, _sentence(simulation, written))


def _row(answer: Likelihood | Estimate) -> list[str]:
    """Return an answer as it is shown."""
    from cryptocast.paths import Likelihood
    from cryptocast.values import iso

    if isinstance(answer, Likelihood):
        asked = " ".join(f"{at:.9g}" for at in answer.prices)
        shares = (percent(share, sign=False) for share in (answer.probability, answer.error))
        return [f"{answer.kind} {asked}", iso(answer.by), *shares]
    value, error = (
        price(amount, abs(answer.value) / 100) for amount in (answer.value, answer.error)
    )
    change = percent(answer.change, 2)
    return [f"{answer.kind} {answer.level:g}", iso(answer.by), f"{value} ({change})", error]


def _table(simulation: Simulation, one: MarketPaths) -> Table:
    """Return the median and the ranges of one market's paths at some steps."""
    from cryptocast.values import iso
    from cryptocast.workflows.futures.asking import shown_steps

    rows = []
    for step in shown_steps(simulation):
        low, tenth, median, ninth, high = one.at(step, (0.05, 0.1, 0.5, 0.9, 0.95)).tolist()
        width, at = high - low, simulation.target_time(step)
        rows.append(
            [
                ahead(step * simulation.step_seconds),
                iso(at)[11:16] + "Z",
                price(median, width),
                price_range(tenth, ninth, width),
                price_range(low, high, width),
            ]
        )
    title = f"{one.market.symbol}  {price(one.last_close)} {one.market.quote}  by {one.model}"
    if one.curve != simulation.library.name:
        title += ", own curve"
    return table(title, ("ahead", "at", "median", "80%", "90%"), rows)


def _sentence(simulation: Simulation, written: PathsFile | None) -> str:
    from cryptocast.values import iso

    where = "" if written is None else f" in {written.file} ({size(written.bytes)})"
    return (
        f"{counted(simulation.paths, 'path')} of {counted(simulation.steps, 'step')} from "
        f"{iso(simulation.origin)}, library {simulation.library.name}, "
        f"seed {simulation.seed}{where}"
    )
