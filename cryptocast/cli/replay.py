"""cryptocast replay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer, print_document, table

if TYPE_CHECKING:
    from rich.console import Console

    from cryptocast.workflows.serving.sets import FailedOrigin

NAME = "replay"
EXAMPLE = "cryptocast replay --start 2024-06-03 --end 2024-06-06"


def command(
    run: Run,
    start: Annotated[str, typer.Option(metavar="TIME", help="The first origin.")],
    end: Annotated[
        str | None, typer.Option(metavar="TIME", help="The last origin; default now.")
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="Let this version forecast, as a shadow: unserved.")
    ] = None,
    in_sample: Annotated[
        bool, typer.Option("--in-sample", help="Origins it learned from too, all unserved.")
    ] = False,
    symbol: Annotated[list[str] | None, typer.Option(help="Only this market, repeatable.")] = None,
) -> Answer:
    """Forecast every origin of a past range as the live tick would have, into the ledger.

    From stored candles alone. Origins that are served already are skipped, so an interrupted
    replay goes on. With --json one document a set, then one with the summary.
    """
    from cryptocast.values import iso, parse_time
    from cryptocast.workflows.forecast import document
    from cryptocast.workflows.replay import fallbacks, plan, replay

    made = 0
    failed: list[FailedOrigin] = []
    stand_ins: dict[str, int] = {}
    with run.open() as ws:
        until = ws.clock.now() if end is None else parse_time(end)
        planned = plan(
            ws,
            parse_time(start),
            int(until),
            symbols=tuple(symbol or ()),
            version=version,
            in_sample=in_sample,
        )
        ws.progress.stage(f"replay {planned.origins:,} origins")
        for block in replay(ws, planned):
            made += len(block.sets)
            failed += block.failures
            for reason, count in fallbacks(block.sets).items():
                stand_ins[reason] = stand_ins.get(reason, 0) + count
            if run.as_json:
                for forecast in block.sets:
                    print_document(NAME, document(forecast))
    data = {
        "start": iso(planned.first),
        "end": iso(planned.last),
        "made": made,
        "skipped": planned.skipped,
        "failed": len(failed),
        "served": planned.served,
        "fallbacks": stand_ins,
    }
    warnings = [
        f"{market.id}: {bars} bars of the range are not stored (cryptocast fetch brings them, "
        "if they exist)"
        for market, bars in planned.holes
    ]
    warnings += [failed[0].error.message] if failed else []

    def show(console: Console) -> None:
        rows = [
            ["forecast" if planned.served else "forecast, unserved", f"{made:,}"],
            ["there already", f"{planned.skipped:,}"],
            ["too few candles", f"{len(failed):,}"],
            *([f"by a stand-in: {reason}", f"{n:,}"] for reason, n in sorted(stand_ins.items())),
        ]
        title = f"Origins from {iso(planned.first)} to {iso(planned.last)}"
        console.print(table(title, ("", "sets"), rows))

    return Answer({"summary": data}, show, warnings)
