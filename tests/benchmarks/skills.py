"""CRPS skill of models over pairs, its intervals by a block bootstrap: for `accuracy.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pairs import DAY, SCORED_DAYS, Pair

from cryptocast.evaluation.comparison import Resampling, bounds, resampled_sums
from cryptocast.values import FloatArray

WALK = "random_walk"
RESAMPLES = 2000
STEPS = (1, 6, 12, 24)
CONFIDENCE = 0.95  # of each bound: 90 % lie between the two


@dataclass(frozen=True)
class Scored:
    """What the models came to on a pair."""

    pair: Pair
    crps_bp: dict[str, FloatArray]  # [N, H] of each origin
    inside90: dict[str, float]  # share of outcomes


@dataclass(frozen=True)
class Skill:
    """Skill at each step [H], and of R resamples [R, H]."""

    steps: FloatArray
    resampled: FloatArray
    plan: Resampling

    def less(self, other: Skill) -> Skill:
        """The difference, its resamples paired."""
        return Skill(self.steps - other.steps, self.resampled - other.resampled, self.plan)

    def cells(self) -> list[str]:
        """Some steps and the mean of all, in per cent, each with its interval."""
        chosen = [step - 1 for step in STEPS if step <= len(self.steps)]
        cells = [self._cell(float(self.steps[i]), self.resampled[:, i]) for i in chosen]
        return [*cells, self._cell(float(self.steps.mean()), self.resampled.mean(axis=1))]

    def _cell(self, estimate: float, resampled: FloatArray) -> str:
        low, high = bounds(estimate, resampled, self.plan, CONFIDENCE)
        return f"{100 * estimate:+.2f} ({100 * low:+.2f} .. {100 * high:+.2f})"


def skill(scored: Sequence[Scored], model: str) -> Skill:
    """Skill against the random walk, every pair with the same weight.

    Blocks are as long as a pair's scored days: prices of one are dependent, those of two hardly.
    """
    parts = []
    for each in scored:
        usual = np.nanmean(each.crps_bp[WALK], axis=0)
        parts.append(np.hstack([each.crps_bp[name] / usual for name in (model, WALK)]))
    losses = np.concatenate(parts)
    block = SCORED_DAYS * DAY // scored[0].pair.market.interval_seconds
    plan = Resampling.of(len(losses), block, RESAMPLES)

    def of(sums: FloatArray) -> FloatArray:
        mine, walk = np.split(sums, 2, axis=-1)
        return np.asarray(1 - mine / walk)

    return Skill(of(np.nansum(losses, axis=0)), of(resampled_sums(losses, plan)), plan)


def models_table(scored: Sequence[Scored], models: Sequence[str]) -> str:
    """Every model, the best over all steps first."""
    found = {model: skill(scored, model) for model in models}
    lines = _heads("model", len(next(iter(found.values())).steps), "in 90 %")
    for model in sorted(found, key=lambda name: -float(found[name].steps.mean())):
        cells = found[model].cells() if model != WALK else ["0"] * (len(STEPS) + 1)
        inside = np.mean([each.inside90[model] for each in scored])
        lines.append(f"| {model} | {' | '.join(cells)} | {100 * inside:.1f} % |")
    return "\n".join(lines)


def differences_table(scored: Sequence[Scored], models: Sequence[tuple[str, str]]) -> str:
    """One model's skill less another's."""
    rows = {f"{a} less {b}": skill(scored, a).less(skill(scored, b)) for a, b in models}
    lines = _heads("difference", len(next(iter(rows.values())).steps))
    return "\n".join(
        [*lines, *(f"| {name} | {' | '.join(d.cells())} |" for name, d in rows.items())]
    )


def coins_table(scored: Sequence[Scored], model: str) -> str:
    """One model, a coin and era a row."""
    lines = _heads("coin and era", len(scored[0].crps_bp[model][0]), "weeks", "used for the design")
    for coin in sorted({each.pair.coin for each in scored}):
        mine = [each for each in scored if each.pair.coin == coin]
        seen = "yes" if mine[0].pair.designed else "no"
        cells = " | ".join(skill(mine, model).cells())
        lines.append(f"| {coin} | {cells} | {len(mine)} | {seen} |")
    return "\n".join(lines)


def _heads(first: str, horizon: int, *more: str) -> list[str]:
    names = [first, *(f"step {step}" for step in STEPS), f"mean of {horizon} steps", *more]
    return [f"| {' | '.join(names)} |", "|" + " --- |" * len(names)]
