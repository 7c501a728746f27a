"""The error tree. Foreign exceptions become one of these where they enter.

CryptocastError                 code, exit_code, retry; message: what, hint: what to type next
├── UsageError        exit 2    usage.*        an option or argument cannot be used
├── ConfigError       exit 2    config.*       a setting is unknown, mistyped, unsafe or impossible
├── StateError        exit 3    state.*        something that must exist does not
├── SourceError       exit 4    source.*       a source of candles failed; nothing was stored
├── StoreError        exit 4    store.*        the database is busy, corrupt or cannot be written
├── RegistryError     exit 4    registry.*     the MLflow store cannot be reached or read
├── ModelError        exit 5    model.*        a model diverged or its bundle is damaged
├── NotifyError       exit 4    notify.*       a receiver did not take an alert
├── FlowsError        exit 4    flows.*        the Prefect server is not there or refuses
├── EngineError       exit 4    engine.*       the cluster is not there, or workers died
└── GateRefused       exit 6    gate.*         a gate said no
"""

from __future__ import annotations

import re
from typing import ClassVar

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?![0-9]+(/|$))")  # host:5000 has none
_HOST = re.compile(r"([A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")
_LIKE_AN_ADDRESS = re.compile(r"[^\s'\"<>()]*(?:://|@|\?\w+=)[^\s'\"<>()]*")
_NAMES_A_SECRET = re.compile(
    r"(?i)(passw(or)?d|pwd|token|secret|api[_-]?key|authorization)['\"]?\s*[=:]|bearer\s"
)
_NOT_SHOWN = "(an address that is not shown)"


def printable(text: str) -> str:
    """Return a text that is safe for a terminal: control characters as escapes (`\\x1b`).

    Texts hold names and values of other people's files. Line ends and tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )


class CryptocastError(Exception):
    """A failure that a person can do something about.

    `code` is stable and dotted (`state.no_production`); `hint` is the command or
    change that mends it; `retry` says whether the same call may succeed later.
    """

    code: str = "error"
    exit_code: ClassVar[int] = 1
    hint: str = ""
    retry: bool = False

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        code: str | None = None,
        retry: bool | None = None,
    ) -> None:
        self.message = printable(message)
        super().__init__(self.message)
        if hint is not None:
            self.hint = printable(hint)
        if code is not None:
            self.code = code
        if retry is not None:
            self.retry = retry


class UsageError(CryptocastError):
    """An option or an argument cannot be used."""

    code = "usage"
    exit_code = 2


class ConfigError(CryptocastError):
    """A setting is unknown, mistyped, unsafe or impossible."""

    code = "config.invalid"
    exit_code = 2


class StateError(CryptocastError):
    """Something that must exist does not: a workspace, candles, a production model."""

    code = "state.missing"
    exit_code = 3


class SourceError(CryptocastError):
    """A source failed: unreachable, quota, bad answer, bad file. Nothing was stored."""

    code = "source.failed"
    exit_code = 4


class StoreError(CryptocastError):
    """The database is busy, corrupt, from another version or cannot be written."""

    code = "store.failed"
    exit_code = 4


class RegistryError(CryptocastError):
    """The MLflow tracking store or registry cannot be reached or read."""

    code = "registry.failed"
    exit_code = 4


class ModelError(CryptocastError):
    """A model diverged, or its bundle is damaged beyond the fallbacks."""

    code = "model.failed"
    exit_code = 5


class NotifyError(CryptocastError):
    """A receiver of alerts could not be reached, or did not take one; no secret is shown."""

    code = "notify.failed"
    exit_code = 4


class FlowsError(CryptocastError):
    """The Prefect server cannot be reached, refuses, or already has what is served here."""

    code = "flows.failed"
    exit_code = 4


class EngineError(CryptocastError):
    """The engine's cluster cannot be reached or is gone, or its workers die or are unfit."""

    code = "engine.failed"
    exit_code = 4


class GateRefused(CryptocastError):
    """A gate said no."""

    code = "gate.refused"
    exit_code = 6


def no_production() -> StateError:
    """Return the error of a command that needs a production model when there is none."""
    return StateError(
        "there is no production model", code="state.no_production", hint="cryptocast init"
    )


def shown_url(url: str) -> str:
    """Return the part of an address that cannot hold a secret: scheme, host, port and path.

    User, password, query and fragment are left out. A password may hold any character, so an
    address that looks odd in any way is not shown at all. A path without a scheme is returned.
    """
    scheme, mark, rest = url.partition("://")
    if not mark:
        odd = _SCHEME.match(url) or any(c in url for c in "@?=;")
        return _NOT_SHOWN if odd else url
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    authority, slash, path = rest.partition("/")
    host = authority.rpartition("@")[2]
    odd = not _SCHEME.fullmatch(scheme + ":") or not _HOST.fullmatch(host)
    odd = odd or any(c in path for c in ("@;\\%=&" if host else ";\\"))
    odd = odd or not url.isprintable() or "@" in url[len(scheme) + 3 + len(rest) :]
    return _NOT_SHOWN if odd else f"{scheme}://{host}{slash}{path}"


def holds_secret(url: str) -> bool:
    """Return whether an address has a part, or a shape, that may hold a secret."""
    return shown_url(url) != url


def without_secrets(text: str) -> str:
    """Return a foreign text with every address in it as `shown_url` shows it.

    If one of them is odd, the rest of the text may be part of it, and nothing is shown; nor is
    a text that gives what is secret by its name.
    """
    if _NAMES_A_SECRET.search(text):
        return _NOT_SHOWN
    cleaned = _LIKE_AN_ADDRESS.sub(lambda found: shown_url(found[0]), text)
    return _NOT_SHOWN if _NOT_SHOWN in cleaned else cleaned
