"""train --repeat: train a version anew from its card, and compare what both answer."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from cryptocast import __version__, dataset, models
from cryptocast.bundles import Card, Forecaster, from_document
from cryptocast.dataset import Part, Split
from cryptocast.errors import StateError
from cryptocast.registry import git_commit, packages
from cryptocast.values import FEATURES, FloatArray, Market, iso
from cryptocast.workflows.learning.material import Material
from cryptocast.workflows.learning.training import TrainReport, learn
from cryptocast.workspace import Workspace

_CHUNK = 4096  # windows a call, so that a year of origins stays within memory


@dataclass(frozen=True, slots=True)
class RepeatReport:
    """A version that was trained anew, and how far its answers are from the first one's."""

    trained: TrainReport
    repeated: str
    identical: bool  # every quantile at every origin that was learned from
    largest_difference: float  # of a quantile, in units of sigma * sqrt(step)
    changed: tuple[str, ...]  # code and packages that are others than then


def repeat(ws: Workspace, version: str) -> RepeatReport:
    """Train anew on a version's data, with its settings, seed and parameters.

    The copy is a version too, but no challenger. Raises StateError: `state.no_version`;
    `state.nothing_learned` for a base network; `state.other_data` where the stored candles are
    not those that it learned from; `state.other_code` where its card or features are not those
    of this cryptocast.
    """
    registry = ws.registry()
    card = from_document(registry.card(version))
    material = remember(ws, card)
    first = Forecaster(registry.onnx(version))
    model = ws.settings.model.model_copy(update={"levels": card.levels})
    then = dataclasses.replace(ws, settings=ws.settings.model_copy(update={"model": model}))
    trained = ws.step(
        f"train {card.kind}",
        lambda: learn(
            then,
            material,
            models.get(card.kind),
            card.params,
            f"version {version}",
            seed=card.seed,
            tags={"repeat_of": version},
        ),
    )
    again = Forecaster(registry.onnx(trained.version))
    difference = _largest_difference(material, first, again)
    return RepeatReport(trained, version, difference == 0, difference, _changed(card))


def remember(ws: Workspace, card: Card) -> Material:
    """The candles that a version learned from, split as they were. StateError: see `repeat`."""
    if card.data_start == card.data_end:
        raise StateError(
            f"version {card.version} learned nothing here: it is a network that was there before",
            code="state.nothing_learned",
            hint="cryptocast pretrain makes one anew, from the candles of its own card",
        )
    if card.validation_start is None or card.max_stale_bars is None or card.features != FEATURES:
        why = "its card does not tell how the candles were split"
        if card.features != FEATURES:
            why = "it looks at other features than this cryptocast computes"
        raise StateError(
            f"version {card.version} cannot be repeated: {why}",
            code="state.other_code",
            hint="cryptocast train makes a version that can be",
        )
    markets = tuple(Market.of(name, "", card.interval) for name in card.markets)
    start, end = card.data_start, card.data_end
    with ws.store.read() as reader:
        candles = tuple(reader.candles(markets, start, end).values())
    learned, nothing = Part(start, end), Part(end, end)
    validation = Part(card.validation_start, end)
    material = Material(
        markets=markets,
        candles=candles,
        bars=tuple(
            dataset.lay_out(c, m, start, end) for c, m in zip(candles, markets, strict=True)
        ),
        split=Split(Part(start, validation.start), validation, nothing, nothing),
        start=start,
        end=end,
        lookback=card.lookback,
        horizon=card.horizon,
        max_stale_bars=card.max_stale_bars,
    )
    if (found := material.fingerprint(learned)) != card.fingerprint:
        raise StateError(
            f"the stored candles from {iso(start)} to {iso(end)} are not those that version "
            f"{card.version} learned from (fingerprint {found}, then {card.fingerprint})",
            code="state.other_data",
            hint=f"cryptocast fetch --start {iso(start)} --end {iso(end)} brings missing ones",
        )
    return material


def _largest_difference(material: Material, first: Forecaster, again: Forecaster) -> float:
    """Over all origins that were learned from; infinite where one answer is no number."""
    inputs = material.windows(material.learned).inputs
    differences = [0.0]
    for start in range(0, len(inputs), _CHUNK):
        chunk = inputs[start : start + _CHUNK]
        difference: FloatArray = np.abs(first(chunk) - again(chunk))
        differences.append(float(np.nan_to_num(difference, nan=np.inf).max()))
    return max(differences)


def _changed(card: Card) -> tuple[str, ...]:
    """What made the version then and is another now."""
    then = {"cryptocast": card.code_version, "commit": card.commit, **card.packages}
    now = {"cryptocast": __version__, "commit": git_commit(), **packages()}
    return tuple(
        f"{name} {then.get(name)} -> {now.get(name)}"
        for name in {**then, **now}
        if then.get(name) != now.get(name)
    )
