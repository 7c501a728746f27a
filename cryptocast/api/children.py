"""Answers of commands that load much: each is asked in a process of its own, at low priority."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from cryptocast.errors import CryptocastError, RegistryError, StateError, StoreError, UsageError
from cryptocast.values import iso
from cryptocast.workspace import Workspace

_PATIENCE_SECONDS = 120.0
_NICE = 10
_KINDS = {2: UsageError, 3: StateError, 4: RegistryError}  # by exit code


def told(ws: Workspace, *words: str) -> Any:
    """Return `data` of the document that a command prints. Raises what the command raised."""
    with ws.store.read():
        pass  # a child would make a database that is missing
    command = [sys.executable, "-m", "cryptocast", *words, "-w", str(ws.folder), "--json"]
    if ws.clock.virtual:
        command += ["--as-of", iso(ws.clock.now())]
    child = subprocess.Popen(  # noqa: S603 - our own program
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **ws.secrets.environ},
    )
    with suppress(OSError, AttributeError):  # no priorities on Windows
        os.setpriority(os.PRIO_PROCESS, child.pid, _NICE)
    try:
        out, talk = child.communicate(timeout=_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        raise StoreError(f"{words[0]} takes too long", code="api.slow", retry=True) from None
    finally:
        child.kill()
    if child.returncode == 0:
        return json.loads(out)["data"]
    raise _error(words[0], child.returncode, talk)


def page(ws: Workspace, days: int) -> bytes:
    """Return the HTML page that `cryptocast report` makes of the last days."""
    with tempfile.TemporaryDirectory(prefix="cryptocast-api-") as folder:
        file = Path(folder) / "report.html"
        told(ws, "report", "--out", str(file), "--days", str(days))
        return file.read_bytes()


def _error(word: str, code: int, talk: str) -> CryptocastError:
    """Return the error that a command ended with, by its last line."""
    try:
        error = json.loads(talk.splitlines()[-1])["error"]
        kind = _KINDS.get(code, CryptocastError)
        if error["code"].startswith("store."):
            kind = StoreError
        return kind(error["message"], code=error["code"], hint=error["hint"])
    except (ValueError, LookupError, TypeError):
        return CryptocastError(f"{word} failed", code="api.failed")
