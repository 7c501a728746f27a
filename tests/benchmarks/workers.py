"""What two workers of a local Ray save, joining and imports included, against `here`.

As a script it joins the cluster at an address, and prints the seconds that a piece takes which
does nothing.
"""

from __future__ import annotations

import importlib.util
import json
import operator
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from processes import Usage, environment, once, run
from rows import Row, tell, timed
from sizes import size

HERE = Path(__file__).resolve()
WORKERS, PIECES = 2, size(500, 50)
SAVED, PIECE = 0.65, 0.005  # of the time of `here`, and seconds
_START_SECONDS = 120


def rows(many: Path, one: Path, moment: str, trials: int, markets: int) -> Iterator[Row]:
    """Rows of an evaluation of the workspace `many` and a search in `one`, at a moment."""
    if importlib.util.find_spec("ray") is None:
        tell("  Ray is not installed (cryptocast[ray]): its rows are left out")
        return
    search = ("tune", "--trials", str(trials), "--as-of", moment)
    works = {
        f"evaluate, {markets} markets": (many, ("evaluate", "--days", "1", "--as-of", moment)),
        f"tune, {trials} trials, 4 at once": (one, search),
    }
    with cluster(many.parent) as address:
        for what, (workspace, command) in works.items():
            seen = {kind: _timed(workspace, kind, address, command) for kind in ("here", "ray")}
            mine, floor = once(seen["ray"]), once(seen["here"])
            yield timed(f"{what}, on {WORKERS} workers of Ray", mine, "here", floor, SAVED)
        said = run((sys.executable, str(HERE), address), many.parent).stdout
        took = float(json.loads(said.splitlines()[-1])["seconds"])
    what = f"a piece of nothing on {WORKERS} workers of Ray"
    yield Row(what, f"{1e3 * took:.1f} ms", f"{1e3 * PIECE:.0f} ms", took / PIECE, 1.0)


def _timed(workspace: Path, kind: str, address: str, command: tuple[str, ...]) -> Usage:
    """Run a command in a copy of the workspace on an engine."""
    folder = workspace.with_name(f"{workspace.name}-{kind}")
    shutil.copytree(workspace, folder)
    file = folder / "cryptocast.toml"
    asked = {"at_once = ": "at_once = 4", "# address": f'address = "{address}"'}
    asked |= {'kind = "here"': f'kind = "{kind}"', "# workers": f"workers = {WORKERS}"}
    lines = file.read_text().splitlines()
    for start, line in asked.items():
        (at,) = (i for i, text in enumerate(lines) if text.startswith(start))
        lines[at] = line
    file.write_text("\n".join(lines) + "\n")
    usage = run((sys.executable, "-m", "cryptocast", *command, "-w", str(folder)), folder)
    tell(f"  {command[0]} on {kind}: {usage.seconds:.1f} s, {usage.cpu:.1f} of its own CPU")
    shutil.rmtree(folder)
    return usage


@contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """Yield the address of a Ray of two workers on this machine, with a token of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    options = "--num-cpus", str(WORKERS), "--include-dashboard", "false", "--disable-usage-stats"
    place = "--node-ip-address", "127.0.0.1", "--port", address.rpartition(":")[2]
    command = sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"
    with (folder / "ray.log").open("w+") as said:
        process = subprocess.Popen(
            (*command, *options, *place, "--temp-dir", str(folder / "ray")),
            env=environment(),
            stdout=said,
            stderr=said,
        )
        try:
            _wait(lambda: "block forever" in (folder / "ray.log").read_text(), process)
            yield address
        finally:
            process.send_signal(signal.SIGTERM)  # it ends those that it has started
            process.wait(60)


def _wait(ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit("Ray did not start")
        time.sleep(0.2)


def main(address: str) -> None:
    """Print what a piece takes."""
    from cryptocast.config import EngineSettings
    from cryptocast.engines.ray import Engine

    engine = Engine(EngineSettings(kind="ray", address=address, workers=WORKERS))
    list(engine.map(operator.mul, range(4 * WORKERS), 2))  # the workers start
    started = time.perf_counter()
    list(engine.map(operator.mul, range(PIECES), 2))
    print(json.dumps({"seconds": (time.perf_counter() - started) / PIECES}))
    engine.close()


if __name__ == "__main__":
    main(sys.argv[1])
