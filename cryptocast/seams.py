"""The few protocols that plugins and callers meet at."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from cryptocast.values import Alert, Epoch, Fitted, Market, Page, Windows

T = TypeVar("T")
P = TypeVar("P")
S = TypeVar("S")
R = TypeVar("R")


class Clock(Protocol):
    """A source of time; `virtual` clocks leap instead of sleeping."""

    @property
    def virtual(self) -> bool:
        """True for a virtual clock (`--as-of`, replay)."""

    def now(self) -> float:
        """Return the present, in Unix seconds."""

    def sleep_until(self, moment: float) -> None:
        """Return at `moment`."""


class CandleSource(Protocol):
    """A place that candles come from. Each file in `cryptocast/sources` holds one, as `Source`."""

    @property
    def name(self) -> str:
        """The name that settings and market ids use."""

    @property
    def publishes_late(self) -> bool:
        """True if a candle that is missing now may appear some seconds from now."""

    @property
    def metered(self) -> bool:
        """True if calls cost credits, so that no avoidable call is made."""

    @property
    def bars_a_call(self) -> int:
        """The number of bars that one call can bring."""

    @property
    def bars_back(self) -> int | None:
        """The number of bars before now that it still gives; None if it gives all it ever had."""

    def pages(
        self, market: Market, start: int, end: int, *, deadline: float = math.inf
    ) -> Iterator[Page]:
        """Yield the candles with open time in `[start, end)`, in pages, oldest first.

        The pages lie inside the range, without overlap; about a part that no page covers
        the source can say nothing. An answer that is not what was asked for raises
        SourceError; it is never an empty page. After `deadline`, on the monotonic clock,
        nothing is asked or waited for any more: SourceError (`source.timeout`).
        May be called from several threads at once, for different markets.
        """

    def close(self) -> None:
        """Close the connections."""


@runtime_checkable
class Paced(Protocol):
    """The limits of a source whose calls are limited: so many in so many seconds."""

    pace: tuple[int, float]


class Meter(Protocol):
    """The account that pays for the calls of a metered source, and for none of them twice.

    Shared by threads.
    """

    def book(self, source: str, credits: int) -> None:
        """Pay for a call before it is made, by what it will probably cost.

        Raises SourceError (`source.quota`) if the month's budget does not pay for it, or if
        the source has lately said that the plan is used up: the call must not be made.
        """

    def settle(self, source: str, booked: int, spent: int) -> None:
        """Correct the booking of a call to what its answer cost."""

    def refused(self, source: str) -> None:
        """Note that the source says the plan is used up: no call for a while."""

    def recall(self, source: str, key: str) -> str | None:
        """Return what an earlier process noted under that key, or None."""

    def note(self, source: str, key: str, value: str) -> None:
        """Keep what a call has found out under a key; never a secret."""


class Notifier(Protocol):
    """A receiver of alerts. Each file in `cryptocast/notify` holds one, as `Notifier`."""

    def send(self, alert: Alert) -> None:
        """Deliver an alert, or raise NotifyError, whose text holds no secret.

        It gives up by itself after a while; a caller that cannot wait that long sends from a
        thread.
        """


Params = Mapping[str, float | int | str]


class Trial(Protocol):
    """The parameters of one trial, suggested to a model kind (Optuna's Trial has this shape)."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return a number in `[low, high]`."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        """Return a whole number in `[low, high]`."""


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """One run of a training: its seed, its reports, the file of its state, and its time limit.

    `on_epoch` is called with each epoch and the highest possible number of epochs. A training
    that takes long keeps its state in the file `checkpoint`, continues from what it finds there,
    and leaves the removal of the file to the caller. No epoch begins after `deadline`, on the
    monotonic clock.
    """

    seed: int
    on_epoch: Callable[[Epoch, int], None] | None = None
    checkpoint: Path | None = None
    deadline: float = math.inf

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave reports and state behind: a worker may have neither this clock nor this disk."""
        return _resumed, (self.seed, self.deadline - time.monotonic())


def _resumed(seed: int, seconds: float) -> TrainingRun:
    return TrainingRun(seed, deadline=time.monotonic() + seconds)


class ModelKind(Protocol):
    """A kind of model. Each file in `cryptocast/models` holds one, as `Model`."""

    @property
    def kind(self) -> str:
        """The name that settings and cards use."""

    def started_at(self, network: str) -> ModelKind:
        """Return this kind starting at a base network, or itself if it never starts at one."""

    def least_bars(self, lookback: int, horizon: int) -> int:
        """Return how many training bars it takes at least."""

    def defaults(self) -> Params:
        """Return the parameters of a training that nobody tuned."""

    def suggest(self, trial: Trial) -> Params:
        """Return one point of the search space, which lives beside the model."""

    def fit(
        self,
        train: Windows,
        validation: Windows,
        *,
        levels: Sequence[float],
        params: Params,
        run: TrainingRun,
    ) -> Fitted:
        """Train on one part, stop early by the other; the same data and seed give the same graph.

        Raise ModelError if the training diverges, and ConfigError for an impossible parameter.
        """


class Progress(Protocol):
    """A display of long work that shows that it is alive; it never raises or prints to stdout."""

    def stage(self, name: str) -> None:
        """Begin a named step of the work; the one before is done."""

    def advance(self, done: float, total: float, detail: str = "") -> None:
        """Show that the present stage is `done` of `total` on its way."""

    def waiting(self, what: str) -> None:
        """Say what is waited for; called again while that lasts."""


class Silence:
    """A Progress that says nothing."""

    def stage(self, name: str) -> None:
        """Say nothing."""

    def advance(self, done: float, total: float, detail: str = "") -> None:
        """Say nothing."""

    def waiting(self, what: str) -> None:
        """Say nothing."""


class Later(Enum):
    """The type of `LATER`."""

    LATER = "later"


LATER = Later.LATER
"""What stands among the pieces of an engine where the next one depends on a result."""


class Engine(Protocol):
    """A place where heavy work runs. Each file in `cryptocast/engines` holds one."""

    @property
    def workers(self) -> int:
        """The number of pieces that run at once."""

    def map(
        self, function: Callable[[P, S], R], pieces: Iterable[P | Later], shared: S
    ) -> Iterator[R]:
        """Yield what the function makes of each piece and `shared`, in the order of the pieces.

        The function is a module's own and pure, and what goes in and out can be pickled. At most
        twice as many pieces as workers are asked for before their results are taken. After
        `LATER`, which is no piece, none is asked for until a result is taken. An error
        of a piece is raised in its turn: a CryptocastError as it was. Each piece of a function
        with the attribute `ON_GPU` gets a GPU if there is one. Raises EngineError.
        """

    def prepare(self, modules: Sequence[str]) -> None:
        """Let the workers start and import these modules while the command does other things.

        The first pieces need not wait for that then. Do nothing if there are no workers; errors
        are left to `map`.
        """

    def close(self) -> None:
        """End the workers, and what is still under way."""


class Steps(Protocol):
    """A runner of the named steps of a pipeline or of a tick.

    The pipelines do not know what runs their steps: cryptocast itself (`Inline`), or an engine
    that makes a task of each.
    """

    def step(self, name: str, work: Callable[[], T]) -> T:
        """Run one step in the calling thread and return its result.

        An exception of `work` is raised unchanged.
        """


class Inline:
    """A runner that runs each step here and now."""

    def step(self, name: str, work: Callable[[], T]) -> T:  # noqa: ARG002 - the protocol's
        """Call `work` and return its result."""
        return work()
