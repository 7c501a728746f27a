"""Who may ask: by the token, or by the name of this machine; and what browsers may do."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.conftest import Serve
from cryptocast.api.guard import is_loopback

TOKEN = "correct horse battery"
ROUTES = ("/markets", "/forecast", "/candles", "/scores", "/models", "/simulate", "/probability")
ROUTES += ("/status", "/metrics", "/report", "/stream", "/nothing")


def test_with_a_token_nothing_of_the_workspace_is_told_without_it(
    served: Path, serve: Serve
) -> None:
    client = serve(served, token=TOKEN)
    wrong = ("", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer", "bearer ")
    for path in ROUTES:
        response = client.get(path)
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
        assert response.json()["error"]["code"] == "api.token"
    for given in wrong:
        assert client.get("/forecast", authorization=given).status_code == 401
    for given in (f"Bearer {TOKEN}", f"bearer  {TOKEN} "):
        assert client.get("/forecast", authorization=given).status_code == 200
    assert client.get(f"/forecast?token={TOKEN}").status_code == 401


def test_health_and_the_description_need_no_token(served: Path, serve: Serve) -> None:
    client = serve(served, token=TOKEN)
    for path in ("/", "/healthz", "/openapi.json"):
        response = client.get(path)
        assert response.status_code == 200
        assert "EUR:5m" not in response.text.replace("bitvavo:BTC/EUR:5m", "")
        assert TOKEN not in response.text
    described = client.get("/openapi.json").json()
    assert described["paths"]["/forecast"]["get"]["security"] == [{"token": []}]
    assert "security" not in described["paths"]["/healthz"]["get"]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8777", "127.0.0.1.evil", "10.0.0.1"]
)
def test_without_a_token_a_page_of_another_name_gets_nothing(
    served: Path, serve: Serve, host: str
) -> None:
    response = serve(served).get("/markets", host=host)
    assert (response.status_code, response.json()["error"]["code"]) == (421, "api.host")
    own = serve(served, token=TOKEN)
    assert own.get("/markets", host=host, authorization=f"Bearer {TOKEN}").status_code == 200


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8777", "localhost", "LOCALHOST:1", "[::1]", "[::1]:80"]
)
def test_every_name_of_this_machine_is_answered(served: Path, serve: Serve, host: str) -> None:
    assert serve(served).get("/markets", host=host).status_code == 200


def test_answers_are_for_the_same_site_and_are_what_they_say(served: Path, serve: Serve) -> None:
    client = serve(served)
    for path in ("/forecast", "/nothing", "/"):
        response = client.get(path, origin="https://evil.example")
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in response.headers
    assert "script-src 'unsafe-inline'" in client.get("/").headers["content-security-policy"]


def test_a_head_is_answered_like_a_get(served: Path, serve: Serve) -> None:
    head = serve(served).get("/forecast", method="HEAD")
    assert head.status_code == 200
    assert head.headers["etag"]


def test_loopback_is_told_from_what_others_reach() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost")))
    assert not any(
        map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org", "", "localhost.x"))
    )
