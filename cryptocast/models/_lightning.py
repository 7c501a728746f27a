"""Training with Lightning: networks on tensors, quietly, without leaving files behind.

A training that takes long keeps its state in a file and continues from there when it is started
again. With the same data, parameters and seed it ends as if it had not been stopped.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import signal
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from cryptocast.errors import ModelError
from cryptocast.models import _checkpoint
from cryptocast.models._checkpoint import Checkpoint
from cryptocast.models._imports import Callback, LightningModule, Trainer
from cryptocast.models._network import collected
from cryptocast.values import Epoch

if TYPE_CHECKING:
    from cryptocast.models._shape import Shape
    from cryptocast.seams import TrainingRun

Loss = Callable[[Tensor, Tensor], Tensor]
Rows = tuple[Tensor, ...]  # [N, ...] what the network is called with, last the targets [N, H]

_SAVE_SECONDS = 5.0  # a training that ends sooner leaves no file, even if it is killed


@dataclass(frozen=True, slots=True, eq=False)
class Batches:
    """The batches of an epoch, taken by index: no copy per sample, no worker, no collation.

    `draw` returns the indices of each batch, drawn again by torch's generator at each call.
    """

    rows: Rows
    draw: Callable[[], Iterable[Tensor]]
    count: int  # batches in an epoch
    windows: int  # rows that an epoch draws

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Rows]:
        for index in self.draw():
            yield tuple(tensor[index] for tensor in self.rows)


def shuffled(rows: Rows, size: int) -> Batches:
    """Return batches that hold each row once."""
    count = len(rows[0])
    return Batches(rows, lambda: torch.split(torch.randperm(count), size), -(-count // size), count)


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """Everything that a training needs besides the network.

    `mixed` asks for half precision on a GPU that supports it.
    """

    loss: Loss
    batches: Batches
    held_out: Rows  # decides which epoch is kept
    shape: Shape
    run: TrainingRun
    mixed: bool = False


@collected()
def train(network: nn.Module, training: Training) -> tuple[Epoch, ...]:
    """Train in place with AdamW and a one-cycle rate, and keep the best epoch by `held_out`.

    The untrained network counts as epoch 0, so a training that never beats it changes nothing.
    Return the epochs. Raise ModelError if the loss is no longer finite.
    """
    module = _Module(network, training)
    keeper = _Keeper(module, training)
    if not keeper.stopped:
        # Lightning advises about loaders, loggers and workers that are absent on purpose.
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _fit(_trainer(training, keeper), module)
    network.load_state_dict(keeper.best)
    network.cpu().eval()
    return tuple(keeper.history)


def _trainer(training: Training, keeper: _Keeper) -> Trainer:
    has_bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return Trainer(
        max_epochs=training.shape.epochs - keeper.done,
        accelerator="auto",
        devices=1,
        precision="bf16-mixed" if training.mixed and has_bf16 else "32-true",
        gradient_clip_val=1.0,
        callbacks=[keeper],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _fit(trainer: Trainer, module: _Module) -> None:
    """Run the trainer; raise KeyboardInterrupt on Ctrl-C, as everything else does."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, train_dataloaders=module.training_.batches)
    except SystemExit as end:
        # Lightning turns Ctrl-C into exit 1 and ignores the next one.
        if not isinstance(end.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


class _Module(LightningModule):
    def __init__(self, network: nn.Module, training: Training) -> None:
        super().__init__()
        self.network = network
        self.training_ = training  # torch's modules have a flag `training`

    def training_step(self, batch: Rows) -> Tensor:
        *inputs, targets = batch
        return self.training_.loss(self.network(*inputs), targets)

    def configure_optimizers(self) -> Any:
        shape = self.training_.shape
        optimizer = torch.optim.AdamW(
            self.network.parameters(), shape.learning_rate, weight_decay=shape.weight_decay
        )
        steps = shape.epochs * len(self.training_.batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, shape.learning_rate, total_steps=steps
        )
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


class _Keeper(Callback):
    """Scores each epoch on the held-out part, keeps the best, and stops when patience ends."""

    def __init__(self, module: _Module, training: Training) -> None:
        self.module = module
        self.training = training
        self.held_out = training.held_out
        self.saved_at = time.monotonic()
        self.history: list[Epoch] = []
        self.best: dict[str, Tensor] = {}
        self.best_loss = float("inf")
        self.best_epoch = 0
        file = training.run.checkpoint
        self.interrupted = None if file is None else _checkpoint.load(file)
        if self.interrupted is not None:
            state = self.interrupted.state
            self.history = [Epoch(*row) for row in state["history"]]
            self.best = self.interrupted.under("best.")
            self.best_loss, self.best_epoch = state["best_loss"], state["best_epoch"]
            module.network.load_state_dict(self.interrupted.under("network."))
        self.done = len(self.history)
        """Epochs of the training that was interrupted."""

    @property
    def stopped(self) -> bool:
        """True if no epoch is left: all are done, or patience or the time has ended."""
        number, shape = len(self.history), self.training.shape
        impatient = number - self.best_epoch >= shape.patience
        late = number > 0 and time.monotonic() > self.training.run.deadline
        return number >= shape.epochs or impatient or late

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.held_out = tuple(tensor.to(pl_module.device) for tensor in self.held_out)
        if self.interrupted is None:
            self._keep(0)
        else:
            _checkpoint.restore_optimiser(trainer, self.interrupted)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = time.perf_counter()
        self.losses: list[Tensor] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        self.losses.append(outputs["loss"].detach())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        seconds = time.perf_counter() - self.started
        number = len(self.history) + 1
        train_loss = float(torch.stack(self.losses).mean())
        loss = self._keep(number)
        epoch = Epoch(number, train_loss, loss, self.training.batches.windows / seconds)
        if not (torch.isfinite(torch.tensor([train_loss, loss]))).all():
            raise ModelError(
                f"the training diverged in epoch {number}",
                code="model.diverged",
                hint="lower learning_rate, or `cryptocast train --params default`",
            )
        self.history.append(epoch)
        if self.training.run.on_epoch is not None:
            self.training.run.on_epoch(epoch, self.training.shape.epochs)
        trainer.should_stop = self.stopped
        file = self.training.run.checkpoint
        if file is not None and time.monotonic() - self.saved_at > _SAVE_SECONDS:
            self._save(trainer, file)
            self.saved_at = time.monotonic()

    def _keep(self, number: int) -> float:
        """Return the held-out loss of this epoch, and keep its weights if none was better."""
        *inputs, targets = self.held_out
        network = self.module.network
        network.eval()
        with torch.no_grad():
            loss = float(self.training.loss(network(*inputs), targets))
        network.train()
        if loss < self.best_loss or not self.best:
            self.best = copy.deepcopy(network.state_dict())
            self.best_loss, self.best_epoch = loss, number
        return loss

    def _save(self, trainer: Trainer, file: Path) -> None:
        optimiser = _checkpoint.optimiser_state(trainer)
        tensors = {
            **{f"network.{k}": v for k, v in self.module.network.state_dict().items()},
            **{f"best.{k}": v for k, v in self.best.items()},
            **optimiser.tensors,
        }
        state = {
            "history": [dataclasses.astuple(epoch) for epoch in self.history],
            "best_loss": self.best_loss,
            "best_epoch": self.best_epoch,
            **optimiser.state,
        }
        _checkpoint.save(file, Checkpoint(tensors, state))
