"""ray: the workers of a Ray cluster, or of a local one; needs the extra `cryptocast[ray]`.

The driver runs on a machine of the cluster (`HOST:PORT`, `auto`) or talks to it (`ray://`).
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import cryptocast
from cryptocast.config import EngineSettings
from cryptocast.engines._work import import_all, in_order, work
from cryptocast.errors import ConfigError, CryptocastError, EngineError
from cryptocast.seams import Later

P = TypeVar("P")
S = TypeVar("S")
R = TypeVar("R")

_MOST_DEATHS = 3  # of workers, before a piece counts as deadly
_LOOK_SECONDS = 3.0  # how often it looks whether the cluster is still there


class Engine:
    """A cluster, joined when the first piece comes; one that a person has joined stays joined."""

    def __init__(self, settings: EngineSettings) -> None:
        """Join nothing yet. Raises ConfigError (`config.extra`) if Ray is not installed."""
        self._settings = settings
        _prepare(alone=settings.address is None)
        self._ray = _library()
        self._ours = False
        self._head: tuple[str, int] | None = None
        self._shared: tuple[Any, Any] | None = None
        self._preparing: list[Any] = []  # Ray forgets what nobody holds

    @property
    def workers(self) -> int:
        """The number of pieces that run at once: by default one per core of the cluster."""
        self._join()
        cores = int(self._ray.cluster_resources().get("CPU", 1))
        return self._settings.workers or max(cores, 1)

    def map(
        self, function: Callable[[P, S], R], pieces: Iterable[P | Later], shared: S
    ) -> Iterator[R]:
        """Yield the results, in the order of the pieces; one whose worker died is done again.

        Raises EngineError: `engine.unreachable`, `engine.lost` if the cluster goes away,
        `engine.worker` if workers die again and again.
        """
        most, ray = 2 * self.workers, self._ray
        if self._shared is None or self._shared[0] is not shared:
            self._shared = shared, ray.put(shared)
        kept = self._shared[1]
        gpus = 1 if hasattr(function, "ON_GPU") and "GPU" in ray.cluster_resources() else 0
        remote = ray.remote(work).options(
            name=function.__name__, max_retries=_MOST_DEATHS, num_gpus=gpus
        )

        def submit(piece: P) -> Any:
            return remote.remote(cryptocast.__version__, function, piece, kept)

        return in_order(pieces, submit, self._result, most)

    def prepare(self, modules: Sequence[str]) -> None:
        """Join, and let as many workers as will be used import the modules at once."""
        with contextlib.suppress(CryptocastError):  # `map` joins again, and says what is wrong
            remote = self._ray.remote(import_all).options(name="prepare", max_retries=0)
            self._preparing = [remote.remote(tuple(modules)) for _ in range(self.workers)]

    def close(self) -> None:
        """Leave the cluster, which ends what still runs for us; a local one ends with that."""
        if self._ours and self._is_there():
            self._ray.shutdown()
        self._ours, self._shared = False, None
        self._preparing.clear()

    def _join(self) -> None:
        ray, address = self._ray, self._settings.address
        if ray.is_initialized():
            return
        local = {"num_cpus": self._settings.workers, "include_dashboard": False}
        named = re.fullmatch(r"([^/]+):(\d+)", address or "")
        if named is not None and not _answers((named[1], int(named[2]))):  # Ray asks for 20 s
            raise _unreachable(address, "nothing answers there")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Ray announces what will change
                ray.init(
                    address or "local",
                    log_to_driver=False,
                    logging_level="ERROR",
                    **({} if address else local),
                )
        except (ConnectionError, TimeoutError) as error:
            raise _unreachable(address, _first(error)) from None
        # Other versions, no address, another token.
        except (RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise EngineError(
                f"the Ray cluster at {address or 'this machine'} cannot be used: {_first(error)}",
                code="engine.unfit",
                hint="driver and cluster need the same Ray and Python, and [engine] address "
                "HOST:PORT or auto",
            ) from None
        self._ours = True
        if not (address or "").startswith("ray://"):
            host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
            self._head = host, int(port)

    def _result(self, waiting: deque[Any]) -> Any:
        ray, reference = self._ray, waiting.popleft()
        try:
            while not ray.wait([reference], timeout=_LOOK_SECONDS)[0]:
                # Ray itself would end this process a minute later, without an exception.
                if not self._is_there():
                    raise self._lost("it does not answer any more")
            return ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, ImportError):
                raise EngineError(
                    f"a worker lacks what the work needs: {error.cause}",
                    code="engine.version",
                    hint="install the same cryptocast on every machine of the cluster",
                ) from None
            raise
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
            raise EngineError(
                f"a worker was killed, and {_MOST_DEATHS} others that did its piece again",
                code="engine.worker",
                hint="is the memory used up? take fewer: [engine] workers in cryptocast.toml",
            ) from None
        except (ray.exceptions.RayError, ConnectionError) as error:
            raise self._lost(_first(error)) from None

    def _is_there(self) -> bool:
        return self._head is None or _answers(self._head)

    def _lost(self, why: str) -> CryptocastError:
        return EngineError(
            f"the Ray cluster is gone: {why}",
            code="engine.lost",
            hint="what is finished is kept: start the cluster and type the same again, "
            "or with --engine here",
        )


def _answers(place: tuple[str, int]) -> bool:
    try:
        socket.create_connection(place, timeout=_LOOK_SECONDS).close()
    except OSError:
        return False
    return True


def _unreachable(address: str | None, why: str) -> EngineError:
    return EngineError(
        f"there is no Ray cluster at {address or 'this machine'}: {why}",
        code="engine.unreachable",
        hint="start it with ray start --head, or leave [engine] address out",
    )


def _prepare(*, alone: bool) -> None:
    """Set what Ray reads when it is imported, unless the environment has it: a token, less talk.

    A cluster of this command alone has a token of its own: Ray would leave one in the home folder.
    `ray start` asks for a token wherever there is one, but who joins has to say so.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # the last line is our error
    if alone:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        return
    known = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    if known or Path("~/.ray/auth_token").expanduser().is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _library() -> Any:
    """Return Ray; raise ConfigError (`config.extra`) if it is not installed."""
    try:
        import ray  # late: it is an extra, and takes half a second
    except ImportError:
        raise ConfigError(
            "cryptocast[ray] is not installed, which the engine ray needs",
            code="config.extra",
            hint="pip install 'cryptocast[ray]', or --engine processes",
        ) from None
    return ray


def _first(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
