"""config: each setting with its value and where it came from; no secret is ever shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cryptocast.cli.root.hints import as_typed
from cryptocast.config import SECTIONS
from support.commands import good, run

TOML = """
[market]
symbols = ["BTC/USD"]
[[source.fallback]]
name = "kraken"
[mlflow]
tracking_uri = "env:MY_MLFLOW"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MLFLOW_TRACKING_URI", "COINCAP_API_KEY", "MY_MLFLOW"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "cryptocast.toml").write_text(TOML, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[source]\nname = "bitvavvo"', "there is no source 'bitvavvo', named in source.name"),
        (
            '[[source.fallback]]\nname = "krakn"',
            "there is no source 'krakn', named in source.fallback.name",
        ),
        (
            '[market]\nsymbols = ["foo:BTC/EUR:5m"]',
            "there is no source 'foo', named in market.symbols",
        ),
        ('[model]\nkind = "lstmm"', "there is no model 'lstmm', named in model.kind"),
        (
            '[[notify.receiver]]\nname = "slack"',
            "there is no receiver 'slack', named in notify.receiver.name",
        ),
    ],
)
@pytest.mark.parametrize("command", [("config",), ("status",), ("forecast", "--once")])
def test_a_name_that_nothing_has_is_refused_by_every_command(
    tmp_path: Path, text: str, message: str, command: tuple[str, ...]
) -> None:
    (tmp_path / "cryptocast.toml").write_text(text, encoding="utf-8")
    done = run(*command, "-w", tmp_path, "--json")
    assert (done.code, done.error["message"]) == (2, message)
    assert "known: " in done.error["hint"]
    assert [p.name for p in tmp_path.iterdir()] == ["cryptocast.toml"]


def told(folder: Path, *key: str) -> dict[str, dict[str, Any]]:
    return {s["key"]: s for s in good("config", *key, "-w", folder)["settings"]}


def test_every_setting_is_listed_with_its_meaning(folder: Path) -> None:
    keys = [f"{s}.{name}" for s in SECTIONS for name in SECTIONS[s].__annotations__]
    found = told(folder)
    assert list(found) == keys
    assert all(setting["meaning"] for setting in found.values())


def test_a_value_says_where_it_came_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTOCAST_DATA__DAYS", "3")
    (folder / ".env").write_text("CRYPTOCAST_TUNE__TRIALS=4\n", encoding="utf-8")
    found = told(folder)
    shown = ("market.symbols", "data.days", "tune.trials", "model.horizon", "source.fallback")
    assert [[found[k][name] for name in ("value", "from", "place")] for k in shown] == [
        [["BTC/USD"], "file", str(folder / "cryptocast.toml")],
        [3, "environment", "CRYPTOCAST_DATA__DAYS"],
        [4, "environment", "CRYPTOCAST_TUNE__TRIALS"],
        [24, "default", None],
        [[{"name": "kraken"}], "file", str(folder / "cryptocast.toml")],
    ]


