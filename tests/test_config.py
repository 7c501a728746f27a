from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import convert

from cryptocast.config import (
    FILE_NAME,
    SECTIONS,
    Secrets,
    Settings,
    SourceSettings,
    load,
    read_text,
    render,
)
from cryptocast.config.learning import FallbackSettings
from cryptocast.errors import ConfigError
from cryptocast.values import Market

SECRET = "hunter2-hunter2"
INTERVALS = "must be one of 1m, 5m, 15m, 30m, 1h, 2h, 6h, 12h, 1d"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / FILE_NAME


def refusal(
    file: Path, text: str, environ: dict[str, str] | None = None, **options: Any
) -> ConfigError:
    file.write_text(text, encoding="utf-8")
    named = {key.replace("__", "."): value for key, value in options.items()}
    with pytest.raises(ConfigError) as caught:
        load(file, environ or {}, named)
    assert caught.value.exit_code == 2
    return caught.value


def test_without_a_file_the_settings_are_the_defaults_of_the_contract() -> None:
    settings, origins = load(None, {})
    assert origins == {}
    assert settings.market.symbols == ("BTC/EUR",)
    assert settings.market.interval == "5m"
    assert settings.source.name == "auto"
    assert (settings.data.days, settings.data.test_bars, settings.data.gate_bars) == (7, 24, 288)
    assert (settings.model.kind, settings.model.lookback, settings.model.horizon) == (
        "lstm", 64, 24
    )  # fmt: skip
    assert settings.model.levels == tuple(round(0.05 * k, 2) for k in range(1, 20))
    assert (settings.tune.trials, settings.tune.timeout_seconds) == (10, None)
    assert (settings.loop.delay_seconds, settings.loop.wait_seconds) == (10, 30)
    assert (settings.loop.late_seconds, settings.loop.max_stale_bars) == (150, 3)
    assert settings.store.wait_seconds == 30
    assert settings.mlflow.tracking_uri is None


def test_an_empty_file_changes_nothing(file: Path) -> None:
    file.touch()
    assert load(file, {}) == (Settings(), {})


def test_options_go_before_variables_before_the_file_before_the_defaults(file: Path) -> None:
    file.write_text("[data]\ndays = 2\ntest_bars = 20\ngate_bars = 200\n")
    environ = {"CRYPTOCAST_DATA__TEST_BARS": "30", "CRYPTOCAST_DATA__GATE_BARS": "300"}
    settings, origins = load(file, environ, {"data.gate_bars": 400})
    data = settings.data
    assert (data.validation_bars, data.days, data.test_bars, data.gate_bars) == (288, 2, 30, 400)
    assert origins == {
        "data.days": "file",
        "data.test_bars": "environment",
        "data.gate_bars": "option",
    }


def test_lists_and_tables_in_variables_are_json() -> None:
    settings, _ = load(
        None,
        {
            "CRYPTOCAST_MARKET__SYMBOLS": '["BTC/USD", "ETH/USD"]',
            "CRYPTOCAST_MODEL__LEVELS": "[0.25, 0.5, 0.75]",
            "CRYPTOCAST_SOURCE__COLUMNS": '{"close": "last"}',
            "CRYPTOCAST_SOURCE__SLUGS": '{"BTC": "bitcoin"}',
        },
    )
    assert settings.market.symbols == ("BTC/USD", "ETH/USD")
    assert settings.model.levels == (0.25, 0.5, 0.75)
    assert settings.source.columns == {"close": "last"}
    assert settings.source.slugs == {"BTC": "bitcoin"}


def test_text_in_a_variable_is_no_json() -> None:
    environ = {"CRYPTOCAST_SOURCE__NAME": "123", "CRYPTOCAST_SOURCE__PATH": "2024"}
    settings, _ = load(None, environ, cwd=Path("/data"))
    assert settings.source.name == "123"
    assert settings.source.path == "/data/2024"


@pytest.mark.parametrize("name", ["CRYPTOCAST_WORKSPACE", "OTHER_DATA__DAYS", "cryptocast_x"])
def test_other_variables_are_no_settings(name: str) -> None:
    assert load(None, {name: "x"}) == (Settings(), {})


def test_a_relative_path_is_relative_to_where_it_was_written(file: Path) -> None:
    file.write_text("[source]\npath = ['a.csv', '/b/*.csv', '../c']\n")
    found, _ = load(file, {}, cwd=Path("/here"))
    folder = file.parent
    assert found.source.paths() == (folder / "a.csv", Path("/b/*.csv"), folder.parent / "c")
    environ = {"CRYPTOCAST_SOURCE__PATH": "a.csv"}
    assert load(file, environ, cwd=Path("/here"))[0].source.paths() == (Path("/here/a.csv"),)
    found, _ = load(file, environ, {"source.path": "b"}, cwd=Path("/there"))
    assert found.source.paths() == (Path("/there/b"),)
    assert Settings().source.paths() == ()


