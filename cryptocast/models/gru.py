"""A GRU over the window (Cho et al. 2014): three quarters of an LSTM's weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptocast.models._corrector import Corrector

if TYPE_CHECKING:
    from cryptocast.models._encoders import Encoder


class Model(Corrector):
    """The GRU as a model kind."""

    kind = "gru"

    def encoder(self) -> type[Encoder]:
        """Return what reads the window."""
        from cryptocast.models._encoders import GruEncoder  # late: torch

        return GruEncoder
