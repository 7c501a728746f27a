"""What only a process of its own can show: imports, locks, signals, exit codes."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from cryptocast import __version__
from support.commands import HELD, NEXT, counts, good, listing, process, start, start_loaded

HEAVY = (
    "torch", "lightning", "mlflow", "optuna", "pandas", "sklearn", "matplotlib", "polars",
    "jinja2", "pydantic", "prefect", "fastapi", "uvicorn", "ray",
    "cryptocast.paths", "cryptocast.engines",
)  # fmt: skip
LOOK = f"""
import sys
from cryptocast import cli
code = cli.run(sys.argv[1:])
print("loaded:", [name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
sys.exit(code)
"""


def test_the_version_is_told_by_the_module_too() -> None:
    done = process("--version")
    assert (done.code, done.out, done.err) == (0, f"cryptocast {__version__}\n", "")


LEAVING = """
import atexit, sys, threading
atexit.register(print, "at its exit")
if sys.argv.pop(1) == "busy":
    slow = lambda: (threading.main_thread().join(), print("the thread has ended"))
    threading.Thread(target=slow).start()
from cryptocast import cli
cli.main()
"""


@pytest.mark.parametrize("threads", ["idle", "busy"])
def test_a_process_ends_only_when_its_threads_and_exit_functions_have(threads: str) -> None:
    done = process(threads, "--version", script=LEAVING)
    ended = ["the thread has ended"] if threads == "busy" else []
    assert done.code == 0
    assert done.out.splitlines() == [f"cryptocast {__version__}", *ended, "at its exit"]


def test_talk_is_written_at_once_also_where_python_is_told_not_to_buffer() -> None:
    script = """
import os, sys
from cryptocast.cli.root.streams import hold_streams
hold_streams()
print("one step is done", file=sys.stderr)
os._exit(0)  # what is still held is lost
"""
    done = process(script=script, environ={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert (done.code, done.err) == (0, "one step is done\n")


def test_a_tick_loads_nothing_heavy(workspace: Path) -> None:
    options = ("forecast", "--once", "-w", workspace, "--as-of", NEXT, "--json")
    done = process(*options, script=LOOK)
    assert done.code == 0, done.err
    assert json.loads(done.out)["data"]["new"] is True
    assert done.err == "loaded: []\n"


@pytest.mark.parametrize("options", [("--help",), ("forecast", "--help"), ("init", "--help")])
def test_help_loads_nothing_heavy(options: tuple[str, ...]) -> None:
    done = process(*options, script=LOOK.replace("'torch'", "'torch', 'numpy', 'duckdb'"))
    assert (done.code, done.err) == (0, "loaded: []\n")


@pytest.mark.parametrize("options", [("status",), ("forecast",)])
def test_looking_loads_nothing_heavy(workspace: Path, options: tuple[str, ...]) -> None:
    good("forecast", "--once", "-w", workspace, "--as-of", NEXT)
    done = process(*options, "-w", workspace, "--as-of", NEXT, script=LOOK)
    assert (done.code, done.err) == (0, "loaded: []\n")


def test_a_database_in_use_is_told_with_its_holder_and_nothing_is_written(
    workspace: Path,
) -> None:
    before = counts(workspace), listing(workspace)
    holder = start_loaded(workspace / "cryptocast.duckdb", script=HELD)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        wait = {"CRYPTOCAST_STORE__WAIT_SECONDS": "0.5"}
        options = ("forecast", "--once", "-w", workspace, "--as-of", NEXT)
        done = process(*options, "--json", environ=wait)
        plain = process(*options, environ=wait)
    finally:
        holder.kill()
        holder.communicate()
    assert (done.code, done.error["code"]) == (4, "store.busy")
    assert f"(PID {holder.pid})" in done.error["message"]
    assert plain.code == 4
    assert plain.err == f"error: {done.error['message']} ({done.error['hint']})\n"
    assert (counts(workspace), listing(workspace)) == before


def test_an_error_is_the_exit_code_of_the_process(tmp_path: Path) -> None:
    done = process("forecast", "--once", "-w", tmp_path)
    assert (done.code, done.out) == (3, "")
    assert done.err == (
        f"error: {tmp_path} is not a workspace (cryptocast init --workspace {tmp_path})\n"
    )
    assert process("frobnicate").code == 2


def test_a_reader_that_leaves_is_no_error(workspace: Path) -> None:
    import shlex
    import subprocess
    import sys

    command = f"{shlex.quote(sys.executable)} -m cryptocast status -w {workspace} --as-of {NEXT}"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_serve_loop_ends_at_once_when_it_is_told_to(
    workspace: Path, name: signal.Signals
) -> None:
    environ = {"CRYPTOCAST_SOURCE__NAME": "sim", "CRYPTOCAST_SOURCE__PATH": ""}
    child = start("serve-loop", "-w", workspace, "--json", environ=environ)
    try:
        assert child.stdout is not None
        first = child.stdout.readline()
        assert first, child.communicate()[1]
        assert json.loads(first)["data"]["new"] is True
        child.send_signal(name)
        out, err = child.communicate(timeout=600)
    finally:
        child.kill()
        child.communicate()
    assert (child.returncode, err) == (0, "")
    assert json.loads(out)["data"] == {"summary": {"ticks": 1, "failed": 0}}
