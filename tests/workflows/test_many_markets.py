"""What a verb holds of a market is gone before the next but one: memory stays flat with them."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from cryptocast import dataset
from cryptocast.bundles import Forecaster
from cryptocast.compute import sets as computing
from cryptocast.compute.curves import CurveFitting, fit_curve
from cryptocast.compute.folds import FoldsPlan
from cryptocast.compute.material import TrainingPlan
from cryptocast.dataset import Bars, features
from cryptocast.models.baselines import random_walk
from cryptocast.store import Reader
from cryptocast.values import Candles, Market
from cryptocast.workflows import evaluate as evaluating
from cryptocast.workflows import replay as replaying
from cryptocast.workflows import report as reporting
from cryptocast.workflows.futures import judging as judging_paths
from cryptocast.workflows.futures import stored
from cryptocast.workflows.learning import judging, material
from cryptocast.workflows.watching import served
from cryptocast.workflows.watching.verdicts import look
from cryptocast.workspace import Workspace
from support.ticks import SYMBOLS, at, origin, sets

LAST = 47


class Held:
    """The markets of which bars, features or candles are alive, counted as each is made."""

    def __init__(self) -> None:
        self.most = 0
        self.asked = 0  # markets in the largest query
        self._alive: list[tuple[str, weakref.ref[Any]]] = []

    def note(self, market: Market, array: Any) -> None:
        self._alive = [(name, it) for name, it in self._alive if it() is not None]
        self._alive.append((market.id, weakref.ref(array)))
        self.most = max(self.most, len({name for name, _ in self._alive}))


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    """Watch what is computed."""
    count = Held()
    lay_out, compute = dataset.lay_out, features.compute

    def laid(candles: Candles, market: Market, *span: int) -> Bars:
        bars = lay_out(candles, market, *span)
        count.note(market, bars.log_close)
        return bars

    def computed(bars: Bars, *first: int) -> features.Features:
        made = compute(bars, *first)
        count.note(bars.market, made.values)
        return made

    monkeypatch.setattr(dataset, "lay_out", laid)
    monkeypatch.setattr(features, "compute", computed)
    return count


@pytest.fixture
def read(held: Held, monkeypatch: pytest.MonkeyPatch) -> Held:
    """Watch what is read, too."""
    candles = Reader.candles

    def watched(
        self: Reader, markets: Sequence[Market], start: int, end: int
    ) -> Mapping[Market, Candles]:
        held.asked = max(held.asked, len(markets))
        found = candles(self, markets, start, end)
        for market, its in found.items():
            held.note(market, its.close)
        return found

    monkeypatch.setattr(Reader, "candles", watched)
    monkeypatch.setattr(material, "_BLOCK_MARKETS", 1)
    return held


@pytest.fixture(scope="module")
def replayed(stocked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of three markets with some replayed forecasts. Not to be written to."""
    folder = Path(shutil.copytree(stocked, tmp_path_factory.mktemp("many") / "w"))
    with at(folder, LAST, market__symbols=SYMBOLS) as ws:
        _replay(ws, 0, 23)
    return folder


@pytest.fixture
def ws(replayed: Path, tmp_path: Path) -> Iterator[Workspace]:
    """A copy of it."""
    folder = Path(shutil.copytree(replayed, tmp_path / "w"))
    with at(folder, LAST, market__symbols=SYMBOLS) as opened:
        yield opened


def _replay(ws: Workspace, first: int, last: int) -> list[int]:
    """Return the numbers of sets of the blocks."""
    blocks = replaying.replay(ws, replaying.plan(ws, origin(first), origin(last)))
    return [len(block.sets) for block in blocks]


def test_training_computes_one_market_after_the_other(ws: Workspace, held: Held) -> None:
    learned = material.gather(ws)
    training = TrainingPlan(random_walk.Model(), {}, ws.settings.model.levels, 0)
    plan = FoldsPlan.of(learned, training, folds=2, validation_bars=24)
    assert len(plan.folds[0].learn) > 0
    assert len(learned.windows(learned.split.train)) > 0
    assert "days of candles" in fit_curve(CurveFitting(None), learned).card["reason"]
    assert held.most == 2  # as one is made the one before is let go


