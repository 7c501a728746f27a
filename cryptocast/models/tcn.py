"""A temporal convolutional network over the window (Bai, Kolter and Koltun 2018).

Each block looks twice as far back as the one before it and adds to what it was given; five of
them see 63 bars. `layers` is the number of blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptocast.models._corrector import Corrector
from cryptocast.seams import Params

if TYPE_CHECKING:
    from cryptocast.models._encoders import Encoder


class Model(Corrector):
    """The temporal convolutional network as a model kind."""

    kind = "tcn"

    def encoder(self) -> type[Encoder]:
        """Return what reads the window."""
        from cryptocast.models._encoders import TcnEncoder  # late: torch

        return TcnEncoder

    def defaults(self) -> Params:
        """Return the parameters of a training that was not tuned."""
        return {**super().defaults(), "layers": 5}
