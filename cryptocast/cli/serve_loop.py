"""cryptocast serve-loop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast.cli._options import Run
from cryptocast.cli._output import price, print_document, warn

if TYPE_CHECKING:
    from cryptocast.values import ForecastSet

NAME = "serve-loop"
EXAMPLE = "cryptocast serve-loop --delay 10"


def command(
    run: Run,
    delay: Annotated[
        float | None, typer.Option(min=0, help="Seconds after each close.", show_default=False)
    ] = None,
    max_ticks: Annotated[int | None, typer.Option(min=1, help="Leave after N ticks.")] = None,
) -> None:
    """Make a tick just after each close, until stopped (Ctrl-C or SIGTERM: exit 0).

    With --json one document a tick, then one with the summary. With --as-of the loop leaps
    from tick to tick on the virtual clock, so it needs --max-ticks.
    """
    import signal
    from threading import Event

    from cryptocast.errors import UsageError
    from cryptocast.values import iso
    from cryptocast.workflows.forecast import documents
    from cryptocast.workflows.serve_loop import serve_loop

    if run.as_of is not None and max_ticks is None:
        raise UsageError("serve-loop on a virtual clock would never end", hint="add --max-ticks 12")
    stop = Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    done = failed = 0
    with run.open() as ws:
        for turn in serve_loop(ws, stop, delay_seconds=delay, max_ticks=max_ticks):
            done += 1
            if turn.error is not None:
                failed += 1
                warn(f"{iso(round(turn.at))} {turn.error.message} ({turn.error.hint})")
            for text in turn.report.warnings if turn.report else ():
                warn(text)
            if run.as_json:
                data: dict[str, Any] = {"at": iso(turn.at)}
                if turn.report is not None:
                    data |= {"new": turn.report.new, "forecasts": list(documents(turn.report))}
                else:
                    data |= {"error": turn.error.code if turn.error else None}
                print_document(NAME, data)
            elif not run.quiet and turn.report is not None:
                _lines(turn.report.forecasts, turn.report.new)
    if run.as_json:
        print_document(NAME, {"summary": {"ticks": done, "failed": failed}})
    elif not run.quiet:
        print(f"stopped after {done} ticks, {failed} failed")


def _lines(forecasts: Iterable[ForecastSet], new: bool) -> None:
    from cryptocast.values import iso

    for f in forecasts:
        first = f.quantiles[0]
        told = f"{price(first[0])} .. {price(first[-1])} ({f.levels[-1] - f.levels[0]:.0%})"
        there = "" if new else ", there already"
        print(
            f"{iso(f.origin)}  {f.market.symbol}  {price(f.last_close)}  next {told}  "
            f"version {f.model.version}{there}",
            flush=True,
        )
