"""Is a version's skill on origins that it never saw too good, or gone a candle later?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from cryptocast import evaluation
from cryptocast.bundles import Bundle
from cryptocast.dataset import Part
from cryptocast.evaluation.comparison import diebold_mariano
from cryptocast.evaluation.metrics import median
from cryptocast.values import FAILED, OK, WARNING, Check, FloatArray, IntArray, iso
from cryptocast.workflows.learning.material import Material
from cryptocast.workflows.learning.scoring import baseline

LEAST_ORIGINS = 24
"""Of fewer unseen origins nothing is told."""

ALARM_ORIGINS = 200
ALARM_ACCURACY = 0.55
_SIGNIFICANT = 0.01  # what may be bounce must first be skill
_GONE = 0.05  # a delayed skill with a greater p-value may be none
_NO_POINT = "its median is the last price: it forecasts no direction"


@dataclass(frozen=True, slots=True)
class Edge:
    """One measure of a point forecast over the first `steps` steps against the last price."""

    measure: str  # direction accuracy, relative MAE
    steps: int
    value: float
    excess: float  # above 0 is better than the last price
    n: float  # effective, overlap taken out
    p_value: float  # one-sided, that there is no skill

    def __str__(self) -> str:
        shown = f"{self.value:.1%}" if self.measure == "direction accuracy" else f"{self.value:.4f}"
        return f"{self.measure} {shown} at {span(self.steps)} (n = {self.n:,.0f})"


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Forecasts at N origins of all markets and what came, in the order of time a market."""

    quantiles: FloatArray  # [N, H, Q] log-returns
    targets: FloatArray  # [N, H]
    moment: IntArray  # [N] equal ones are one observation: markets move together
    levels: tuple[float, ...]

    @property
    def middle(self) -> FloatArray:
        """[N, H] the point forecast."""
        return median(self.quantiles, self.levels)


def span(steps: int) -> str:
    """Which steps a figure is over, in words."""
    return "step 1" if steps == 1 else f"steps 1 to {steps}"


def effective(origins: int, steps: int) -> float:
    """How many independent observations the first `steps` steps of successive origins hold.

    The targets of step h overlap those of h - 1 origins, and the steps of an origin move as
    one: the standard deviation of their mean is at most that of one step times the mean of
    sqrt(h) (each step counts as origins / h; fully correlated between steps).
    """
    return float(origins / np.mean(np.sqrt(np.arange(1, steps + 1))) ** 2)


def edges(judged: Judged) -> list[Edge]:
    """Direction accuracy and relative MAE at step 1 and over all steps.

    None of them for a model whose median is the last price, or where no price moved.
    """
    horizon = judged.targets.shape[1]
    return [
        edge
        for steps in dict.fromkeys((1, horizon))
        for edge in (_direction(judged, steps), _error(judged, steps))
        if edge is not None
    ]


def _direction(judged: Judged, steps: int) -> Edge | None:
    middle, targets = judged.middle[:, :steps], judged.targets[:, :steps]
    told = (middle != 0) & (targets != 0) & np.isfinite(targets)
    if not told.any():
        return None
    accuracy = float((np.sign(middle) == np.sign(targets))[told].mean())
    n = effective(len(np.unique(judged.moment[told.any(axis=1)])), steps)
    chance = float(stats.binom.sf(round(accuracy * n) - 1, round(n), 0.5))
    return Edge("direction accuracy", steps, accuracy, accuracy - 0.5, n, chance)


def _error(judged: Judged, steps: int) -> Edge | None:
    middle, targets = judged.middle[:, :steps], judged.targets[:, :steps]
    known = np.isfinite(targets)
    naive, error = np.abs(targets)[known], np.abs(targets - middle)[known]
    if not (middle != 0).any() or not naive.sum():
        return None
    # Steps weigh alike in the test, markets at one moment are one observation.
    unit = np.sqrt(np.arange(1, steps + 1)) * np.ones_like(targets)
    moments, at = np.unique(np.nonzero(known)[0], return_inverse=True)
    by_origin = np.bincount(at, (naive - error) / unit[known]) / np.bincount(at)
    together, place = np.unique(judged.moment[moments], return_inverse=True)
    difference = np.bincount(place, by_origin) / np.bincount(place)
    ratio = float(error.sum() / naive.sum())
    chance = diebold_mariano(difference, steps)
    n = effective(len(together), steps)
    return Edge("relative MAE", steps, ratio, 1 - ratio, n, 1.0 if chance is None else chance)


