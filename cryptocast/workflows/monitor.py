"""monitor: are the forecasts any good now, and still as good as promised?"""

from __future__ import annotations

from cryptocast.workflows.watching.verdicts import MonitorReport, keep, look
from cryptocast.workspace import Workspace


def monitor(ws: Workspace, *, window: str | None = None) -> MonitorReport:
    """Compare forecasts with outcomes, and keep the verdict as an event.

    Raises UsageError for a window that does not exist.
    """
    report = look(ws, window=window)
    keep(ws, report)
    return report
