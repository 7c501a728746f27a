from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cryptocast.errors import StateError
from cryptocast.seams import Params, Trial
from cryptocast.tuning import Found, search

Objective = Callable[[int, Params], float]


def suggest(trial: Trial) -> Params:
    return {"x": trial.suggest_float("x", -10, 10), "n": trial.suggest_int("n", 0, 8), "fixed": 1}


def bowl(number: int, params: Params) -> float:
    return (float(params["x"]) - 3) ** 2 + (float(params["n"]) - 4) ** 2


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    return tmp_path / "optuna.db"


def run(
    storage: Path,
    objective: Objective = bowl,
    *,
    study: str = "a",
    trials: int = 8,
    seed: int = 0,
    timeout_seconds: float | None = None,
    start: Params | None = None,
    on_trial: Callable[[int, float], None] | None = None,
) -> Found:
    return search(
        objective,
        suggest,
        storage=storage,
        study=study,
        trials=trials,
        seed=seed,
        timeout_seconds=timeout_seconds,
        start=start,
        on_trial=on_trial,
    )


def test_a_search_finds_the_best_of_its_trials(storage: Path) -> None:
    tried: list[tuple[Params, float]] = []

    def watched(number: int, params: Params) -> float:
        tried.append((params, bowl(number, params)))
        return tried[-1][1]

    found = run(storage, watched)
    assert found.trials == len(tried) == 8
    best = min(tried, key=lambda pair: pair[1])
    assert (dict(found.best), found.value) == (dict(best[0]), best[1])
    assert found.best["fixed"] == 1  # what was not searched is kept too


def test_each_trial_is_told_with_its_number_and_value(storage: Path) -> None:
    told: list[tuple[int, float]] = []
    found = run(storage, trials=4, on_trial=lambda number, value: told.append((number, value)))
    assert [number for number, _ in told] == [0, 1, 2, 3]
    assert min(value for _, value in told) == found.value


def test_the_same_seed_finds_the_same(storage: Path) -> None:
    one = run(storage, study="a", seed=1)
    assert run(storage, study="b", seed=1) == one
    different = run(storage, study="c", seed=2)
    assert dict(different.best) != dict(one.best)


def test_the_start_is_tried_first_and_once(storage: Path) -> None:
    tried: list[Params] = []

    def watched(number: int, params: Params) -> float:
        tried.append(params)
        return bowl(number, params)

    start: Params = {"x": 2.5, "n": 4, "fixed": 1, "not_searched": 7}
    run(storage, watched, trials=3, start=start)
    run(storage, watched, trials=5, start=start)
    assert [p["x"] for p in tried].index(2.5) == 0
    assert [p["x"] for p in tried].count(2.5) == 1
    assert len(tried) == 5


@pytest.mark.parametrize("at", [0, 3])
def test_a_search_that_was_interrupted_goes_on_to_the_total(storage: Path, at: int) -> None:
    tried: list[float] = []

    def interrupted(number: int, params: Params) -> float:
        if number == at:
            raise KeyboardInterrupt
        tried.append(float(params["x"]))
        return bowl(number, params)

    start: Params = {"x": 2.5, "n": 4}
    with pytest.raises(KeyboardInterrupt):
        run(storage, interrupted, trials=6, start=start)
    assert len(tried) == at

    def watched(number: int, params: Params) -> float:
        tried.append(float(params["x"]))
        return bowl(number, params)

    found = run(storage, watched, trials=6, start=start)
    assert found.trials == len(tried) == 6
    assert len(set(tried)) == 6  # it goes on, it does not begin again
    assert tried[0] == 2.5  # even where the first trial was the one that was cut short


def test_a_search_that_is_done_tries_no_more(storage: Path) -> None:
    first = run(storage, trials=4)

    def never(number: int, params: Params) -> float:
        raise AssertionError("it was done")

    assert run(storage, never, trials=4) == first
    assert run(storage, never, trials=2) == first


def test_studies_of_other_names_do_not_meet(storage: Path) -> None:
    run(storage, study="a", trials=3)
    assert run(storage, study="b", trials=2).trials == 2


def test_what_the_objective_raises_comes_through(storage: Path) -> None:
    def broken(number: int, params: Params) -> float:
        raise RuntimeError("diverged")

    with pytest.raises(RuntimeError, match="diverged"):
        run(storage, broken)
    assert run(storage, trials=2).trials == 2


def test_a_search_stops_when_its_time_is_up(storage: Path) -> None:
    def slow(number: int, params: Params) -> float:
        time.sleep(0.05)
        return bowl(number, params)

    found = run(storage, slow, trials=1_000, timeout_seconds=0.2)
    assert 1 <= found.trials < 20


def test_without_a_finished_trial_there_is_nothing_found(storage: Path) -> None:
    with pytest.raises(StateError, match=r"^no trial finished in time$"):
        run(storage, trials=0)


def test_nothing_is_printed_and_no_file_but_the_study_is_left(
    storage: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(storage.parent)
    run(storage, trials=2)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
    assert [p.name for p in storage.parent.iterdir()] == ["optuna.db"]
