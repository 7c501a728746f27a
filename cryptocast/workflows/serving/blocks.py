"""blocks: work through many markets some hundred at a time, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

SETS = 500
"""The forecast sets of a block: one query, one call of a graph, one commit."""


def blocks(items: Iterable[T], sets: Callable[[T], int] = lambda _: 1) -> Iterator[list[T]]:
    """Yield the items in their order, in lists that make about `SETS` sets each.

    `sets` tells how many an item makes; one that makes more is not parted.
    """
    block: list[T] = []
    weight = 0
    for item in items:
        block.append(item)
        weight += sets(item)
        if weight >= SETS:
            yield block
            block, weight = [], 0
    if block:
        yield block
