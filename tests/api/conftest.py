"""A workspace of two markets with some served forecasts, and its service in this process.

It is made without MLflow: a constant network is frozen by hand.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from starlette.datastructures import State
from starlette.types import ASGIApp

from cryptocast import bundles, dataset
from cryptocast.api import app as api_app
from cryptocast.api.desk import Desk
from cryptocast.bundles import Card
from cryptocast.clock import VirtualClock
from cryptocast.config import Settings
from cryptocast.models import _graphs
from cryptocast.store import Store
from cryptocast.values import FEATURES, Deployment, Market
from cryptocast.workflows.forecast import tick
from cryptocast.workspace import Workspace
from support.commands import BARS, INTERVAL, NOW, candles
from support.engines import _kept_engines  # noqa: F401 - fixtures work where their names are

SYMBOLS = ("BTC/EUR", "ETH/EUR")
MARKETS = tuple(Market.of(symbol, "file", "5m") for symbol in SYMBOLS)
LEVELS = Settings().model.levels
HOME = "http://127.0.0.1"
SCORE = {
    "in_sample": False, "model": "lstm", "version": "1", "market": MARKETS[0].id, "n": 24,
    "effective_n": 8.5, "crps_bp": 7.5, "mae_bp": 10.0, "relative_mae": 1.0,
    "direction_accuracy": None, "direction_low": None, "direction_high": None, "coverage80": 0.8,
    "coverage90": 0.9, "calibration": 0.01, "qlike": 0.2, "skill_vs_random_walk": 0.01,
    "skill_low": -0.01, "skill_high": 0.03, "skill_vs_constant": 0.1, "p_value": 0.2,
}  # fmt: skip


class Client:
    """Asks an application in this process, one request after the other."""

    def __init__(self, desk: Desk, app: ASGIApp) -> None:
        self.desk = desk
        self._app = app

    def get(self, path: str, method: str = "GET", **headers: str) -> httpx.Response:
        """The response; an underscore in a header's name is a hyphen."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send(method, path, None, named)

    def send(
        self, method: str, url: str, query: dict[str, Any] | None, headers: dict[str, str]
    ) -> httpx.Response:
        """The response to a request as it is given."""

        async def sent() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=HOME) as client:
                return await client.request(method, url, params=query, headers=headers)

        return asyncio.run(sent())


Serve = Callable[..., Client]


@contextmanager
def at(folder: Path, bar: float) -> Iterator[Workspace]:
    """The workspace on a clock so many bars after NOW."""
    clock = VirtualClock(NOW + bar * INTERVAL)
    with Workspace.open(folder, environ={}, clock=clock) as ws:
        yield ws


def ticked(folder: Path, bar: int) -> None:
    """One tick at a bar, from what is stored."""
    with at(folder, bar) as ws:
        tick(ws, fetch=False)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with forecasts at bars 1 and 2, and an evaluation. Not to be written to."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "cryptocast.toml").write_text(
        f'[market]\nsymbols = {list(SYMBOLS)}\n[source]\nname = "file"\npath = "none.csv"\n'
    )
    card = Card(
        version="1", kind="lstm", levels=LEVELS, horizon=24, lookback=64,
        context_bars=dataset.context_bars(64, 300), features=FEATURES, interval="5m",
        markets=tuple(m.id for m in MARKETS), data_start=0, data_end=1, fingerprint="0", seed=0,
        params={}, code_version="0.1.0", packages={},
    )  # fmt: skip
    quantiles = np.tile(np.array(LEVELS) - 0.5, (24, 1))
    bundles.freeze(folder / "bundles" / "1", card, _graphs.Graph(64).constant(quantiles))
    with Store(folder / "cryptocast.duckdb", 60).write() as writer:
        for market in MARKETS:
            writer.put_candles(
                market, candles(market.symbol, bars=BARS + 8), provenance="live", fetched_at=NOW
            )
        writer.put_deployment(Deployment(0, NOW, "*", "1", None, "promote", "a test", "{}"))
        scores = [SCORE | {"step": step} for step in (1, 2, None)]
        writer.ledger.put_scores(scores, at=NOW, start=NOW - 7200, end=NOW)
    for bar in (1, 2):
        ticked(folder, bar)
    return folder


@pytest.fixture
def folder(served: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(served, tmp_path / "w"))


_routed = functools.cache(api_app._routed)


def _routed_before(guarded: bool) -> FastAPI:
    """The routes, which take FastAPI half a second, from another service of these tests.

    What a service has of its own is its own: the desk, the handlers of errors, their stack.
    """
    app = copy.copy(_routed(guarded))
    app.state, app.middleware_stack = State(), None
    app.exception_handlers = dict(app.exception_handlers)
    return app


@pytest.fixture
def told() -> list[str]:
    """What the service tells whoever started it."""
    return []


@pytest.fixture
def serve(told: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """The service of a folder at a bar, in this process."""
    monkeypatch.setattr(api_app, "_routed", _routed_before)
    opened: list[Workspace] = []

    def served_by(
        folder: Path, *, bar: float = 2, token: str | None = None, wait: float = 60
    ) -> Client:
        clock = VirtualClock(NOW + bar * INTERVAL)
        guest = Workspace.open(folder, environ={}, clock=clock).guest(wait)
        opened.append(guest)
        desk = Desk(guest, lambda: True)
        return Client(desk, api_app.application(desk, token, told.append))

    yield served_by
    for guest in opened:
        guest.close()
