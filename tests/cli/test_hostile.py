"""Whatever files, names and numbers come from outside: one line, no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.commands import good, run


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    (tmp_path / "cryptocast.toml").write_bytes(b"\xef\xbb\xbf[data]\ndays = 3\n")
    return tmp_path


def refused(*arguments: str | Path, code: int = 2) -> str:
    """The message of a command that fails by one line."""
    done = run(*arguments, "--json")
    assert (done.code, len(done.err.splitlines())) == (code, 1), done.err
    return done.error["message"]


def test_settings_may_begin_with_a_byte_order_mark(bare: Path) -> None:
    (setting,) = good("config", "-w", bare, "data.days")["settings"]
    assert setting["value"] == 3


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("A=1\n".encode("utf-16"), "it is not UTF-8 text"),
        (b"A=caf\xe9\n", "it is not UTF-8 text"),
        (b"A=1\0\n", "it holds a NUL character"),
    ],
)
def test_a_secrets_file_that_cannot_be_read_is_named(bare: Path, content: bytes, why: str) -> None:
    (bare / ".env").write_bytes(content)
    assert refused("config", "-w", bare) == f"cannot read the configuration {bare / '.env'}: {why}"


@pytest.mark.parametrize(
    "text",
    [
        f"market.symbols = {'[' * 5000}",
        f"[data]\ndays = {'9' * 5000}",
        '[source]\npath = "a\\u0000b"',
        '[source]\npath = "~nosuchuser/x"',
        "[loop]\nwait_seconds = 1e300",
        "[retrain]\ncooldown_hours = 1e300",
    ],
    ids=["nested", "digits", "NUL", "nobody's home", "seconds", "hours"],
)
def test_settings_that_nothing_can_hold_are_refused(bare: Path, text: str) -> None:
    (bare / "cryptocast.toml").write_text(text)
    assert refused("config", "-w", bare)


def test_a_variable_that_is_nested_too_deeply_is_refused(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_MARKET__SYMBOLS", "[" * 100_000)
    assert refused("config", "-w", bare)


@pytest.mark.parametrize("name", ["a?b", "a%41b", "a#b", "a\udcffb"])
def test_a_folder_whose_name_is_part_of_an_address_holds_no_workspace(
    tmp_path: Path, name: str
) -> None:
    folder = tmp_path / name
    assert "cannot hold a workspace" in refused("init", "-w", folder, "--source", "sim")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("time", ["0001-01-01", "9999-12-31T23:59:59Z", "1970-01-01"])
def test_a_time_at_the_ends_of_the_calendar_is_refused(bare: Path, time: str) -> None:
    assert "is not a time of the years" in refused("status", "-w", bare, "--as-of", time)


@pytest.mark.parametrize("command", ["fetch", "report", "evaluate"])
@pytest.mark.parametrize("days", ["inf", "1e308", "1e7"])
def test_more_days_than_there_are_are_refused(bare: Path, command: str, days: str) -> None:
    assert "is too much" in refused(command, "-w", bare, "--days", days)
    assert refused("status", "-w", "~nosuchuser/x").startswith("~nosuchuser/x cannot be found")


def test_closed_and_full_streams_are_no_traceback(bare: Path) -> None:
    command = f"{sys.executable} -m cryptocast config -w {bare}"
    for redirection, code in ((">&- 2>&-", 0), ("2>/dev/full", 0), (">/dev/full", 4)):
        done = subprocess.run(
            ["bash", "-c", f"{command} {redirection}"], capture_output=True, text=True, check=False
        )
        assert (done.returncode, "Traceback" in done.stderr) == (code, False)


@pytest.mark.parametrize("command", [("status",), ("models", "--json"), ("guide", "start")])
def test_a_reader_who_has_left_is_no_error(workspace: Path, command: tuple[str, ...]) -> None:
    read, write = os.pipe()
    os.close(read)
    place = () if command[0] == "guide" else ("-w", str(workspace))
    done = subprocess.run(
        [sys.executable, "-m", "cryptocast", *command, *place],
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_libraries_find_a_home_where_the_user_has_none() -> None:
    script = """
import os, pwd
def unknown(number): raise KeyError(number)
os.environ.pop("HOME", None)
pwd.getpwuid = unknown
import cryptocast
from pathlib import Path
print(Path.home())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("/nonexistent\n", "")


def test_no_control_character_of_stored_text_reaches_the_terminal(workspace: Path) -> None:
    done = run("query", "SELECT 'a' || chr(27) || '[2Jb' AS text", "-w", workspace)
    assert done.code == 0
    assert "\x1b" not in done.out
    assert "a\\x1b[2Jb" in done.out
