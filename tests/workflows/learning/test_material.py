"""What learning starts from: of many markets an even share of their windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryptocast.compute import material
from cryptocast.values import Windows
from cryptocast.workflows.learning.material import gather
from support.ticks import SYMBOLS, at


def learned(folder: Path, symbols: tuple[str, ...]) -> Windows:
    with at(folder, 0, market__symbols=list(symbols)) as ws:
        found = gather(ws)
        return found.windows(found.split.train)


def test_of_several_markets_every_nth_origin_is_taken(
    w: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = learned(w, SYMBOLS)
    monkeypatch.setattr(material, "MOST_WINDOWS", len(whole) // 4 + 1)
    some = learned(w, SYMBOLS)
    assert len(some) <= len(whole) // 4 + 1
    origins = []
    for market in range(len(SYMBOLS)):
        mine = whole.origin[whole.market == market]
        taken = some.origin[some.market == market]
        np.testing.assert_array_equal(taken, mine[market::4])
        origins.append(set(taken.tolist()))
    assert not origins[0] & origins[1]  # neighbours look at other moments
    chosen = np.isin(whole.origin * 10 + whole.market, some.origin * 10 + some.market)
    np.testing.assert_array_equal(whole.inputs[chosen], some.inputs)
    np.testing.assert_array_equal(whole.targets[chosen], some.targets)


def test_a_single_market_gives_all_that_it_has(w: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = learned(w, SYMBOLS[:1])
    monkeypatch.setattr(material, "MOST_WINDOWS", 10)
    some = learned(w, SYMBOLS[:1])
    assert len(some) == len(whole) > 10
    assert some.inputs.base is not None  # a view: nothing was copied


def test_the_rows_of_a_part_are_counted_over_all_markets(w: Path) -> None:
    with at(w, 0, market__symbols=list(SYMBOLS)) as ws:
        found = gather(ws)
        count, first, last = found.rows(found.split.test)
        nothing = found.rows(material.Part(0, 300))
    assert (count, first, last) == (3 * 24, found.split.test.start, found.split.test.end - 300)
    assert nothing == (0, None, None)
