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

    from cryptocast.paths import Likelihood, MarketPaths, Simulation
    from cryptocast.workflows.simulate import PathsFile

NAME = "simulate"
EXAMPLE = "cryptocast simulate --paths 1000 --horizon 24h --out paths.parquet"
_SHOWN_SECONDS = (300, 3600, 7200, 6 * 3600, 12 * 3600, 24 * 3600)

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
    by: _By = None,
) -> Answer:
    """Simulate whole price paths that continue the newest forecast, of all markets together.

    Path n of one market happens together with path n of the others. At the steps that the
    forecast covers, the paths have its quantiles. Asked again, it gives the same paths. See:
    cryptocast guide futures.
    """
    from cryptocast.paths import PriceQuestion, likelihood
    from cryptocast.workflows.simulate import output, simulate, write

    chosen, moment = tuple(symbols or ()), read_time(by)
    single = {"above": above, "below": below, "touch": touch}
    questions = [PriceQuestion(kind, (at,)) for kind, at in single.items() if at is not None]
    questions += [] if inside is None else [PriceQuestion("inside", inside)]
    with run.open() as ws:
        target = output(ws, out, form, chosen)
        simulation = simulate(ws, count=paths, horizon=horizon, symbols=chosen, seed=seed or 0)
    answers = [likelihood(simulation, question, moment) for question in questions]
    written = None if target is None else write(simulation, *target, form)
    data = _document(simulation, answers, written)
    show = partial(_show, simulation, answers, written)
    return Answer(data, show, simulation.warnings)


def _show(
    simulation: Simulation,
    answers: list[Likelihood],
    written: PathsFile | None,
    console: Console,
) -> None:
    for one in simulation.markets:
        console.print(_table(simulation, one))
    if answers:
        console.print(table("", ("price", "by", "probability", "error"), map(_row, answers)))
    line(console, _sentence(simulation, written))


def _row(answer: Likelihood) -> list[str]:
    """Return an answer as it is shown."""
    from cryptocast.values import iso

    prices = " ".join(f"{at:.9g}" for at in answer.prices)
    shares = (percent(share, sign=False) for share in (answer.probability, answer.error))
    return [f"{answer.kind} {prices}", iso(answer.by), *shares]


def _document(
    simulation: Simulation, answers: list[Likelihood], written: PathsFile | None
) -> dict[str, Any]:
    """Return what the paths rest on, and their quantiles at some steps; files hold the paths."""
    from cryptocast.documents import document
    from cryptocast.values import iso

    return {
        "origin": iso(simulation.origin),
        "paths": simulation.paths,
        "steps": simulation.steps,
        "step_seconds": simulation.step_seconds,
        "seed": simulation.seed,
        "library": {"name": simulation.library.name, "sha256": simulation.library.sha256},
        "file": None if written is None else document(written),
        "answers": [document(answer, times=("by",)) for answer in answers],
        "markets": [
            {
                "market": one.market.id,
                "last_close": one.last_close,
                "stale_bars": one.stale_bars,
                "model": document(one.model),
                "levels": list(one.levels),
                "steps": [
                    {
                        "step": step,
                        "target_time": iso(simulation.target_time(step)),
                        "quantiles": one.quantiles(step).tolist(),
                    }
                    for step in _shown_steps(simulation)
                ],
            }
            for one in simulation.markets
        ],
    }


def _shown_steps(simulation: Simulation) -> list[int]:
    """Return the steps that are shown: some, and the last."""
    wanted = {seconds // simulation.step_seconds for seconds in _SHOWN_SECONDS}
    return sorted({step for step in wanted if step < simulation.steps} | {simulation.steps})


def _table(simulation: Simulation, one: MarketPaths) -> Table:
    """Return the median and the ranges of one market's paths at some steps."""
    from cryptocast.values import iso

    rows = []
    for step in _shown_steps(simulation):
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
    return table(title, ("ahead", "at", "median", "80%", "90%"), rows)


def _sentence(simulation: Simulation, written: PathsFile | None) -> str:
    from cryptocast.values import iso

    where = "" if written is None else f" in {written.file} ({size(written.bytes)})"
    return (
        f"{counted(simulation.paths, 'path')} of {counted(simulation.steps, 'step')} from "
        f"{iso(simulation.origin)}, library {simulation.library.name}, "
        f"seed {simulation.seed}{where}"
    )
