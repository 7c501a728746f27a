"""Commands in messages reach the workspace and the moment that the user has typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryptocast.cli.root.hints import as_typed, remember
from cryptocast.values import iso
from support.commands import AS_OF, NOW, run

MOMENT = "2024-06-03"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cryptocast fetch", "cryptocast fetch -w 'my btc' --as-of 2024-06-03"),
        (
            "cryptocast promote 2 --force, or cryptocast rollback: x",
            "cryptocast promote -w 'my btc' --as-of 2024-06-03 2 --force, "
            "or cryptocast rollback -w 'my btc' --as-of 2024-06-03: x",
        ),
        ("cryptocast init --workspace a", "cryptocast init --as-of 2024-06-03 --workspace a"),
        ("cryptocast schedule --install", "cryptocast schedule -w 'my btc' --install"),
        ("cryptocast guide serving", "cryptocast guide serving"),
        ("pip install cryptocast installs all", "pip install cryptocast installs all"),
        ("cryptocast models!", "cryptocast models -w 'my btc' --as-of 2024-06-03!"),
    ],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_a_command_gets_what_the_user_typed(text: str, expected: str) -> None:
    remember(Path("my btc"), MOMENT)
    assert as_typed(text) == expected
    remember(None, None)
    assert as_typed(text) == text


def test_errors_warnings_and_screens_name_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "cryptocast.toml").write_text('[source]\nname = "sim"\n', encoding="utf-8")
    here = f"-w {tmp_path} --as-of {AS_OF}"
    done = run("forecast", "-w", tmp_path, "--as-of", AS_OF)
    assert done.err == f"error: nothing has been forecast yet (cryptocast forecast {here} --once)\n"
    assert f"-> cryptocast init {here}" in run("doctor", "-w", tmp_path, "--as-of", AS_OF).out
    words = "".join(run("status", "-w", tmp_path, "--as-of", AS_OF).out.split())
    assert f"cryptocast fetch {here}".replace(" ", "") in words


def test_a_narrow_pipe_is_what_columns_says(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for columns, widest in (("72", 72), ("", 120), ("wide", 120)):
        monkeypatch.setenv("COLUMNS", columns)
        lines = run("status", "-w", workspace, "--as-of", AS_OF).out.splitlines()
        assert widest - 30 < max(len(line) for line in lines) <= widest


def test_an_old_forecast_is_shown_with_its_age_and_a_warning(workspace: Path) -> None:
    made = run("forecast", "--once", "-w", workspace, "--as-of", AS_OF, "--json").data
    assert (made["now"], made["age_seconds"]) == (AS_OF, 0)
    later = ("forecast", "-w", workspace, "--as-of", iso(NOW + 2 * 3600))
    shown = run(*later)
    assert "at 2024-06-03T00:00:00Z, 2 h ago" in " ".join(shown.out.split())
    assert shown.err == (
        "warning: file:BTC/EUR:5m: the newest forecast is of 2024-06-03T00:00:00Z, 2 h ago "
        "(recorded candles are looked at with --as-of)\n"
    )
    assert run(*later, "--json").data["age_seconds"] == 2 * 3600
    assert run("forecast", "-w", workspace, "--as-of", iso(NOW + 599)).err == ""
