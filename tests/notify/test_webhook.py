from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from cryptocast.errors import NotifyError
from cryptocast.notify import Receiver
from cryptocast.notify.webhook import Notifier
from cryptocast.values import Alert
from support.hooks import SECRET, Hook

ALERT = Alert(0.0, "source", "problem", 'no "candles"', "none\nsince", "btc", ("sim:BTC/EUR:5m",))


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as hook:
        yield hook


def webhook(url: str, timeout_seconds: float = 5.0) -> Notifier:
    return Notifier(Receiver(url, "env:HOOK", Path(), timeout_seconds))


def test_an_alert_is_one_json_object(hook: Hook) -> None:
    webhook(hook.url).send(ALERT)
    assert hook.bodies == [
        {
            "at": "1970-01-01T00:00:00Z",
            "kind": "source",
            "state": "problem",
            "title": 'no "candles"',
            "text": "none\nsince",
            "workspace": "btc",
            "markets": ["sim:BTC/EUR:5m"],
        }
    ]
    (headers,) = hook.headers
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"] == "cryptocast"
    assert "authorization" not in headers


@pytest.mark.parametrize("status", [200, 201, 204])
def test_any_success_means_that_it_was_taken(hook: Hook, status: int) -> None:
    hook.status = status
    webhook(hook.url).send(ALERT)
    assert len(hook.bodies) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 410, 429, 500, 503])
def test_any_other_answer_is_told_by_its_number(hook: Hook, status: int) -> None:
    hook.status = status
    with pytest.raises(NotifyError) as caught:
        webhook(hook.url).send(ALERT)
    assert (str(caught.value), caught.value.code) == (
        f"it answered HTTP {status}",
        "notify.refused",
    )


def test_a_connection_that_is_cut_is_told_by_its_kind(hook: Hook) -> None:
    hook.how = "reset"
    with pytest.raises(NotifyError, match=r"^it cannot be reached \(ConnectionResetError\)$"):
        webhook(hook.url).send(ALERT)


def test_a_port_where_nobody_listens_is_told(hook: Hook) -> None:
    with pytest.raises(NotifyError, match=r"^it cannot be reached \(ConnectionRefusedError\)$"):
        webhook("http://127.0.0.1:9/x").send(ALERT)


def test_a_server_that_does_not_speak_tls_is_told(hook: Hook) -> None:
    with pytest.raises(NotifyError, match=r"^it cannot be reached \(SSL\w*\)$"):
        webhook(hook.url.replace("http", "https")).send(ALERT)


def test_no_answer_is_waited_for_no_longer_than_was_said(hook: Hook) -> None:
    hook.how = "hang"
    with pytest.raises(NotifyError) as caught:
        webhook(hook.url, 0.2).send(ALERT)
    assert (str(caught.value), caught.value.code) == ("no answer within 0.2 s", "notify.timeout")


def test_a_user_in_the_url_becomes_a_header(hook: Hook) -> None:
    webhook(f"http://me:pass%40word@127.0.0.1:{hook.port}/x").send(ALERT)
    (headers,) = hook.headers
    assert base64.b64decode(headers["authorization"].removeprefix("Basic ")) == b"me:pass@word"
    assert headers["host"] == f"127.0.0.1:{hook.port}"


def test_a_proxy_of_the_environment_never_serves_this_machine(
    hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    webhook(hook.url).send(ALERT)
    assert len(hook.bodies) == 1


def test_a_receiver_shows_the_place_of_its_url_alone() -> None:
    shown = repr(Receiver(f"http://x/{SECRET}", "env:HOOK", Path(), 5.0))
    assert "env:HOOK" in shown
    assert SECRET not in shown
