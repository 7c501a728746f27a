"""The parameters of a network: its sizes, how it is trained, and what each may be."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from cryptocast.errors import ConfigError
from cryptocast.models.base import HAR
from cryptocast.seams import Params
from cryptocast.values import FEATURES

_CLOCK_AND_MONTH = ("day", "week", "volatility_", "walk_")
_MORE = ("size", "downside", "profile")
USUAL = tuple(n for n in FEATURES if not n.startswith(_CLOCK_AND_MONTH) and not n.endswith(_MORE))
"""The features that a week of one market can support: with more, the week is memorised."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a network and how it is trained."""

    hidden: int = 32
    layers: int = 1
    dropout: float = 0.2
    bound: float = 0.15
    learning_rate: float = 1e-2
    weight_decay: float = 3.0
    batch_size: int = 256
    epochs: int = 20
    patience: int = 5
    features: str = "usual"
    start_at: str = HAR  # har, or the name of a base network (`models.base`)

    @property
    def places(self) -> tuple[int, ...]:
        """Positions in a window's last axis of the features that the network reads.

        `features` is `usual` (without the time, sizes, downsides and what days say), `all`, or
        names separated by commas. Raise ConfigError for an unknown name.
        """
        named = {"usual": USUAL, "all": FEATURES}.get(self.features)
        names = named or tuple(name.strip() for name in self.features.split(","))
        if unknown := [name for name in names if name not in FEATURES]:
            raise ConfigError(
                f"there is no feature '{unknown[0]}'",
                code="config.params",
                hint=f"features = usual, all, or of {', '.join(FEATURES)}",
            )
        return tuple(FEATURES.index(name) for name in names)


def shape_of(params: Params, kind: str) -> Shape:
    """Return the shape with these parameters. Raise ConfigError, which names the kind, if not."""
    unknown = set(params) - set(Shape.__dataclass_fields__)
    if unknown:
        raise ConfigError(
            f"the {kind} has no parameter '{min(unknown)}'",
            code="config.params",
            hint="known: " + ", ".join(Shape.__dataclass_fields__),
        )
    shape = Shape(**params)  # type: ignore[arg-type]  # checked by value below
    for name in sorted(Shape.__dataclass_fields__):
        default = getattr(Shape(), name)
        if not _is_possible(name, getattr(shape, name), default):
            raise ConfigError(
                f"the {kind} cannot have {name} = {getattr(shape, name)!r}",
                code="config.params",
                hint=f"its default is {json.dumps(default)}",
            )
    _ = shape.places  # raises for a feature that does not exist
    return shape


def _is_possible(name: str, value: Any, default: object) -> bool:
    """Return whether a value is of its default's kind, and neither too small nor too large."""
    if isinstance(default, str):
        return isinstance(value, str)
    if isinstance(default, int):
        return type(value) is int and value >= 1
    if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
        return False
    return bool({"dropout": value < 1, "bound": value > 0}.get(name, True))
