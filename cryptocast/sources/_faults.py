"""The errors of the HTTP sources, and how a reply is read to find out what went wrong.

Every text made here may be shown and logged: it holds no key, no query, no control character.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
from dataclasses import dataclass

import requests
import urllib3

from cryptocast.errors import ConfigError, SourceError

_LONGEST_TEXT = 160


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reply that is no 2xx: `said` is its text, cleaned; `body` is its JSON, or None.

    `keyed` says whether the request had a key.
    """

    source: str
    status: int
    said: str
    body: object
    wait_seconds: float = 0.0
    path: str = ""
    keyed: bool = False

    @property
    def per_minute(self) -> bool:
        """True if the reply mentions a limit per minute, which is over soon."""
        return self.status == 429 and "per minute" in self.said.lower()

    def error(self, code: str, what: str, hint: str, *, retry: bool = False) -> SourceError:
        """Return a SourceError that says `what`, the status and the text of the server."""
        said = f": {self.said}" if self.said else ""
        return SourceError(
            f"{self.source} {what} (HTTP {self.status}{said})", code=code, hint=hint, retry=retry
        )

    def limited(self, *, retry: bool = True) -> SourceError:
        """Return the error of calls that came too fast."""
        waits = f" and asks to wait {self.wait_seconds:.0f} s" if self.wait_seconds else ""
        hint = "wait a minute, then run the same command again"
        what = f"limits how often it is asked{waits}"
        return self.error("source.rate_limited", what, hint, retry=retry)

    def banned(self, how_long: str) -> SourceError:
        """Return the error of an address that gets no answer; `how_long` says it in words."""
        hint = f"wait until the ban ends, {or_another(self.source)}"
        return self.error("source.rate_limited", f"has banned this address{how_long}", hint)

    def forbidden(self, hint: str) -> SourceError:
        """Return the error of a server that refuses whatever comes from here."""
        hint = f"{hint}, {or_another(self.source)}"
        return self.error("source.forbidden", "refuses to answer", hint)

    def bad_key(self, hint: str) -> SourceError:
        """Return the error of a key that is not accepted."""
        return self.error("source.bad_key", "does not accept the key", hint)

    def broken(self) -> SourceError:
        """Return the error of a server that is out of order for now."""
        hint = f"run the same command again in some minutes, {or_another(self.source)}"
        return self.error("source.http", "has a fault of its own", hint, retry=True)

    def refused(self, hint: str = "check [source] base_url") -> SourceError:
        """Return the error of a request that the server does not like."""
        return self.error("source.http", "refused the request", hint)

    def unknown_market(self, examples: str = "") -> ConfigError:
        """Return the error of a pair that is not traded there; `examples` are some that are."""
        return ConfigError(
            f"{self.source} does not know this market (HTTP {self.status}: {self.said})",
            code="config.symbol",
            hint="check [market] symbols" + (f": {examples}; and base_url" if examples else ""),
        )

    def general(self) -> SourceError:
        """Return the error of a refusal that has no special wording in this API."""
        status = self.status
        if status == 429:
            return self.limited()
        if status == 401 and self.keyed:
            return self.bad_key("check the key")
        if status in (401, 403, 451):
            return self.forbidden("it may refuse this network or country; check [source] base_url")
        return self.broken() if status >= 500 or status == 408 else self.refused()


def or_another(source: str) -> str:
    """Return the end of a hint: another source to use instead of the one at fault."""
    example = "kraken" if source == "bitvavo" else "bitvavo"
    return f'or take another source: [source] name = "{example}", init --source {example}'


def read_refusal(
    source: str, path: str, status: int, body: bytes, key: str | None, wait_seconds: float
) -> Refusal:
    """Read a refusal, whose text is that of an error in its JSON, or else the plain body."""
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        decoded = None
    said = said_in(decoded)
    if said is None:
        said = body.decode("utf-8", "replace")
        said = "an HTML page" if said.lstrip().startswith("<") else said
    return Refusal(source, status, clean(said, key), decoded, wait_seconds, path, key is not None)


def said_in(decoded: object) -> str | None:
    """Return the text in `error`, `message`, `detail` or `msg` of decoded JSON, or None."""
    if not isinstance(decoded, dict):
        return None
    texts = [decoded.get(name) for name in ("error", "message", "detail", "msg")]
    return next((text for text in texts if isinstance(text, str)), None)


def timed_out(source: str, path: str, what: str) -> SourceError:
    """Return the error of a reply that did not come, or did not end, in time."""
    return SourceError(
        f"{source} {what} (GET {path})",
        code="source.timeout",
        hint=f"run the same command again, {or_another(source)}",
        retry=True,
    )


def out_of_time(source: str, path: str) -> SourceError:
    """Return the error of a call that was not made because its time was over."""
    return SourceError(
        f"there is no time left to ask {source} (GET {path})",
        code="source.timeout",
        hint="run the same command again",
        retry=True,
    )


def unreachable(source: str, host: str, fault: BaseException) -> SourceError:
    """Return the error of a failed connection, with only the bare reason of `fault`."""
    return SourceError(
        f"{source} cannot be reached at {host}: {_reason(fault)}",
        code="source.unreachable",
        hint=f"check the network and [source] base_url, {or_another(source)}",
        retry=not isinstance(fault, ValueError | requests.exceptions.SSLError),
    )


def never_sent(fault: BaseException) -> bool:
    """Return whether no connection was made at all, so that nobody can charge for the call."""
    unsent = urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError
    return any(isinstance(link, unsent) for link in _chain(fault))


def bad_answer(source: str, path: str, content: str) -> SourceError:
    """Return the error of a reply that is not what was requested; `content` says what it is."""
    return SourceError(
        f"{source} answered {content} (GET {path})",
        code="source.bad_answer",
        hint="check [source] base_url; if it is right, the API has changed: take another source",
    )


def describe(body: bytes) -> str:
    """Say what a body is that is not JSON."""
    start = body.lstrip()[:1]
    if not start:
        return "with nothing"
    if start == b"<":
        return "with an HTML page instead of JSON"
    return "with broken JSON" if start in b'{["' else "with plain text instead of JSON"


def kind(value: object) -> str:
    """Return the type of a decoded JSON value in a word for people."""
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def clean(text: str, key: str | None = None) -> str:
    """Return a foreign text as one line of plain characters, shortened and without the key."""
    if key:
        text = text.replace(key, "***")
    text = " ".join(re.sub(r"[^\x20-\x7e]+", " ", text).split())
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 3] + "..."


def _reason(fault: BaseException) -> str:
    """Return the innermost reason of a chain of exceptions."""
    for link in _chain(fault):
        if isinstance(link, socket.gaierror | urllib3.exceptions.NameResolutionError):
            return "its name cannot be resolved"
        if isinstance(link, ssl.SSLError):
            return "its certificate or TLS is not accepted"
        if isinstance(link, urllib3.exceptions.IncompleteRead):
            return "the answer broke off"
        if isinstance(link, ValueError):
            return "that is no address"
    system = [link for link in _chain(fault) if isinstance(link, OSError) and link.strerror]
    if system:
        return str(system[-1].strerror).lower()
    return "the connection was lost"


def _chain(fault: BaseException) -> list[BaseException]:
    """Return an exception with all exceptions that it wraps, outermost first."""
    links: list[BaseException] = []
    queue: list[object] = [fault]
    while queue:
        link = queue.pop(0)
        if isinstance(link, BaseException) and link not in links:
            links.append(link)
            queue += [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]
    return links
