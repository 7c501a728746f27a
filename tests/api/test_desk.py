"""The database under the service: read once a change, busy, missing, replaced, never written."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from api.conftest import Serve, at, ticked
from cryptocast.api import data, desk
from cryptocast.api.desk import ASKED, Recipe
from cryptocast.errors import RegistryError, StoreError
from cryptocast.store import GuestStore, Reader
from cryptocast.values import iso
from cryptocast.workspace import Workspace
from support.commands import HELD, INTERVAL, NOW, listing, start

NAME = "cryptocast.duckdb"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The database is being written to by another process."""
    holder = start(folder / NAME, script=HELD)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield
    finally:
        holder.kill()
        holder.communicate()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were opened."""
    opened: list[Path] = []
    read = GuestStore.read

    def counted(self: GuestStore) -> object:
        opened.append(self.path)
        return read(self)

    monkeypatch.setattr(GuestStore, "read", counted)
    return opened


def test_an_answer_is_made_once_until_the_database_changes(
    folder: Path, serve: Serve, reads: list[Path]
) -> None:
    client = serve(folder, bar=3)
    for _ in range(3):
        assert client.get("/forecast").status_code == 200
    client.get("/forecast?symbol=BTC/EUR")
    assert len(reads) == 2
    ticked(folder, 3)
    origins = {f["origin"] for f in client.get("/forecast").json()["forecasts"]}
    assert origins == {iso(NOW + 3 * INTERVAL)}


def test_a_busy_database_is_503_and_what_is_kept_is_answered_all_the_same(
    folder: Path, serve: Serve, told: list[str]
) -> None:
    client = serve(folder, wait=0.1)
    kept = client.get("/markets").content
    with held(folder):
        assert client.get("/markets").content == kept
        for path in ("/forecast", "/status", "/metrics", "/candles?symbol=BTC/EUR"):
            response = client.get(path)
            assert response.status_code == 503
            assert response.headers["retry-after"] == "2"
            assert response.json()["error"]["code"] == "store.busy"
            assert str(folder) not in response.text
    assert len(told) == 1
    assert f"{folder / NAME} is in use by" in told[0]


def test_a_missing_database_is_503_and_is_not_made(
    folder: Path, serve: Serve, told: list[str]
) -> None:
    client = serve(folder)
    (folder / NAME).rename(folder / "away")
    before = listing(folder)
    for path in ("/markets", "/forecast", "/models", "/healthz", "/report"):
        response = client.get(path)
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "store.missing"
        assert "retry-after" in response.headers
    assert listing(folder) == before
    assert len(told) == 1
    (folder / "away").rename(folder / NAME)
    assert client.get("/forecast").status_code == 200


def test_a_replaced_database_is_read_anew(folder: Path, serve: Serve, tmp_path: Path) -> None:
    client = serve(folder, bar=3)
    old = client.get("/forecast").json()
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    ticked(other, 3)
    (other / NAME).replace(folder / NAME)
    new = client.get("/forecast").json()
    assert new["forecasts"][0]["origin"] > old["forecasts"][0]["origin"]


@pytest.mark.parametrize("content", [b"", b"not a database" * 1000])
def test_a_damaged_database_is_503(folder: Path, serve: Serve, content: bytes) -> None:
    client = serve(folder)
    (folder / NAME).write_bytes(content)
    response = client.get("/forecast")
    assert response.status_code == 503
    assert response.json()["error"]["code"].startswith("store.")


def test_an_older_database_is_not_migrated(
    folder: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cryptocast.store import schema

    before = (folder / NAME).read_bytes()
    monkeypatch.setattr(schema, "CURRENT", schema.CURRENT + 1)
    response = serve(folder).get("/forecast")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "store.older")
    assert (folder / NAME).read_bytes() == before


def test_the_error_of_what_costs_much_is_kept_for_a_while(
    folder: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def told(_: Workspace, *words: str) -> object:
        asked.append(words[0])
        raise RegistryError("sqlite:////home/me/mlflow.db is damaged")

    monkeypatch.setattr(data, "told", told)
    client = serve(folder)
    for _ in range(3):
        response = client.get("/models")
        assert (response.status_code, response.headers["retry-after"]) == (503, "2")
        assert "mlflow.db" not in response.text
    assert asked == ["models"]


def test_too_many_that_wait_for_what_costs_much_are_told_to_come_again(served: Path) -> None:
    gate = threading.Event()
    recipes = [Recipe(number, lambda: [gate.wait(60)], lane=ASKED) for number in range(9)]

    async def asked() -> list[object]:
        with at(served, 2) as ws:
            own = desk.Desk(ws.guest(60), lambda: True)
            tasks = [asyncio.create_task(own.answer(recipe)) for recipe in recipes]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            quick = await own.answer(Recipe("quick", lambda: b"at once"))
            assert quick.content == b"at once"
            gate.set()
            return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(asked())
    refused = [each.code for each in found if isinstance(each, StoreError)]
    assert refused == ["api.overloaded"] * (9 - ASKED.at_once - ASKED.waiting)


def test_what_is_kept_does_not_grow_without_bound(
    folder: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "_MOST_BYTES", 100_000)
    client = serve(folder)
    for limit in range(500, 600, 10):
        client.get(f"/candles?symbol=BTC/EUR&limit={limit}")
    kept = [place.kept for place in client.desk._places.values()]
    assert 0 < sum(len(each.content) for each in kept) < 200_000


def test_no_route_writes_anything(folder: Path, serve: Serve) -> None:
    before, content = listing(folder), (folder / NAME).read_bytes()
    client = serve(folder)
    for path in ("/markets", "/forecast", "/candles?symbol=BTC/EUR", "/scores", "/status"):
        assert client.get(path).status_code == 200
    assert client.get("/simulate?paths=10&horizon=5m").status_code == 200
    assert client.get("/healthz").status_code == 200
    assert client.get("/metrics").status_code == 200
    assert listing(folder) == before
    assert (folder / NAME).read_bytes() == content


def test_a_reader_is_given_what_the_file_holds(folder: Path) -> None:
    with GuestStore(folder / NAME, 1).read() as reader:
        assert isinstance(reader, Reader)
        assert len(reader.stored_markets()) == 2
