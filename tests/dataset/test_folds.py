from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptocast.dataset import Part, Split, cut, plan, rolling
from support.synthetic import BAR, START, bars, part

wanted = st.integers(1, 400)


def planned(bars_in_all: int, test: int, gate: int, validation: int) -> Split:
    return plan(
        START,
        START + bars_in_all * BAR,
        BAR,
        test_bars=test,
        gate_bars=gate,
        validation_bars=validation,
    )


@given(st.integers(24, 5_000), wanted, wanted, wanted)
def test_the_parts_follow_one_another_and_hold_every_bar_once(
    total: int, test: int, gate: int, validation: int
) -> None:
    split = planned(total, test, gate, validation)
    parts = (split.train, split.validation, split.gate, split.test)
    assert split.train.start == START
    assert split.test.end == START + total * BAR
    for earlier, later in itertools.pairwise(parts):
        assert earlier.end == later.start
    sizes = [p.bars(BAR) for p in parts]
    assert sum(sizes) == total
    assert min(sizes) >= 1
    for size, most in zip(sizes[:0:-1], (test, gate, validation), strict=True):
        assert size <= most
    assert sizes[0] >= total // 4  # learning is never starved by judging


@pytest.mark.parametrize("total", [2016, 8640])
def test_where_there_is_enough_each_part_has_what_it_was_to_have(total: int) -> None:
    split = planned(total, 24, 288, 288)
    assert [p.bars(BAR) for p in (split.train, split.validation, split.gate, split.test)] == [
        total - 600, 288, 288, 24
    ]  # fmt: skip
    assert split.judged == Part(split.gate.start, split.test.end)


@settings(max_examples=25)
@given(st.integers(60, 160), wanted, wanted, wanted, st.integers(1, 12))
def test_each_origin_and_step_is_in_the_part_that_holds_its_target_and_none_straddles(
    total: int, test: int, gate: int, validation: int, horizon: int
) -> None:
    split = planned(total, test, gate, validation)
    laid = bars(total, 3)
    taken: dict[tuple[int, int], Part] = {}
    for fold in (split.train, split.validation, split.gate, split.test):
        found = cut(laid, fold, lookback=8, horizon=horizon, max_stale_bars=3)
        for origin, targets in zip(found.origin.tolist(), found.targets, strict=True):
            for step in np.flatnonzero(np.isfinite(targets)) + 1:
                target_opens = origin + (int(step) - 1) * BAR
                assert fold.start <= origin <= target_opens < fold.end
                assert (origin, int(step)) not in taken
                taken[origin, int(step)] = fold
        # None is left out that belongs to the part.
        first = max(fold.start, START + 8 * BAR)
        pairs = sum(min(horizon, (fold.end - o) // BAR) for o in range(first, fold.end, BAR))
        assert sum(p is fold for p in taken.values()) == pairs


def test_the_number_of_origins_falls_by_one_with_each_step() -> None:
    found = cut(bars(100, 3), part(60, 90), lookback=16, horizon=24, max_stale_bars=3)
    assert np.isfinite(found.targets).sum(axis=0).tolist() == list(range(30, 6, -1))


@given(st.integers(24, 2_000), st.integers(1, 6))
def test_rolling_folds_train_on_all_that_came_before(total: int, folds: int) -> None:
    learned = part(0, total)
    found = list(rolling(learned, BAR, folds=folds))
    assert len(found) == folds
    for train, held_out in found:
        assert train == Part(learned.start, held_out.start)
        assert held_out.bars(BAR) == total // 2 // folds
    for (_, earlier), (_, later) in itertools.pairwise(found):
        assert earlier.end == later.start
    assert found[-1][1].end == learned.end
