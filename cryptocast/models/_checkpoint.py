"""The state of an interrupted training in one file: numbers and arrays, no code that could run."""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from cryptocast.drafts import swapping

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

_SCHEDULE = ("last_epoch", "_step_count", "_last_lr", "base_lrs")  # what changes as it goes on


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors by name, and everything else as JSON values."""

    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]

    def under(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors whose names start with a prefix, without the prefix."""
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }


def optimiser_state(trainer: Trainer) -> Checkpoint:
    """Return what the optimiser, the learning-rate schedule and the generator remember."""
    (optimiser,) = trainer.optimizers
    (schedule,) = trainer.lr_scheduler_configs
    remembered = optimiser.state_dict()
    tensors = {
        f"adam.{i}.{name}": tensor
        for i, moments in remembered["state"].items()
        for name, tensor in moments.items()
    }
    changing = {k: v for k, v in schedule.scheduler.state_dict().items() if k in _SCHEDULE}
    state = {"groups": remembered["param_groups"], "schedule": changing}
    return Checkpoint(tensors | {"random": torch.get_rng_state()}, state)


def restore_optimiser(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Give a new trainer the state that `optimiser_state` returned."""
    (optimiser,) = trainer.optimizers
    (schedule,) = trainer.lr_scheduler_configs
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in checkpoint.under("adam.").items():
        number, _, key = name.partition(".")
        moments.setdefault(int(number), {})[key] = tensor
    optimiser.load_state_dict({"state": moments, "param_groups": checkpoint.state["groups"]})
    schedule.scheduler.load_state_dict(checkpoint.state["schedule"])
    torch.set_rng_state(checkpoint.tensors["random"])


def save(file: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint: afterwards the file is whole, or still the one before.

    A disk without room leaves no checkpoint; the training goes on without one.
    """
    arrays = {name: tensor.cpu().numpy() for name, tensor in checkpoint.tensors.items()}
    text = np.frombuffer(json.dumps(checkpoint.state).encode(), dtype=np.uint8)
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with swapping(file) as draft, draft.open("wb") as out:
            np.savez(out, allow_pickle=False, **arrays, state=text)


def load(file: Path) -> Checkpoint | None:
    """Read a checkpoint, or return None if there is none that can be read."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            state = json.loads(archive["state"].tobytes())
            names = [name for name in archive.files if name != "state"]
            return Checkpoint({name: torch.from_numpy(archive[name]) for name in names}, state)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
