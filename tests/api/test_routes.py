"""Each route: what it answers, and how it refuses what it cannot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.conftest import HOME, MARKETS, SYMBOLS, Client, Serve, at, ticked
from cryptocast.api import children, data, state
from cryptocast.api.data import MOST_CANDLES
from cryptocast.errors import ConfigError, StateError, UsageError
from cryptocast.values import iso
from cryptocast.workspace import Workspace
from support.commands import INTERVAL, NOW, run

BTC = SYMBOLS[0]


@pytest.fixture
def client(served: Path, serve: Serve) -> Client:
    return serve(served)


def error(response: object) -> tuple[int, str]:
    """The status and the code of a refusal, which has a message and a hint too."""
    document = response.json()["error"]  # type: ignore[attr-defined]  # of httpx
    assert set(document) == {"code", "message", "hint"}
    assert document["message"]
    return response.status_code, document["code"]  # type: ignore[attr-defined]  # of httpx


def test_the_markets_are_listed_with_what_is_stored_and_what_serves(client: Client) -> None:
    first, second = client.get("/markets").json()["markets"]
    assert (first["symbol"], second["symbol"]) == SYMBOLS
    assert first == {
        "market": MARKETS[0].id, "symbol": BTC, "source": "file", "base": "BTC", "quote": "EUR",
        "interval_seconds": INTERVAL, "rows": 2018, "first": "2024-05-27T00:00:00Z",
        "last": "2024-06-03T00:05:00Z", "origin": "2024-06-03T00:10:00Z", "version": "1",
    }  # fmt: skip


@pytest.mark.parametrize("path", ["forecast", "status"])
def test_an_answer_is_the_document_that_the_command_prints(
    client: Client, served: Path, path: str
) -> None:
    printed = run(path, "-w", served, "--as-of", iso(NOW + 2 * INTERVAL), "--json").data
    answer = client.get(f"/{path}").json()
    assert answer == {name: printed[name] for name in answer}
    assert set(printed) - set(answer) <= {"new", "now", "age_seconds"}


def test_a_simulation_is_the_document_that_the_command_prints(client: Client, served: Path) -> None:
    options = ("--paths", "50", "--horizon", "1h", "--symbol", BTC)
    where = ("-w", served, "--as-of", iso(NOW + 2 * INTERVAL), "--json")
    printed = run("simulate", *options, *where).data
    answer = client.get(f"/simulate?paths=50&horizon=1h&symbol={BTC}").json()
    assert answer == {name: printed[name] for name in answer}


def test_a_forecast_of_an_origin_is_the_one_that_was_served_then(client: Client) -> None:
    past = iso(NOW + INTERVAL)
    [forecast] = client.get(f"/forecast?symbol={BTC}&origin={past}").json()["forecasts"]
    assert forecast["origin"] == past
    for unserved in (NOW, NOW + 3 * INTERVAL):
        assert error(client.get(f"/forecast?origin={iso(unserved)}")) == (404, "state.no_forecast")


def test_pages_of_candles_follow_each_other_without_a_gap(client: Client, served: Path) -> None:
    start, found = iso(NOW - 10 * INTERVAL), []
    while start is not None:
        page = client.get(f"/candles?symbol={BTC}&start={start}&limit=5").json()
        found += page["candles"]
        start = page["next"]
    with at(served, 2) as ws, ws.store.read() as reader:
        stored = reader.candles([MARKETS[0]], NOW - 10 * INTERVAL, NOW + 2 * INTERVAL)
    assert [c["open_time"] for c in found] == [
        iso(moment) for moment in stored[MARKETS[0]].open_time.tolist()
    ]
    assert [c["close"] for c in found] == stored[MARKETS[0]].close.tolist()
    newest = client.get(f"/candles?symbol={BTC}&limit=5").json()
    assert newest["candles"] == found[-5:]
    assert newest["next"] is None


def test_a_page_of_candles_begins_where_some_are_stored_and_ends_by_now(client: Client) -> None:
    page = client.get(f"/candles?symbol={BTC}&start=1970-01-01&end=2500-01-01&limit=3").json()
    assert [c["open_time"][11:16] for c in page["candles"]] == ["00:00", "00:05", "00:10"]
    late = client.get(f"/candles?symbol={BTC}&start=2500-01-01").json()
    assert (late["candles"], late["next"]) == ([], None)
    early = client.get(f"/candles?symbol={BTC}&end=1980-01-01").json()
    assert (early["candles"], early["next"]) == ([], None)


def test_scores_are_those_of_the_newest_evaluation(client: Client) -> None:
    found = client.get("/scores").json()
    assert (found["evaluation"], [row["step"] for row in found["scores"]]) == (1, [1, 2, "all"])
    assert found["at"] == iso(NOW)
    one = client.get(f"/scores?symbol={BTC}&step=2").json()["scores"]
    assert [(row["market"], row["step"]) for row in one] == [(MARKETS[0].id, 2)]
    assert error(client.get("/scores?evaluation=7")) == (404, "state.no_scores")
    assert error(client.get("/scores?step=3")) == (404, "state.no_scores")


def test_probabilities_add_up_and_a_basket_has_one_too(client: Client) -> None:
    last = client.get(f"/forecast?symbol={BTC}").json()["forecasts"][0]["last_close"]
    query = f"symbol={BTC}&paths=200&horizon=1h&above={last}&below={last}&quantile=0.5"
    above, below, median = client.get(f"/probability?{query}").json()["answers"]
    assert above["probability"] + below["probability"] == pytest.approx(1, abs=0.02)
    assert median["value"] == pytest.approx(last, rel=0.01)
    weights = "weights=BTC/EUR=0.5,ETH/EUR=0.5&horizon=1h&paths=200&shortfall=0.1"
    [answer] = client.get(f"/probability?{weights}").json()["answers"]
    assert answer["change"] < 0


REFUSED = [
    ("/forecast?symbol=XRP/EUR", 404, "config.symbol"),
    ("/forecast?origin=noon", 422, "usage.parameter"),
    ("/forecast?origin=1717372800", 422, "usage.parameter"),
    ("/candles", 422, "usage.symbol"),
    (f"/candles?symbol={BTC}&limit=0", 422, "usage.parameter"),
    (f"/candles?symbol={BTC}&limit={MOST_CANDLES + 1}", 422, "usage.parameter"),
    (f"/candles?symbol={BTC}&start=2024-06-02&end=2024-06-01", 422, "usage.range"),
    ("/simulate?paths=5001", 422, "usage.parameter"),
    ("/simulate?horizon=25h", 422, "usage.horizon"),
    ("/simulate?horizon=year", 422, "usage.parameter"),
    ("/probability", 422, "usage.question"),
    (f"/probability?symbol={BTC}&above=nan", 422, "usage.parameter"),
    (f"/probability?symbol={BTC}&above=-1", 422, "usage.parameter"),
    (f"/probability?symbol={BTC}&inside=1", 422, "usage.question"),
    (f"/probability?symbol={BTC}&inside=2&inside=1", 422, "usage.question"),
    (f"/probability?symbol={BTC}&above=1&by=2030-01-01", 422, "usage.by"),
    ("/probability?above=1&weights=all", 422, "usage.weights"),
    ("/report?days=0", 422, "usage.parameter"),
    ("/report?days=91", 422, "usage.parameter"),
    ("/stream?symbol=XRP/EUR", 404, "config.symbol"),
    ("/forecasts", 404, "api.route"),
    ("/docs", 404, "api.route"),
    ("/forecast/../../etc/passwd", 404, "api.route"),
]


@pytest.mark.parametrize(("path", "status", "code"), REFUSED, ids=[r[0] for r in REFUSED])
def test_a_bad_request_is_refused_by_its_code(
    client: Client, path: str, status: int, code: str
) -> None:
    assert error(client.get(path)) == (status, code)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_nothing_but_reading_is_answered(client: Client, method: str) -> None:
    response = client.get("/forecast", method=method)
    assert error(response) == (405, "api.method")
    assert "GET" in response.headers["allow"]


def test_an_empty_workspace_is_told_so(tmp_path: Path, serve: Serve) -> None:
    (tmp_path / "cryptocast.toml").write_text('[source]\nname = "sim"\n')
    with Workspace.open(tmp_path, environ={}) as ws, ws.store.read():
        pass
    client = serve(tmp_path)
    assert client.get("/markets").json()["markets"][0]["rows"] == 0
    assert client.get("/candles").json()["candles"] == []
    for path in ("/forecast", "/simulate"):
        assert error(client.get(path)) == (404, "state.no_forecast")
    assert error(client.get("/scores")) == (404, "state.no_scores")
    health = client.get("/healthz")
    assert (health.status_code, health.json()["status"]) == (503, "late")


def test_health_is_late_when_the_loop_or_the_forecasts_are(folder: Path, serve: Serve) -> None:
    for bar, status in ((2, 200), (4, 200), (4.1, 503)):
        response = serve(folder, bar=bar).get("/healthz")
        assert (response.status_code, response.json()["judged_by"]) == (status, "forecasts")
    file = folder / "logs" / "health.json"
    file.parent.mkdir(exist_ok=True)
    loop = {"state": "running", "virtual": True, "updated_at": iso(NOW)}
    for due, status in ((NOW, 200), (NOW - 299, 200), (NOW - 301, 503)):
        file.write_text(json.dumps(loop | {"next_tick_at": iso(due)}))
        response = serve(folder, bar=0).get("/healthz")
        assert (response.status_code, response.json()["judged_by"]) == (status, "serve-loop")
    file.write_text(json.dumps(loop | {"state": "stopped", "next_tick_at": None}))
    assert serve(folder, bar=9).get("/healthz").json()["judged_by"] == "forecasts"


def test_metrics_are_those_of_the_file(client: Client) -> None:
    response = client.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert f'cryptocast_stale_bars{{market="{MARKETS[0].id}"}} 0\n' in response.text


def test_what_loads_much_is_asked_in_a_process_of_its_own(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def told(_: Workspace, *words: str) -> object:
        asked.append(words)
        if words[0] == "report":
            Path(words[2]).write_text("<html>")
        return {"production": "1", "versions": []}

    monkeypatch.setattr(data, "told", told)
    monkeypatch.setattr(children, "told", told)
    assert client.get("/models").json() == {"production": "1", "versions": []}
    page = client.get("/report?days=7")
    assert page.text == "<html>"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert client.get("/report?days=7").status_code == 200
    assert [words[0] for words in asked] == ["models", "report"]
    assert asked[1][3:] == ("--days", "7")


def test_the_error_of_such_a_process_is_ours(served: Path) -> None:
    with at(served, 2) as ws:
        with pytest.raises(UsageError, match=r"No such command|no command"):
            children.told(ws, "frobnicate")
        with pytest.raises(StateError) as caught:
            children.told(ws, "rollback")
    assert caught.value.code.startswith("state.")


def test_a_light_installation_says_what_lacks(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(*_: object) -> object:
        raise UsageError("this needs mlflow", code="usage.not_installed", hint="install it")

    monkeypatch.setattr(data, "told", told)
    assert error(client.get("/models")) == (501, "usage.not_installed")


def test_what_only_the_service_needs_to_know_is_told_there_alone(
    client: Client, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    def broken(*_: object) -> object:
        raise ConfigError("/srv/btc/cryptocast.toml is no TOML", hint="mend it")

    monkeypatch.setattr(data, "told", broken)
    response = client.get("/models")
    assert error(response) == (500, "config.invalid")
    assert "/srv" not in response.text
    assert told == ["/srv/btc/cryptocast.toml is no TOML (mend it)"]


def test_an_answer_that_the_client_has_is_not_sent_again(folder: Path, serve: Serve) -> None:
    client = serve(folder, bar=3)
    first = client.get("/forecast")
    tag = first.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = client.get("/forecast", if_none_match=known)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert client.get("/forecast", if_none_match='"other"').status_code == 200
    ticked(folder, 3)
    newer = client.get("/forecast", if_none_match=tag)
    assert (newer.status_code, newer.headers["etag"] == tag) == (200, False)
    assert newer.json()["forecasts"][0]["origin"] == iso(NOW + 3 * INTERVAL)


def test_a_bug_is_500_and_tells_nothing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(state, "state", broken)
    response = client.get("/status")
    assert error(response) == (500, "bug")
    assert "secret" not in response.text
    assert HOME not in response.text