def unseen(material: Material, bundle: Bundle) -> tuple[list[Check], dict[str, Any]]:
    """The checks `bounce` and `direction` on the origins at and after the card's `data_end`."""
    # Before them the random walk, which it is compared with, needs candles to learn from.
    first = max(bundle.card.data_end, material.split.validation.start)
    part = Part(first, material.end)
    now, late, skills = _judge(material, bundle, part)
    origins = len(np.unique(now.moment))
    figures: dict[str, Any] = {"origins": origins, **skills}
    if origins < LEAST_ORIGINS:
        told = (
            f"skipped: {origins} origins since {iso(bundle.card.data_end)} that version "
            f"{bundle.card.version} has not learned from, {LEAST_ORIGINS} are needed"
        )
        hint = "audit it again when newer candles are there: cryptocast fetch"
        return [Check(name, WARNING, told, hint) for name in ("bounce", "direction")], figures
    without, delayed = edges(now), edges(late)
    figures["without_delay"] = [asdict(edge) for edge in without]
    figures["with_delay"] = [asdict(edge) for edge in delayed]
    if not without:
        skill = (
            f"CRPS skill against the random walk {skills['skill']:+.2%}, "
            f"a candle later {skills['delayed_skill']:+.2%}"
        )
        told = f"{origins} unseen origins; {_NO_POINT}"
        return [Check("bounce", OK, f"{told}; {skill}"), Check("direction", OK, told)], figures
    return [_bounce(without, delayed), _alarm(without)], figures


def _judge(
    material: Material, bundle: Bundle, part: Part
) -> tuple[Judged, Judged, dict[str, float]]:
    """The same origins by the forecast made there, and by that made one candle before.

    A delayed forecast is one of returns: it is taken from the close at which one could trade.
    """
    levels, step = bundle.card.levels, material.interval_seconds
    now, late = [], []
    losses: dict[str, list[FloatArray]] = {"model": [], "delayed": [], "walk": [], "late_walk": []}
    for i in range(len(material.markets)):
        windows = material.market_windows(i, part)
        before = material.market_windows(i, Part(material.start, part.start))
        at = 1 + np.flatnonzero(np.diff(windows.origin) == step)
        answers = bundle.forecaster.log_returns(windows)
        walk = baseline("random_walk", before, windows, levels).quantiles
        targets, moment = windows.targets[at], windows.origin[at]
        now.append(Judged(answers[at], targets, moment, levels))
        late.append(Judged(answers[at - 1], targets, moment, levels))
        shown = (answers[at], answers[at - 1], walk[at], walk[at - 1])
        for name, quantiles in zip(losses, shown, strict=True):
            losses[name].append(evaluation.crps_bp(quantiles, targets, levels))
    loss = {name: np.concatenate(found) for name, found in losses.items()}
    skills = {
        "skill": 1 - evaluation.relative_crps(loss["model"], loss["walk"]),
        "delayed_skill": 1 - evaluation.relative_crps(loss["delayed"], loss["late_walk"]),
    }
    return joined(now), joined(late), skills


def joined(parts: Sequence[Judged]) -> Judged:
    """All origins of all parts."""
    return Judged(
        np.concatenate([p.quantiles for p in parts]),
        np.concatenate([p.targets for p in parts]),
        np.concatenate([p.moment for p in parts]),
        parts[0].levels,
    )


def _bounce(without: list[Edge], delayed: list[Edge]) -> Check:
    """Skill that cannot be traded is the price jumping between bid and ask (Roll 1984)."""
    after = {(edge.measure, edge.steps): edge for edge in delayed}
    lost = []
    for edge in without:
        left = after.get((edge.measure, edge.steps))
        gone = left is None or (left.p_value > _GONE and left.excess < edge.excess / 2)
        if edge.p_value < _SIGNIFICANT and gone:
            lost.append(f"{edge}, a candle later {_value(left)}")
    if lost:
        hint = "bid-ask bounce: nobody can trade at that last price; do not act on its direction"
        return Check("bounce", FAILED, "skill that a delay ends: " + "; ".join(lost), hint)
    shown = [
        f"{edge}, a candle later {_value(after.get((edge.measure, edge.steps)))}"
        for edge in without
        if edge.steps == 1
    ]
    return Check("bounce", OK, "; ".join(shown))


def _value(edge: Edge | None) -> str:
    if edge is None:
        return "none"
    return f"{edge.value:.1%}" if edge.measure == "direction accuracy" else f"{edge.value:.4f}"


def _alarm(without: list[Edge]) -> Check:
    """A direction that is right too often: the evidence allows 50 to 53 % on liquid pairs."""
    told = [edge for edge in without if edge.measure == "direction accuracy"]
    loud = [e for e in told if e.n >= ALARM_ORIGINS and e.value > ALARM_ACCURACY]
    if loud:
        detail = f"{'; '.join(map(str, loud))}: a bug until shown otherwise"
        hint = "look for the future in its inputs, and for bounce on a thin market"
        return Check("direction", FAILED, detail, hint)
    detail = "; ".join(map(str, told)) or "no price moved where it told a direction"
    if not any(edge.n >= ALARM_ORIGINS for edge in told):
        few = f"{detail}: fewer than the {ALARM_ORIGINS} origins that an alarm needs"
        return Check("direction", WARNING, few, "audit it again when there are more candles")
    return Check("direction", OK, f"{detail}, no more than {ALARM_ACCURACY:.0%}")
