"""Alerts as JSON, by POST to a URL of yours.

Not by requests: its connections log the URL's path, which is the secret of most webhooks.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
import urllib.error
import urllib.request
from urllib.parse import SplitResult, unquote, urlsplit

from cryptocast.errors import ConfigError, NotifyError
from cryptocast.notify._receiver import Receiver
from cryptocast.values import Alert, iso

NEEDS_URL = True

_LOOPBACK = re.compile(r"(localhost|127\.[\d.]+|::1)$")


class Notifier:
    """One POST an alert; any answer 2xx means that it was taken."""

    def __init__(self, receiver: Receiver) -> None:
        try:
            parts = urlsplit(receiver.url)
            sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
            sound = sound and receiver.url.isprintable() and " " not in receiver.url
        except ValueError:
            sound = False
        if not sound:
            raise ConfigError(
                f"what {receiver.place} holds is not an http:// or https:// URL",
                code="config.notify",
                hint="look at that variable, or at .env",
            )
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": "cryptocast",
        } | _authorization(parts)
        self._url = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
        self._handlers = _handlers(parts)
        self._timeout_seconds = receiver.timeout_seconds

    def send(self, alert: Alert) -> None:
        """POST it. Raises NotifyError; redirections are not followed."""
        body = {
            "at": iso(round(alert.at)),
            "kind": alert.kind,
            "state": alert.state,
            "title": alert.title,
            "text": alert.text,
            "workspace": alert.workspace,
            "markets": list(alert.markets),
        }
        request = urllib.request.Request(  # noqa: S310 - the scheme was looked at above
            self._url, json.dumps(body).encode(), self._headers, method="POST"
        )
        opener = urllib.request.build_opener(*self._handlers)
        try:
            # The answer's body says nothing that is needed, and may never end.
            opener.open(request, timeout=self._timeout_seconds).close()
        except urllib.error.HTTPError as error:
            error.close()
            raise NotifyError(f"it answered HTTP {error.code}", code="notify.refused") from None
        except TimeoutError:
            raise self._too_slow() from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise self._too_slow() from None
            raise _unreachable(error.reason) from None
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(error) from None

    def _too_slow(self) -> NotifyError:
        told = f"no answer within {self._timeout_seconds:g} s"
        return NotifyError(told, code="notify.timeout")


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    """A POST that is sent on becomes a GET without its body: that is no delivery."""

    def redirect_request(self, *_: object) -> None:
        """Leave the answer as it is: an HTTPError."""


def _authorization(parts: SplitResult) -> dict[str, str]:
    """The header of the user and password that may stand in a URL."""
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _handlers(parts: SplitResult) -> list[urllib.request.BaseHandler]:
    handlers: list[urllib.request.BaseHandler] = [_NoRedirection()]
    if parts.scheme == "https":
        handlers.append(urllib.request.HTTPSHandler(context=_trust()))
    if _LOOPBACK.match(parts.hostname or ""):
        # A proxy from the environment never serves this machine itself.
        handlers.append(urllib.request.ProxyHandler({}))
    return handlers


def _trust() -> ssl.SSLContext:
    """The machine's certificates, and those that come with requests."""
    from requests.utils import DEFAULT_CA_BUNDLE_PATH  # late: requests is a tenth of a second

    context = ssl.create_default_context()
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    return context


def _unreachable(cause: object) -> NotifyError:
    """Why, by the kind of the fault alone: its text may hold the URL."""
    told = f"it cannot be reached ({type(cause).__name__})"
    return NotifyError(told, code="notify.unreachable")
