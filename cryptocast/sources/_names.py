"""What the name of a file says about the candles in it."""

from __future__ import annotations

import re

import numpy as np

from cryptocast.values import IntArray, Market

_QUOTES = "USDT|USDC|BUSD|FDUSD|TUSD|USD|EUR|GBP|CHF|JPY|KRW|TRY|BRL|AUD|CAD|DAI|BTC|ETH|BNB"
_WHOLE = r"(?<![A-Za-z0-9]){}(?![A-Za-z0-9])"
_SEPARATED = re.compile(_WHOLE.format(rf"(?=[0-9]*[A-Z])([A-Z0-9]{{2,10}})[-_]({_QUOTES})"))
# Run together, a word may end like a quote by chance: only the unmistakable ones count.
_TOGETHER = re.compile(_WHOLE.format(r"([A-Z0-9]{3,6})(USDT|USDC|BUSD|FDUSD|USD|EUR)"))
_FEWEST_ROWS = 10


def holds(name: str, market: Market) -> bool:
    """Whether a file's name holds the market's symbol, however it is written."""
    pattern = _WHOLE.format(f"{market.base}[-_]?{market.quote}")
    return re.search(pattern, name, re.IGNORECASE) is not None


def pair(name: str) -> str | None:
    """The pair that a file's name clearly says, as BASE/QUOTE; None where it says none."""
    found = _SEPARATED.search(name) or _TOGETHER.search(name)
    return f"{found[1]}/{found[2]}" if found else None


def usual_step(open_time: IntArray) -> int | None:
    """The median distance of rows in seconds; None where there are too few to tell."""
    steps = np.diff(np.unique(open_time))
    return int(np.median(steps)) if len(steps) >= _FEWEST_ROWS else None
