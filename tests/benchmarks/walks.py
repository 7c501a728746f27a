"""A worker that simulates: `walks.py` answers with the seconds of CPU that a thing took.

{"do": "normal"} draws and scales 1,000 x 288 normal numbers, {"do": "paths"} makes as many steps of
paths that keep a forecast's quantiles, {"do": "ten"} those of ten coins together.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from cryptocast import paths
from cryptocast.paths.simulation import walked

PATHS, STEPS, COINS = 1000, 288, 10
LEVELS = tuple(np.round(np.arange(0.05, 0.96, 0.05), 2).tolist())
MODEL = paths.shipped()
SIZE = np.full(STEPS, 1e-3)
SERVED = 1.1e-3 * np.sqrt(np.arange(1, 25))[:, None] * np.linspace(-1.7, 1.7, len(LEVELS))


def normal() -> None:
    """What any simulation does at least."""
    np.random.default_rng(1).standard_normal((PATHS, STEPS)) * SIZE


def coins(count: int) -> None:
    """Paths of coins: of what comes after their curves are known."""
    draw = paths.drawn(PATHS, MODEL, 1, 1_717_200_000)
    for place in range(count):
        moves = MODEL.library.residuals(draw, place) * SIZE
        walked(moves, SERVED, LEVELS, 60_000.0)


DONE = {"normal": normal, "paths": lambda: coins(1), "ten": lambda: coins(COINS)}


def main() -> None:
    """Answer questions, a line each."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        began = time.process_time()
        DONE[json.loads(line)["do"]]()
        print(json.dumps({"found": time.process_time() - began}), flush=True)


if __name__ == "__main__":
    main()
