"""An exchange and its server, for modules that import a keyless `Source`; others make their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cryptocast.sources._exchange import Exchange
from support.engines import _kept_engines  # noqa: F401 - fixtures work where their names are
from support.exchanges import opened, series
from support.loopback import Loopback


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback({"BTC/EUR": series(), "DOGE/EUR": series()}) as loopback:
        yield loopback


@pytest.fixture
def source(
    request: pytest.FixtureRequest, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Exchange]:
    kind = request.module.Source
    monkeypatch.setattr(kind, "pace", (1000, 1.0))
    source = opened(kind, server)
    yield source
    source.close()
