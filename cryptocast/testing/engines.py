"""The promises of an engine (`cryptocast.engines`)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

from cryptocast.errors import SourceError
from cryptocast.seams import LATER, Engine, Later
from cryptocast.testing.claims import check

_MANY = 40


def check_engine(engine: Engine, folder: Path) -> None:
    """Assert that an engine keeps order and measure, hands errors over, and outlives a worker.

    One of its workers is killed. `folder` is empty, and every worker can write to it.
    """
    # No piece has to wait for a module that lacks: it is told when a piece needs it.
    engine.prepare(("json", "no_module_of_that_name"))
    twice = list(engine.map(_times, range(_MANY), 2))
    check(twice == [2 * n for n in range(_MANY)], "its results are not those of the pieces")
    check(list(engine.map(_times, (), 2)) == [], "it returns results of no piece")
    asked: list[int] = []
    results = engine.map(_times, _counted(asked), 3)
    check(next(results) == 0, "its first result is not that of the first piece")
    few = f"it asks for {len(asked)} pieces at once with {engine.workers} workers"
    check(len(asked) <= 2 * engine.workers, few)
    check(list(results)[-1] == 3 * (_MANY - 1), "it does not go on after its first result")
    taken: list[int] = []
    for result in engine.map(_times, _in_turn(taken), 3):
        taken.append(result)
    check(taken == [3 * n for n in range(_MANY)], "after `LATER` its results are others")
    _check_errors(engine)
    survived = list(engine.map(_dying, range(4), (os.getpid(), folder)))
    check(survived == [0, 1, 2, 3], "a piece whose worker was killed is not done again")


def _check_errors(engine: Engine) -> None:
    results = engine.map(_refused, range(3), None)
    check(next(results) == 0, "an error of a later piece comes too early")
    try:
        next(results)
    except SourceError as error:
        whole = (error.message, error.code, error.hint, error.retry)
        check(whole == ("no 1", "source.no", "wait", True), f"an error arrives as {whole}")
    else:
        raise AssertionError("an error of a piece is lost")
    try:
        list(engine.map(_broken, (0,), None))
    except ZeroDivisionError:
        return
    raise AssertionError("a bug in a piece is lost")


def _counted(asked: list[int]) -> Iterator[int]:
    for number in range(_MANY):
        asked.append(number)
        yield number


def _in_turn(taken: list[int]) -> Iterator[int | Later]:
    for number in range(_MANY):
        check(len(taken) == number, "it asks for a piece after `LATER` before a result is taken")
        yield number
        yield LATER


def _times(number: int, factor: int) -> int:
    return number * factor


def _refused(number: int, _: None) -> int:
    if number == 1:
        raise SourceError(f"no {number}", code="source.no", hint="wait", retry=True)
    return number


def _broken(number: int, _: None) -> float:
    return 1 / number


def _dying(number: int, shared: tuple[int, Path]) -> int:
    """Kill the worker that does the second piece, the first time."""
    driver, folder = shared
    if number == 1 and os.getpid() != driver and not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number
