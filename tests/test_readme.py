"""The README is true: its settings, commands and examples are those of the program."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cryptocast import config
from cryptocast.cli import app
from cryptocast.sources.sim import simulate
from cryptocast.values import Market
from support.commands import (  # noqa: F401 - fixtures work where their names are
    Done,
    _mlflow_is_loaded,
    _ready_mlflow,
    _signals_stay,
    _small_networks,
    run,
    start,
    write,
)
from support.loopback import Loopback

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def shell_lines() -> list[str]:
    """Every line of the README's sh blocks, comments cut off."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.S)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def settings_table() -> str:
    """The table of settings as the README must hold it."""
    rows = ["| key | default | meaning |", "| --- | --- | --- |"]
    for section, field in config.Settings.model_fields.items():
        for name, info in field.annotation.model_fields.items():
            default = getattr(field.default, name)
            shown = "" if default is None else f"`{config.toml_value(default)}`"
            if name == "levels":
                shown = "`[0.05, 0.1, ..., 0.95]`"
            if name in config.TABLES:
                rows.append(f"| `[[{section}.{name}]]` |  | {info.description} |")
                continue
            rows.append(f"| `[{section}] {name}` | {shown} | {info.description} |")
    return "\n".join(rows)


def test_the_readme_lists_every_setting_with_its_default_and_meaning() -> None:
    assert settings_table() in README


def test_the_readme_shows_every_command() -> None:
    for command in app.registered_commands:
        assert re.search(rf"cryptocast {command.name}\b|make {command.name}\b", README), (
            command.name
        )


def test_the_changelog_names_the_version_of_the_package() -> None:
    from cryptocast import __version__

    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def exchange() -> Iterator[Loopback]:
    """A Bitvavo on loopback that trades what the simulator makes, up to this moment."""
    today = int(time.time()) // 86_400
    made = simulate(1, Market.of("BTC/EUR", "sim", "5m"), np.arange(today - 4, today + 2))
    with Loopback({"BTC/EUR": made}) as server:
        yield server


def test_the_commands_of_the_readme_run_as_written(
    exchange: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_SOURCE__BASE_URL", exchange.base_url("bitvavo"))
    monkeypatch.setenv("CRYPTOCAST_DATA__DAYS", "2")
    monkeypatch.setenv("CRYPTOCAST_TUNE__TRIALS", "2")
    monkeypatch.setenv("CRYPTOCAST_LOOP__WAIT_SECONDS", "0")
    monkeypatch.setenv("CRYPTOCAST_PRETRAIN__STEPS", "50")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    days = np.arange(20_000, 20_004)
    recorded = simulate(1, Market.of("BTC/EUR", "sim", "5m"), days)
    write(tmp_path / "candles" / "BTC-EUR.parquet", recorded)
    ran = []
    for line in shell_lines():
        words = shlex.split(line)
        if words[0] == "make":
            check_make(words[1:])
            if words[1] != "retrain":
                continue
            words = ["cryptocast", "retrain", "-w", "btc"]
        if words[0] != "cryptocast":
            continue
        # A process for each would import torch and MLflow a dozen times.
        done = stopped(*words[1:]) if words[1] == "serve-loop" else run(*words[1:])
        allowed = (0, 3, 6) if words[1] in ("promote", "rollback", "replay") else (0,)
        assert done.code in allowed, f"{line}: exit {done.code}: {done.err}"
        assert done.code == 0 or done.err.startswith("error: "), done.err
        ran.append(words[1])
    assert {"init", "forecast", "evaluate", "tune", "train", "retrain", "serve-loop"} <= set(ran)


def stopped(*words: str) -> Done:
    """Start a command as a process; stop it, as a service manager would, when it has spoken."""
    with start(*words) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=120)
        return Done(child.returncode, out, err)


def check_make(targets: list[str]) -> None:
    """The Makefile knows the target; what it would run is not run here."""
    done = subprocess.run(
        ["make", "-n", *targets], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
