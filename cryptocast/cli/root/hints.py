"""Commands in messages, as they must be typed to reach the same workspace at the same moment."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

_COMMAND = re.compile(r"\bcryptocast ([a-z]+(?:-[a-z]+)*)(?P<rest>[^,;:)\n]*)")
_WITHOUT_WORKSPACE = ("guide", "pretrain")
_BY_THE_SYSTEM = ("guide", "pretrain", "schedule", "serve-flows", "serve-loop", "config", "prune")

_typed: dict[str, str] = {}


def remember(workspace: Path | None, as_of: str | None) -> None:
    """Let messages from now on name the workspace and the moment as the user has typed them."""
    named = {"-w": workspace and str(workspace), "--as-of": as_of}
    _typed.clear()
    _typed.update({option: text for option, text in named.items() if text})


def as_typed(text: str) -> str:
    """Return a text whose commands have the options that the user has given, if they lack them."""
    return _COMMAND.sub(_addressed, text) if _typed else text


def _addressed(command: re.Match[str]) -> str:
    from cryptocast.cli.root.commands import WORDS

    word, rest = command[1], command["rest"]
    if word not in WORDS:
        return command[0]
    options = ""
    if "-w" in _typed and word not in _WITHOUT_WORKSPACE and not re.search(r" (-w|--work)", rest):
        options += f" -w {shlex.quote(_typed['-w'])}"
    if "--as-of" in _typed and word not in _BY_THE_SYSTEM and "--as-of" not in rest:
        options += f" --as-of {shlex.quote(_typed['--as-of'])}"
    return f"cryptocast {word}{options}{rest}"