def test_the_gate_compares_one_market_after_the_other(ws: Workspace, held: Held) -> None:
    bundle = ws.bundle("2")
    verdict = judging.against_walk(material.gather(ws, end=origin(LAST)), bundle, ws.settings)
    assert verdict.comparisons[0].n > 0
    assert held.most == 2


VERBS: Mapping[str, Callable[[Workspace], object]] = {
    "evaluate": lambda ws: evaluating.evaluate(ws, days=0.1),
    "evaluate --live": served.live,
    "evaluate --paths": lambda ws: evaluating.evaluate_paths(ws, days=1.1),
    "monitor": look,
    "replay": lambda ws: _replay(ws, 24, LAST),
    "report": lambda ws: reporting.gather(ws, 1),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_reads_and_holds_few_markets_at_a_time(
    verb: str, ws: Workspace, read: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluating, "_log", lambda *_: None)  # MLflow and pictures
    monkeypatch.setattr(reporting, "MOST_SECTIONS", 1)
    monkeypatch.setattr(replaying, "_BLOCK_MARKETS", 1)
    monkeypatch.setattr(computing, "_BARS_AT_ONCE", 1)
    monkeypatch.setattr(stored, "_PATHS", 20)
    VERBS[verb](ws)
    assert read.asked == 1
    assert read.most <= 2  # as one is read the one before is let go


def test_paths_of_one_market_after_the_other_are_judged(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = Held()
    beside = judging_paths.Rivals.beside

    def watched(self: judging_paths.Rivals, *given: Any) -> judging_paths.Entrants:
        entrants = beside(self, *given)
        for each in entrants.values():
            paths.note(given[0].market, each)
        return entrants

    monkeypatch.setattr(judging_paths.Rivals, "beside", watched)
    monkeypatch.setattr(stored, "_PATHS", 20)
    assert len(evaluating.evaluate_paths(ws, days=1.1).markets) == 3
    assert paths.most == 1


def test_short_runs_of_many_markets_share_query_graph_and_transaction(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = "* EXCLUDE (written_at)"
    asked: list[int] = []
    answered = Forecaster.__call__

    def counted(self: Forecaster, inputs: Any) -> Any:
        asked.append(len(inputs))
        return answered(self, inputs)

    monkeypatch.setattr(Forecaster, "__call__", counted)
    other = Path(shutil.copytree(ws.folder, tmp_path / "other"))
    monkeypatch.setattr(replaying, "BLOCK_ORIGINS", 50)
    assert _replay(ws, 24, LAST - 4) == [40, 20]
    assert asked == [40, 20]  # two markets of 20 origins each fit into a block
    monkeypatch.setattr(replaying, "_BLOCK_MARKETS", 1)
    with at(other, LAST, market__symbols=SYMBOLS) as alone:
        assert _replay(alone, 24, LAST - 4) == [20, 20, 20]
    assert sets(ws.folder, kept) == sets(other, kept)


def test_only_markets_with_pictures_keep_more_than_a_row(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = reporting.gather(ws, 1)
    monkeypatch.setattr(reporting, "MOST_SECTIONS", 1)
    brief = reporting.gather(ws, 1)
    assert [len(m.candles) for m in brief.markets] == [whole.markets[0].stored, 1, 1]
    for one, other in zip(brief.markets, whole.markets, strict=True):
        assert one.outcomes is not None
        assert other.outcomes is not None
        assert (one.market, one.stored, one.troubles()) == (other.market, other.stored, 0)
        assert one.candles.close[-1] == other.candles.close[-1]
        assert (one.outcomes.sets, one.outcomes.total) == (24, other.outcomes.total)
    assert [len(m.outcomes.quantiles) for m in brief.markets if m.outcomes] == [24, 0, 0]
