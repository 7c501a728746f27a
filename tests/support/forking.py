"""Processes that begin with the libraries of a training loaded, as importing those takes 7 seconds.

One process a session loads them and forks for whoever asks; what it makes are processes like any
other: killed for real, with pipes, an exit code, arguments and an environment of their own. They
become children of the tests (the grandchild of a process that has ended goes to the next one that
reaps), so `subprocess.Popen` waits for them as for those that it starts itself.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_PR_SET_CHILD_SUBREAPER = 36

_LOADED = (
    "arch.univariate",
    "duckdb",
    "lightning.pytorch",
    "matplotlib.figure",
    "mlflow.pyfunc",
    "mlflow.store.tracking.sqlalchemy_store",
    "onnx",
    "optuna",
    "cryptocast.cli",
    "cryptocast.registry",
    "cryptocast.store",
    "cryptocast.tuning",
)


class _Parent:
    """The process that forks, and the socket on which it is asked to."""

    def __init__(self, path: str) -> None:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._ours, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.forking", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C at the tests is not for it
        )
        theirs.close()
        atexit.register(self.end)

    def fork(self, job: Mapping[str, Any], streams: Sequence[int]) -> int:
        """Have it fork for a job with these three standard streams; returns the new PID."""
        message = json.dumps(job).encode()
        socket.send_fds(self._ours, [len(message).to_bytes(4, "big")], streams)
        self._ours.sendall(message)
        return int.from_bytes(_read(self._ours, 4), "big")

    def end(self) -> None:
        self._ours.close()
        self._process.wait()


_parents: list[_Parent] = []


class Forked(subprocess.Popen[str]):
    """A process that runs a script, begun by the one that has the libraries; Linux only.

    Its arguments are the script and the arguments of that.
    """

    def _execute_child(self, args: Any, *rest: Any) -> None:
        """Fork where Popen would start a program, with the pipes that it made."""
        env = rest[5]
        read_in, _, _, write_out, _, write_err = rest[9:15]
        if not _parents:
            _parents.append(_Parent(env["PYTHONPATH"]))
        job = {"arguments": args, "environ": dict(env), "folder": str(Path.cwd())}
        self.pid = _parents[0].fork(job, (read_in, write_out, write_err))
        self._child_created = True
        for descriptor in (read_in, write_out, write_err):
            os.close(descriptor)


def _read(source: socket.socket, size: int) -> bytes:
    """Read so many bytes, or none when the other side has gone."""
    data = b""
    while len(data) < size:
        if not (part := source.recv(size - len(data))):
            return b""
        data += part
    return data


def _wait_for_a_job(source: socket.socket) -> dict[str, Any]:
    """Fork whenever asked to; returns in the new process, with its job."""
    while True:
        head, streams, _, _ = socket.recv_fds(source, 4, 3)
        if not head:
            os._exit(0)
        job: dict[str, Any] = json.loads(_read(source, int.from_bytes(head, "big")))
        ours, theirs = os.pipe()
        if (between := os.fork()) == 0:
            if (child := os.fork()) == 0:
                break
            os.write(theirs, child.to_bytes(4, "big"))
            os._exit(0)
        os.waitpid(between, 0)  # from here on the child is the tests'
        source.sendall(os.read(ours, 4))
        for descriptor in (ours, theirs, *streams):
            os.close(descriptor)
    source.close()
    for descriptor in (ours, theirs):
        os.close(descriptor)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    return job


def _become(job: dict[str, Any]) -> str:
    """Take the job's environment, folder and arguments; returns its script."""
    os.environ.clear()
    os.environ.update(job["environ"])
    os.chdir(job["folder"])
    script, *arguments = job["arguments"]
    sys.argv = ["-c", *arguments]
    return str(script)


if __name__ == "__main__":
    import warnings
    from importlib import import_module

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # MLflow loads polars when it is there, whose threads would be missing after a fork.
        sys.modules["polars"] = None  # type: ignore[assignment]
        for name in _LOADED:
            import_module(name)
        del sys.modules["polars"]
    gc.freeze()  # no collection in a fork is to walk, and so copy, all that was loaded
    script = _become(_wait_for_a_job(socket.socket(fileno=int(sys.argv[1]))))
    exec(compile(script, "<string>", "exec"), {"__name__": "__main__"})
