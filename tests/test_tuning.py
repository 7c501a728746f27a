from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from cryptocast.errors import ModelError, StateError, StoreError
from cryptocast.seams import LATER, Later, Params, Trial
from cryptocast.tuning import (
    EndedTrial,
    FoldScore,
    SearchPlan,
    SearchResult,
    TrialFold,
    Tried,
    search,
    space,
)

Fold = Callable[[int, Params, int], float]
FOLDS = 3


def suggest(trial: Trial) -> Params:
    return {"x": trial.suggest_float("x", -10, 10), "n": trial.suggest_int("n", 0, 8), "fixed": 1}


def bowl(number: int, params: Params, fold: int) -> float:
    """A fold's value; each fold is harder than the one before, for everybody alike."""
    return 10 * fold + (float(params["x"]) - 3) ** 2 + (float(params["n"]) - 4) ** 2


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    return tmp_path / "optuna.db"


def run(
    storage: Path,
    value: Fold = bowl,
    *,
    study: str = "a",
    trials: int = 8,
    folds: int = FOLDS,
    seed: int = 0,
    timeout_seconds: float | None = None,
    start: Params | None = None,
    at_once: int = 1,
    workers: int = 1,
    on_trial: Callable[[EndedTrial, tuple[Tried, ...]], None] | None = None,
) -> SearchResult:
    """Search with an engine like `here`, or with as many folds on their way as engines take."""
    most = 1 if workers == 1 else 2 * workers

    def judge(pieces: Iterable[TrialFold | Later]) -> Iterator[FoldScore]:
        waiting: list[FoldScore] = []
        for piece in pieces:
            if piece is not LATER:
                found = value(piece.number, piece.params, piece.fold)
                waiting.append(FoldScore(found, 0.0, 0.0))
            if waiting and (piece is LATER or len(waiting) == most):
                yield waiting.pop(0)
        yield from waiting

    plan = SearchPlan(f"sqlite:///{storage}", study, trials, seed, timeout_seconds, at_once)
    return search(
        plan, judge, suggest, folds=folds, workers=workers, start=start, on_trial=on_trial
    )


def test_a_search_finds_the_best_of_its_trials(storage: Path) -> None:
    tried: dict[int, Params] = {}

    def watched(number: int, params: Params, fold: int) -> float:
        tried[number] = params
        return bowl(number, params, fold)

    found = run(storage, watched)
    assert len(found.history) == len(tried) == 8
    assert [trial.number for trial in found.history] == list(tried)
    complete = [trial for trial in found.history if trial.state == "complete"]
    best = min(complete, key=lambda trial: trial.value)
    params = tried[best.number]
    assert (dict(found.best), found.value) == (dict(params), best.value)
    assert found.value == pytest.approx(sum(bowl(0, params, f) for f in range(FOLDS)) / FOLDS)
    assert found.best["fixed"] == 1  # what was not searched is kept too


def test_after_each_trial_all_so_far_are_told(storage: Path) -> None:
    told: list[tuple[EndedTrial, tuple[Tried, ...]]] = []
    found = run(storage, trials=4, on_trial=lambda *both: told.append(both))
    assert [len(history) for _, history in told] == [1, 2, 3, 4]
    assert told[-1][1] == found.history
    assert [len(ended.scores) for ended, _ in told] == [FOLDS] * 4


def test_a_trial_that_is_behind_after_a_fold_is_given_up(storage: Path) -> None:
    seen: dict[int, list[float]] = {}

    def watched(number: int, params: Params, fold: int) -> float:
        # Trial 5 is the worst of all after one fold, trial 6 the best.
        here = {5: 100.0, 6: -100.0}.get(number, float(number))
        seen.setdefault(number, []).append(here + 10 * fold)
        return seen[number][-1]

    found = run(storage, watched, trials=7)
    states = [trial.state for trial in found.history]
    assert states[:4] == ["complete"] * 4  # there is nothing to compare them with
    assert states[5:] == ["pruned", "complete"]
    assert seen[5] == [100.0]
    assert found.history[5].value == 100.0
    assert seen[6] == [-100.0, -90.0, -80.0]
    assert (found.value, found.history[6].value) == (-90.0, -90.0)


