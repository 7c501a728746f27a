"""Receivers of alerts: each public module here is one kind, named after its file."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from cryptocast import plugins
from cryptocast.config import ReceiverSettings, Secrets
from cryptocast.errors import ConfigError
from cryptocast.notify._delivery import Outcome, Parcel, Receiver, deliver
from cryptocast.seams import Notifier

__all__ = ["PACKAGE", "Outcome", "Parcel", "deliver", "open_notifier"]

PACKAGE = "cryptocast.notify"
_FILE = Path("logs") / "alerts.log"


def open_notifier(
    settings: ReceiverSettings, secrets: Secrets, *, folder: Path, timeout_seconds: float
) -> Notifier:
    """Open the receiver that a `[[notify.receiver]]` describes; nothing is sent yet.

    `folder` is the folder of the workspace. Raise ConfigError if no kind has that name, if a
    setting that it needs is missing (`config.notify`), or if the variable of its URL is not set
    (`config.secret`).
    """
    module = plugins.load(PACKAGE, settings.name, what="receiver")
    url = ""
    if settings.url is not None:
        url = secrets.resolve(settings.url) or ""
        if not url:
            variable = settings.url.removeprefix("env:")
            raise ConfigError(
                f"notify.receiver.url names {settings.url}, which is not set",
                code="config.secret",
                hint=f"export {variable}=... or put it into .env",
            )
    elif module.NEEDS_URL:
        raise ConfigError(
            f"the receiver '{settings.name}' has no url",
            code="config.notify",
            hint=f'write url = "env:{settings.name.upper()}_URL" below [[notify.receiver]], '
            "and the URL itself into .env",
        )
    file = folder / (settings.path or _FILE)
    return cast(Notifier, module.Notifier(Receiver(url, settings.url, file, timeout_seconds)))