def test_a_path_may_begin_at_home(file: Path) -> None:
    file.write_text("[source]\npath = '~/candles'\n")
    assert load(file, {})[0].source.path == os.path.expanduser("~/candles")  # noqa: PTH111


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[modl]\nkind = 'lstm'", "unknown setting 'modl' in {}", "did you mean 'model'?"),
        (
            "[model]\nlookbak = 64",
            "unknown setting 'model.lookbak' in {}",
            "did you mean 'model.lookback'?",
        ),
        (
            "zzz = 1",
            "unknown setting 'zzz' in {}",
            "known: " + ", ".join(SECTIONS),
        ),
        (
            "[store]\nzzzzzzzz = 1",
            "unknown setting 'store.zzzzzzzz' in {}",
            "known: store.wait_seconds, store.mirror",
        ),
    ],
)
def test_an_unknown_setting_is_refused_with_a_guess(
    file: Path, text: str, message: str, hint: str
) -> None:
    error = refusal(file, text)
    assert error.code == "config.unknown"
    assert (error.message, error.hint) == (message.format(file), hint)


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        (
            "CRYPTOCAST_DATA__DAY",
            "unknown setting 'data.day' in CRYPTOCAST_DATA__DAY",
            "did you mean 'data.days'?",
        ),
        (
            "CRYPTOCAST_DAT__DAYS",
            "unknown setting 'CRYPTOCAST_DAT__DAYS' in the environment",
            "did you mean 'CRYPTOCAST_DATA__'?",
        ),
        (
            "CRYPTOCAST_DATA_DAYS",
            "unknown setting 'CRYPTOCAST_DATA_DAYS' in the environment",
            "did you mean 'CRYPTOCAST_DATA__'?",
        ),
    ],
)
def test_an_unknown_variable_is_refused_with_a_guess(
    file: Path, name: str, message: str, hint: str
) -> None:
    error = refusal(file, "", {name: "3"})
    assert error.code == "config.unknown"
    assert (error.message, error.hint) == (message, hint)


@pytest.mark.parametrize(
    ("text", "shown", "hint"),
    [
        ("[data]\ndays = 'seven'", 'data.days = "seven"', "must be a number"),
        ("[data]\ndays = true", "data.days = true", "must be a number"),
        ("[data]\ndays = 2024-01-01", 'data.days = "2024-01-01"', "must be a number"),
        ("[data]\ndays = 0", "data.days = 0", "must be a number above 0"),
        ("[data]\ndays = inf", "data.days = Infinity", "must be a number of at most 3650"),
        ("[data]\ntest_bars = 1.5", "data.test_bars = 1.5", "must be a whole number"),
        (
            "[store]\nwait_seconds = nan",
            "store.wait_seconds = NaN",
            "must be a number of at least 0",
        ),
        ("[store]\nwait_seconds = inf", "store.wait_seconds = Infinity", "must be a finite number"),
        ("[model]\nlookback = 4", "model.lookback = 4", "must be a whole number of at least 8"),
        ("[model]\nhorizon = 999", "model.horizon = 999", "must be a whole number of at most 288"),
        ("[market]\ninterval = '4m'", 'market.interval = "4m"', INTERVALS),
        ("[market]\nsymbols = 'BTC/EUR'", 'market.symbols = "BTC/EUR"', "must be an array"),
        (
            "[market]\nsymbols = []",
            "market.symbols = []",
            "must be an array that is not empty",
        ),
        ("[market]\nsymbols = [1]", "market.symbols = 1", "must be text"),
        ("[source]\nslugs = 4", "source.slugs = 4", "must be a table"),
        (
            "[source]\ncolumns = { time = 'ts' }",
            'source.columns = {"time": "ts"}',
            "'time' is not one of open_time, open, high, low, close, volume",
        ),
        (
            "[source]\nbase_url = 'api.example.org'",
            'source.base_url = "api.example.org"',
            "must start with http:// or https://",
        ),
        (
            "[source]\nbase_url = 'https://api.coincap.io/v2'",
            'source.base_url = "https://api.coincap.io/v2"',
            "CoinCap v2 (api.coincap.io) was shut on 2025-03-31; leave base_url out for v3",
        ),
        (
            "[model]\nlevels = [0.1, 0.5]",
            "model.levels = [0.1, 0.5]",
            "must be at least 3 numbers between 0 and 1",
        ),
        (
            "[model]\nlevels = [0, 0.5, 1]",
            "model.levels = [0, 0.5, 1]",
            "must be at least 3 numbers between 0 and 1",
        ),
        (
            "[model]\nlevels = [0.1, 0.5, 0.8]",
            "model.levels = [0.1, 0.5, 0.8]",
            "must be evenly spaced and rising",
        ),
        (
            "[model]\nlevels = [0.9, 0.5, 0.1]",
            "model.levels = [0.9, 0.5, 0.1]",
            "must be evenly spaced and rising",
        ),
        (
            "[model]\nlevels = [0.2, 0.4, 0.6, 0.8]",
            "model.levels = [0.2, 0.4, 0.6, 0.8]",
            "must hold 0.5",
        ),
        (
            "[model]\nlevels = [0.5, 0.6, 0.7]",
            "model.levels = [0.5, 0.6, 0.7]",
            "must be symmetric about 0.5",
        ),
        ("[tune]\ntimeout_seconds = 0", "tune.timeout_seconds = 0", "must be a number above 0"),
        ("[tune]\ntrials = -1", "tune.trials = -1", "must be a whole number of at least 0"),
    ],
)
def test_an_impossible_value_is_refused_with_what_is_allowed(
    file: Path, text: str, shown: str, hint: str
) -> None:
    error = refusal(file, text)
    assert error.code == "config.invalid"
    assert (error.message, error.hint) == (f"{shown} in {file} is not allowed", hint)


