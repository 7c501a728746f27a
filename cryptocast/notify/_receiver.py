"""What a `[[notify.receiver]]` comes to, its secret looked up."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Receiver:
    """How a receiver is reached. Its URL is a secret: it is shown by its place alone."""

    url: str = field(repr=False)  # empty where it has none
    place: str | None  # of the URL: env:NAME
    file: Path
    timeout_seconds: float
