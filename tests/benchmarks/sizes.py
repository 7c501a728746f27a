"""How much is measured: all, or with BENCH_SMOKE=1 just enough to see that each row works."""

from __future__ import annotations

import os

SMOKE = bool(os.environ.get("BENCH_SMOKE"))


def size(whole: int, smoke: int) -> int:
    """The number to measure with."""
    return smoke if SMOKE else whole
