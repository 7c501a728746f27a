"""The only Lightning: trains a network on tensors, quietly, and leaves no file behind."""

from __future__ import annotations

import copy
import logging
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from cryptocast.errors import ModelError
from cryptocast.values import Epoch

if TYPE_CHECKING:
    from cryptocast.models.lstm import Shape

Loss = Callable[[Tensor, Tensor], Tensor]
_Pair = tuple[Tensor, Tensor]  # inputs [N, L, F], targets [N, H]


def train(
    network: nn.Module,
    loss: Loss,
    learned: _Pair,
    held_out: _Pair,
    shape: Shape,
    on_epoch: Callable[[Epoch, int], None] | None,
) -> tuple[Epoch, ...]:
    """Train in place with AdamW and a one-cycle rate; the best epoch by `held_out` is kept.

    The untrained network counts as epoch 0: a training that never beats it changes nothing.
    Raises ModelError when the loss is no longer finite.
    """
    batches = _Batches(learned, shape.batch_size)
    module = _Module(network, loss, shape, len(batches))
    keeper = _Keeper(module, held_out, len(learned[0]), shape, on_epoch)
    # Lightning advises about loaders, loggers and workers that are not there on purpose.
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = Trainer(
            max_epochs=shape.epochs,
            accelerator="auto",
            devices=1,
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
    network.load_state_dict(keeper.best)
    network.cpu().eval()
    return tuple(keeper.history)


class _Batches:
    """Shuffled batches by index: no copy a sample, no worker, no collation."""

    def __init__(self, pair: _Pair, size: int) -> None:
        self.pair = pair
        self.size = size

    def __len__(self) -> int:
        return -(-len(self.pair[0]) // self.size)

    def __iter__(self) -> Iterator[_Pair]:
        inputs, targets = self.pair
        for index in torch.split(torch.randperm(len(inputs)), self.size):
            yield inputs[index], targets[index]


class _Module(LightningModule):
    def __init__(self, network: nn.Module, loss: Loss, shape: Shape, batches: int) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.shape = shape
        self.batches = batches

    def training_step(self, batch: _Pair) -> Tensor:
        inputs, targets = batch
        return self.loss(self.network(inputs), targets)

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
        held_out: _Pair,
        windows: int,
        shape: Shape,
        on_epoch: Callable[[Epoch, int], None] | None,
    ) -> None:
        self.module = module
        self.held_out = held_out
        self.windows = windows
        self.shape = shape
        self.on_epoch = on_epoch
        self.history: list[Epoch] = []
        self.best: dict[str, Tensor] = {}
        self.best_loss = float("inf")
        self.best_epoch = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.held_out = (
            self.held_out[0].to(pl_module.device),
            self.held_out[1].to(pl_module.device),
        )
        self._keep(0)

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
        number = trainer.current_epoch + 1
        train_loss = float(torch.stack(self.losses).mean())
        loss = self._keep(number)
        epoch = Epoch(number, train_loss, loss, self.windows / seconds)
        self.history.append(epoch)
        if not (torch.isfinite(torch.tensor([train_loss, loss]))).all():
            raise ModelError(
                f"the training diverged in epoch {number}",
                code="model.diverged",
                hint="lower learning_rate, or `cryptocast train --params default`",
            )
        if self.on_epoch is not None:
            self.on_epoch(epoch, self.shape.epochs)
        trainer.should_stop = number - self.best_epoch >= self.shape.patience

    def _keep(self, number: int) -> float:
        inputs, targets = self.held_out
        network = self.module.network
        network.eval()
        with torch.no_grad():
            loss = float(self.module.loss(network(inputs), targets))
        network.train()
        if loss < self.best_loss or not self.best:
            self.best, self.best_loss, self.best_epoch = (
                copy.deepcopy(network.state_dict()),
                loss,
                number,
            )
        return loss
