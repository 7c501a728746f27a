"""Bad input: the right exit code, one clear line, nothing half written, no secret told."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from support.commands import (
    AS_OF,
    BARS,
    NEXT,
    Done,
    candles,
    good,
    listing,
    query,
    run,
    state,
    write,
)
from support.loopback import KEY, Loopback, Reply, as_json, html, reset, truncated_json

CSV = "open_time,open,high,low,close,volume\n"
ROW = "1717199400,1,2,1,2,1\n"


def refused(done: Done, plain: Done, exit_code: int, code: str) -> str:
    """Check both faces of an error; returns its message."""
    assert done.code == plain.code == exit_code, done.err
    assert done.error["code"] == code
    assert done.error["message"]
    assert done.error["hint"]
    assert plain.out == ""
    told = [line for line in plain.err.splitlines() if line.startswith("error: ")]
    assert told == [f"error: {done.error['message']} ({done.error['hint']})"]
    for text in (done.err, plain.err):
        assert "Traceback" not in text
        assert KEY not in text
    return done.error["message"]


def both(*arguments: str | Path) -> tuple[Done, Done]:
    return run(*arguments, "--json"), run(*arguments)


INIT = [
    (("--source", "nasdaq"), 2, "config.source", "there is no source 'nasdaq'"),
    (("--source", "simm"), 2, "config.source", "there is no source 'simm'"),
    (("--source", "sim", "--symbol", "FOO/EUR"), 2, "config.symbol", "sim does not trade FOO/EUR"),
    (("--source", "sim", "--symbol", "btc"), 2, "config.symbol", "'btc' is not a symbol"),
    (("--source", "sim", "--days", "-1"), 2, "config.invalid", "data.days = -1"),
    (("--source", "sim", "--days", "0"), 2, "config.invalid", "data.days = 0"),
    (("--source", "sim", "--trials", "-1"), 2, "usage", "Invalid value for '--trials'"),
    (("--source", "sim", "--seed", "-1"), 2, "usage", "Invalid value for '--seed'"),
    (("--source", "sim", "--seed", "4294967296"), 2, "usage", "Invalid value for '--seed'"),
    (("--source", "sim", "--as-of", "2010-01-01"), 3, "state.no_candles", "has no candles"),
    (("--source", "file"), 2, "config.path", "source file needs to know which files"),
    (("--source", "file", "--path", "none.csv"), 4, "source.no_file", "there is no file"),
    (("--config", "none.toml"), 2, "config.file", "cannot read the configuration none.toml"),
    (("--config", "."), 2, "config.file", "cannot read the configuration ."),
]


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize(
    ("options", "exit_code", "code", "what"), INIT, ids=[" ".join(i[0]) for i in INIT]
)
def test_init_refuses_and_leaves_the_folder_as_it_was(
    tmp_path: Path, options: tuple[str, ...], exit_code: int, code: str, what: str, exists: bool
) -> None:
    folder = tmp_path / "w"
    if exists:
        (folder / "logs").mkdir(parents=True)
        (folder / "mine.txt").write_text("mine", encoding="utf-8")
    before = listing(tmp_path)
    as_of = () if "--as-of" in options else ("--as-of", AS_OF)
    message = refused(*both("init", "-w", folder, *options, *as_of), exit_code, code)
    assert what in message
    assert listing(tmp_path) == before


FILES = [
    ("", "source.empty_file", "is empty"),
    (CSV, "source.empty_file", "holds no candle"),
    (CSV.replace("close", "last") + ROW, "source.bad_file", "has no column 'close'"),
    (CSV.replace("open_time", "when") + ROW, "source.bad_file", "has no time column"),
    (CSV + ROW.replace(",2,1,2,", ",much,1,2,"), "source.bad_file", "holds 'much'"),
    (CSV + ROW.replace("1717199400", "noon"), "source.bad_file", "holds 'noon'"),
]


@pytest.mark.parametrize(("text", "code", "what"), FILES, ids=[f[2] for f in FILES])
def test_a_bad_file_is_told_and_nothing_is_left(
    tmp_path: Path, text: str, code: str, what: str
) -> None:
    file = tmp_path / "BTC-EUR.csv"
    file.write_text(text, encoding="utf-8")
    options = ("--source", "file", "--path", file, "--as-of", "2024-06-01T00:00:00Z")
    message = refused(*both("init", "-w", tmp_path / "w", *options), 4, code)
    assert str(file) in message
    assert what in message
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(("text", "code", "what"), FILES, ids=[f[2] for f in FILES])
def test_a_bad_file_stores_nothing_in_a_workspace(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, text: str, code: str, what: str
) -> None:
    file = workspace.parent / "BTC-EUR.csv"
    file.write_text(text.replace("17171994", "17173728"), encoding="utf-8")
    monkeypatch.setenv("CRYPTOCAST_SOURCE__PATH", str(file))
    before = state(workspace)
    assert what in refused(*both("fetch", "-w", workspace, "--as-of", NEXT), 4, code)
    assert state(workspace) == before


def test_unsorted_repeated_and_future_rows_are_put_right(tmp_path: Path) -> None:
    c = candles(bars=BARS + 10)
    file = write(tmp_path / "BTC-EUR.csv", c)
    head, *rows = file.read_text(encoding="utf-8").splitlines()
    mixed = [*rows[::-1], *rows[:50]]
    file.write_text("\n".join([head, *mixed]) + "\n", encoding="utf-8")
    toml = f'[source]\nname = "file"\npath = "{file}"\n'
    (tmp_path / "cryptocast.toml").write_text(toml, encoding="utf-8")
    (market,) = good("fetch", "-w", tmp_path, "--as-of", AS_OF)["markets"]
    assert (market["new"], market["missing"], market["rejected"]) == (BARS, 0, 0)
    stored = query(
        tmp_path, "SELECT epoch(open_time)::BIGINT, close FROM candles ORDER BY open_time"
    )
    expected = list(zip(c.open_time.tolist(), c.close.tolist(), strict=True))[:BARS]
    assert stored == expected


def test_impossible_rows_are_refused_one_by_one_with_an_example(tmp_path: Path) -> None:
    file = write(tmp_path / "BTC-EUR.csv", candles(bars=BARS))
    lines = file.read_text(encoding="utf-8").splitlines()
    parts = lines[-1].split(",")
    lines[-1] = ",".join([parts[0], "-1", *parts[2:]])
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    toml = f'[source]\nname = "file"\npath = "{file}"\n'
    (tmp_path / "cryptocast.toml").write_text(toml, encoding="utf-8")
    done = run("fetch", "-w", tmp_path, "--as-of", AS_OF, "--json")
    (market,) = done.data["markets"]
    assert (market["new"], market["rejected"], market["missing"]) == (BARS - 1, 1, 1)
    assert (
        "warning: file:BTC/EUR:5m: 1 row refused, for example 2024-06-02T23:55:00Z: "
        "a price is not above zero (open -1"
    ) in done.err


SETTINGS = [
    ("[market]\nsymbol = 1", "config.unknown", "unknown setting 'market.symbol'"),
    ("[markets]\n", "config.unknown", "unknown setting 'markets'"),
    ('[data]\ndays = "seven"', "config.invalid", 'data.days = "seven"'),
    ("[model]\nhorizon = 0", "config.invalid", "model.horizon = 0"),
    ("[model]\nlevels = [0.1, 0.5]", "config.invalid", "model.levels"),
    (f'[source]\napi_key = "{KEY}"', "config.secret", "source.api_key"),
    (f'[source]\nbase_url = "https://me:{KEY}@h/v3"', "config.secret", "source.base_url"),
    ('[mlflow]\ntracking_uri = "postgresql://me:pw@h/db"', "config.secret", "tracking_uri"),
    ("this is no toml", "config.toml", "is not valid TOML"),
    ("market = 1", "config.invalid", "market"),
]


@pytest.mark.parametrize(("text", "code", "what"), SETTINGS, ids=[s[2] for s in SETTINGS])
def test_bad_settings_are_told_by_their_name(
    tmp_path: Path, text: str, code: str, what: str
) -> None:
    file = tmp_path / "given.toml"
    file.write_text(text, encoding="utf-8")
    message = refused(*both("init", "-w", tmp_path / "w", "--config", file), 2, code)
    assert what in message
    assert "pw" not in message
    folder = tmp_path / "there"
    folder.mkdir()
    shutil.copy(file, folder / "cryptocast.toml")
    assert what in refused(*both("status", "-w", folder), 2, code)
    assert listing(tmp_path) == {"given.toml", "there", "there/cryptocast.toml"}


def test_a_bad_variable_is_told_by_its_name(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_DATA__DAYS", "soon")
    message = refused(*both("status", "-w", workspace), 2, "config.invalid")
    assert message == 'data.days = "soon" in CRYPTOCAST_DATA__DAYS is not allowed'


QUOTA = as_json({"error": "You exceeded your usage limit"}, 403)
MINUTE = as_json({"error": "Too many requests per minute"}, 429)
FAULTS: dict[str, tuple[str | None, list[Reply], str]] = {
    "no key": (None, [], "source.no_key"),
    "a bad key": ("another-key", [], "source.bad_key"),
    "a used up plan": (KEY, [QUOTA], "source.quota"),
    "HTML": (KEY, [html()], "source.bad_answer"),
    "truncated JSON": (KEY, [truncated_json()], "source.bad_answer"),
    "too many a minute": (KEY, [MINUTE] * 9, "source.rate_limited"),
    "a fault of its own": (KEY, [as_json({"error": "oops"}, 500)] * 9, "source.http"),
    "a torn line": (KEY, [reset()] * 9, "source.unreachable"),
    "nobody there": (KEY, [], "source.unreachable"),
}
Server = Callable[[str], None]


@pytest.fixture
def coincap(monkeypatch: pytest.MonkeyPatch, impatient: None) -> Server:
    """Let the commands of a test meet CoinCap with a fault."""

    def meet(fault: str) -> None:
        key, replies, _ = FAULTS[fault]
        if key is not None:
            monkeypatch.setenv("COINCAP_API_KEY", key)
        server.faults.extend(replies * 3)  # fetch twice, then a forecast
        url = server.base_url("coincap")
        if fault == "nobody there":
            url = "http://127.0.0.1:1/coincap"
        monkeypatch.setenv("CRYPTOCAST_SOURCE__NAME", "coincap")
        monkeypatch.setenv("CRYPTOCAST_SOURCE__BASE_URL", url)
        monkeypatch.setenv("CRYPTOCAST_MARKET__SYMBOLS", '["BTC/USD"]')

    with Loopback({"BTC/USD": candles("BTC/USD")}) as server:
        yield meet  # type: ignore[misc]


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_coincap_that_fails_leaves_no_workspace(
    tmp_path: Path, coincap: Server, fault: str
) -> None:
    coincap(fault)
    options = ("--source", "coincap", "--days", "1", "--as-of", AS_OF)
    refused(*both("init", "-w", tmp_path / "w", *options), 4, FAULTS[fault][2])
    assert listing(tmp_path) == set()


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_coincap_that_fails_stores_nothing_and_costs_no_forecast(
    workspace: Path, coincap: Server, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("CRYPTOCAST_SOURCE__NAME", "sim")
        patch.setenv("CRYPTOCAST_MARKET__SYMBOLS", '["coincap:BTC/USD:5m"]')
    file = write(workspace.parent / "import" / "BTC-USD.csv", candles("BTC/USD", bars=BARS))
    own_candles(workspace, file)
    coincap(fault)
    before = state(workspace)
    fetch = ("fetch", "-w", workspace, "--as-of", NEXT)
    if fault == "a used up plan":  # after which nothing is asked any more: once is enough
        assert run(*fetch, "--json").error["code"] == FAULTS[fault][2]
    else:
        refused(*both(*fetch), 4, FAULTS[fault][2])
    assert state(workspace) == before
    done = run("forecast", "--once", "-w", workspace, "--as-of", NEXT, "--json")
    assert done.code == 0, done.err
    (forecast,) = done.data["forecasts"]
    assert (forecast["market"], forecast["stale_bars"]) == ("coincap:BTC/USD:5m", 1)
    assert "warning: coincap:BTC/USD:5m: coincap" in done.err
    assert KEY not in done.out + done.err


def own_candles(folder: Path, file: Path) -> None:
    """Put a file's candles into the store as CoinCap's, as an earlier fetch would have."""
    import duckdb

    with duckdb.connect(str(folder / "cryptocast.duckdb")) as connection:
        connection.execute(
            "INSERT INTO candles SELECT 'coincap:BTC/USD:5m', to_timestamp(open_time), open, high, "
            "low, close, volume, 'backfill', now() FROM read_csv(?)",
            [str(file)],
        )
