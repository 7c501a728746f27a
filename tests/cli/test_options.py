"""What every command line has: the common options, help with an example, errors in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from cryptocast import __version__, cli
from cryptocast.cli.root.commands import WORDS
from support.commands import AS_OF, NEXT, listing, run, state

GROUP: Any = typer.main.get_command(cli.app)
NAMES = sorted(WORDS)
DELIVERED = {
    "init", "fetch", "tune", "train", "evaluate", "promote", "rollback", "models", "forecast",
    "serve-loop", "status", "retrain", "export", "doctor", "audit",
    "config", "backup", "prune",
}  # fmt: skip


def test_every_command_of_the_first_issue_is_there() -> None:
    assert set(NAMES) >= DELIVERED


@pytest.mark.parametrize("name", NAMES)
def test_a_command_takes_the_options_that_all_take(name: str) -> None:
    options = {o for p in GROUP.get_command(None, name).params for o in p.opts}
    common = {"--workspace", "-w", "--json", "--quiet", "-q", "--verbose", "-v", "--as-of"}
    assert options >= common


@pytest.mark.parametrize("name", NAMES)
def test_the_help_of_a_command_has_an_example_that_names_it(name: str) -> None:
    done = run(name, "--help")
    text = " ".join(done.out.split())
    assert (done.code, done.err) == (0, "")
    assert f"Example: cryptocast {name}" in text


def test_help_lists_every_command_and_how_to_start() -> None:
    done = run("--help")
    assert done.code == 0
    for name in NAMES:
        assert f" {name} " in done.out
    assert "cryptocast init" in done.out


def test_help_groups_the_commands_in_the_order_of_work() -> None:
    out = run("--help").out
    groups = ["Start", "Data", "Learning", "Serving", "Watching", "Keeping"]
    places = [out.index(f"─ {group} ─") for group in groups]
    assert places == sorted(places)
    assert "─ Commands ─" not in out


@pytest.mark.parametrize("words", [(), *((name,) for name in NAMES)])
def test_h_is_help_everywhere(words: tuple[str, ...]) -> None:
    assert run(*words, "-h") == run(*words, "--help")


def test_the_version_is_told() -> None:
    assert run("--version").out == f"cryptocast {__version__}\n"


USAGE = [
    (("frobnicate",), "No such command 'frobnicate'", "cryptocast --help"),
    (("status", "--frobnicate"), "No such option: --frobnicate", "cryptocast status --help"),
    (("promote",), "Missing argument 'VERSION'", "cryptocast promote --help"),
    (("init", "--trials", "some"), "Invalid value for '--trials'", "cryptocast init --help"),
    (("serve-loop", "--max-ticks", "0"), "Invalid value for '--max-ticks'", "serve-loop --help"),
    (("status", "--as-of", "yesterday"), "'yesterday' is not a time", "2024-06-03T00:00:00Z"),
    (("status", "extra"), "Got unexpected extra argument", "cryptocast status --help"),
    (("serve-loop", "--as-of", AS_OF), "serve-loop on a virtual clock", "--max-ticks 12"),
    (("fetch", "--days", "2", "--start", "2024-06-01"), "--days cannot be combined", ""),
    (("fetch", "--start", "2024-06-02", "--end", "2024-06-01"), "no closed candle lies", "before"),
    (("fetch", "--start", "soon"), "'soon' is not a time", "2024-06-03T00:00:00Z"),
    (("fetch", "--days", "-3"), "--days", ""),
    (("fetch", "--days", "0"), "--days", ""),
    (("forecast", "--symbol", "DOGE/EUR"), "'DOGE/EUR' is not a market of", "BTC/EUR"),
    (("train", "--model", "oracle"), "there is no model 'oracle'", "lstm"),
    (("train", "--params", "none.toml"), "cannot read the parameters none.toml", "best"),
    (("tune", "--timeout", "-1"), "--timeout must be above 0, not -1", "--timeout 600"),
    (("tune", "--timeout", "nan"), "--timeout nan is not a number", "--timeout 1000000000 at most"),
    (("evaluate", "--days", "0"), "Invalid value for '--days'", "cryptocast evaluate --help"),
]


@pytest.mark.parametrize(("arguments", "what", "hint"), USAGE, ids=[" ".join(u[0]) for u in USAGE])
def test_a_wrong_command_line_is_one_line_and_exit_2(
    workspace: Path, arguments: tuple[str, ...], what: str, hint: str
) -> None:
    before = state(workspace)
    named = ("-w", workspace) if arguments[0] != "frobnicate" else ()
    as_of = () if "--as-of" in arguments else ("--as-of", NEXT)
    more = (*named, *(as_of if named else ()))
    plain = run(*arguments, *more)
    assert (plain.code, plain.out) == (2, ""), plain.err
    (line,) = [text for text in plain.err.splitlines() if not text.startswith("x ")]
    assert line.startswith("error: ")
    assert what in line
    assert hint in line
    told = run(*arguments, *more, "--json")
    assert told.code == 2
    assert f"error: {told.error['message']} ({told.error['hint']})" == line
    assert told.error["code"].startswith(("usage", "config."))
    assert state(workspace) == before


def test_verbose_shows_where_an_error_came_from(tmp_path: Path) -> None:
    plain, verbose = run("status", "-w", tmp_path), run("status", "-w", tmp_path, "--verbose")
    assert plain.err.count("\n") == 1
    assert "Traceback" in verbose.err
    assert verbose.err.splitlines()[-1] == plain.err.strip()
    assert verbose.code == plain.code == 3


@pytest.mark.parametrize("name", [n for n in sorted(DELIVERED) if n != "init"])
def test_a_command_outside_a_workspace_says_how_to_make_one(tmp_path: Path, name: str) -> None:
    arguments = {
        "promote": ("1",),
        "serve-loop": ("--max-ticks", "1"),
        "export": ("candles", "--out", str(tmp_path / "c.csv")),
    }.get(name, ())
    done = run(name, *arguments, "-w", tmp_path / "w", "--json")
    assert (done.code, done.error["code"]) == (3, "state.no_workspace")
    assert done.error["hint"] == f"cryptocast init --workspace {tmp_path / 'w'}"
    assert listing(tmp_path) == set()


EMPTY = [
    (("status",), 0, None),
    (("models",), 0, None),
    (("forecast",), 3, "state.no_forecast"),
    (("evaluate",), 3, "state.no_candles"),
    (("tune", "--trials", "1"), 3, "state.no_candles"),
    (("train",), 3, "state.no_candles"),
    (("promote", "1"), 3, "state.no_version"),
    (("rollback",), 3, "state.no_production"),
]


@pytest.mark.parametrize(("arguments", "code", "error"), EMPTY, ids=[e[0][0] for e in EMPTY])
def test_an_empty_settings_file_is_a_workspace_and_commands_say_what_lacks(
    tmp_path: Path, arguments: tuple[str, ...], code: int, error: str | None
) -> None:
    (tmp_path / "cryptocast.toml").touch()
    done = run(*arguments, "-w", tmp_path, "--as-of", AS_OF, "--json")
    assert done.code == code, done.err
    if error is None:
        assert json.loads(done.out)["ok"] is True
    else:
        assert done.error["code"] == error
        assert done.error["hint"]


def test_the_nearest_parent_that_is_a_workspace_is_found(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(workspace / "bundles")
    assert run("status", "--as-of", NEXT).code == 0
    monkeypatch.chdir(tmp_path)
    assert run("status", "--as-of", NEXT).code == 3
    monkeypatch.setenv("CRYPTOCAST_WORKSPACE", str(workspace))
    assert run("status", "--as-of", NEXT).code == 0


def test_a_time_may_carry_an_offset(workspace: Path) -> None:
    one = run("status", "-w", workspace, "--as-of", NEXT, "--json").data
    two = run("status", "-w", workspace, "--as-of", "2024-06-03T02:05:00+02:00", "--json").data
    assert one == two
    assert one["now"] == NEXT


def test_without_a_word_there_is_help_and_no_error() -> None:
    done = run()
    assert (done.code, done.err) == (0, "")
    assert "Usage: cryptocast" in done.out
