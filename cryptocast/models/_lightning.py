"""The only Lightning: trains a network on tensors, quietly, and leaves no file behind.

A training that takes long keeps where it stands in a file, and goes on from there when it is
started again; with the same data, parameters and seed it ends as if it had not been stopped.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import math
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from cryptocast.errors import ModelError
from cryptocast.models import _checkpoint
from cryptocast.values import Epoch

if TYPE_CHECKING:
    from cryptocast.models._shape import Shape

Loss = Callable[[Tensor, Tensor], Tensor]
Rows = tuple[Tensor, ...]  # [N, ...] what the network is called with, last the targets [N, H]

_SAVE_SECONDS = 5.0  # a training that is over sooner leaves no file even when it is killed
_SCHEDULE = ("last_epoch", "_step_count", "_last_lr", "base_lrs")  # what changes as it goes on


class Batches(Protocol):
    """What one epoch learns from, drawn anew by torch's generator each time it is walked."""

    @property
    def windows(self) -> int:
        """How many windows an epoch holds."""

    def __len__(self) -> int:
        """How many batches an epoch holds."""

    def __iter__(self) -> Iterator[Rows]:
        """Yield them."""


def train(
    network: nn.Module,
    loss: Loss,
    batches: Batches,
    held_out: Rows,
    shape: Shape,
    on_epoch: Callable[[Epoch, int], None] | None,
    checkpoint: Path | None = None,
    *,
    deadline: float = math.inf,
    mixed: bool = False,
) -> tuple[Epoch, ...]:
    """Train in place with AdamW and a one-cycle rate; the best epoch by `held_out` is kept.

    The untrained network counts as epoch 0: a training that never beats it changes nothing.
    `checkpoint` names the file of one that was interrupted, or may be. No epoch begins after
    `deadline`, on the monotonic clock. `mixed`: half precision where a GPU has it. Raises
    ModelError when the loss is no longer finite.
    """
    module = _Module(network, loss, shape, len(batches))
    keeper = _Keeper(module, held_out, batches.windows, shape, on_epoch, checkpoint, deadline)
    if keeper.stopped:
        return _finish(network, keeper)
    # Lightning advises about loaders, loggers and workers that are not there on purpose.
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = Trainer(
            max_epochs=shape.epochs - keeper.done,
            accelerator="auto",
            devices=1,
            precision="bf16-mixed" if mixed and _has_bf16() else "32-true",
            gradient_clip_val=1.0,
            callbacks=[keeper],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        handler = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(module, train_dataloaders=batches)
        except SystemExit as end:
            # Lightning turns Ctrl-C into exit 1 and ignores the next one.
            if not isinstance(end.__context__, KeyboardInterrupt):
                raise
            signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from None
    return _finish(network, keeper)


def _finish(network: nn.Module, keeper: _Keeper) -> tuple[Epoch, ...]:
    network.load_state_dict(keeper.best)
    network.cpu().eval()
    return tuple(keeper.history)


class Shuffled:
    """Shuffled batches by index: no copy a sample, no worker, no collation."""

    def __init__(self, rows: Rows, size: int) -> None:
        self.rows = rows
        self.size = size

    @property
    def windows(self) -> int:
        """All of them, each once."""
        return len(self.rows[0])

    def __len__(self) -> int:
        return -(-self.windows // self.size)

    def __iter__(self) -> Iterator[Rows]:
        for index in torch.split(torch.randperm(self.windows), self.size):
            yield tuple(tensor[index] for tensor in self.rows)


def _has_bf16() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported()


class _Module(LightningModule):
    def __init__(self, network: nn.Module, loss: Loss, shape: Shape, batches: int) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.shape = shape
        self.batches = batches

    def training_step(self, batch: Rows) -> Tensor:
        *inputs, targets = batch
        return self.loss(self.network(*inputs), targets)

    def configure_optimizers(self) -> Any:
        shape = self.shape
        optimizer = torch.optim.AdamW(
            self.network.parameters(), shape.learning_rate, weight_decay=shape.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, shape.learning_rate, total_steps=shape.epochs * self.batches
        )
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


class _Keeper(Callback):
    """Scores each epoch on the held-out part, keeps the best, stops when patience ends."""

    def __init__(
        self,
        module: _Module,
        held_out: Rows,
        windows: int,
        shape: Shape,
        on_epoch: Callable[[Epoch, int], None] | None,
        file: Path | None,
        deadline: float,
    ) -> None:
        self.module = module
        self.deadline = deadline
        self.held_out = held_out
        self.windows = windows
        self.shape = shape
        self.on_epoch = on_epoch
        self.file = file
        self.saved_at = time.monotonic()
        self.history: list[Epoch] = []
        self.best: dict[str, Tensor] = {}
        self.best_loss = float("inf")
        self.best_epoch = 0
        self.found = None if file is None else _checkpoint.load(file)
        if self.found is not None:
            self.history = [Epoch(*row) for row in self.found.state["history"]]
            self.best = self.found.under("best.")
            self.best_loss = self.found.state["best_loss"]
            self.best_epoch = self.found.state["best_epoch"]
            module.network.load_state_dict(self.found.under("network."))
        self.done = len(self.history)
        """Epochs of the training that was interrupted."""

    @property
    def stopped(self) -> bool:
        """Whether no epoch is left: all are done, or patience or the time has ended."""
        number = len(self.history)
        impatient = number - self.best_epoch >= self.shape.patience
        late = number > 0 and time.monotonic() > self.deadline
        return number >= self.shape.epochs or impatient or late

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.held_out = tuple(tensor.to(pl_module.device) for tensor in self.held_out)
        if self.found is None:
            self._keep(0)
        else:
            self._resume(trainer, self.found)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = time.perf_counter()
        self.losses: list[Tensor] = []

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        *_: Any,
    ) -> None:
        self.losses.append(outputs["loss"].detach())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        seconds = time.perf_counter() - self.started
        number = len(self.history) + 1
        train_loss = float(torch.stack(self.losses).mean())
        loss = self._keep(number)
        epoch = Epoch(number, train_loss, loss, self.windows / seconds)
        if not (torch.isfinite(torch.tensor([train_loss, loss]))).all():
            raise ModelError(
                f"the training diverged in epoch {number}",
                code="model.diverged",
                hint="lower learning_rate, or `cryptocast train --params default`",
            )
        self.history.append(epoch)
        if self.on_epoch is not None:
            self.on_epoch(epoch, self.shape.epochs)
        trainer.should_stop = self.stopped
        if self.file is not None and time.monotonic() - self.saved_at > _SAVE_SECONDS:
            self._save(trainer, self.file)
            self.saved_at = time.monotonic()

    def _keep(self, number: int) -> float:
        *inputs, targets = self.held_out
        network = self.module.network
        network.eval()
        with torch.no_grad():
            loss = float(self.module.loss(network(*inputs), targets))
        network.train()
        if loss < self.best_loss or not self.best:
            self.best, self.best_loss, self.best_epoch = (
                copy.deepcopy(network.state_dict()),
                loss,
                number,
            )
        return loss

    def _save(self, trainer: Trainer, file: Path) -> None:
        (optimizer,) = trainer.optimizers
        (schedule,) = trainer.lr_scheduler_configs
        moments = optimizer.state_dict()["state"]
        tensors = {
            **{f"network.{k}": v for k, v in self.module.network.state_dict().items()},
            **{f"best.{k}": v for k, v in self.best.items()},
            **{f"adam.{i}.{k}": v for i, one in moments.items() for k, v in one.items()},
            "random": torch.get_rng_state(),
        }
        state = {
            "history": [dataclasses.astuple(epoch) for epoch in self.history],
            "best_loss": self.best_loss,
            "best_epoch": self.best_epoch,
            "groups": optimizer.state_dict()["param_groups"],
            "schedule": {
                k: v for k, v in schedule.scheduler.state_dict().items() if k in _SCHEDULE
            },
        }
        _checkpoint.save(file, _checkpoint.Checkpoint(tensors, state))

    def _resume(self, trainer: Trainer, found: _checkpoint.Checkpoint) -> None:
        (optimizer,) = trainer.optimizers
        (schedule,) = trainer.lr_scheduler_configs
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in found.under("adam.").items():
            number, _, key = name.partition(".")
            moments.setdefault(int(number), {})[key] = tensor
        optimizer.load_state_dict({"state": moments, "param_groups": found.state["groups"]})
        schedule.scheduler.load_state_dict(found.state["schedule"])
        torch.set_rng_state(found.tensors["random"])
