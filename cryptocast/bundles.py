"""Frozen serving models: `card.json` and `model.onnx` in one folder, tied by hashes.

A bundle loads without MLflow and torch. It is written under another name and renamed, so
that it is whole or absent.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from cryptocast.drafts import arriving
from cryptocast.errors import ModelError
from cryptocast.values import FEATURES, FloatArray, InputArray, Windows

FORMAT = 1
_CURVE = "curve.json"  # a version's own curve of the size of moves, for simulated paths
_CHUNK = 512  # windows per call, a block of a tick: an LSTM's states of 4,096 take 0.2 GB
_LONGEST_LOOKBACK = 4096  # a card that says more was not written by this program


@dataclass(frozen=True, slots=True)
class Card:
    """The description of a version: what it reads, what it forecasts, where it came from."""

    version: str
    kind: str
    levels: tuple[float, ...]
    horizon: int
    lookback: int
    context_bars: int
    features: tuple[str, ...]
    interval: str
    markets: tuple[str, ...]
    data_start: int  # open time of the first candle it learned from, Unix seconds
    data_end: int  # end of the last candle that training or early stopping saw
    fingerprint: str  # of the candles in between
    seed: int
    params: Mapping[str, float | int | str]
    code_version: str
    packages: Mapping[str, str]
    format: int = FORMAT
    # What else it takes to repeat a training; None on a card that is older than these fields.
    validation_start: int | None = None  # where early stopping's candles begin, Unix seconds
    max_stale_bars: int | None = None
    origin: str | None = None  # where the candles came from, and their licence
    evidence: Mapping[str, float] | None = None  # of a base network: its skill on unseen candles
    commit: str | None = None  # of the code, if it ran from a checkout; `-dirty`: with changes
    paths: Mapping[str, Any] | None = None  # whose curve its simulated paths rest on, and why


class Forecaster:
    """An ONNX graph from windows to quantiles, in one thread."""

    def __init__(self, onnx: bytes, features: Sequence[str] = FEATURES) -> None:
        """Read a graph over windows of these features: an older version read fewer."""
        self._onnx, self._features = onnx, tuple(features)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # An arena kept between runs would hold 12 MB per model after a batch of 288.
        options.enable_cpu_mem_arena = False
        try:
            self._session = onnxruntime.InferenceSession(
                onnx, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises a dozen unrelated types
            raise ModelError(
                f"the model graph cannot be read: {type(error).__name__}",
                code="model.bundle_damaged",
                hint="train and promote again",
            ) from error

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (self._onnx, self._features)  # another process opens the graph, once

    @property
    def horizon(self) -> int:
        """The number of steps H that it answers for."""
        return int(self._session.get_outputs()[0].shape[1])

    def __call__(self, inputs: FloatArray | InputArray) -> FloatArray:
        """Return quantiles [N, H, Q] in units of sigma * sqrt(step) for inputs [N, L, F].

        Inputs of all features of this program are narrowed to those that the graph reads.

        Raise ModelError (`model.bundle_damaged`) if the graph cannot answer.
        """
        if not len(inputs):  # onnxruntime's LSTM ends the process on an empty batch
            return np.empty((0, *self._session.get_outputs()[0].shape[1:]))
        try:
            if self._features != FEATURES and inputs.shape[-1] == len(FEATURES):
                inputs = inputs[..., [FEATURES.index(name) for name in self._features]]
            quantiles = [
                self._session.run(
                    ["quantiles"], {"inputs": np.ascontiguousarray(chunk, dtype=np.float32)}
                )[0]
                for chunk in np.split(inputs, range(_CHUNK, len(inputs), _CHUNK))
            ]
            answer = np.concatenate(quantiles, dtype=np.float64)
        except Exception as error:  # as above: other names, another rank, no numbers
            raise _unusable(type(error).__name__) from error
        if answer.ndim != 3 or len(answer) != len(inputs):
            raise _unusable(f"its answer has the shape {list(answer.shape)}")
        return answer

    def log_returns(self, windows: Windows) -> FloatArray:
        """Return quantiles [N, H, Q] of the log-return from the last close."""
        quantiles = self(windows.inputs)
        quantiles *= windows.unit(quantiles.shape[1])[..., None]
        return quantiles


@functools.lru_cache(maxsize=16)
def _opened(onnx: bytes, features: tuple[str, ...]) -> Forecaster:
    return Forecaster(onnx, features)


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A version that is ready to serve."""

    card: Card
    forecaster: Forecaster
    graph: str  # the hash of its graph


