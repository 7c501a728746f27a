"""The base networks that are shipped, one per interval, and others by their folder."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from cryptocast.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from cryptocast.models._base import Base

HAR = "har"
"""The start of a network that has not seen other markets."""

_SHIPPED = Path(__file__).parent / "shipped"


def intervals() -> tuple[str, ...]:
    """Return the intervals for which a base network is shipped."""
    return tuple(sorted(folder.name for folder in _SHIPPED.iterdir() if folder.is_dir()))


def folder(name: str) -> Path:
    """Return the folder of a base network: of the shipped one for an interval, or of that name."""
    return _SHIPPED / name if name in intervals() else Path(name)


def base(name: str, horizon: int) -> Base:
    """Return the base network for the first `horizon` steps.

    Raise ConfigError if there is none of that name or it has fewer steps, and ModelError if it
    cannot be read.
    """
    try:
        graph = (folder(name) / "model.onnx").read_bytes()
    except OSError as error:
        raise ConfigError(
            f"there is no base network '{name}'",
            code="config.base",
            hint=f"shipped: {', '.join(intervals())}; or the folder that cryptocast pretrain wrote",
        ) from error
    network = _read(graph, name)
    if network.horizon < horizon:
        raise ConfigError(
            f"the base network '{name}' knows {network.horizon} steps, not {horizon}",
            code="config.base",
            hint="lower [model] horizon, or train --from scratch",
        )
    return network.of_steps(horizon)


@functools.lru_cache(maxsize=4)
def _read(graph: bytes, name: str) -> Base:
    from cryptocast.models import _base  # late: onnx, which no tick needs

    try:
        return _base.read(graph)
    except Exception as error:  # onnx raises types of protobuf that no package exports
        raise ModelError(
            f"the base network '{name}' cannot be read: {str(error) or type(error).__name__}",
            code="model.base_damaged",
            hint="install cryptocast again, or let cryptocast pretrain write it anew",
        ) from error