def test_the_refusal_says_where_the_value_stands(file: Path) -> None:
    error = refusal(file, "", {"CRYPTOCAST_MODEL__LOOKBACK": "4"})
    assert error.message == "model.lookback = 4 in CRYPTOCAST_MODEL__LOOKBACK is not allowed"
    error = refusal(file, "[model]\nlookback = 5", model__lookback=4)
    assert error.message == "model.lookback = 4 in the command line is not allowed"


def test_a_value_where_a_table_belongs_is_refused(file: Path) -> None:
    error = refusal(file, "model = 'lstm'")
    assert error.message == f"model in {file} is a value where a table belongs"
    assert error.hint == "write it as [model]"


def test_broken_toml_is_refused_with_its_place(file: Path) -> None:
    error = refusal(file, "[data]\ndays = \n")
    assert error.code == "config.toml"
    assert error.message == f"{file} is not valid TOML: Invalid value (at line 2, column 8)"
    assert error.hint == "mend that line"


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_text(tmp_path / "none.toml")
    assert caught.value.code == "config.file"
    assert caught.value.message == (
        f"cannot read the configuration {tmp_path / 'none.toml'}: No such file or directory"
    )
    assert caught.value.hint == "check the path that --config or the workspace names"
    with pytest.raises(ConfigError, match="Is a directory"):
        load(tmp_path, {})


def test_a_file_that_is_no_text_is_refused(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    assert caught.value.message == f"cannot read the configuration {file}: it is not UTF-8 text"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"[source]\napi_key = '{SECRET}'",
            "source.api_key in {} must be written env:NAME, with the key itself in the environment",
        ),
        (
            f"[source]\nbase_url = 'https://u:{SECRET}@host/v3'",
            "source.base_url in {} must hold neither a user, a password nor a query",
        ),
        (
            f"[source]\nbase_url = 'https://host/v3?apiKey={SECRET}'",
            "source.base_url in {} must hold neither a user, a password nor a query",
        ),
        (
            f"[mlflow]\ntracking_uri = 'postgresql://u:{SECRET}@host/db'",
            "mlflow.tracking_uri in {} holds a user, password or query: write env:NAME and put it "
            "there",
        ),
    ],
)
def test_a_secret_in_the_file_is_refused(file: Path, text: str, message: str) -> None:
    error = refusal(file, text)
    assert (error.code, error.message) == ("config.secret", message.format(file))
    alone = "write scheme, host and path alone; a key goes into api_key, as env:NAME"
    examples = ("for example env:COINCAP_API_KEY", "for example env:TRACKING_SERVER")
    assert (error.hint == alone) if "base_url" in text else (error.hint in examples)
    assert SECRET not in error.message + error.hint


