"""A case: what it draws from, where it runs, the commands it types, and the truth it knows."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import shutil
import sys
import tempfile
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from cryptocast import cli

CODES = {0, 2, 3, 4, 5, 6}
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
AS_OF = "2027-01-01T00:00:00Z"

Row = tuple[float, float, float, float, float]


@dataclass
class Case:
    """What a case draws from, where it runs, and what was found."""

    draw: random.Random
    folder: Path  # empty at first
    loud: bool = False
    secrets: tuple[str, ...] = ()
    findings: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what was drawn, to understand a finding

    def chance(self, share: float) -> bool:
        """Return whether something of that probability is the case."""
        return self.draw.random() < share

    def found(self, kind: str, words: str) -> None:
        """Record a finding."""
        self.findings.append((kind, " ".join(words.split())[-600:]))

    def run(self, *arguments: str | Path) -> int:
        """Run a command in this process, and look at what it says; returns its exit code."""
        out, err = io.StringIO(), io.StringIO()
        words = [str(argument) for argument in arguments]
        code = 1
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = cli.run(words)
            except BaseException:
                traceback.print_exc(file=err)
        said = out.getvalue() + err.getvalue()
        if self.loud:
            print("$ cryptocast", *map(repr, words), f"-> {code}\n{said}", file=sys.stderr)
        odd = ("Warning: ",) if "--verbose" in words else ("Warning: ", "Traceback (most recent")
        if code not in CODES or any(word in err.getvalue() for word in odd):
            self.found("tracebacks", f"{words} ended with {code}: {said}")
        if CONTROLS.search(said):
            self.found("escapes", repr(said))
        if "--json" in words and code == 0 and not _is_json(out.getvalue()):
            self.found("tracebacks", f"{words} wrote no JSON: {out.getvalue()!r}")
        self.look_for_secrets(said)
        return code

    def look_for_secrets(self, said: str) -> None:
        """Record those that a text tells."""
        at = next((said.index(secret) for secret in self.secrets if secret in said), None)
        if at is not None:
            self.found("secrets", said[max(0, at - 300) : at + 100])


@dataclass
class Truth:
    """What a source really holds: for each open time the rows that may be taken."""

    rows: dict[int, list[Row]]
    needed: set[int] = field(default_factory=set)  # there where the command succeeds
    readable: bool = False  # it must not be refused
    loose: bool = False  # damage that nobody can see, as flipped digits
    tolerance: float = 1e-9
    also: float | None = None  # a figure that may stand in any place


def judge(case: Case, workspace: Path, market: str, truth: Truth, code: int) -> None:
    """Compare what is stored with the truth."""
    stored = stored_rows(workspace, market)
    if code != 0:
        if stored:
            case.found("wrong rows", f"exit {code}, but {len(stored)} rows are stored")
        if truth.readable:
            case.found("refusals", f"exit {code} for what can be read")
        return
    wrong = [t for t, row in stored.items() if not _is_true(row, truth.rows.get(t, []), truth)]
    missing = sorted(truth.needed - stored.keys())
    if truth.loose:
        return
    if wrong:
        told = f"at {wrong[0]}: {stored[wrong[0]]}, not {truth.rows.get(wrong[0])}"
        case.found("wrong rows", f"{len(wrong)} of {len(stored)}, {told}")
    if missing:
        case.found("wrong rows", f"{len(missing)} of {len(truth.needed)} missing: {missing[:3]}")


def stored_rows(workspace: Path, market: str) -> dict[int, Row]:
    """Return the candles in a workspace's database; none where there is no database."""
    import duckdb  # late: not before the fork

    file = workspace / "cryptocast.duckdb"
    if not os.path.lexists(file):
        return {}
    sql = "SELECT epoch(open_time)::BIGINT, open, high, low, close, volume FROM candles"
    copy = Path(tempfile.mkdtemp()) / "copy.duckdb"  # whose name DuckDB understands
    shutil.copy(file, copy)
    with duckdb.connect(str(copy), read_only=True) as connection:
        rows = connection.execute(f"{sql} WHERE market = ?", [market]).fetchall()
    shutil.rmtree(copy.parent)
    return {t: (o, h, low, c, float("nan") if v is None else v) for t, o, h, low, c, v in rows}


def _is_true(row: Row, allowed: list[Row], truth: Truth) -> bool:
    def near(a: float, b: float) -> bool:
        return a == truth.also or abs(a - b) <= truth.tolerance * max(abs(a), abs(b))

    return any(
        all(near(a, b) for a, b in zip(row[:4], one[:4], strict=True))
        and (row[4] != row[4] or one[4] != one[4] or near(row[4], one[4]))
        for one in allowed
    )


def _is_json(text: str) -> bool:
    """Return whether a text is a document, or one a line."""
    try:
        return all(isinstance(json.loads(line), dict) for line in text.splitlines() or [""])
    except ValueError:
        return False
