"""Where a training stands, in one file: numbers and arrays, no code that could be run."""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors by name, and everything else as JSON knows it."""

    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names start with a prefix, without it."""
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }


def save(file: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the file is whole, or the one before.

    Where the disk has no room there is none: a training goes on without it.
    """
    arrays = {name: tensor.cpu().numpy() for name, tensor in checkpoint.tensors.items()}
    text = np.frombuffer(json.dumps(checkpoint.state).encode(), dtype=np.uint8)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as out:
            np.savez(out, allow_pickle=False, **arrays, state=text)
        draft.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()


def load(file: Path) -> Checkpoint | None:
    """Read a checkpoint; None where there is none, or none that can be read."""
    try:
        with np.load(file, allow_pickle=False) as found:
            state = json.loads(found["state"].tobytes())
            names = [name for name in found.files if name != "state"]
            return Checkpoint({name: torch.from_numpy(found[name]) for name in names}, state)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
