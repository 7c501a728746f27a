"""Alerts as JSON, sent by POST to a URL of the user.

The library requests is not used, because its connections log the path of the URL, which is the
secret of most webhooks.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
import urllib.error
import urllib.request
from dataclasses import replace
from urllib.parse import SplitResult, unquote, urlsplit

from cryptocast.documents import document
from cryptocast.errors import ConfigError, NotifyError
from cryptocast.notify import Receiver
from cryptocast.values import Alert
from cryptocast.wire import limit_replies

NEEDS_URL = True

limit_replies()
_LOOPBACK = re.compile(r"(localhost|127\.[\d.]+|::1)$")


class Notifier:
    """Sends one POST per alert; any 2xx reply means that the alert was taken."""

    def __init__(self, receiver: Receiver) -> None:
        try:
            parts = urlsplit(receiver.url)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
            valid = valid and receiver.url.isprintable() and " " not in receiver.url
        except ValueError:
            valid = False
        if not valid:
            raise ConfigError(
                f"{receiver.place} does not hold an http:// or https:// URL",
                code="config.notify",
                hint="check that variable, or .env",
            )
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": "cryptocast",
        } | _authorization(parts)
        self._url = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
        self._handlers = _handlers(parts)
        self._timeout_seconds = receiver.timeout_seconds

    def send(self, alert: Alert) -> None:
        """Post the alert. Raise NotifyError if it was not taken; redirections are not followed."""
        body = document(replace(alert, at=round(alert.at)), times=("at",))
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked above
            self._url, json.dumps(body).encode(), self._headers, method="POST"
        )
        opener = urllib.request.build_opener(*self._handlers)
        try:
            # The body of the reply holds nothing that is needed, and may never end.
            opener.open(request, timeout=self._timeout_seconds).close()
        except urllib.error.HTTPError as error:
            error.close()
            raise NotifyError(f"it answered HTTP {error.code}", code="notify.refused") from None
        except (OSError, http.client.HTTPException) as error:
            cause = error.reason if isinstance(error, urllib.error.URLError) else error
            if isinstance(cause, TimeoutError):
                raise NotifyError(
                    f"no answer within {self._timeout_seconds:g} s", code="notify.timeout"
                ) from None
            # Only the kind of the fault is named: its text may hold the URL.
            raise NotifyError(
                f"it cannot be reached ({type(cause).__name__})", code="notify.unreachable"
            ) from None


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: a redirected POST would become a GET without its body."""

    def redirect_request(self, *_: object) -> None:
        """Leave the reply as it is, which becomes an HTTPError."""


def _authorization(parts: SplitResult) -> dict[str, str]:
    """Return the header for the user and password in the URL, if it has any."""
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _handlers(parts: SplitResult) -> list[urllib.request.BaseHandler]:
    handlers: list[urllib.request.BaseHandler] = [_NoRedirection()]
    if parts.scheme == "https":
        handlers.append(urllib.request.HTTPSHandler(context=_trust()))
    if _LOOPBACK.match(parts.hostname or ""):
        # A proxy from the environment cannot reach this machine itself.
        handlers.append(urllib.request.ProxyHandler({}))
    return handlers


def _trust() -> ssl.SSLContext:
    """Return a context that trusts the certificates of the machine and those of requests."""
    from requests.utils import DEFAULT_CA_BUNDLE_PATH  # late: requests is slow to load

    context = ssl.create_default_context()
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    return context