def test_the_last_fold_gives_nothing_up_since_all_is_spent(storage: Path) -> None:
    def late(number: int, params: Params, fold: int) -> float:
        return float(number) if fold == FOLDS - 1 else 0.0

    found = run(storage, late, trials=9)
    assert {trial.state for trial in found.history} == {"complete"}


def test_pruning_saves_folds_and_finds_a_value_as_good(storage: Path) -> None:
    folds = 0

    def counted(number: int, params: Params, fold: int) -> float:
        nonlocal folds
        folds += 1
        return bowl(number, params, fold)

    found = run(storage, counted, trials=16, seed=3)
    assert folds < 16 * FOLDS * 0.8
    assert found.value < 10 + 2  # of values up to 100 + 195


def test_a_trial_whose_value_is_no_number_counts_as_diverged(storage: Path) -> None:
    def sometimes(number: int, params: Params, fold: int) -> float:
        lost = {0: math.nan, 3: math.inf}
        return lost[number] if number in lost and fold == 1 else bowl(number, params, fold)

    found = run(storage, sometimes, trials=5)
    lost = [trial.state == "diverged" for trial in found.history]
    assert lost == [True, False, False, True, False]
    assert math.isnan(found.history[0].value)
    assert math.isfinite(found.value)


@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("workers", [2, 3, 8])
def test_folds_that_were_asked_for_too_early_change_nothing(
    storage: Path, at_once: int, workers: int
) -> None:
    one = run(storage, study="a", trials=13, at_once=at_once)
    assert "pruned" in {trial.state for trial in one.history}
    assert run(storage, study="b", trials=13, at_once=at_once, workers=workers) == one


@pytest.mark.parametrize("at_once", [1, 4])
def test_one_worker_scores_no_fold_that_its_trial_does_not_come_to(
    storage: Path, at_once: int
) -> None:
    asked: list[tuple[int, int]] = []
    counted: list[tuple[int, int]] = []

    def watched(number: int, params: Params, fold: int) -> float:
        asked.append((number, fold))
        return bowl(number, params, fold)

    def keep(ended: EndedTrial, history: tuple[Tried, ...]) -> None:
        counted.extend((ended.number, fold) for fold in range(len(ended.scores)))

    found = run(storage, watched, trials=13, at_once=at_once, on_trial=keep)
    assert "pruned" in {trial.state for trial in found.history}
    assert sorted(asked) == sorted(counted)


@pytest.mark.parametrize(("at_once", "workers"), [(1, 2), (1, 4), (2, 2), (4, 2), (4, 4), (4, 8)])
def test_a_fold_is_asked_for_too_early_only_for_a_worker_without_one(
    at_once: int, workers: int
) -> None:
    early, drained = 0, 0

    def judge(pieces: Iterable[TrialFold | Later]) -> Iterator[FoldScore]:
        nonlocal early, drained
        waiting: deque[TrialFold] = deque()
        scored = Counter[int]()

        def first() -> FoldScore:
            piece = waiting.popleft()
            scored[piece.number] += 1
            return FoldScore(bowl(piece.number, piece.params, piece.fold), 0.0, 0.0)

        for piece in pieces:
            if piece is LATER:
                assert len(waiting) >= workers
                yield first()
                continue
            if scored[piece.number] < piece.fold:
                assert len(waiting) < workers
                early += 1
            waiting.append(piece)
            if len(waiting) == 2 * workers:
                yield first()
        while waiting:
            yield first()
        drained += 1  # the round has waited for folds of trials that have ended

    plan = SearchPlan(None, "a", 13, 0, at_once=at_once)
    found = search(plan, judge, suggest, folds=FOLDS, workers=workers)
    assert "pruned" in {trial.state for trial in found.history}
    assert early > 0  # a worker is not left idle
    assert drained == 0


