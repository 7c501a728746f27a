"""An output replaces what a person may have meant, and nothing else, in every command."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.commands import AS_OF, listing, run

COMMANDS = {
    "report": ("report",),
    "export": ("export", "candles"),
    "query": ("query", "SELECT 1 AS one"),
}
ENDINGS = {"report": ".html", "export": ".csv", "query": ".parquet"}


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below, but those that looking may touch."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_not_an_outputs_own_stays_as_it_is(command: str, workspace: Path) -> None:
    ending = ENDINGS[command]
    (workspace / ".env").write_text("KEY=x\n")
    (workspace / "bundles" / "2" / f"card{ending}").write_text("kept")
    os.mkfifo(workspace.parent / f"fifo{ending}")
    (workspace.parent / f"null{ending}").symlink_to(os.devnull)
    (workspace.parent / f"link{ending}").symlink_to(workspace / "cryptocast.toml")
    before = dict(contents(workspace)), listing(workspace.parent)
    wrong = [
        *(workspace / n for n in (".env", "cryptocast.toml", "cryptocast.duckdb", "mlflow.db")),
        *(
            workspace / n
            for n in (f"bundles/2/card{ending}", f"logs/x{ending}", f"archive/x{ending}")
        ),
        *(workspace.parent / f"{name}{ending}" for name in ("fifo", "null", "link")),
        workspace.parent / "page.txt",
        Path(os.devnull),
    ]
    for out in wrong:
        done = run(*COMMANDS[command], "--out", out, "-w", workspace, "--as-of", AS_OF, "--json")
        assert (done.code, done.error["code"].partition(".")[0]) == (2, "usage"), out
    assert (dict(contents(workspace)), listing(workspace.parent)) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_beside_the_settings_and_in_reports_there_is_room(command: str, workspace: Path) -> None:
    for name in (f"mine{ENDINGS[command]}", f"reports/mine{ENDINGS[command]}"):
        options = ("--out", workspace / name, "-w", workspace, "--as-of", AS_OF)
        assert run(*COMMANDS[command], *options).code == 0
        assert (workspace / name).stat().st_size


def test_candles_that_are_read_are_not_replaced(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = workspace.parent / "BTC-EUR.csv"
    source.write_text("mine")
    monkeypatch.setenv("CRYPTOCAST_SOURCE__PATH", str(source))
    options = ("--out", source, "-w", workspace, "--as-of", AS_OF, "-q")
    done = run("export", "candles", *options)
    assert (done.code, source.read_text()) == (2, "mine")
    assert done.err == f"error: candles are read from {source} (name another file)\n"


def test_a_network_or_a_backup_never_lands_among_what_a_workspace_keeps(workspace: Path) -> None:
    for command in (("pretrain", "--data", workspace), ("backup", "-w", workspace.parent / "v")):
        if command[0] == "backup":
            (workspace.parent / "v").mkdir()
            (workspace.parent / "v" / "cryptocast.toml").touch()
        done = run(*command, "--out", workspace / "bundles" / "9", "--json")
        assert (done.code, done.error["code"]) == (2, "usage")
        assert str(workspace / "bundles" / "9") in done.error["message"]
        assert not (workspace / "bundles" / "9").exists()