@pytest.mark.parametrize(
    "text",
    [
        f"[source]\napi_key = ['{SECRET}']",
        f"[source]\napi_key = {{ key = '{SECRET}' }}",
        f"[source]\napikey = '{SECRET}'",
        f"[source]\nbase_url = 'ftp://u:{SECRET}@host'",
        f"[source]\nbase_url = 'u:{SECRET}@host'",
        f"[source]\nbase_url = 'https://api.coincap.io/v2?apiKey={SECRET}'",
        f"[source]\nbase_url = ['https://u:{SECRET}@host']",
        f"source = 'https://u:{SECRET}@host'",
        f"mlflow = 'postgresql://u:{SECRET}@host/db'",
        f"[mlflow]\ntracking_uri = ['postgresql://u:{SECRET}@host/db']",
        f"[mlflow]\ntracking_uri = 'postgresql://u:pa/{SECRET}@host/db'",
        f"[mlflow]\ntracking_uri = 'postgresql:///db?user=u&password={SECRET}'",
        f"[mlflow]\ntracking_uri = 'mssql+pyodbc:///?odbc_connect={SECRET}'",
        f"[mlflow]\ntracking_uri = 'u:{SECRET}@host/db'",
        f"[mlflow]\nuri = 'postgresql://u:{SECRET}@host/db'",
        f"[source]\npath = 'https://u:{SECRET}@host/candles.csv'",
        f"[source]\npath = ['s3://bucket/x?key={SECRET}']",
        f"[metrics]\nfile = 'https://u:{SECRET}@host/x.prom'",
        f"api_key = '{SECRET}'",
        f"[source]\napi_key = {SECRET}",
    ],
)
def test_a_secret_is_never_repeated_however_it_is_written(file: Path, text: str) -> None:
    error = refusal(file, text)
    assert SECRET not in error.message + error.hint + repr(error.__cause__)


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:////home/me@work/mlflow.db",
        "http://127.0.0.1:5000",
        "https://mlflow.example.org/team",
        "env:MLFLOW_URI",
    ],
)
def test_an_address_without_a_secret_is_taken(file: Path, uri: str) -> None:
    file.write_text(f"[mlflow]\ntracking_uri = '{uri}'\n")
    assert load(file, {})[0].mlflow.tracking_uri == uri


def test_a_secret_is_looked_up_by_its_name_and_never_shown() -> None:
    secrets = Secrets({"COINCAP_API_KEY": SECRET, "EMPTY": ""})
    assert secrets.resolve("env:COINCAP_API_KEY") == SECRET
    assert secrets.resolve("env:EMPTY") is None
    assert secrets.resolve("env:OTHER") is None
    assert SECRET not in repr(secrets)


def test_the_markets_are_those_of_the_symbols_each_once(file: Path) -> None:
    file.write_text(
        "[market]\nsymbols = ['BTC/EUR', 'kraken:ETH/EUR:5m', 'bitvavo:BTC/EUR:5m']\n"
        "[source]\nname = 'bitvavo'\n"
    )
    assert load(file, {})[0].markets() == (
        Market("bitvavo", "BTC", "EUR", "5m"),
        Market("kraken", "ETH", "EUR", "5m"),
    )


def test_markets_of_two_intervals_are_refused(file: Path) -> None:
    file.write_text("[market]\nsymbols = ['BTC/EUR', 'kraken:ETH/EUR:1h']\n")
    with pytest.raises(ConfigError) as caught:
        load(file, {})[0].markets()
    assert caught.value.code == "config.interval"
    assert caught.value.message == "kraken:ETH/EUR:1h and auto:BTC/EUR:5m differ in interval"


def test_the_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        Settings().data.days = 3  # type: ignore[misc]


def test_rendered_defaults_load_as_the_defaults(file: Path) -> None:
    file.write_text(render(Settings()))
    assert load(file, {})[0] == Settings()
    lines = file.read_text().splitlines()
    for section, kind in SECTIONS.items():
        assert f"[{section}]" in lines
        for key, described in kind.__annotations__.items():
            comment = lines.index(f"# {described.__metadata__[-1]}")
            written = lines[comment + 1].lstrip("# ")
            assert written.startswith((f"{key} =", f"[[{section}.{key}]]"))


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
numbers = st.floats(1e-9, 3650) | st.integers(1, 3650)
chosen = st.builds(
    lambda symbols, interval, name, path, columns, slugs, days, half, timeout, uri: {
        "market": {"symbols": symbols, "interval": interval},
        "source": {"name": name, "path": path, "columns": columns, "slugs": slugs},
        "data": {"days": days},
        "model": {"levels": [k / (2 * half) for k in range(1, 2 * half)]},
        "tune": {"timeout_seconds": timeout},
        "mlflow": {"tracking_uri": uri},
    },
    st.lists(texts, min_size=1, max_size=3),
    st.sampled_from(["1m", "5m", "1d"]),
    texts,
    st.none()
    | st.lists(texts.map(lambda text: "/" + text.replace("/", "").replace(".", "")), max_size=3),
    st.dictionaries(st.sampled_from(["open_time", "close"]), texts),
    st.dictionaries(texts, texts, max_size=3),
    numbers,
    st.integers(2, 40),
    st.none() | numbers,
    st.none() | st.just("env:MLFLOW"),
)


