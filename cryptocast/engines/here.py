"""here: one piece after another in this process, each when its result is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from cryptocast.config import EngineSettings
from cryptocast.seams import LATER, Later

P = TypeVar("P")
S = TypeVar("S")
R = TypeVar("R")


class Engine:
    """This process."""

    workers = 1

    def __init__(self, settings: EngineSettings) -> None:
        """Take no setting: there is one worker."""

    def map(
        self, function: Callable[[P, S], R], pieces: Iterable[P | Later], shared: S
    ) -> Iterator[R]:
        """Yield the results, in the order of the pieces."""
        return (function(piece, shared) for piece in pieces if piece is not LATER)

    def prepare(self, modules: Sequence[str]) -> None:
        """Prepare nothing: this process imports what it comes to."""

    def close(self) -> None:
        """Close nothing."""
