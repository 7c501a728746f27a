"""A base network goes on to steps that it was not trained for, by what its numbers say of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from cryptocast import models
from cryptocast.models import _base
from cryptocast.models._far import extended
from cryptocast.models.base import Series
from support.synthetic import LEVELS, bars, windows

NEAR, FAR = 24, 60
SEEN = windows(bars(420, 2), 16, 420, lookback=4, horizon=5).inputs[:, -1].astype(np.float32)
SHIPPED = _base.read((models.base_folder("5m") / "model.onnx").read_bytes())
BASE = SHIPPED.of_steps(NEAR)


def told(decay: float, rows: int = 20_000) -> Series:
    """Origins whose far moves are told by the network's numbers, less and less with the steps."""
    random = np.random.default_rng(3)
    newest = SEEN[random.integers(len(SEEN), size=rows)]
    numbers = BASE.log_scale(newest.astype(float)) @ np.linalg.pinv(BASE.basis)
    near = numbers @ BASE.basis[:, -1]
    fading = np.maximum(1 - decay * np.arange(-NEAR, FAR - NEAR) / FAR, 0)
    scale = np.exp(near[:, None] * np.minimum(fading, 1))
    return Series(newest, (scale * random.normal(size=(rows, FAR))).astype(np.float32))


def test_the_steps_that_it_was_trained_for_stay_as_they_are() -> None:
    network = extended(BASE, [told(1.0)])
    assert (BASE.horizon, network.horizon) == (NEAR, FAR)
    near = network.of_steps(NEAR)
    for field in dataclasses.fields(BASE):
        assert (getattr(near, field.name) == getattr(BASE, field.name)).all(), field.name


def test_what_follows_joins_them_and_has_the_size_of_what_came() -> None:
    network, series = extended(BASE, [told(1.0)]), told(1.0)
    scale = np.exp(network.log_scale(series.newest.astype(float)))
    left = series.targets[:, -1] / scale[:, -1]
    assert np.quantile(left, 0.95) == pytest.approx(network.quantiles[-1, -1], rel=0.03)
    assert np.corrcoef(scale[:, -1], np.abs(series.targets[:, -1]))[0, 1] > 0.05
    assert np.abs(scale[:, NEAR] / scale[:, NEAR - 1] - 1).max() < 0.1
    assert (np.diff(network.at(LEVELS)) > 0).all()


def test_too_few_outcomes_and_no_further_steps_leave_it_as_it_is() -> None:
    few = told(1.0, rows=500)
    assert extended(BASE, [few]) is BASE
    near = Series(few.newest, few.targets[:, :NEAR])
    assert extended(BASE, [near]) is BASE
    many = told(1.0)
    unknown = Series(many.newest, np.where(np.arange(FAR) < 50, many.targets, np.nan))
    assert extended(BASE, [unknown]) is BASE
