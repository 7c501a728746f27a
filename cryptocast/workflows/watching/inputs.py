"""Whether what the served forecasts were made from is sound: the monitor's tests of inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np

from cryptocast.bundles import Bundle
from cryptocast.dataset.recount import INPUTS, recount
from cryptocast.errors import StateError
from cryptocast.evaluation.inputs import answers_test, inputs_test, still_test
from cryptocast.evaluation.monitoring import Test
from cryptocast.values import FEATURES, FloatArray, IntArray
from cryptocast.workflows.learning import scoring
from cryptocast.workflows.watching.live import Outcome

_LATEST = 288  # origins: a sum has risen, and has recovered, within far fewer
_ASKED_EVERY = 6  # origins: half an hour of 5-minute candles
_REVISED = 1e-7  # of a price, that is served with 9 digits


def input_tests(
    found: Outcome,
    own: IntArray,
    bundle: Bundle | None,
    learned: FloatArray | None,
    levels: Sequence[float],
) -> Iterator[Test]:
    """The tests that what is there allows; `own`: the places of what the bundle's version served.

    `learned` [N, F]: the features that it learned from.
    """
    windows = found.windows.take(slice(-_LATEST, None))
    again = recount(found.bars, windows)
    yield inputs_test(again.found, again.counted, INPUTS, again.bars)
    if learned is not None:
        still = still_test(windows.inputs[:, -2:], learned, again.bars)
        if still is not None:
            yield still
    if bundle is not None:
        with suppress(StateError):  # the settings ask for other levels or steps by now
            yield from _answers(found, own[-_LATEST:], bundle, levels)


def words(test: Test, version: str) -> str:
    """What such a test has found."""
    if test.name == "answers":
        return f"what was served is not what version {version} answers to the stored candles"
    if test.name == "still":
        return f"its input {test.feature} has not moved"
    return f"its input {test.feature} is {test.fault}"


def _answers(
    found: Outcome, own: IntArray, bundle: Bundle, levels: Sequence[float]
) -> Iterator[Test]:
    """Ask the version once more where it saw the same candles, as far as one can tell."""
    last_close = found.windows.log_close[own]
    revised = np.abs(np.log(found.served.last_close[own]) - last_close) > _REVISED
    # A gap may be one that came, or that closed, since.
    gaps = found.windows.inputs[own, :, FEATURES.index("missing")].any(axis=1)
    rows = own[~revised & ~gaps][::-_ASKED_EVERY][::-1]
    asked = found.windows.take(rows)
    if len(rows) and bundle.card.lookback <= asked.inputs.shape[1]:
        bars = asked.origin // found.market.interval_seconds
        yield answers_test(found.plain[rows], scoring.quantiles(bundle, asked, levels), bars)
