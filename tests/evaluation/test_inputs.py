"""inputs: damage is found within hours and named; a strange market is none."""

from __future__ import annotations

import numpy as np
import pytest

from cryptocast.evaluation import inputs
from cryptocast.evaluation.monitoring import Test
from cryptocast.values import FEATURES, FloatArray

NAMES = ("sigma", "return", "range")
N = 200
BARS = 7000 + np.arange(N)
BREAK = 150
RANGE, PLACE, VOLUME = (FEATURES.index(name) for name in ("range", "place", "volume"))


def counted() -> FloatArray:
    """[N, 3] of the order of 1, the returns of either sign, some of them 0."""
    random = np.random.default_rng(0)
    sound = np.exp(random.normal(0, 0.3, (N, 3)))
    sound[:, 1] *= random.choice([-1, 0, 1], N)
    return sound


def held(found: FloatArray) -> Test:
    return inputs.inputs_test(found, counted(), NAMES, BARS)


def test_inputs_that_are_what_their_candles_give_raise_nothing() -> None:
    assert held(counted()) == Test("inputs", 0.0, 6.0, None)
    assert held(counted() * 1.009) == Test("inputs", 0.0, 6.0, None)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda sound: 1.5 * sound, "1.50 times what its candles give"),
        (lambda sound: sound / 1.5, "0.67 times what its candles give"),
        (lambda sound: 0 * sound, "stuck at 0.00"),
        (lambda sound: 0 * sound - 8, "stuck at -8.00"),
        (lambda sound: sound[::-1], "not what its candles give"),
        (lambda sound: sound + 1, "not what its candles give"),
        (lambda sound: sound + np.nan, "not what its candles give"),
    ],
)
@pytest.mark.parametrize("place", [1, 2])
def test_a_damaged_input_is_named_with_what_it_is_instead(
    change: object, fault: str, place: int
) -> None:
    assert callable(change)
    found = counted()
    found[BREAK:, place] = change(found[BREAK:, place])
    test = held(found)
    assert (test.verdict, test.feature, test.fault) == ("declined", NAMES[place], fault)
    assert test.statistic == 9.0  # cut off there, so that a recovery is seen
    assert test.since is not None
    assert BARS[BREAK] <= test.since <= BARS[BREAK] + 3  # a return of 0 is right by chance


@pytest.mark.parametrize(("bars", "verdict"), [(5, "healthy"), (6, "watch"), (12, "declined")])
def test_twelve_bars_decide(bars: int, verdict: str) -> None:
    found = counted()
    found[-bars:, 0] *= 1.5
    assert held(found).verdict == verdict


def test_of_several_the_one_that_others_rest_on_is_named() -> None:
    found = counted()
    found[BREAK:] *= 1.5
    assert held(found).feature == "sigma"
    found[BREAK : BREAK + 25, 0] = counted()[BREAK : BREAK + 25, 0]  # less high, but declined
    assert held(found).feature == "sigma"
    found[BREAK:, 0] = counted()[BREAK:, 0]
    assert held(found).feature == "return"


def test_it_recovers_within_the_hours_after_a_repair() -> None:
    found = counted()
    found[BREAK:-13] = 8.0
    assert held(found).verdict == "healthy"


def told(n: int, seed: int = 1) -> FloatArray:
    """[n, F] features that move at every bar."""
    return np.random.default_rng(seed).normal(size=(n, len(FEATURES)))


def still(features: FloatArray, learned: FloatArray | None = None) -> Test | None:
    pairs = np.stack([features[:-1], features[1:]], axis=1)
    return inputs.still_test(pairs, told(2000, 2) if learned is None else learned, BARS[1:])


def test_candles_that_tell_something_new_are_not_still() -> None:
    assert still(told(N)) == Test("still", 0.0, 18.0, None)


@pytest.mark.parametrize(("place", "name"), [(RANGE, "range"), (PLACE, "place")])
def test_candles_that_tell_nothing_but_a_close_decline(place: int, name: str) -> None:
    features = told(N)
    features[BREAK:, place] = 0
    test = still(features)
    assert test is not None
    assert (test.verdict, test.feature, test.since) == ("declined", name, BARS[BREAK + 1])


def test_a_market_without_volume_any_more_is_watched() -> None:
    features = told(N)
    features[BREAK:, VOLUME] = -3 * 0.9966 ** np.arange(N - BREAK)  # its average fades
    test = still(features)
    assert test is not None
    assert (test.verdict, test.feature) == ("watch", "volume")
    features[:, VOLUME] = 0
    assert still(features, features) == Test("still", 0.0, 18.0, None)


def test_a_market_as_still_as_it_was_where_the_model_learned_is_not_damaged() -> None:
    thin, learned = told(N), told(2000, 2)
    for features in (thin, learned):
        features[np.arange(len(features)) % 10 < 8, PLACE] = 0
    test = still(thin, learned)
    assert test is not None
    assert test.verdict == "healthy"
    test = still(thin)
    assert test is not None
    assert test.verdict == "declined"


def test_where_no_close_moves_nothing_is_said() -> None:
    features = told(N)
    features[:, FEATURES.index("return")] = 0
    assert still(features) is None


def test_of_too_little_that_was_learned_from_nothing_is_said() -> None:
    assert still(told(N), told(144)) is None
    assert still(told(N), told(145)) is not None


def answers() -> FloatArray:
    return np.sort(np.random.default_rng(3).normal(size=(N, 4, 19)))


def test_what_was_served_is_what_the_model_answers() -> None:
    again = answers()
    width = np.ptp(again, axis=-1)[..., None]
    assert inputs.answers_test(again + 0.0009 * width, again, BARS) == Test(
        "answers", 0.0, 3.0, None
    )
    few = np.where(np.arange(N)[:, None, None] % 3, 0.0, 1.0)  # candles that were revised later
    assert inputs.answers_test(again + few, again, BARS).verdict == "healthy"


@pytest.mark.parametrize("step", [0, 3])
def test_other_answers_than_were_served_decline(step: int) -> None:
    again, served = answers(), answers()
    served[BREAK:, step, 4] += 0.0011 * np.ptp(again, axis=-1)[BREAK:, step]
    test = inputs.answers_test(served, again, BARS)
    assert (test.verdict, test.since, test.feature) == ("declined", BARS[BREAK], None)


def test_the_module_names_its_tests() -> None:
    again, quiet = answers(), still(told(N))
    assert quiet is not None
    made = (held(counted()), quiet, inputs.answers_test(again, again, BARS))
    assert tuple(test.name for test in made) == inputs.TESTS