def freeze(folder: Path, card: Card, onnx: bytes, curve: str | None = None) -> None:
    """Write a version's bundle, and replace one that exists.

    `curve` is the text of its own curve, which has a hash of its own: no forecast reads it.
    """
    document = dataclasses.asdict(card)
    document["onnx_sha256"] = graph_hash(onnx)
    document["card_sha256"] = _card_hash(document)
    with arriving(folder) as draft:
        (draft / "model.onnx").write_bytes(onnx)
        if curve is not None:
            (draft / _CURVE).write_text(curve, encoding="utf-8")
        text = json.dumps(document, indent=2) + "\n"
        (draft / "card.json").write_text(text, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)


def frozen_curve(folder: Path) -> str | None:
    """Return the text of the own curve of the version in a folder, or None if it has none."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return (folder / _CURVE).read_text(encoding="utf-8", errors="replace")
    return None


def load(folder: Path) -> Bundle:
    """Read a bundle and check its hashes.

    Raises ModelError: `model.bundle_missing` or `model.bundle_damaged`.
    """
    try:
        text = (folder / "card.json").read_text(encoding="utf-8")
        onnx = (folder / "model.onnx").read_bytes()
    except FileNotFoundError as error:
        raise ModelError(
            f"the bundle {folder} is missing",
            code="model.bundle_missing",
            hint=f"cryptocast promote {folder.name}",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(folder) from error
    try:
        document: dict[str, Any] = json.loads(text)
        intact = (
            document["card_sha256"] == _card_hash(document)
            and document["onnx_sha256"] == graph_hash(onnx)
            and "format" in document
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(folder) from error
    if not intact:
        raise _damaged(folder)
    if document["format"] != FORMAT:
        raise ModelError(
            f"the bundle {folder} has format {document['format']}, this cryptocast reads {FORMAT}",
            code="model.bundle_format",
            hint="upgrade cryptocast, or train and promote again",
        )
    try:
        card = from_document(document)
    except ModelError as error:
        raise _damaged(folder) from error
    return Bundle(card, Forecaster(onnx, card.features), document["onnx_sha256"])


def load_version(folder: Path, graph: str | None = None) -> Bundle:
    """Read the bundle of the version that its folder is named after.

    `graph` is the hash of the graph that was deployed under that number, if it is known. Raises
    ModelError as `load` does, and `model.bundle_damaged` if it holds another version's files.
    """
    bundle = load(folder)
    if bundle.card.version != folder.name or graph not in (None, bundle.graph):
        raise ModelError(
            f"the bundle {folder} holds another model than version {folder.name}",
            code="model.bundle_damaged",
            hint=f"cryptocast promote {folder.name}",
        )
    return bundle


def graph_hash(onnx: bytes) -> str:
    """Return the hash that tells one model from another, whatever their version numbers."""
    return hashlib.sha256(onnx).hexdigest()


def from_document(document: Mapping[str, Any]) -> Card:
    """Return the card of a JSON document, also of an older one; other keys are ignored.

    Raises ModelError if it lacks what every card has, or has it in another type.
    """
    names = [field.name for field in dataclasses.fields(Card)]
    values = {name: document[name] for name in names if name in document}
    try:
        for name in ("levels", "features", "markets"):
            values[name] = tuple(values[name])
        card = Card(**values)
        if not _has_types(card):
            raise TypeError
        return card
    except (KeyError, TypeError) as error:
        raise ModelError(
            f"the card of version {document.get('version')} is incomplete",
            code="model.card_damaged",
            hint="cryptocast models lists other versions",
        ) from error


def _has_types(card: Card) -> bool:
    """Return whether what forecasts rest on has its type: a card may be anybody's JSON."""
    texts = (card.version, card.kind, card.interval, card.fingerprint, *card.features)
    numbers = (card.horizon, card.lookback, card.context_bars, card.data_start, card.data_end)
    return (
        all(isinstance(text, str) for text in (*texts, *card.markets))
        and all(type(number) is int for number in numbers)
        and all(type(level) in (int, float) for level in card.levels)
        and 0 < card.lookback <= _LONGEST_LOOKBACK
        and card.horizon > 0
        and isinstance(card.params, Mapping)
    )


def _unusable(why: str) -> ModelError:
    return ModelError(
        f"the model graph cannot be run: {why}",
        code="model.bundle_damaged",
        hint="train and promote again",
    )


def _card_hash(document: Mapping[str, Any]) -> str:
    content = {key: value for key, value in document.items() if key != "card_sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _damaged(folder: Path) -> ModelError:
    return ModelError(
        f"the bundle {folder} is damaged",
        code="model.bundle_damaged",
        hint=f"cryptocast promote {folder.name}",
    )
