"""The few protocols that plugins and callers meet at."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Protocol, TypeVar

from cryptocast.values import Alert, Epoch, Fitted, Market, Page, Windows

T = TypeVar("T")


class Clock(Protocol):
    """Where time comes from; `virtual` clocks leap instead of sleeping."""

    @property
    def virtual(self) -> bool:
        """Whether this is a virtual clock (`--as-of`, replay)."""

    def now(self) -> float:
        """The present, in Unix seconds."""

    def sleep_until(self, moment: float, stop: Event | None = None) -> None:
        """Return at `moment`, or early when `stop` is set."""


class CandleSource(Protocol):
    """A place that candles come from. One file in `cryptocast/sources` holds one, as `Source`."""

    @property
    def name(self) -> str:
        """The name that settings and market ids use."""

    @property
    def publishes_late(self) -> bool:
        """Whether a candle that is missing now may appear some seconds from now."""

    @property
    def metered(self) -> bool:
        """Whether calls cost credits, so that none is made that can be done without."""

    @property
    def bars_a_call(self) -> int:
        """How many bars one call can bring."""

    @property
    def bars_back(self) -> int | None:
        """How many bars before now it still gives; None where it gives all it ever had."""

    def pages(
        self, market: Market, start: int, end: int, *, deadline: float = math.inf
    ) -> Iterator[Page]:
        """Yield the candles with open time in `[start, end)`, in pages, oldest first.

        The pages lie inside the range, without overlap; of what none of them covers
        the source can say nothing. An answer that is not what was asked for raises
        SourceError; it is never an empty page. After `deadline`, on the monotonic clock,
        nothing is asked or waited for any more: SourceError (`source.timeout`).
        May be called from several threads at once, for different markets.
        """

    def close(self) -> None:
        """Give back connections."""


class Meter(Protocol):
    """Who pays for the calls of a metered source, and sees that none is paid for twice.

    Shared by threads.
    """

    def book(self, source: str, credits: int) -> None:
        """Pay for a call before it is made, by what it will probably cost.

        Raises SourceError (`source.quota`) where the month's budget does not pay for it,
        or the source has lately said that the plan is used up: the call is not made.
        """

    def settle(self, source: str, booked: int, spent: int) -> None:
        """Correct what a call was booked for to what its answer cost."""

    def refused(self, source: str) -> None:
        """The source says that the plan is used up: no call for a while."""

    def recall(self, source: str, key: str) -> str | None:
        """What a call of an earlier process found out, and noted under that key."""

    def note(self, source: str, key: str, value: str) -> None:
        """Keep what a call has found out; no secret."""


class Notifier(Protocol):
    """A receiver of alerts. One file in `cryptocast/notify` holds one, as `Notifier`."""

    def send(self, alert: Alert) -> None:
        """Deliver it, or raise NotifyError, whose text holds no secret.

        It gives up by itself after a while; who cannot wait so long sends from a thread.
        """


Params = Mapping[str, float | int | str]


class Trial(Protocol):
    """Where a model kind takes the parameters of one trial from (Optuna's Trial has this shape)."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number in `[low, high]`."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        """A whole number in `[low, high]`."""


class ModelKind(Protocol):
    """A kind of model. One file in `cryptocast/models` holds one, as `Model`."""

    @property
    def kind(self) -> str:
        """The name that settings and cards use."""

    def started_at(self, network: str) -> ModelKind:
        """The same kind starting at a base network by its name; itself where it starts at none."""

    def least_bars(self, lookback: int, horizon: int) -> int:
        """How many training bars it takes, at least."""

    def defaults(self) -> Params:
        """The parameters of a training that nobody tuned."""

    def suggest(self, trial: Trial) -> Params:
        """One point of the search space, which lives beside the model."""

    def fit(
        self,
        train: Windows,
        validation: Windows,
        *,
        levels: Sequence[float],
        params: Params,
        seed: int,
        on_epoch: Callable[[Epoch, int], None] | None = None,
        checkpoint: Path | None = None,
    ) -> Fitted:
        """Train on one part, stop early by the other; same data and seed, same graph.

        `on_epoch` is told each epoch and the most there will be. A training that takes long
        keeps where it stands in the file `checkpoint`, goes on from what it finds there, and
        leaves its removal to the caller. Raises ModelError when the training diverges and
        ConfigError for a parameter that cannot be.
        """


class Progress(Protocol):
    """How long work tells that it is alive; it never raises and never prints to stdout."""

    def stage(self, name: str) -> None:
        """A named step of the work begins; the one before is done."""

    def advance(self, done: float, total: float, detail: str = "") -> None:
        """The present stage is `done` of `total` on its way."""


class Silence:
    """A Progress that says nothing."""

    def stage(self, name: str) -> None:
        """Say nothing."""

    def advance(self, done: float, total: float, detail: str = "") -> None:
        """Say nothing."""


class Steps(Protocol):
    """How the named steps of a pipeline or of a tick are run.

    The pipelines know nothing of who runs their steps: cryptocast itself (`Inline`), or an
    engine that makes a task of each.
    """

    def step(self, name: str, work: Callable[[], T]) -> T:
        """Run one step in the calling thread and return its result.

        An exception of `work` is raised unchanged.
        """


class Inline:
    """Steps that are run here and now."""

    def step(self, name: str, work: Callable[[], T]) -> T:  # noqa: ARG002 - the protocol's
        """Call `work` and return its result."""
        return work()
