"""Hostile files, names, settings, servers and requests, to the real program: `make soak` runs it.

Each case is drawn from the seed and its number, and runs in a forked process of its own that a
watchdog ends. Prints each finding with what repeats it, and a table. Exits 1 on a finding.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # for `support`

from cases import Case

import cryptocast  # noqa: F401 - first: it keeps every library from reporting home

HANG_SECONDS = 240
"""No case ends later than this, on a busy machine either: the longest wait is that of a tick."""

MOST_MEBIBYTES = 3000
KINDS = ("tracebacks", "wrong rows", "hangs", "secrets", "escapes", "strays", "refusals", "memory")


def families() -> dict[str, tuple[float, Callable[[Case], None]]]:
    """Return all kinds of cases with their weights."""
    import doors
    import files
    import leaks
    import servers
    import settings

    return {
        "files": (6, files.files),
        "settings": (2, settings.settings),
        "names": (2, settings.names),
        "secrets": (2, leaks.secrets),
        "servers": (3, servers.servers),
        "doors": (2, doors.doors),
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
    import onnxruntime  # noqa: F401
    import servers  # noqa: F401

    with warnings.catch_warnings(action="ignore"):
        sys.modules["polars"] = None  # type: ignore[assignment]  # it would start threads
        import mlflow.pyfunc
        import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

        del sys.modules["polars"]
    import cryptocast.api.service
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


if __name__ == "__main__":
    sys.exit(main())
