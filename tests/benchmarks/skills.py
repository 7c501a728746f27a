"""CRPS skill of models over pairs, with a standard error by weeks: for `accuracy.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pairs import DAY, Pair
from sums import in_percent

from cryptocast.values import FloatArray

WALK = "random_walk"
STEPS = (1, 6, 12, 24)


@dataclass(frozen=True)
class Scored:
    """What the models came to on a pair."""

    pair: Pair
    crps_bp: dict[str, FloatArray]  # [N, H] of each origin
    inside90: dict[str, float]  # share of outcomes


@dataclass(frozen=True)
class Skill:
    """Skill at each step [H], and without each week of all coins [B, H]."""

    steps: FloatArray
    left_out: FloatArray

    def less(self, other: Skill) -> Skill:
        """The difference, week by week."""
        return Skill(self.steps - other.steps, self.left_out - other.left_out)

    def cells(self) -> list[str]:
        """Some steps and the mean of all, in per cent, each with its standard error."""
        chosen = [step - 1 for step in STEPS if step <= len(self.steps)]
        cells = [in_percent(self.left_out[:, i], float(self.steps[i])) for i in chosen]
        return [*cells, in_percent(self.left_out.mean(axis=1), float(self.steps.mean()))]


def skill(scored: Sequence[Scored], model: str) -> Skill:
    """Skill against the random walk, every pair with the same weight.

    What is left out for the standard error (a jackknife) is a calendar week of all coins, which
    move together.
    """
    shares, weeks = [], []
    for each in scored:
        mine, walk = (np.nanmean(each.crps_bp[name], axis=0) for name in (model, WALK))
        shares.append(mine / walk)
        weeks.append(each.pair.learned_until // (7 * DAY))
    gains, week = 1 - np.array(shares), np.array(weeks)
    left_out = [gains[week != one].mean(axis=0) for one in np.unique(week) if (week != one).any()]
    return Skill(gains.mean(axis=0), np.array(left_out or [gains.mean(axis=0)]))


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
