"""Processes that begin with the libraries of a training loaded, as importing those takes 7 seconds.

One process loads them and forks for whoever asks; what it makes are processes like any other:
killed for real, with pipes, an exit code, arguments and an environment of their own. They become
children of the tests (the grandchild of a process that has ended goes to the next one that
reaps), so `subprocess.Popen` waits for them as for those that it starts itself. The workers of
pytest-xdist are begun like this too, each with a process of its own that forks for its tests.
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
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

_PR_SET_CHILD_SUBREAPER = 36
_HEIR = "FORKS_ON_SOCKET"  # the variable with the descriptor of a worker's own
_heir = os.environ.pop(_HEIR, "")
_TESTS = Path(__file__).parents[1]
_environ_before = frozenset(os.environ)  # what libraries add to it, they add once

_LOADED = (
    "arch.univariate",
    "ccxt",
    "duckdb",
    "fastapi",
    "git",
    "httpx",
    "lightning.pytorch",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "mlflow.onnx",
    "mlflow.pyfunc",
    "mlflow.store.tracking.sqlalchemy_store",
    "onnx",
    "onnxruntime",
    "optuna",
    "pandas",
    "scipy.signal",
    "scipy.stats",
    "sklearn.ensemble",
    "tomlkit",
    "cryptocast.cli",
    "cryptocast.models._fitting",
    "cryptocast.registry",
    "cryptocast.tuning",
    "cryptocast.workflows.serve_loop",
)


class _Parent:
    """The process that forks, and the socket on which it is asked to."""

    def __init__(self) -> None:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        if _heir:
            self._ours = socket.socket(fileno=int(_heir))
            return
        self._ours, theirs = socket.socketpair()
        path = os.pathsep.join([str(_TESTS), str(_TESTS.parent)])
        process = subprocess.Popen(
            [sys.executable, "-m", "support.forking", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C at the tests is not for it
        )
        theirs.close()
        atexit.register(process.wait)
        atexit.register(self._ours.close)

    def fork(self, job: Mapping[str, Any], streams: Sequence[int]) -> int:
        """Have it fork for a job with these three standard streams; returns the new PID."""
        message = json.dumps(job).encode()
        socket.send_fds(self._ours, [len(message).to_bytes(4, "big")], streams)
        self._ours.sendall(message)
        return int.from_bytes(_read(self._ours, 4), "big")


_parents: list[_Parent] = []


class Forked(subprocess.Popen[str]):
    """A process that runs a script, begun by the one that has the libraries; Linux only.

    Its arguments are the script and the arguments of that.
    """

    forks = False  # whether it is to have a process that forks for it

    def _execute_child(self, args: Any, *rest: Any) -> None:
        """Fork where Popen would start a program, with the pipes that it made."""
        env = rest[5]
        read_in, _, _, write_out, _, write_err = rest[9:15]
        if not _parents:
            _parents.append(_Parent())
        job = {
            "arguments": args,
            "environ": dict(env),
            "folder": str(Path.cwd()),
            "forks": self.forks,
        }
        self.pid = _parents[0].fork(job, (read_in, write_out, write_err))
        self._child_created = True
        for descriptor in (read_in, write_out, write_err):
            os.close(descriptor)


class _Worker(Forked):
    """A worker of pytest-xdist."""

    forks = True


def begin_workers_loaded() -> None:
    """Have pytest-xdist begin its workers here, where it would start a Python for each."""
    from execnet import gateway_io

    def begin(self: Any, arguments: Sequence[str], execmodel: Any) -> None:
        self.popen = _Worker(
            [arguments[-1]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=os.dup(2),
            env=os.environ,
        )
        base.__init__(self, self.popen.stdin, self.popen.stdout, execmodel=execmodel)

    base = gateway_io.Popen2IO
    gateway_io.Popen2IOMaster.__init__ = begin


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


def _leave_an_heir(job: dict[str, Any]) -> dict[str, Any]:
    """Fork once more: what is new waits for jobs and returns with one, the other with its own."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nothing, stream)
        os.close(nothing)
        return _wait_for_a_job(theirs)
    theirs.close()
    job["environ"][_HEIR] = str(ours.detach())
    return job


def _become(job: dict[str, Any]) -> str:
    """Take the job's environment, folder and arguments; returns its script."""
    by_imports = {name: os.environ[name] for name in os.environ.keys() - _environ_before}
    os.environ.clear()
    os.environ.update(by_imports | job["environ"])
    os.chdir(job["folder"])
    script, *arguments = job["arguments"]
    sys.argv = ["-c", *arguments]
    return str(script)


def _run(job: dict[str, Any]) -> NoReturn:
    """Run the job's script to the end of this process, which takes no second to unload all."""
    code: object = 0
    try:
        exec(compile(_become(job), "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError, OSError):  # it is closed, or nobody reads it any more
            stream.flush()
    os._exit(code if isinstance(code, int) else code is not None)


if __name__ == "__main__":
    import warnings
    from importlib import import_module

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # MLflow loads polars when it is there, whose threads would be missing after a fork.
        sys.modules["polars"] = None  # type: ignore[assignment]
        for name in _LOADED:
            import_module(name)
        # MLflow asks once a process which packages have which modules, when it logs a model.
        import_module("mlflow.utils.requirements_utils")._init_packages_to_modules_map()
        del sys.modules["polars"]
    # MLflow loads this plug-in of pytest, which would warn that it cannot rewrite its asserts.
    sys.modules["anyio"].__doc__ = "PYTEST_DONT_REWRITE"
    gc.freeze()  # no collection in a fork is to walk, and so copy, all that was loaded
    job = _wait_for_a_job(socket.socket(fileno=int(sys.argv[1])))
    _run(_leave_an_heir(job) if job["forks"] else job)
