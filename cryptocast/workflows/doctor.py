"""doctor: is the installation sound? Each check is one line, with what to do if it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cryptocast.errors import CryptocastError
from cryptocast.notify import open_notifier
from cryptocast.values import OK, Check
from cryptocast.workflows.keeping import checks
from cryptocast.workflows.keeping.answers import sources
from cryptocast.workflows.watching import alerts, ticking
from cryptocast.workspace import Workspace


def doctor(ws: Workspace) -> list[Check]:
    """Check everything that a forecast needs; an error becomes a failed check.

    Each source in use is asked for its markets (a credit each if calls cost), which also lifts a
    block after an earlier refusal for want of credits.
    """
    results: list[Check] = []
    parts: tuple[tuple[str, Callable[[], Iterator[Check]]], ...] = (
        ("workspace", lambda: checks.folders(ws.folder)),
        ("secrets", lambda: checks.secrets_file(ws.folder)),
        ("plug-ins", checks.plug_ins),
        ("disk", lambda: checks.disk(ws.folder)),
        ("store", lambda: checks.database(ws.store)),
        ("source", lambda: sources(ws)),
        ("candles", lambda: checks.stored_candles(ws.store, ws.settings, ws.clock.now())),
        ("mlflow", lambda: checks.aliases(ws.registry(), ws.store, ws.markets())),
        ("production", lambda: checks.bundles(ws.folder / "bundles", ws.store, ws.settings)),
        ("schedule", lambda: ticking.checks(ws)),
        ("receivers", lambda: _receivers(ws)),
    )
    for done, (name, part) in enumerate(parts):
        ws.progress.advance(done, len(parts), name)
        try:
            results += part()
        except CryptocastError as error:
            results.append(checks.failure(name, error))
    ws.progress.advance(len(parts), len(parts), f"{len(results)} checks")
    return results


def _receivers(ws: Workspace) -> Iterator[Check]:
    """Check that each receiver of alerts is set up; nothing is sent (`notify --test` does)."""
    timeout_seconds = ws.settings.notify.timeout_seconds
    for name, receiver in alerts.receivers_by_name(ws.settings.notify).items():
        try:
            open_notifier(receiver, ws.secrets, folder=ws.folder, timeout_seconds=timeout_seconds)
        except CryptocastError as error:
            yield checks.failure(f"receiver {name}", error)
        else:
            yield Check(f"receiver {name}", OK, "is set up (cryptocast notify --test tries it)")
