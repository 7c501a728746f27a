"""The work on one piece in a worker, and the order in which results are handed over."""

from __future__ import annotations

import contextlib
import gc
import importlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import cryptocast
from cryptocast.errors import CryptocastError, EngineError
from cryptocast.seams import LATER, Later

P = TypeVar("P")
H = TypeVar("H")


@dataclass(frozen=True, slots=True)
class Failed:
    """The error of a piece as a value: libraries would wrap one that is raised."""

    error: CryptocastError


def work(version: str, function: Callable[[Any, Any], Any], piece: Any, shared: Any) -> Any:
    """Return what the function makes of a piece, or `Failed` with an error of ours.

    `version` is the driver's: another one may compute something else.
    """
    try:
        if version != cryptocast.__version__:
            raise EngineError(
                f"a worker runs cryptocast {cryptocast.__version__}, this command {version}",
                code="engine.version",
                hint=f"install cryptocast=={version} on every machine of the engine",
            )
        return function(piece, shared)
    except CryptocastError as error:
        return Failed(error)


def import_all(modules: Sequence[str]) -> None:
    """Import modules in a worker; what lacks is told by the piece that needs it."""
    gc.set_threshold(100_000)  # as a command's own: imports create many objects and no garbage
    for module in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)


def in_order(
    pieces: Iterable[P | Later],
    submit: Callable[[P], H],
    result: Callable[[deque[H]], Any],
    most: int,
) -> Iterator[Any]:
    """Yield the results in the order of the pieces, with at most `most` pieces in flight.

    A piece is asked for when there is room for it; after `LATER`, when the first result of those
    in flight is taken. `result` waits for the first of the handles that `submit` returned, and
    takes it away. An error of a piece is raised in its turn.
    """
    waiting: deque[H] = deque()

    def oldest() -> Any:
        done = result(waiting)
        if isinstance(done, Failed):
            raise done.error
        return done

    for piece in pieces:
        if piece is not LATER:
            waiting.append(submit(piece))
        if waiting and (piece is LATER or len(waiting) == most):
            yield oldest()
    while waiting:
        yield oldest()