@settings(max_examples=40)
@given(chosen)
def test_rendered_settings_load_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
) -> None:
    made = convert(values, Settings)
    file = tmp_path_factory.getbasetemp() / "drawn.toml"
    file.write_text(render(made), encoding="utf-8", newline="")
    loaded, _ = load(file, {})
    assert loaded == made
    assert math.isclose(loaded.data.days, made.data.days, rel_tol=0)


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[1] / "configs").glob("*.toml")), ids=lambda p: p.name
)
def test_every_configuration_that_is_shipped_is_valid(path: Path) -> None:
    settings, _ = load(path, {})
    assert settings.markets()


def test_fallback_sources_are_an_array_of_tables_that_a_person_may_append_to(
    tmp_path: Path,
) -> None:
    file = tmp_path / FILE_NAME
    added = '\n[[source.fallback]]\nname = "kraken"\nbase_url = "http://127.0.0.1/0/public"\n'
    file.write_text(render(Settings()) + added, encoding="utf-8")
    settings, _ = load(file, {})
    assert [(f.name, f.base_url) for f in settings.source.fallback] == [
        ("kraken", "http://127.0.0.1/0/public")
    ]
    file.write_text(render(settings) + '\n[[source.fallback]]\nname = "coinbase"\n')
    both, _ = load(file, {})
    assert [f.name for f in both.source.fallback] == ["kraken", "coinbase"]
    file.write_text(render(both), encoding="utf-8")
    assert load(file, {})[0] == both


def test_fallback_sources_in_a_variable_are_json() -> None:
    settings, _ = load(None, {"CRYPTOCAST_SOURCE__FALLBACK": '[{"name": "kraken"}]'})
    assert settings.source.fallback[0].name == "kraken"


def test_a_refused_setting_that_holds_an_address_is_not_repeated(file: Path) -> None:
    error = refusal(file, f"[market]\nsymbols = 'http://u:{SECRET}@host'")
    assert error.message == f"market.symbols in {file} is not allowed"


@pytest.mark.parametrize(
    ("table", "message", "hint"),
    [
        (
            'nmae = "kraken"',
            "unknown setting 'source.fallback.nmae' in {file}",
            "did you mean 'source.fallback.name'?",
        ),
        ("", "source.fallback.name in {file} is missing", "write name = ..."),
        ("name = 3", "source.fallback.name in {file} is not allowed", "must be text"),
        (
            'name = "kraken"\nbase_url = "ftp://x"',
            'source.fallback.base_url = "ftp://x" in {file} is not allowed',
            "must start with http:// or https://",
        ),
        (
            'name = "kraken"\nbase_url = "https://u:hush@x"',
            "source.fallback.base_url in {file} must hold neither a user, a password nor a query",
            "write scheme, host and path alone; a key goes into api_key, as env:NAME",
        ),
        (
            'name = "a"\n[[source.fallback]]\nname = "a"',
            'source.fallback = [{{"name": "a"}}, {{"name": "a"}}] in {file} is not allowed',
            "must name each source once",
        ),
    ],
)
def test_a_wrong_fallback_source_is_named(
    tmp_path: Path, table: str, message: str, hint: str
) -> None:
    file = tmp_path / FILE_NAME
    file.write_text(f"[[source.fallback]]\n{table}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    assert caught.value.message == message.format(file=file)
    assert caught.value.hint == hint
    assert "hush" not in f"{caught.value!r}"


def test_each_source_has_the_root_that_was_written_for_it() -> None:
    settings = SourceSettings(
        name="bitvavo",
        base_url="http://a/v2",
        fallback=(
            FallbackSettings(name="kraken", base_url="http://b"),
            FallbackSettings(name="coinbase"),
        ),
    )
    roots = {name: settings.root(name) for name in ("bitvavo", "kraken", "coinbase", "binance")}
    assert roots == {
        "bitvavo": "http://a/v2",
        "kraken": "http://b",
        "coinbase": None,
        "binance": None,
    }
