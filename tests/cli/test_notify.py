from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.commands import NEXT, good, run
from support.hooks import SECRET, Hook

RECEIVERS = """
[[notify.receiver]]
name = "webhook"
url = "env:MY_HOOK"

[[notify.receiver]]
name = "file"
path = "told.txt"

[[notify.receiver]]
name = "console"
alerts = ["credits"]
"""


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as hook:
        yield hook


@pytest.fixture
def folder(workspace: Path, hook: Hook) -> Path:
    file = workspace / "cryptocast.toml"
    file.write_text(file.read_text(encoding="utf-8") + RECEIVERS, encoding="utf-8")
    (workspace / ".env").write_text(f"MY_HOOK='{hook.url}'\n", encoding="utf-8")
    return workspace


def test_a_test_message_reaches_every_receiver(folder: Path, hook: Hook) -> None:
    data = good("notify", "--test", "-w", folder, "--as-of", NEXT)
    assert data["receivers"] == ["webhook", "file", "console"]
    assert [each["receiver"] for each in data["told"]] == data["receivers"]
    assert [(b["kind"], b["title"]) for b in hook.bodies] == [("test", "hello from cryptocast")]
    assert "hello from cryptocast" in (folder / "told.txt").read_text(encoding="utf-8")


def test_a_receiver_that_fails_is_told_and_the_others_are_sent(folder: Path, hook: Hook) -> None:
    hook.status = 404
    done = run("notify", "--test", "-w", folder, "--as-of", NEXT)
    assert done.code == 4
    assert "webhook: FAILED  it answered HTTP 404" in done.out
    assert "file: sent  2024-06-03T00:05:00Z" in done.out
    assert SECRET not in done.out + done.err
    again = run("notify", "--test", "-w", folder, "--as-of", NEXT, "--json")
    assert again.code == 4
    assert again.data["told"][0]["error"] == {
        "code": "notify.refused",
        "message": "it answered HTTP 404",
        "hint": "",
    }


def test_without_receivers_a_test_says_how_to_name_one(workspace: Path) -> None:
    done = run("notify", "--test", "-w", workspace)
    assert done.code == 3
    assert done.err == (
        'error: no receiver is configured (write [[notify.receiver]] and below it name = "console" '
        "into cryptocast.toml)\n"
    )
    assert run("notify", "-w", workspace, "--as-of", NEXT).code == 0


def test_what_is_new_is_told_once(folder: Path, hook: Hook) -> None:
    good("forecast", "--once", "-w", folder, "--as-of", NEXT, "--no-fetch")
    assert good("notify", "-w", folder, "--as-of", NEXT)["told"] == []
    good("promote", "1", "-w", folder, "--force", "--reason", "x", "--as-of", NEXT)
    (webhook, file) = good("notify", "-w", folder, "--as-of", NEXT)["told"]
    assert webhook["receiver"] == "webhook"
    assert webhook["alerts"] == file["alerts"]
    assert webhook["alerts"][0]["kind"] == "promotion"
    done = run("notify", "-w", folder, "--as-of", NEXT)
    assert done.out == "Nothing new for webhook, file, console\n"
    assert hook.titles == ["version 1 was promoted by force, in place of 2"]


def test_the_settings_that_init_writes_say_how_to_add_one(folder: Path) -> None:
    text = (folder / "cryptocast.toml").read_text(encoding="utf-8")
    assert '#   [[notify.receiver]]\n#   name = "console"\n' in text


def test_the_secret_is_in_no_file_but_env(folder: Path, hook: Hook) -> None:
    hook.status = 500
    good("forecast", "--once", "-w", folder, "--as-of", NEXT)
    (folder / "bundles" / "2").rename(folder / "gone")
    later = "2024-06-03T00:10:00Z"
    run("forecast", "--once", "-w", folder, "--as-of", later)
    said = [run("notify", *more, "-w", folder, "--as-of", later) for more in ((), ("--test",))]
    said.append(run("config", "-w", folder))
    assert all(SECRET not in done.out + done.err for done in said)
    holding = [
        f.name for f in folder.rglob("*") if f.is_file() and SECRET.encode() in f.read_bytes()
    ]
    assert holding == [".env"]
