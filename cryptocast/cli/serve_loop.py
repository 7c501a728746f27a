"""cryptocast serve-loop."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from cryptocast.cli._options import Run
from cryptocast.cli._output import price, print_document, warn

if TYPE_CHECKING:
    from cryptocast.workflows.serving.loop import LoopTick

NAME = "serve-loop"
EXAMPLE = "cryptocast serve-loop --delay 10"


def command(
    run: Run,
    delay: Annotated[
        float | None, typer.Option(min=0, help="Seconds after each close.", show_default=False)
    ] = None,
    max_ticks: Annotated[int | None, typer.Option(min=1, help="Leave after N ticks.")] = None,
    report_every: Annotated[
        float | None,
        typer.Option(min=1, metavar="MINUTES", help="Write the report anew so often."),
    ] = None,
) -> None:
    """Make a tick just after each close, until stopped (Ctrl-C or SIGTERM: exit 0).

    On a terminal one screen is redrawn; elsewhere there is a line a tick, with --json a
    document, then one with the summary. Trouble that lasts is told ever more rarely. With
    --as-of the loop leaps from tick to tick on the virtual clock, so it needs --max-ticks.
    """
    from cryptocast.cli._stopping import stopped_by_signals
    from cryptocast.errors import UsageError
    from cryptocast.values import iso
    from cryptocast.workflows.serve_loop import serve_loop

    if run.as_of is not None and max_ticks is None:
        raise UsageError("serve-loop on a virtual clock would never end", hint="add --max-ticks 12")
    teller = _teller(run)
    ticks = failed = 0

    def end() -> None:
        with _whatever_becomes_of_it():
            teller.end(ticks, failed)

    with stopped_by_signals(end) as stop:
        with run.open() as ws, teller.shown():
            for turn in serve_loop(
                ws,
                stop,
                delay_seconds=delay,
                max_ticks=max_ticks,
                report_every_minutes=report_every,
            ):
                ticks += 1
                failed += turn.error is not None
                with _whatever_becomes_of_it():
                    for text in turn.told:
                        warn(f"{iso(round(turn.at))} {text}")
                    teller.tick(turn)
        end()


class Teller(Protocol):
    """Shows ticks as they come, and then a summary."""

    def shown(self) -> AbstractContextManager[None]:
        """While the loop runs."""

    def tick(self, turn: LoopTick) -> None:
        """A tick is over."""

    def end(self, ticks: int, failed: int) -> None:
        """So is the loop."""


def _teller(run: Run) -> Teller:
    if run.as_json:
        return _Documents()
    if run.quiet:
        return _Silence()
    if not sys.stdout.isatty():
        return _Lines()
    from cryptocast.cli._loop_screen import Screen

    return Screen()


@contextmanager
def _whatever_becomes_of_it() -> Iterator[None]:
    """Where output goes to a full disk the forecasts go on; where its reader left they end."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError:
        pass


class _Silence:
    """Says nothing: warnings are told elsewhere."""

    def shown(self) -> AbstractContextManager[None]:
        return nullcontext()

    def tick(self, turn: LoopTick) -> None:
        pass

    def end(self, ticks: int, failed: int) -> None:
        pass


class _Documents(_Silence):
    """A JSON document a tick, and one with the summary."""

    def tick(self, turn: LoopTick) -> None:
        from cryptocast.values import iso
        from cryptocast.workflows.forecast import documents

        data: dict[str, Any] = {"at": iso(turn.at)}
        if turn.report is not None:
            data |= {"new": turn.report.new, "forecasts": list(documents(turn.report))}
        if turn.error is not None:
            data |= {"error": turn.error.code}
        print_document(NAME, data)

    def end(self, ticks: int, failed: int) -> None:
        print_document(NAME, {"summary": {"ticks": ticks, "failed": failed}})


class _Lines(_Silence):
    """A line a market and tick, where nobody looks at a screen."""

    def tick(self, turn: LoopTick) -> None:
        from cryptocast.values import iso

        if turn.report is None:
            return
        there = "" if turn.report.new else ", there already"
        for f in turn.report.forecasts:
            first = f.quantiles[0]
            told = f"{price(first[0])} .. {price(first[-1])} ({f.levels[-1] - f.levels[0]:.0%})"
            print(
                f"{iso(f.origin)}  {f.market.symbol}  {price(f.last_close)}  next {told}  "
                f"version {f.model.version}{there}",
                flush=True,
            )

    def end(self, ticks: int, failed: int) -> None:
        print(f"stopped after {ticks} ticks, {failed} failed", flush=True)
