"""The files of a path model: `model.npz`, arrays without pickle, and `card.json` beside it."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cryptocast.drafts import replacing
from cryptocast.errors import ModelError
from cryptocast.paths.curve import ScaleCurve, fitted_leads
from cryptocast.paths.library import Library
from cryptocast.paths.predictors import day_bars
from cryptocast.values import INTERVAL_SECONDS

FOLDER = "paths"
"""The folder of a path model beside the network that `pretrain` writes."""

_SHIPPED = Path(__file__).parent / "shipped"


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


def curve_document(curve: ScaleCurve, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a version's own curve as JSON: facts about it, its numbers, and the hash of both."""
    numbers = {"day": curve.day.tolist(), "coefficients": curve.coefficients.tolist()}
    document = {**facts, **numbers}
    return {**document, "sha256": _hash(document)}


def own_curve(text: str, version: str) -> ScaleCurve:
    """Return the curve that the text of `curve_document` holds.

    Raises ModelError if it is damaged.
    """
    try:
        document = json.loads(text)
        if document.pop("sha256") != _hash(document):
            raise ValueError("its hash is another")
        curve = ScaleCurve(
            f"version {version}", np.array(document["day"]), np.array(document["coefficients"])
        )
        if len(curve.coefficients) != len(fitted_leads(*curve.day.shape)):
            raise ValueError("its numbers have another shape")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"the own curve of version {version} cannot be read: {error}",
            code="model.paths_damaged",
            hint=f"cryptocast promote {version}",
        ) from error
    return curve


def _hash(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def beside(base: str | None, interval: str) -> PathModel:
    """Return the path model beside the base network in a folder, else the shipped one.

    One for candles of another interval does not count. Raises ModelError if its files are
    damaged.
    """
    if base is not None and (own := Path(base) / FOLDER).is_dir():
        model = load(own)
        if model.card.interval == interval:
            return model
    return shipped(interval)


def shipped_intervals() -> tuple[str, ...]:
    """Return the intervals that path models are shipped for, the shortest first."""
    names = (folder.name for folder in _SHIPPED.iterdir() if folder.is_dir())
    return tuple(sorted(names, key=INTERVAL_SECONDS.__getitem__))


def shipped(interval: str = "5m") -> PathModel:
    """Return the path model for candles of an interval that travels with the program."""
    return load(_SHIPPED / interval)


def load(folder: Path) -> PathModel:
    """Read a path model. Raise ModelError if its files are missing or damaged."""
    try:
        content = (folder / "model.npz").read_bytes()
        fields = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        card = PathCard(**{**fields, "coins": tuple(fields["coins"])})
        if hashlib.sha256(content).hexdigest() != card.sha256:
            raise ValueError("model.npz is not the one that card.json names")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            curve = ScaleCurve(card.name, arrays["day"], arrays["coefficients"])
            library = Library(arrays["codes"])
        day = day_bars(INTERVAL_SECONDS[card.interval])
        shapes = (*curve.day.shape, len(curve.coefficients), library.codes.shape[2])
        if shapes != (day, len(fitted_leads(day)), day):
            raise ValueError("its arrays have another shape")
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"the library of paths {folder} cannot be read: {error}",
            code="model.paths_damaged",
            hint="install cryptocast again",
        ) from error
    return PathModel(card, curve, library)
