"""cryptocast replay."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast.cli.root.options import Engine, Run, Symbols, read_time
from cryptocast.cli.root.output import Answer, print_document, table
from cryptocast.display import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from cryptocast.compute.sets import FailedOrigin
    from cryptocast.workflows.replay import Block, Replay

NAME = "replay"
EXAMPLE = "cryptocast replay --start 2024-06-03 --end 2024-06-06"


def command(
    run: Run,
    start: Annotated[str, typer.Option(metavar="TIME", help="The first origin.")],
    end: Annotated[
        str | None, typer.Option(metavar="TIME", help="The last origin. Default: the newest.")
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="Let this version forecast as a shadow: unserved.")
    ] = None,
    in_sample: Annotated[
        bool, typer.Option("--in-sample", help="Also origins it learned from, all unserved.")
    ] = False,
    symbols: Symbols = None,
    engine: Engine = None,
) -> Answer:
    """Forecast every origin of a past range as the live tick would have, into the ledger.

    From stored candles alone. Origins that were already served are skipped, so an interrupted
    replay continues. With --json: one document per set, then one with the summary.
    """
    from cryptocast.answers.forecasts import forecast_document
    from cryptocast.values import parse_time
    from cryptocast.workflows.replay import plan, replay

    counts = _Counts()
    with run.open({"engine.kind": engine}) as ws:
        planned = plan(
            ws,
            parse_time(start),
            read_time(end),
            symbols=tuple(symbols or ()),
            version=version,
            in_sample=in_sample,
        )
        ws.progress.stage(f"replay {counted(planned.origins, 'origin')}")
        for block in replay(ws, planned):
            counts.add(block)
            for forecast in block.sets if run.as_json else ():
                print_document(NAME, forecast_document(forecast))
    return Answer(
        {"summary": _document(planned, counts)},
        lambda console: console.print(_table(planned, counts)),
        list(_warnings(planned, counts)),
    )


@dataclass(slots=True)
class _Counts:
    """Numbers of sets, failures and fallbacks over the blocks of a replay."""

    made: int = 0
    failures: list[FailedOrigin] = field(default_factory=list)
    fallbacks: Counter[str] = field(default_factory=Counter)  # sets of stand-ins, by reason

    def add(self, block: Block) -> None:
        """Count the sets and failures of one block."""
        self.made += len(block.sets)
        self.failures += block.failures
        self.fallbacks.update(s.model.fallback for s in block.sets if s.model.fallback)


def _document(planned: Replay, counts: _Counts) -> dict[str, Any]:
    from cryptocast.values import iso

    return {
        "start": iso(planned.first),
        "end": iso(planned.last),
        "made": counts.made,
        "skipped": planned.skipped,
        "failed": len(counts.failures),
        "served": planned.served,
        "fallbacks": counts.fallbacks,
    }


def _warnings(planned: Replay, counts: _Counts) -> Iterator[str]:
    for market, bars in planned.holes:
        yield (
            f"{market.id}: {counted(bars, 'bar')} of the range are not stored "
            "(cryptocast fetch brings them, if they exist)"
        )
    if counts.failures:
        yield counts.failures[0].error.message


def _table(planned: Replay, counts: _Counts) -> Table:
    from cryptocast.values import iso

    rows = [
        ["forecast" if planned.served else "forecast, unserved", f"{counts.made:,}"],
        ["already there", f"{planned.skipped:,}"],
        ["too few candles", f"{len(counts.failures):,}"],
        *(
            [f"by a stand-in: {reason}", f"{sets:,}"]
            for reason, sets in sorted(counts.fallbacks.items())
        ),
    ]
    title = f"Origins from {iso(planned.first)} to {iso(planned.last)}"
    return table(title, ("", "sets"), rows)
