"""Databases on servers, as MLflow and Optuna use them: what their drivers say, in our words."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerFault:
    """A refusal of a database server: the last part of our code, words, hint, and retry."""

    code: str
    words: str
    hint: str
    retry: bool = False


_EXTRA = "pip install 'cryptocast[postgres]'"
_RUNS = "see that the server runs, and {check}"

# The text of the driver (its classes do not say enough) -> what it means.
_FAULTS = (
    (
        r"No module named 'psycopg2?'|no pq wrapper available",
        ServerFault("driver", "needs a driver that is not installed", _EXTRA),
    ),
    (
        r"No module named '\w+'",
        ServerFault("driver", "needs a driver that is not installed", "install it, or {check}"),
    ),
    (
        r"Can't load plugin: sqlalchemy|unsupported URI",
        ServerFault("driver", "is of no kind that is known", "write postgresql://, or {check}"),
    ),
    (
        r"permission denied|authentication failed|no password supplied|no pg_hba\.conf entry|"
        r"not permitted to log in",
        ServerFault("refused", "refuses us", "see that its user may make tables, and {check}"),
    ),
    (
        r'database "[^"]*" does not exist',
        ServerFault("refused", "is not on that server", "createdb makes it, or {check}"),
    ),
    (
        r"failed to resolve host|could not translate host|[Cc]onnection refused|timeout expired|"
        r"closed the connection|terminating connection|starting up|shutting down|too many clients|"
        r"remaining connection slots",
        ServerFault("unreachable", "cannot be reached", _RUNS, retry=True),
    ),
    (
        r"already exists",
        ServerFault("busy", "is being made by another process", "try again when it is done", True),
    ),
)


def server_fault(text: str, check: str) -> ServerFault | None:
    """Return what a driver's text means, or None if it is nothing of a server.

    `check` ends the hint with the setting to look at.
    """
    for pattern, fault in _FAULTS:
        if re.search(pattern, text):
            hint = fault.hint.format(check=check)
            return ServerFault(fault.code, fault.words, hint, fault.retry)
    return None
