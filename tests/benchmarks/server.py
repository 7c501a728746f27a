"""A loopback exchange in a process of its own, so that it takes no turns from its client.

`server.py BARS SYMBOL...` says where it listens, and has the same candles of every symbol.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(bars: int, symbols: list[str]) -> None:
    """Serve until the input ends."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as pytest's `pythonpath`
    from support.loopback import KEY, Loopback
    from support.synthetic import START, candles

    with Loopback(dict.fromkeys(symbols, candles(bars, seed=0))) as server:
        root = server.base_url("")[:-1]
        print(json.dumps({"root": root, "key": KEY, "start": START}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
