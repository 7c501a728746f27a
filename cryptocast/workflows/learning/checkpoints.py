"""Where an interrupted training goes on: a file a training, named after all that rules it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

from cryptocast.bundles import Card
from cryptocast.workspace import Workspace

_STALE_SECONDS = 86_400  # a training that is under way writes far more often


@contextlib.contextmanager
def checkpoint(ws: Workspace, card: Card) -> Iterator[Path]:
    """The file that a training of this card keeps where it stands; removed when the body is done.

    A body that fails, or is killed, leaves it: the same candles, parameters, seed and code go
    on from there. Those that others have left for a day are removed: candles have moved on.
    """
    folder = ws.folder / "checkpoints"
    for file in folder.glob("*"):
        if file.exists() and time.time() - file.stat().st_mtime > _STALE_SECONDS:
            file.unlink(missing_ok=True)
    text = json.dumps(dataclasses.asdict(card), sort_keys=True)
    mine = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"
    yield mine
    mine.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # there is none, or another training's file is in it
        folder.rmdir()
