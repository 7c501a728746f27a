"""What code made a version: package versions and the commit."""

from __future__ import annotations

import shutil
import subprocess
from importlib import metadata
from pathlib import Path

_PACKAGES = ("torch", "lightning", "mlflow", "onnx", "onnxruntime", "numpy", "optuna", "duckdb")


def packages() -> dict[str, str]:
    """The installed versions of what a training depends on."""
    return {name: metadata.version(name) for name in _PACKAGES}


def git_commit() -> str | None:
    """The commit of the code that runs, where it runs from a checkout."""
    git = shutil.which("git")
    folder = Path(__file__).parents[1]
    if git is None or not (folder.parent / ".git").exists():
        return None
    done = subprocess.run(  # noqa: S603 - a fixed command
        [git, "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or None
