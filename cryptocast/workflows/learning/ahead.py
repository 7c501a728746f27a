"""Models of single markets: workers compute them ahead, and what they found is recorded in turn."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from cryptocast.compute.ahead import Ahead, compute_ahead, key_of
from cryptocast.errors import CryptocastError
from cryptocast.seams import LATER, Engine
from cryptocast.values import Market
from cryptocast.workflows.learning.scope import Group, for_each_group
from cryptocast.workspace import Workspace

T = TypeVar("T")


class Recalled:
    """An engine whose pieces were done before; it does those that were not, here and now."""

    workers = 1

    def __init__(self, digest: str, results: Mapping[str, Any]) -> None:
        """Take the results of pieces by their keys; `digest` is that of the material."""
        self._digest = digest
        self._results = results

    def map(
        self, function: Callable[[Any, Any], Any], pieces: Iterable[Any], shared: Any
    ) -> Iterator[Any]:
        """Yield the results, in the order of the pieces."""
        # The candles may be others by now, and then nothing that was computed holds.
        same = getattr(shared, "digest", None) == self._digest
        for piece in (p for p in pieces if p is not LATER):
            key = key_of(piece, shared) if same else ""
            yield self._results[key] if key in self._results else function(piece, shared)

    def prepare(self, modules: Sequence[str]) -> None:
        """Prepare nothing."""

    def close(self) -> None:
        """Close nothing."""


def for_each_ahead(
    ws: Workspace,
    groups: Sequence[Group],
    ahead: Callable[[Group], Ahead | None],
    work: Callable[[Group], T],
) -> tuple[list[T], dict[Market, CryptocastError]]:
    """Do the work for one group after the other, as `for_each_group` does.

    If there are several, and an engine with several workers, these compute what `ahead` returns
    for the next ones meanwhile.
    """
    engines = _engines(ws.engine, groups, ahead)

    def work_on(markets: Group) -> T:
        with ws.on(next(engines)):
            return work(markets)

    return for_each_group(groups, work_on)


def _engines(
    engine: Engine, groups: Sequence[Group], ahead: Callable[[Group], Ahead | None]
) -> Iterator[Engine]:
    """Yield for each group what its heavy work runs on."""
    if len(groups) < 2 or engine.workers < 2:
        yield from itertools.repeat(engine)
        return
    asked: list[Ahead | None] = []

    def pieces() -> Iterator[Ahead | None]:
        for markets in groups:
            try:
                asked.append(ahead(markets))
            except CryptocastError:  # the work itself will meet it
                asked.append(None)
            yield asked[-1]

    for results in engine.map(compute_ahead, pieces(), None):
        work = asked.pop(0)
        yield engine if work is None else Recalled(work.material.digest, results)
