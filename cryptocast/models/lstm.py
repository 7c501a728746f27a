"""An LSTM over the window (Hochreiter and Schmidhuber 1997)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptocast.models._corrector import Corrector

if TYPE_CHECKING:
    from cryptocast.models._encoders import Encoder


class Model(Corrector):
    """The LSTM as a model kind."""

    kind = "lstm"

    def encoder(self) -> type[Encoder]:
        """Return what reads the window."""
        from cryptocast.models._encoders import LstmEncoder  # late: torch

        return LstmEncoder
