"""Many markets go through a tick in blocks: each is committed as it is made."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cryptocast.store.ledger_writer import LedgerWriter
from cryptocast.values import ForecastSet
from cryptocast.workflows.serving import blocks
from cryptocast.workflows.shadow import shadow
from support.commands import query
from support.ticks import SYMBOLS, at, drop, sets, tick_rows, ticked

MANY = {"market__symbols": list(SYMBOLS)}
ROWS = "market, bar, model_version, served, mode, fallback, quantiles, scale, last_close"


def test_blocks_keep_the_order_and_are_full_by_what_their_items_make(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blocks, "SETS", 3)
    assert list(blocks.blocks("abcdefg")) == [["a", "b", "c"], ["d", "e", "f"], ["g"]]
    assert list(blocks.blocks([1, 9, 2, 1], lambda n: n)) == [[1, 9], [2, 1]]
    assert list(blocks.blocks([])) == []


def test_a_tick_in_blocks_stores_what_one_of_all_markets_does(
    w: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Origins that were missed, a stale market and a shadow are among it."""
    drop(w, range(1, 8))
    with at(w, 0) as ws:
        shadow(ws, "1")
    other = Path(shutil.copytree(w, tmp_path / "other"))
    whole = ticked(w, 1, 6, **MANY)
    monkeypatch.setattr(blocks, "SETS", 2)
    monkeypatch.setattr("cryptocast.compute.sets._BARS_AT_ONCE", 1)  # one market is laid out
    parted = ticked(other, 1, 6, **MANY)
    assert sets(other, ROWS) == sets(w, ROWS)
    assert sorted(tick_rows(other, "market, bar, status")) == sorted(
        tick_rows(w, "market, bar, status")
    )
    assert parted.warnings == whole.warnings
    assert [made.market for made in parted.forecasts] == [made.market for made in whole.forecasts]
    # The shadow answers for all but the stale market.
    assert query(w, "SELECT count(*) FROM forecast_sets WHERE NOT served") == [(5,)]


def test_a_tick_that_is_killed_loses_no_finished_block(
    w: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "SETS", 1)
    put = LedgerWriter.put_sets

    def killed(self: LedgerWriter, made: Sequence[ForecastSet], **more: Any) -> list[bool]:
        if made[0].market.symbol == SYMBOLS[2]:
            raise KeyboardInterrupt
        return put(self, made, **more)

    with monkeypatch.context() as patch:
        patch.setattr(LedgerWriter, "put_sets", killed)
        with pytest.raises(KeyboardInterrupt):
            ticked(w, 1, **MANY)
    assert [row[0] for row in sets(w, "market")] == [f"file:{s}:5m" for s in SYMBOLS[:2]]
    report = ticked(w, 1.5, **MANY)
    assert (report.new, len(report.forecasts)) == (True, 3)
    assert len(sets(w, "market")) == 3
