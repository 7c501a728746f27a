"""The parameters of the LSTM: the sizes of its network and how it is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cryptocast.errors import ConfigError
from cryptocast.models._shipped import HAR
from cryptocast.seams import Params
from cryptocast.values import FEATURES

_MORE = ("size", "downside")
USUAL = tuple(n for n in FEATURES if not n.startswith(("day", "week")) and not n.endswith(_MORE))
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
    start_at: str = HAR  # har, or the name of a base network (`_shipped`)

    @property
    def places(self) -> tuple[int, ...]:
        """Positions in a window's last axis of the features that the network reads.

        `features` is `usual` (without the time, sizes and downsides), `all`, or names separated
        by commas. Raise ConfigError for an unknown name.
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


def shape_of(params: Params) -> Shape:
    """Return the shape with these parameters. Raise ConfigError for an impossible one."""
    unknown = set(params) - set(Shape.__dataclass_fields__)
    if unknown:
        raise ConfigError(
            f"the lstm has no parameter '{min(unknown)}'",
            code="config.params",
            hint="known: " + ", ".join(Shape.__dataclass_fields__),
        )
    shape = Shape(**params)  # type: ignore[arg-type]  # checked by value below
    whole = ("hidden", "layers", "batch_size", "epochs", "patience")
    words = ("features", "start_at")
    for name in words:
        if not isinstance(getattr(shape, name), str):
            raise ConfigError(
                f"the lstm cannot have {name} = {getattr(shape, name)!r}",
                code="config.params",
                hint=f'its default is "{getattr(Shape(), name)}"',
            )
    _ = shape.places
    for name in sorted(set(Shape.__dataclass_fields__) - set(words)):
        value = getattr(shape, name)
        right = type(value) is int if name in whole else type(value) in (int, float)
        least = 1 if name in whole else 0
        beyond = (name == "dropout" and value >= 1) or (name == "bound" and value == 0)
        if not right or not math.isfinite(value) or value < least or beyond:
            raise ConfigError(
                f"the lstm cannot have {name} = {value!r}",
                code="config.params",
                hint=f"its default is {getattr(Shape(), name)}",
            )
    return shape
