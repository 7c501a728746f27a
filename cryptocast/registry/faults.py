"""Translate the exceptions of MLflow, its database, its server and the disk."""

from __future__ import annotations

import re
from pathlib import Path

import mlflow

from cryptocast.errors import RegistryError

_CHECK_ADDRESS = "check MLFLOW_TRACKING_URI or [mlflow] tracking_uri"
_FREE_SPACE = "free some space; nothing was registered, and what serves goes on"

# The text of the exception (its class does not say enough) -> our code, words, hint, retry.
_TRANSLATIONS = (
    (
        r"No space left on device|File too large|[Qq]uota exceeded|disk is full",
        "registry.full",
        "cannot grow: the disk is full",
        _FREE_SPACE,
        False,
    ),
    (
        r"disk I/O error",
        "registry.full",
        "cannot be written: the disk is full or failing",
        _FREE_SPACE,
        False,
    ),
    (
        r"error code 40[13]\b|PERMISSION_DENIED|UNAUTHENTICATED",
        "registry.refused",
        "refuses us",
        "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
        False,
    ),
    (
        r"Max retries exceeded|Connection refused|Connection aborted|[Tt]imed? ?out",
        "registry.unreachable",
        "cannot be reached",
        f"see that the server runs, and {_CHECK_ADDRESS}",
        True,
    ),
    (
        r"database is locked",
        "registry.busy",
        "is in use by another process",
        "try again when it is done",
        True,
    ),
    (
        r"not a database|malformed|no such table|no such column|file is encrypted",
        "registry.damaged",
        "is damaged, or is no store of MLflow",
        "restore a copy of it; what serves is frozen in bundles and goes on",
        False,
    ),
    (
        r"unable to open database|readonly database|Permission denied|Read-only file system|"
        r"Is a directory|not permitted",
        "registry.unwritable",
        "cannot be opened and written",
        "check that the folder exists and that you may write in it",
        False,
    ),
)


def translate(error: Exception, uri: str) -> RegistryError:
    """Return the RegistryError for an exception; it names the URI without any credentials."""
    where = f"the MLflow store {without_credentials(uri)}"
    text = str(error).strip()
    if schema := re.search(
        r"out-of-date database schema \(found version (\w+)|Can't locate revision .*'(\w+)'", text
    ):
        return _other_schema(where, schema[1] or schema[2])
    for pattern, code, words, hint, retry in _TRANSLATIONS:
        if re.search(pattern, text):
            return RegistryError(f"{where} {words}", code=code, hint=hint, retry=retry)
    first = without_credentials(text.partition("\n")[0])[:200]
    return RegistryError(f"{where} failed: {first}", hint=_CHECK_ADDRESS, retry=True)


def without_credentials(text: str) -> str:
    """Return the text without the user and password of any URI in it."""
    text = re.sub(r"://[^/\s][^@\s]*@", "://", text)
    return re.sub(r"(?i)([?&](password|passwd|token|secret|key)=)[^&\s]*", r"\1...", text)


def _other_schema(where: str, schema: str) -> RegistryError:
    """Return the error for a schema of an older MLflow, whose migrations we know, or a newer."""
    ours = f"MLflow {mlflow.__version__}"
    migrations = Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions"
    if any(migrations.glob(f"{schema}_*.py")):
        return RegistryError(
            f"{where} has the schema {schema}, older than that of {ours}",
            code="registry.older",
            hint="keep a copy of it, then: mlflow db upgrade URI",
        )
    return RegistryError(
        f"{where} has the schema {schema}, which {ours} does not know: it is from a newer one",
        code="registry.newer",
        hint="upgrade MLflow: pip install --upgrade mlflow",
    )
