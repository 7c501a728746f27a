"""Guards that hold for every test: warnings are errors, the network ends at loopback."""

from __future__ import annotations

import gc
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

import cryptocast  # noqa: F401 - first: it keeps every library from reporting home
from support import forking

if TYPE_CHECKING:
    from xdist.scheduler import LoadFileScheduling

# No test depends on how fast or busy the machine is.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# Processes inherit ignored signals, which tests send: a shell's background jobs ignore Ctrl-C,
# and what runs under nohup the end of its terminal.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(optionalhook=True)  # there is no such hook without xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """With `--dist loadfile`, give all tests of some folders to one process.

    Those of the flows share a server. Files are begun by their number of tests, so of the faults
    one long test or three would be what everybody waits for at the end.
    """
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            folder = file.rpartition("/")[0]
            return folder if folder in ("tests/faults", "tests/flows") else file

    return Together(config, log)


# As the program does for itself: walking through all that is loaded takes a tenth of the time.
gc.set_threshold(100_000)


def pytest_collection_finish() -> None:
    """What is there before the first test is no garbage."""
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Workers begin with the libraries loaded, which takes each 10 seconds of a processor."""
    if sys.platform == "linux":
        forking.begin_workers_loaded()


LOOPBACK = ("127.", "::1", "localhost")


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that leaves this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(
            LOOPBACK
        ):
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def _no_command_of_another_test() -> None:
    """Messages have the options of the last command, which was another test's."""
    from cryptocast.cli.root import hints

    hints.remember(None, None)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own variables rule no test."""
    import os

    for name in list(os.environ):
        if name.startswith("CRYPTOCAST_") or name in ("COINCAP_API_KEY", "MLFLOW_TRACKING_URI"):
            monkeypatch.delenv(name)
