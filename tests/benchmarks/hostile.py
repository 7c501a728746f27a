"""Hostile files, names, settings and servers through the real commands: `make soak` runs it.

Each case is drawn from the seed and its number, and runs in a forked process of its own that a
watchdog ends. Prints each finding with what repeats it, and a table. Exits 1 on a finding.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import cryptocast  # first: it keeps every library from reporting home
from cryptocast import cli

HANG_SECONDS = 240
"""No case ends later than this, on a busy machine either: the longest wait is that of a tick."""

MOST_MEBIBYTES = 3000
CODES = {0, 2, 3, 4, 5, 6}
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
KINDS = ("tracebacks", "wrong rows", "hangs", "secrets", "escapes", "strays", "refusals", "memory")
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
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def families() -> dict[str, tuple[float, Callable[[Case], None]]]:
    """Return all kinds of cases with their weights."""
    import hostile_files
    import hostile_servers
    import hostile_settings

    return {
        "files": (6, hostile_files.files),
        "settings": (2, hostile_settings.settings),
        "names": (2, hostile_settings.names),
        "secrets": (2, hostile_settings.secrets),
        "servers": (3, hostile_servers.servers),
    }


def drawn(seed: int, number: int, only: str | None) -> tuple[str, random.Random]:
    """Return the kind of a case and what it draws from."""
    draw = random.Random(f"{seed}:{number}")
    weights = {name: weight for name, (weight, _) in families().items()}
    kind = draw.choices(list(weights), list(weights.values()))[0]
    return only or kind, draw


def child(kind: str, draw: random.Random, folder: Path, loud: bool) -> None:
    """Run a case in this process, which has just been forked, and leave its verdict beside."""
    os.setsid()
    home = folder / "home"
    home.mkdir()
    for name in [
        n for n in os.environ if n.startswith(("CRYPTOCAST_", "MLFLOW_TRACKING", "COINCAP"))
    ]:
        del os.environ[name]
    os.environ |= {"HOME": str(home), "COLUMNS": "100"}
    place = folder / "place"
    place.mkdir()
    os.chdir(place)
    case = Case(draw, place, loud)
    try:
        families()[kind][1](case)
    except BaseException:
        case.found("tracebacks", f"of the case itself: {traceback.format_exc()}")
    strays = [str(p.relative_to(home)) for p in home.rglob("*") if p.is_file()]
    if strays:
        case.found("strays", f"in the home folder: {strays}")
    verdict = {"findings": case.findings, "notes": case.notes}
    (folder / "verdict").write_text(json.dumps(verdict), encoding="utf-8")


def one(seed: int, number: int, only: str | None, loud: bool) -> Iterator[tuple[str, str]]:
    """Run a case in a process of its own, and yield its findings."""
    kind, draw = drawn(seed, number, only)
    folder = Path(tempfile.mkdtemp(prefix="hostile-"))
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            child(kind, draw, folder, loud)
        os._exit(0)
    until = time.monotonic() + HANG_SECONDS
    while (ended := os.wait4(pid, os.WNOHANG))[0] == 0 and time.monotonic() < until:
        time.sleep(0.005)
    if ended[0] == 0:
        os.killpg(pid, signal.SIGKILL)
        ended = os.wait4(pid, 0)
        yield "hangs", f"{kind} not ended within {HANG_SECONDS} s"
    elif not (folder / "verdict").exists():
        yield "tracebacks", f"{kind} died: {os.waitstatus_to_exitcode(ended[1])}"
    else:
        verdict = json.loads((folder / "verdict").read_text(encoding="utf-8"))
        for what, words in verdict["findings"]:
            yield what, f"{kind} {verdict['notes']}: {words}"
    mebibytes = ended[2].ru_maxrss / 1024
    if mebibytes > MOST_MEBIBYTES:
        yield "memory", f"{kind}: {mebibytes:.0f} MiB"
    if loud:
        print(f"kept: {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def load() -> None:
    """Import what the commands need once, before all forks, without starting a thread."""
    import hostile_servers  # noqa: F401
    import onnxruntime  # noqa: F401
    import pyarrow.feather
    import pyarrow.parquet

    with warnings.catch_warnings(action="ignore"):
        sys.modules["polars"] = None  # type: ignore[assignment]  # it would start threads
        import mlflow.pyfunc
        import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

        del sys.modules["polars"]
    import cryptocast.sources.file
    import cryptocast.workflows.doctor
    import cryptocast.workflows.fetch
    import cryptocast.workflows.forecast  # noqa: F401


def main() -> int:
    """Run cases until the time is over and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--cases", type=int, default=10**9, help="no more than these")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="only this one, aloud; its folder is kept")
    parser.add_argument("--kind", choices=list(families()), help="only cases of this kind")
    options = parser.parse_args()
    load()
    gc.freeze()  # no collection in a fork is to walk, and so copy, all that was loaded
    started, counted, number = time.monotonic(), Counter[str](), 0
    first, cases = (0, options.cases) if options.case is None else (options.case, 1)
    while number < cases and time.monotonic() - started < options.seconds:
        at = first + number
        for kind, words in one(options.seed, at, options.kind, options.case is not None):
            counted[kind] += 1
            repeat = f"--seed {options.seed} --case {at}"
            repeat += f" --kind {options.kind}" if options.kind else ""
            print(f"BAD  {kind}: {repeat}: {words}", flush=True)
        number += 1
    print(f"cases: {number} in {time.monotonic() - started:.0f} s")
    for kind in KINDS:
        print(f"{'BAD ' if counted[kind] else 'ok  '} {kind}: {counted[kind]}")
    return 1 if counted else 0


assert cryptocast.__version__

if __name__ == "__main__":
    sys.exit(main())
