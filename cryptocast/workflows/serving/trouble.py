"""How a loop tells of trouble that lasts: at its first, second, fourth, eighth ... tick."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cryptocast.errors import CryptocastError

_NUMBER = re.compile(r"\d+")


class Calm:
    """Counts trouble of one kind, and says when it is to be told.

    Errors are of one kind by their code, counted until a tick passes; warnings by their
    text without its numbers, counted while they come at every tick.
    """

    def __init__(self) -> None:
        self.failures = 0  # ticks in a row that failed, by whatever error
        self._errors: dict[str, int] = {}
        self._warnings: dict[str, int] = {}

    def failed(self, error: CryptocastError) -> Iterator[str]:
        """What to tell of a tick that failed."""
        self.failures += 1
        count = self._errors[error.code] = self._errors.get(error.code, 0) + 1
        if _is_power_of_two(count):
            yield _counted(f"{error.message} ({error.hint})", count)

    def passed(self, warnings: Sequence[str]) -> Iterator[str]:
        """What to tell of a tick that made or found its forecasts."""
        if self.failures:
            yield f"healthy again after {self.failures} tick{'s' * (self.failures > 1)}"
        self.failures = 0
        self._errors.clear()
        counts: dict[str, int] = {}
        for text in warnings:
            kind = _NUMBER.sub("0", text)
            counts[kind] = self._warnings.get(kind, 0) + 1
            if _is_power_of_two(counts[kind]):
                yield _counted(text, counts[kind])
        self._warnings = counts


def _is_power_of_two(count: int) -> bool:
    return count & (count - 1) == 0


def _counted(text: str, count: int) -> str:
    return text if count == 1 else f"{text}; so for {count} ticks"
