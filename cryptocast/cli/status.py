"""cryptocast status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from cryptocast.workflows.status import StatusReport

NAME = "status"
EXAMPLE = "cryptocast status"
_SHOWN_GAPS = 3


def command(run: Run) -> Answer:
    """Show production, candles, the newest forecast and the next tick on one screen."""
    from cryptocast.cli._shared import gaps_data
    from cryptocast.cli.forecast import show_set
    from cryptocast.values import iso
    from cryptocast.workflows.status import status

    with run.open() as ws:
        report = status(ws)
        monthly = ws.settings.source.monthly_credits
    production = report.production
    data: dict[str, Any] = {
        "now": iso(report.now),
        "next_tick": iso(report.next_tick),
        "production": None
        if production is None
        else {
            "version": production.model_version,
            "previous": production.previous_version,
            "at": iso(production.at),
            "action": production.action,
            "reason": production.reason,
        },
        "markets": [
            {
                "market": m.market,
                "rows": m.rows,
                "first": None if m.first is None else iso(m.first),
                "last": None if m.last is None else iso(m.last),
                "behind_bars": m.behind_bars,
                "gaps": gaps_data(m.gaps),
                "confirmed": m.confirmed,
                "provenances": dict(m.provenances),
                "forecast_origin": None if m.forecast is None else iso(m.forecast.origin),
                "fallback": None if m.forecast is None else m.forecast.model.fallback,
                "last_tick": None
                if m.tick is None
                else {
                    "origin": iso(m.tick.origin),
                    "status": m.tick.status,
                    "error_code": m.tick.error_code,
                    "detail": m.tick.detail,
                },
            }
            for m in report.markets
        ],
        "credits": {
            source: {"calls": spent.calls, "credits": spent.credits, "monthly": monthly}
            for source, spent in report.credits.items()
        },
    }

    def show(console: Console) -> None:
        if production is None:
            console.print("No production model yet: cryptocast init")
        else:
            console.print(
                f"Production: version {production.model_version}, since {iso(int(production.at))} "
                f"({production.action}: {production.reason})"
            )
        rows = [
            [
                m["market"],
                f"{m['rows']:,}",
                "-" if m["last"] is None else m["last"][:16] + "Z",
                "-" if m["behind_bars"] is None else str(m["behind_bars"]),
                str(sum(g["bars"] for g in m["gaps"])),
                "-" if m["last_tick"] is None else m["last_tick"]["status"],
            ]
            for m in data["markets"]
        ]
        columns = ("market", "candles", "newest", "behind", "missing", "tick")
        console.print(table(f"At {iso(int(report.now))}", columns, rows))
        for line in _notes(report, monthly):
            console.print(line, markup=False)
        for market in report.markets:
            if market.forecast is not None:
                show_set(console, market.forecast)
        console.print(f"Next tick: {iso(report.next_tick)}")

    return Answer(data, show)


def _notes(report: StatusReport, monthly_credits: int) -> Iterator[str]:
    """Gaps, derived candles and credits, a line each."""
    from cryptocast.cli._shared import counted
    from cryptocast.values import iso

    for m in report.markets:
        if m.gaps:
            shown = [
                f"{iso(g.start)[:16]}Z ({counted(g.bars, 'bar')})" for g in m.gaps[-_SHOWN_GAPS:]
            ]
            before = len(m.gaps) - len(shown)
            earlier = f"{counted(before, 'earlier gap')}, " if before else ""
            yield f"Missing of {m.market}: {earlier}{', '.join(shown)}; {m.confirmed} confirmed"
        if derived := m.provenances.get("derived"):
            yield f"{m.market}: {counted(derived, 'candle')} derived from two series, not traded so"
    for source, spent in report.credits.items():
        yield f"{source}: {spent.credits:,} of {monthly_credits:,} credits this month"