@pytest.mark.parametrize(("workers", "begun_before"), [(1, [4, 8, 12]), (2, [6, 10, 12])])
def test_trials_are_kept_while_workers_are_busy_with_the_next_round(
    storage: Path, workers: int, begun_before: list[int]
) -> None:
    firsts: list[int] = []
    kept: list[tuple[int, int]] = []

    def watched(number: int, params: Params, fold: int) -> float:
        firsts.extend([number] if fold == 0 else [])
        return bowl(number, params, fold)

    run(
        storage,
        watched,
        trials=12,
        at_once=4,
        workers=workers,
        on_trial=lambda ended, history: kept.append((ended.number, len(firsts))),
    )
    assert [number for number, _ in kept] == list(range(12))
    assert [begun for _, begun in kept] == [n for n in begun_before for _ in range(4)]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_search_that_is_interrupted_has_kept_each_trial_that_ended(
    storage: Path, workers: int
) -> None:
    kept: list[int] = []

    def interrupted(number: int, params: Params, fold: int) -> float:
        if number == 4:
            raise KeyboardInterrupt
        return bowl(number, params, fold)

    def keep(ended: EndedTrial, history: tuple[Tried, ...]) -> None:
        kept.append(ended.number)
        assert len(history) == len(kept)

    with pytest.raises(KeyboardInterrupt):
        run(storage, interrupted, trials=8, at_once=4, workers=workers, on_trial=keep)
    assert kept == [0, 1, 2, 3]
    run(storage, trials=8, at_once=4, workers=workers, on_trial=keep)
    assert kept == list(range(8))


def test_what_mattered_is_told_without_loading_scikit_learn() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MATTERED], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("['x'] False True\n", "")


MATTERED = """
import sys
from cryptocast.tuning import FoldScore, SearchPlan, search
def judge(pieces):
    for piece in pieces:
        yield FoldScore(piece.params["x"], 0.0, 0.0)
found = search(
    SearchPlan(None, "a", 8, 0), judge, lambda trial: {"x": trial.suggest_float("x", 0, 1)}, folds=1
)
there = "sklearn" in sys.modules
import sklearn
print(list(found.importance), there, "sklearn" in sys.modules)
"""


def test_trials_of_a_round_know_nothing_of_each_other(storage: Path) -> None:
    one = run(storage, study="a", trials=12)
    assert run(storage, study="b", trials=12, at_once=4).best != one.best
    # The first five are random: whether they are made at once makes no difference.
    assert run(storage, study="c", trials=5, folds=1, at_once=5) == run(
        storage, study="d", trials=5, folds=1
    )


def test_a_round_that_was_interrupted_is_made_anew(storage: Path) -> None:
    whole = run(storage, study="whole", trials=10, at_once=4)

    def interrupted(number: int, params: Params, fold: int) -> float:
        if number == 6:
            raise KeyboardInterrupt
        return bowl(number, params, fold)

    with pytest.raises(KeyboardInterrupt):
        run(storage, interrupted, trials=10, at_once=4)
    assert run(storage, trials=10, at_once=4) == whole


def test_where_every_trial_diverges_it_is_said(storage: Path) -> None:
    with pytest.raises(ModelError, match=r"^each of 3 trials diverged$") as caught:
        run(storage, lambda number, params, fold: math.nan, trials=3)
    assert caught.value.code == "model.diverged"


def test_what_mattered_is_told_greatest_first(storage: Path) -> None:
    found = run(
        storage, lambda number, params, fold: abs(float(params["x"]) - 3), trials=16, folds=1
    )
    assert list(found.importance) == ["x", "n"]
    assert found.importance["x"] > 0.7
    assert sum(found.importance.values()) == pytest.approx(1)


def test_a_start_outside_the_space_is_tried_all_the_same(storage: Path) -> None:
    found = run(storage, trials=8, start={"x": -50.0, "n": 4})
    assert found.history[0].value == 53**2 + 10
    assert set(found.importance) == {"x", "n"}


@pytest.mark.parametrize("trials", [1, 4])
def test_of_few_trials_nothing_is_said_to_matter(storage: Path, trials: int) -> None:
    assert run(storage, trials=trials).importance == {}


def test_where_all_trials_are_alike_nothing_matters(storage: Path) -> None:
    assert run(storage, lambda number, params, fold: 1.0, trials=8).importance == {}


