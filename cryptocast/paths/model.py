"""The files of a path model: `model.npz`, arrays without pickle, and `card.json` beside it."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryptocast.drafts import replacing
from cryptocast.errors import ModelError
from cryptocast.paths.curve import FITTED_LEADS, ScaleCurve
from cryptocast.paths.library import Library
from cryptocast.paths.predictors import LEADS

STEP_SECONDS = 300
"""The candles that the shipped paths are made of."""


@dataclass(frozen=True, slots=True)
class PathCard:
    """The provenance of a path model. Times are Unix seconds."""

    name: str
    interval: str
    coins: tuple[str, ...]
    data_start: int
    data_end: int
    library_origins: int
    fingerprint: str  # of the candles
    origin: str  # where they come from, and their licence
    code_version: str
    sha256: str = ""  # of `model.npz`


@dataclass(frozen=True, slots=True, eq=False)
class PathModel:
    """A scale curve and the library that it scales."""

    card: PathCard
    curve: ScaleCurve
    library: Library

    def save(self, folder: Path) -> PathCard:
        """Write both files into a folder, and return the card with the hash of the arrays."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            coefficients=self.curve.coefficients,
            day=self.curve.day,
            codes=self.library.codes,
        )
        content = buffer.getvalue()
        card = dataclasses.replace(self.card, sha256=hashlib.sha256(content).hexdigest())
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "model.npz") as draft:
            draft.write_bytes(content)
        with replacing(folder / "card.json") as draft:
            text = json.dumps(dataclasses.asdict(card), indent=2)
            draft.write_text(text + "\n", encoding="utf-8")
        return card


def shipped() -> PathModel:
    """Return the path model that travels with the program."""
    return load(Path(__file__).parent / "shipped" / "5m")


def load(folder: Path) -> PathModel:
    """Read a path model. Raise ModelError if its files are missing or damaged."""
    try:
        content = (folder / "model.npz").read_bytes()
        fields = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        card = PathCard(**{**fields, "coins": tuple(fields["coins"])})
        if hashlib.sha256(content).hexdigest() != card.sha256:
            raise ValueError("model.npz is not the one that card.json names")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            curve = ScaleCurve(arrays["day"], arrays["coefficients"])
            library = Library(arrays["codes"])
        if library.codes.shape[2] != LEADS or len(curve.coefficients) != len(FITTED_LEADS):
            raise ValueError("its arrays have another shape")
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"the library of paths {folder} cannot be read: {error}",
            code="model.paths_damaged",
            hint="install cryptocast again",
        ) from error
    return PathModel(card, curve, library)
