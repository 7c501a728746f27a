"""recount: inputs counted another way are those that windows hold, in any market."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptocast.dataset import Bars, before, lay_out
from cryptocast.dataset.recount import INPUTS, recount
from cryptocast.values import Windows
from support.synthetic import BAR, MARKET, START, candles


@settings(max_examples=25)
@given(
    st.integers(30, 1500),
    st.lists(st.integers(1, 1499), max_size=60, unique=True),
    st.integers(1, 40),
    st.booleans(),
)
def test_it_counts_what_windows_hold_whatever_the_gaps(
    total: int, gaps: list[int], run: int, volume: bool
) -> None:
    """Gaps that a move may span and longer ones; fewer bars than an average remembers, and more."""
    missing = {g + k for g in gaps for k in range(run if g % 5 == 0 else 1)} & set(range(1, total))
    told = candles(total, run, missing)
    if not volume:
        told = dataclasses.replace(told, volume=np.full(len(told), np.nan))
    bars = lay_out(told, MARKET, START, START + total * BAR)
    windows = before(bars, np.arange(max(8, total - 300), total + 1), 8)
    found = recount(bars, windows)
    assert found.bars.tolist() == (windows.origin // BAR).tolist()
    np.testing.assert_allclose(found.held, found.counted, rtol=1e-7, atol=1e-7)


def windows() -> tuple[Windows, Bars]:
    bars = lay_out(candles(400, 1), MARKET, START, START + 400 * BAR)
    return before(bars, np.array([100, 130, 131, 400]), 8), bars


def test_origins_need_not_be_neighbours() -> None:
    few, bars = windows()
    found = recount(bars, few)
    np.testing.assert_allclose(found.held, found.counted, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", INPUTS[1:])
def test_an_input_that_is_something_else_stands_out_alone(name: str) -> None:
    few, bars = windows()
    few.inputs[..., INPUTS.index(name) - 1] += 0.5
    found = recount(bars, few)
    off = np.abs(found.held - found.counted) > 1e-6
    assert off.sum(axis=0).tolist() == [4 * (each == name) for each in INPUTS]


def test_a_sigma_that_is_something_else_stands_out_alone() -> None:
    few, bars = windows()
    found = recount(bars, dataclasses.replace(few, sigma=1.5 * few.sigma))
    np.testing.assert_allclose(found.held[:, 0], 1.5 * found.counted[:, 0])
    np.testing.assert_allclose(found.held[:, 1:], found.counted[:, 1:], rtol=1e-7, atol=1e-7)
