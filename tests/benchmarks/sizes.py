"""How much is measured: all, or with BENCH_SMOKE=1 just enough to see that each row works."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")
SMOKE = bool(os.environ.get("BENCH_SMOKE"))


def size(whole: T, smoke: T) -> T:
    """The number, or numbers, to measure with."""
    return smoke if SMOKE else whole
