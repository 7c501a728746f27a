"""The README and the guide are true: settings, commands and examples are the program's."""

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

from cryptocast.cli.guide import TOPICS
from cryptocast.cli.root.commands import WORDS
from cryptocast.sources.sim import simulate
from cryptocast.values import Market
from support.commands import (  # noqa: F401 - fixtures work where their names are
    Done,
    _bare_pictures,
    _mlflow_is_loaded,
    _ready_mlflow,
    _signals_stay,
    _small_networks,
    good,
    run,
    start_loaded,
    write,
)
from support.guide import FOLDER, PAGES, README, ROOT, shell_lines, with_settings
from support.loopback import Loopback

SERVING = ("serve-loop", "api")  # until they are told to stop


def test_the_readme_is_short() -> None:
    assert len(README.encode()) <= 8_000


def test_the_guide_lists_every_setting_with_its_default_and_meaning() -> None:
    assert with_settings(PAGES["settings"]) == PAGES["settings"], "run: make guide"


def test_the_readme_or_the_guide_shows_every_command() -> None:
    text = "\n".join([README, *PAGES.values()])
    for word in WORDS:
        assert re.search(rf"cryptocast {word}\b|make {word}\b", text), word


def test_every_page_of_the_folder_is_a_topic() -> None:
    assert {file.stem for file in FOLDER.glob("*")} == set(TOPICS)


def test_every_link_of_the_readme_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#]+)", README)
    assert len(links) > 10
    for link in links:
        assert (ROOT / link).is_file(), link


def test_the_guide_without_a_topic_lists_the_pages() -> None:
    done = run("guide")
    assert done.code == 0
    for topic, about in TOPICS.items():
        assert re.search(rf"^{topic} +{re.escape(about)}$", done.out, re.M)
    listed = good("guide")["topics"]
    assert [page["topic"] for page in listed] == list(TOPICS)


@pytest.mark.parametrize("topic", TOPICS)
def test_the_guide_shows_a_page(topic: str) -> None:
    title = PAGES[topic].partition("\n")[0].removeprefix("# ")
    done = run("guide", topic)
    assert done.code == 0
    assert title in done.out
    assert "<!--" not in done.out
    assert good("guide", topic) == {"topic": topic, "markdown": PAGES[topic]}


def test_an_unknown_topic_is_one_line_that_names_the_others() -> None:
    done = run("guide", "magic")
    assert done.code == 2
    assert done.err == f"error: there is no page 'magic' (one of {', '.join(TOPICS)})\n"


def test_the_changelog_names_the_version_of_the_package() -> None:
    from cryptocast import __version__

    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def exchange() -> Iterator[Loopback]:
    """A Bitvavo on loopback that trades what the simulator makes, up to this moment."""
    today = int(time.time()) // 86_400
    candles = simulate(1, Market.of("BTC/EUR", "sim", "5m"), np.arange(today - 4, today + 2))
    with Loopback({"BTC/EUR": candles, "ETH/EUR": candles}) as server:
        yield server


def commands_in_order() -> Iterator[str]:
    """Yield each command line once: of the README, its table of tasks last, and of every page."""
    tasks = re.findall(r"`(cryptocast [^`]+ -w [^`]+)`", README)
    lines = [*shell_lines(README), *(line for page in PAGES.values() for line in shell_lines(page))]
    yield from dict.fromkeys([*lines, *tasks])


def test_the_commands_of_the_readme_and_the_guide_run_as_written(
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
    for line in commands_in_order():
        words = shlex.split(line)
        if words[0] == "make":
            check_make(words[1:])
            if words[1] != "retrain":
                continue
            words = ["cryptocast", "retrain", "-w", "btc"]
        if words[0] != "cryptocast" or words[1] == "serve-flows":  # it needs a Prefect server
            continue
        # A process for each would import torch and MLflow a dozen times.
        done = stopped(*words[1:]) if words[1] in SERVING else run(*words[1:])
        allowed = (0, 3, 6) if words[1] in ("promote", "rollback", "replay") else (0,)
        assert done.code in allowed, f"{line}: exit {done.code}: {done.err}"
        assert done.code == 0 or done.err.startswith("error: "), done.err
        ran.append(words[1])
    assert {"init", "forecast", "evaluate", "tune", "train", "retrain", *SERVING} <= set(ran)


def stopped(*words: str) -> Done:
    """Start a command as a process; stop it, as a service manager would, when it has spoken."""
    with start_loaded(*words) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=600)
        return Done(child.returncode, out, err)


def check_make(targets: list[str]) -> None:
    """Assert that the Makefile knows the targets; what they would run is not run here."""
    done = subprocess.run(
        ["make", "-n", *targets], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
