"""Run the programs by which a scheduler is set up."""

from __future__ import annotations

import os
import shutil
import subprocess

from cryptocast.errors import UsageError

_PATIENCE_SECONDS = 30


def call(*command: str, stdin: str | None = None, hint: str, empty: str | None = None) -> str:
    """Run a program and return its stdout; `hint` says how to do without it.

    If it fails with the words `empty` on stderr, it only has nothing to show. Bytes that are
    not UTF-8 come back as they went. Raises UsageError if the program is not in PATH, or
    refuses.
    """
    program = shutil.which(command[0])
    if program is None:
        raise UsageError(
            f"there is no program '{command[0]}' on this machine",
            code="usage.scheduler",
            hint=hint,
        )
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command, and no shell
            [program, *command[1:]],
            input=(stdin or "").encode(errors="surrogateescape"),
            capture_output=True,
            check=False,
            timeout=_PATIENCE_SECONDS,
            env={**os.environ, "LC_ALL": "C"},  # its messages are compared
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(
            f"{' '.join(command)} failed: {type(error).__name__}",
            code="usage.scheduler",
            hint=hint,
        ) from error
    complaint = done.stderr.decode(errors="replace").strip()
    if done.returncode == 0:
        return done.stdout.decode(errors="surrogateescape")
    if empty is not None and empty in complaint:
        return ""
    raise UsageError(
        f"{' '.join(command)} failed: {complaint.partition(chr(10))[0] or done.returncode}",
        code="usage.scheduler",
        hint=hint,
    )