def test_a_secret_is_named_and_whether_it_is_set_but_never_shown(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text("COINCAP_API_KEY=hush-hush\n", encoding="utf-8")
    found = told(folder)
    assert found["source.api_key"]["secrets"] == {"env:COINCAP_API_KEY": True}
    assert found["mlflow.tracking_uri"]["secrets"] == {"env:MY_MLFLOW": False}
    assert run("config", "source.api_key", "-w", folder).out == (
        "# where the key is: env:NAME, in the environment or .env\n"
        "source.api_key  env:COINCAP_API_KEY (set)  # default\n"
    )
    # MLflow's own variable goes before the setting.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:hush-hush@example.org")
    setting = told(folder)["mlflow.tracking_uri"]
    shown = ("env:MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_URI")
    assert (setting["value"], setting["place"]) == shown
    for options in ((), ("--json",)):
        done = run("config", "-w", folder, *options)
        assert "hush-hush" not in done.out + done.err


def test_a_person_reads_a_line_a_setting(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTOCAST_DATA__DAYS", "3")
    assert run("config", "data", "-w", folder).out == (
        f"# {folder / 'cryptocast.toml'}\n"
        "data.days             3.0  # CRYPTOCAST_DATA__DAYS\n"
        "data.test_bars        24  # default\n"
        "data.gate_bars        288  # default\n"
        "data.validation_bars  288  # default\n"
    )
    lines = {" ".join(line.split()) for line in run("config", "-w", folder).out.splitlines()}
    assert lines >= {
        'market.symbols ["BTC/USD"] # cryptocast.toml',
        'source.fallback [{ "name" = "kraken" }] # cryptocast.toml',
        "model.levels [0.05, 0.1, ..., 0.95] # default",
        "source.path - # default",
    }


@pytest.mark.parametrize(
    ("key", "hint"), [("data.dayz", "did you mean 'data.days'?"), ("dat", "did you mean 'data'?")]
)
def test_an_unknown_key_is_refused_with_the_nearest(folder: Path, key: str, hint: str) -> None:
    done = run("config", key, "-w", folder, "--json")
    assert (done.code, done.error) == (
        2,
        {
            "code": "config.unknown",
            "message": f"unknown setting '{key}' in the settings",
            "hint": hint,
        },
    )


def test_a_file_that_cannot_be_read_is_an_error_as_everywhere(folder: Path) -> None:
    (folder / "cryptocast.toml").write_text("[data]\ndays = -1\n", encoding="utf-8")
    done = run("config", "-w", folder, "--json")
    assert (done.code, done.error["code"]) == (2, "config.invalid")
    assert done.error["message"].startswith("data.days = -1 in ")


FILE = """[data]
# days of candles
days = 7  # a week

[tune]
# stop the study after this time
# timeout_seconds =
folds = 3
"""


@pytest.fixture
def commented(folder: Path) -> Path:
    (folder / "cryptocast.toml").write_text(FILE, encoding="utf-8")
    return folder


def test_a_setting_is_changed_in_its_place_and_comments_stay(commented: Path) -> None:
    file = commented / "cryptocast.toml"
    for key, text in (
        ("data.days", "14"),
        ("tune.timeout_seconds", "600"),
        ("loop.delay_seconds", "5"),
    ):
        (setting,) = good("config", "set", key, text, "-w", commented)["settings"]
        assert (setting["key"], setting["value"], setting["from"]) == (key, float(text), "file")
    changed = FILE.replace("days = 7 ", "days = 14 ")
    changed = changed.replace("# timeout_seconds =", "timeout_seconds = 600")
    assert file.read_text() == changed + "\n[loop]\ndelay_seconds = 5\n"
    (setting,) = good("config", "set", "tune.timeout_seconds", "null", "-w", commented)["settings"]
    assert (setting["value"], setting["from"]) == (None, "default")


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("data.dayz", "3", "unknown setting 'data.dayz' in the settings"),
        ("data.days", "some", 'data.days = "some" in the command line is not allowed'),
        ("model.kind", "lstmm", "there is no model 'lstmm', named in model.kind"),
        ("market.symbols", '["BTC"]', "'BTC' is not a symbol"),
        ("source.api_key", "sk-secret", "source.api_key in the command line must be written env:"),
        ("source.fallback", "[]", "source.fallback is an array of tables"),
    ],
)
def test_a_change_that_is_not_allowed_changes_nothing(
    commented: Path, key: str, text: str, message: str
) -> None:
    done = run("config", "set", key, text, "-w", commented, "--json")
    assert (done.code, (commented / "cryptocast.toml").read_text()) == (2, FILE)
    assert done.error["message"].startswith(message)
    assert "sk-secret" not in done.err


def test_a_change_mends_a_file_that_is_wrong_there_and_a_path_becomes_absolute(
    commented: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = commented / "cryptocast.toml"
    file.write_text(FILE.replace("days = 7", "days = 0"), encoding="utf-8")
    assert run("config", "-w", commented).code == 2
    assert good("config", "set", "data.days", "3", "-w", commented)["settings"][0]["value"] == 3
    monkeypatch.chdir(commented.parent)
    (setting,) = good("config", "set", "source.path", "x.csv", "-w", commented)["settings"]
    assert setting["value"] == str(commented.parent / "x.csv")


def test_a_variable_that_overrides_a_change_is_named(
    commented: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_DATA__DAYS", "3")
    done = run("config", "set", "data.days", "14", "-w", commented)
    assert done.err == "warning: CRYPTOCAST_DATA__DAYS overrides the file\n"
    assert "days = 14 " in (commented / "cryptocast.toml").read_text()


def test_set_without_a_key_and_a_value_says_how(commented: Path) -> None:
    for words in (("set",), ("set", "data.days"), ("data", "tune")):
        done = run("config", *words, "-w", commented)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert done.err.endswith(as_typed("(cryptocast config set data.days 14)\n"))
