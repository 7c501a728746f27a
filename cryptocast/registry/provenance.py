"""What code made a version: package versions and the commit."""

from __future__ import annotations

import functools
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

_PACKAGES = ("torch", "lightning", "mlflow", "onnx", "onnxruntime", "numpy", "optuna", "duckdb")


def packages() -> dict[str, str]:
    """The installed versions of what a training depends on."""
    return {name: metadata.version(name) for name in _PACKAGES}


@functools.cache  # the code that runs is that of the process's start
def git_commit() -> str | None:
    """The commit of the code that runs, where it runs from a checkout; `-dirty`: and changes."""
    git = shutil.which("git")
    folder = Path(__file__).parents[2]
    if git is None or not (folder / ".git").exists():
        return None
    describe = ("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    done = subprocess.run(  # noqa: S603 - a fixed command
        # Without the lock: a commit that somebody makes meanwhile is not disturbed.
        [git, "--no-optional-locks", "-C", str(folder), *describe],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or None
