"""Running the programs that a scheduler is told by."""

from __future__ import annotations

import os
import shutil
import subprocess

from cryptocast.errors import UsageError

_PATIENCE_SECONDS = 30


def call(*command: str, stdin: str | None = None, hint: str, empty: str | None = None) -> str:
    """What a program answers on stdout; `hint` is the way without it.

    `empty` are words on stderr by which it fails where there is only nothing to tell. Bytes
    that are no UTF-8 come back as they went. Raises UsageError where it is not in PATH, or
    says no.
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
            env={**os.environ, "LC_ALL": "C"},  # its words are looked at
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(
            f"{' '.join(command)} failed: {type(error).__name__}",
            code="usage.scheduler",
            hint=hint,
        ) from error
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode == 0:
        return done.stdout.decode(errors="surrogateescape")
    if empty is not None and empty in said:
        return ""
    raise UsageError(
        f"{' '.join(command)} failed: {said.partition(chr(10))[0] or done.returncode}",
        code="usage.scheduler",
        hint=hint,
    )
