"""`[notify]` and `[metrics]`: who is told, and no secret in the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryptocast.config import FILE_NAME, load, render
from cryptocast.errors import ConfigError

SECRET = "hush-hush"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / FILE_NAME


def refusal(file: Path, text: str) -> ConfigError:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    return caught.value


def test_receivers_may_be_appended_to_what_init_writes(file: Path) -> None:
    settings, _ = load(None, {})
    added = '\n[[notify.receiver]]\nname = "webhook"\nurl = "env:HOOK"\nalerts = ["source"]\n'
    file.write_text(render(settings) + added, encoding="utf-8")
    loaded, _ = load(file, {})
    (receiver,) = loaded.notify.receiver
    assert (receiver.name, receiver.url, receiver.alerts) == ("webhook", "env:HOOK", ("source",))
    file.write_text(render(loaded) + '\n[[notify.receiver]]\nname = "console"\n', encoding="utf-8")
    assert [r.name for r in load(file, {})[0].notify.receiver] == ["webhook", "console"]


def test_receivers_in_a_variable_are_json() -> None:
    text = '[{"name": "console"}, {"name": "file", "path": "told.txt"}]'
    settings, _ = load(None, {"CRYPTOCAST_NOTIFY__RECEIVER": text})
    assert [r.name for r in settings.notify.receiver] == ["console", "file"]


def test_relative_paths_are_relative_to_where_they_were_written(file: Path, tmp_path: Path) -> None:
    file.write_text(
        '[metrics]\nfile = "out/x.prom"\n[[notify.receiver]]\nname = "file"\npath = "told.txt"\n'
    )
    settings, _ = load(file, {})
    assert settings.metrics.file == str(tmp_path / "out" / "x.prom")
    assert settings.notify.receiver[0].path == str(tmp_path / "told.txt")
    elsewhere = tmp_path / "elsewhere"
    settings, _ = load(file, {"CRYPTOCAST_METRICS__FILE": "y.prom"}, cwd=elsewhere)
    assert settings.metrics.file == str(elsewhere / "y.prom")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "[[notify.receiver]]\nnmae = 'console'",
            "unknown setting 'notify.receiver.nmae' in {}",
            "did you mean 'notify.receiver.name'?",
        ),
        ("[[notify.receiver]]\n", "notify.receiver.name in {} is missing", "write name = ..."),
        (
            "[[notify.receiver]]\nname = 'console'\nalerts = ['sources']",
            'notify.receiver.alerts = ["sources"] in {} is not allowed',
            "'sources' is not one of declined, promotion, fallback, source, credits, missed, shift",
        ),
        (
            "[metrics]\nfile = '/x/y.txt'",
            'metrics.file = "/x/y.txt" in {} is not allowed',
            "must end in .prom: node exporter reads no other file",
        ),
        (
            "[notify]\ntimeout_seconds = 0",
            "notify.timeout_seconds = 0 in {} is not allowed",
            "must be a number above 0",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_what_is_allowed(
    file: Path, text: str, message: str, hint: str
) -> None:
    error = refusal(file, text)
    assert error.message == message.format(file)
    assert error.hint == hint


def test_a_plain_url_is_refused(file: Path) -> None:
    url = f"https://hooks.example.org/{SECRET}"
    error = refusal(file, f"[[notify.receiver]]\nname = 'webhook'\nurl = '{url}'")
    assert error.code == "config.secret"
    assert error.message == (
        f"notify.receiver.url in {file} must be written env:NAME, "
        "with the URL itself in the environment"
    )
    assert error.hint == "for example env:WEBHOOK_URL"


@pytest.mark.parametrize(
    "text",
    [
        "[[notify.receiver]]\nname = 'URL'",
        "[[notify.receiver]]\nname = ['URL']",
        "[[notify.receiver]]\nname = 'webhook'\nurl = ['URL']",
        "[[notify.receiver]]\nname = 'webhook'\nurls = 'URL'",
        "[[notify.receiver]]\nname = 'webhook'\npath = ['URL']",
        "[notify]\nreceiver = 'URL'",
        "[notify]\nurl = 'URL'",
        "notify = 'URL'",
    ],
)
def test_a_secret_is_never_repeated_however_it_is_written(file: Path, text: str) -> None:
    error = refusal(file, text.replace("URL", f"https://hooks.example.org/{SECRET}"))
    assert SECRET not in error.message + error.hint + repr(error.__cause__)
