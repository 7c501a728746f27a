"""Help names the choices and defaults that the program has; the shell completes the choices."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from cryptocast import cli, plugins
from cryptocast.cli import export, monitor
from cryptocast.cli.guide import TOPICS
from cryptocast.cli.root.commands import WORDS
from cryptocast.config import Settings, keys
from cryptocast.store.exporter import KINDS
from cryptocast.workflows.export import SCORECARD
from cryptocast.workflows.watching.watch import WINDOWS
from support.commands import NEXT, run

SOURCES = plugins.built_in(plugins.SOURCES)
CONFIGS = ("btc-eur", "btc-usd-coincap", "demo", "recorded")


def shown(word: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The help of a command at 80 columns, as one line."""
    monkeypatch.setenv("COLUMNS", "80")
    return " ".join(re.sub("[│╭╮╰╯─]", " ", run(word, "--help").out).split())


CHOICES = [
    ("init", ["auto", *SOURCES], "coincap, file, kraken or sim"),
    ("init", CONFIGS, "btc-eur,"),
    ("train", plugins.built_in(plugins.MODELS), "seasonal or tcn"),
    ("tune", plugins.built_in(plugins.MODELS), "seasonal or tcn"),
    ("schedule", plugins.built_in(plugins.SCHEDULERS), "prefect or systemd"),
    ("export", [*KINDS, SCORECARD], "evaluations or scorecard"),
    ("monitor", list(WINDOWS), "2h, day or week"),
]


@pytest.mark.parametrize(("word", "names", "end"), CHOICES)
def test_help_lists_what_may_be_chosen(
    word: str, names: list[str], end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = shown(word, monkeypatch)
    assert end in text
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []


def test_what_help_lists_without_loading_it_is_what_there_is() -> None:
    assert set(export.KINDS) == {*KINDS, SCORECARD}
    assert tuple(WINDOWS) == monitor._WINDOWS


@pytest.mark.parametrize("word", WORDS)
def test_defaults_that_help_names_are_those_of_the_settings(
    word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = re.findall(r"\[(\w+)\] (\w+) \(([^):]+)[:)]", shown(word, monkeypatch))
    for section, key, default in named:
        value = getattr(getattr(Settings(), section), key)
        first = value[0] if isinstance(value, tuple) else value
        assert str(first if first is not None else "none") == default, (section, key)
    assert named or word not in ("init", "tune", "train", "evaluate", "retrain", "serve-loop")


@pytest.mark.parametrize("word", WORDS)
def test_no_sentence_of_help_is_squeezed_at_80_columns(
    word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = run(word, "--help").out
    assert max(map(len, out.splitlines())) <= 80
    (line,) = [text for text in out.splitlines() if "Print only warnings and errors." in text]
    assert line.index("Print only") <= 40


@pytest.mark.parametrize(
    ("typed", "completions"),
    [
        ("init --source b", ["binance", "bitvavo"]),
        ("init --config btc", ["btc-eur", "btc-usd-coincap"]),
        ("train --model l", ["lstm"]),
        ("schedule --kind s", ["systemd"]),
        ("export s", ["scorecard", "scores"]),
        ("guide se", sorted(topic for topic in TOPICS if topic.startswith("se"))),
        ("config tune.", sorted(key for key in keys() if key.startswith("tune."))),
        ("retr", ["retrain"]),
    ],
)
def test_the_shell_completes_it(
    typed: str, completions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_CRYPTOCAST_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"cryptocast {typed}")
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split())))
    out = io.StringIO()
    with pytest.raises(SystemExit, match="0"), contextlib.redirect_stdout(out):
        cli.run([])
    assert sorted(out.getvalue().split()) == completions


def test_common_options_may_stand_before_the_command_too(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    after = run("status", "-w", workspace, "--as-of", NEXT, "--json")
    assert after.code == 0
    assert run("-w", workspace, "--as-of", NEXT, "--json", "status") == after
    assert run("-w", tmp_path, "--as-of", NEXT, "status", "-w", workspace, "--json") == after
    assert run("--json", "-w", tmp_path / "none", "status").error["code"] == "state.no_workspace"
