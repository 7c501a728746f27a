"""A path model of recorded series: of which, with which card, and which a workspace uses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cryptocast import paths
from cryptocast.config import EngineSettings, MarketSettings, Settings
from cryptocast.engines import open_engine
from cryptocast.errors import ModelError
from cryptocast.sources.sim import simulate
from cryptocast.values import BUILTIN_RANDOM_WALK, Candles, Market
from cryptocast.workflows.futures.fitting import path_model
from cryptocast.workflows.futures.simulating import path_models
from cryptocast.workflows.learning.pretraining import read_series
from support.commands import write

FIRST = 19_900
HERE = open_engine(EngineSettings())


def recorded(folder: Path, symbol: str, days: int, first: int = FIRST) -> None:
    """A file of simulated candles."""
    candles: Candles = simulate(1, Market.of(symbol, "sim", "5m"), np.arange(first, first + days))
    write(folder / f"{symbol.replace('/', '-')}.parquet", candles)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("recorded")
    recorded(made, "BTC/EUR", 26)
    recorded(made, "ETH/EUR", 26)
    recorded(made, "SOL/EUR", 12, FIRST + 60)
    return made


def test_paths_come_from_the_series_that_share_a_time(folder: Path, tmp_path: Path) -> None:
    series = read_series(HERE, Settings(), [f"{folder}/*.parquet"], 2e9)
    model = path_model(series, "made up, CC0")
    assert model is not None
    assert model.card.coins == ("BTC/EUR", "ETH/EUR")
    assert model.library.codes.shape == (model.card.library_origins, 2, 288)
    assert (model.card.name, model.card.origin) == ("paths-5m", "made up, CC0")
    card = model.save(tmp_path / "base" / paths.FOLDER)
    chosen = paths.beside(str(tmp_path / "base"), "5m")
    assert chosen.card == card
    assert paths.beside(str(tmp_path / "base"), "15m").card == paths.shipped("15m").card
    assert paths.beside(None, "5m").card == paths.shipped().card
    assert paths.beside("5m", "5m").card == paths.shipped().card
    (tmp_path / "base" / paths.FOLDER / "card.json").write_text(json.dumps({}))
    with pytest.raises(ModelError, match="the library of paths"):
        paths.beside(str(tmp_path / "base"), "5m")


def test_too_little_and_candles_of_another_interval_make_no_paths(folder: Path) -> None:
    short = read_series(HERE, Settings(), [f"{folder}/SOL-EUR.parquet"], 2e9)
    assert path_model(short, "") is None
    settings = Settings(market=MarketSettings(interval="15m"))
    assert path_model(read_series(HERE, settings, [f"{folder}/*.parquet"], 2e9), "") is None


def test_versions_have_their_own_curve_or_the_shared_one() -> None:
    shared = paths.shipped()
    document = paths.curve_document(shared.curve, {"interval": "5m"})
    texts = {"3": json.dumps(document), "4": None}
    models = path_models(None, "5m", ["3", BUILTIN_RANDOM_WALK, "4", "3"], texts.__getitem__)
    assert models.of("3").curve.name == "version 3"
    assert (models.of("3").curve.coefficients == shared.curve.coefficients).all()
    for version in ("4", BUILTIN_RANDOM_WALK, "9"):
        assert models.of(version).curve.name == "paths-5m"
    for damaged in ("", "[]", "{}", json.dumps({**document, "day": [0.0]})):
        with pytest.raises(ModelError, match="the own curve of version 3 cannot be read"):
            paths.own_curve(damaged, "3")