def test_the_space_is_what_a_kind_asks_for() -> None:
    assert space(suggest) == ("x", "n")
    assert space(lambda trial: {}) == ()
    assert space(lambda trial: {"fixed": 1}) == ()


def test_the_same_seed_finds_the_same(storage: Path) -> None:
    one = run(storage, study="a", seed=1)
    assert run(storage, study="b", seed=1) == one
    different = run(storage, study="c", seed=2)
    assert dict(different.best) != dict(one.best)


def test_the_start_is_tried_first_and_once(storage: Path) -> None:
    tried: dict[int, Params] = {}

    def watched(number: int, params: Params, fold: int) -> float:
        tried[number] = params
        return bowl(number, params, fold)

    start: Params = {"x": 2.5, "n": 4, "fixed": 1, "not_searched": 7}
    run(storage, watched, trials=3, start=start)
    run(storage, watched, trials=5, start=start)
    assert [p["x"] for p in tried.values()].index(2.5) == 0
    assert [p["x"] for p in tried.values()].count(2.5) == 1
    assert len(tried) == 5


@pytest.mark.parametrize(("at", "fold"), [(0, 1), (7, 0)])
def test_a_search_that_was_interrupted_ends_as_if_it_had_not_been(
    storage: Path, at: int, fold: int
) -> None:
    whole = run(storage, study="whole", trials=9, start={"x": 2.5, "n": 4})
    assert "pruned" in {trial.state for trial in whole.history}

    def interrupted(number: int, params: Params, k: int) -> float:
        if (number, k) >= (at, fold):
            raise KeyboardInterrupt
        return bowl(number, params, k)

    seen: list[int] = []

    def watched(number: int, params: Params, k: int) -> float:
        seen.append(number)
        return bowl(number, params, k)

    start: Params = {"x": 2.5, "n": 4}
    with pytest.raises(KeyboardInterrupt):
        run(storage, interrupted, trials=9, start=start)
    assert run(storage, watched, trials=9, start=start) == whole
    assert min(seen) >= at  # it goes on, it does not begin again


def test_a_search_that_is_done_tries_no_more(storage: Path) -> None:
    first = run(storage, trials=6)

    def never(number: int, params: Params, fold: int) -> float:
        raise AssertionError("it was done")

    assert run(storage, never, trials=6) == first
    assert run(storage, never, trials=2) == first


def test_studies_of_other_names_do_not_meet(storage: Path) -> None:
    run(storage, study="a", trials=3)
    assert len(run(storage, study="b", trials=2).history) == 2


def test_what_the_objective_raises_comes_through(storage: Path) -> None:
    def broken(number: int, params: Params, fold: int) -> float:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        run(storage, broken)
    assert len(run(storage, trials=2).history) == 2


def test_a_search_stops_when_its_time_is_up(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def slow(number: int, params: Params, fold: int) -> float:
        now[0] += 60
        return bowl(number, params, fold)

    found = run(storage, slow, trials=1_000, timeout_seconds=600)
    assert 1 <= len(found.history) <= 10


def test_without_a_finished_trial_there_is_nothing_found(storage: Path) -> None:
    with pytest.raises(StateError, match=r"^no trial finished in time$"):
        run(storage, trials=0)


def test_a_file_that_is_no_database_is_told_in_one_line(storage: Path) -> None:
    storage.write_bytes(b"no database" * 1_000)
    with pytest.raises(StoreError) as caught:
        run(storage)
    assert caught.value.message == (
        f"the studies in {storage} cannot be used: file is not a database"
    )
    assert caught.value.hint == "move that file away: the next search begins anew"


def test_a_file_of_another_optuna_is_told_in_one_line(storage: Path) -> None:
    run(storage, trials=1)
    with sqlite3.connect(storage) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
        connection.execute("UPDATE version_info SET schema_version = 99")
    connection.close()
    with pytest.raises(StoreError, match=r"^the studies in .* cannot be used: .+$") as caught:
        run(storage)
    assert "\n" not in caught.value.message


def test_nothing_is_printed_and_no_file_but_the_study_is_left(
    storage: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(storage.parent)
    run(storage, trials=2)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
    assert [p.name for p in storage.parent.iterdir()] == ["optuna.db"]
