"""Nothing leaves the machine, nor the workspace, but what a person asks for."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from support.commands import listing, process

# A process that notes what Python connects to, and dies when any library opens a datagram socket
# of the internet, which every look-up of a name begins with; its children inherit that.
SEALED = """
import sys
from support import sealed
noted = sealed.seal()
from support import commands
commands.small_networks()
from cryptocast import cli
codes = [cli.run(line.split()) for line in sys.argv[1:]]
print("codes:", codes, "reached for:", noted, file=sys.stderr)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can seal a process so")
def test_no_command_looks_a_name_up_connects_or_writes_outside_the_workspace(
    tmp_path: Path,
) -> None:
    folder, cwd = tmp_path / "w", tmp_path / "elsewhere"
    cwd.mkdir()
    homes = {name: cwd / name.lower() for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    for home in homes.values():
        home.mkdir()
    before = listing(cwd)
    lines = [
        "init --source sim --days 3 --trials 1",
        "forecast --once",
        "serve-loop --max-ticks 1 --report-every 60",
        "train --model garch",
        "report",
        "monitor",
    ]
    environ = {name: str(home) for name, home in homes.items()}
    done = process(*(f"{x} -q -w {folder}" for x in lines), script=SEALED, environ=environ)
    assert done.code == 0, done.err
    assert done.err.splitlines()[-1] == f"codes: {[0] * len(lines)} reached for: []"
    assert listing(cwd) == before
    assert json.loads((folder / "logs" / "health.json").read_text())["state"] == "stopped"
