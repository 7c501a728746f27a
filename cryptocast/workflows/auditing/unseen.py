"""Check origins that a version never saw: is its skill too good, or gone one candle later?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from cryptocast import evaluation
from cryptocast.bundles import Bundle
from cryptocast.compute.material import Material
from cryptocast.compute.scoring import WALK, baseline
from cryptocast.dataset import Part
from cryptocast.display import percent
from cryptocast.evaluation.audits import Edge, JudgedForecasts, edges
from cryptocast.values import FAILED, OK, WARNING, Check, FloatArray, iso

_LEAST_ORIGINS = 24  # with fewer unseen origins the checks are skipped
_ALARM_ORIGINS = 200
_ALARM_ACCURACY = 0.55
_SIGNIFICANT = 0.01  # only what is skill at all can be bounce
_GONE = 0.05  # a delayed skill with a greater p-value may be none


def unseen(material: Material, bundle: Bundle) -> tuple[list[Check], dict[str, Any]]:
    """Return the checks `bounce` and `direction`, and their figures.

    They look at the origins at and after the card's `data_end`.
    """
    # The random walk, which the version is compared with, needs candles before these to learn from.
    first = max(bundle.card.data_end, material.split.validation.start)
    now, late, skills = _judge(material, bundle, Part(first, material.end))
    origins = len(np.unique(now.moment))
    figures: dict[str, Any] = {"origins": origins, **skills}
    if origins < _LEAST_ORIGINS:
        detail = (
            f"skipped: {origins} origins since {iso(bundle.card.data_end)} that version "
            f"{bundle.card.version} has not learned from, {_LEAST_ORIGINS} are needed"
        )
        hint = "audit it again when there are newer candles: cryptocast fetch"
        return [Check(name, WARNING, detail, hint) for name in ("bounce", "direction")], figures
    prompt, delayed = edges(now), edges(late)
    figures["without_delay"] = [asdict(edge) for edge in prompt]
    figures["with_delay"] = [asdict(edge) for edge in delayed]
    if not prompt:
        detail = (
            f"{origins} unseen origins; its median is the last price: it forecasts no direction"
        )
        skill = (
            f"CRPS skill against the random walk {percent(skills['skill'], 2)}, "
            f"a candle later {percent(skills['delayed_skill'], 2)}"
        )
        checks = [Check("bounce", OK, f"{detail}; {skill}"), Check("direction", OK, detail)]
        return checks, figures
    return [_bounce(prompt, delayed), _direction(prompt)], figures


def _judge(
    material: Material, bundle: Bundle, part: Part
) -> tuple[JudgedForecasts, JudgedForecasts, dict[str, float]]:
    """Judge the same origins by the forecast made there, and by the one made a candle before.

    A delayed forecast is one of returns: it is taken from the close at which one could trade.
    """
    levels, step = bundle.card.levels, material.interval_seconds
    now, late = [], []
    losses: dict[str, list[FloatArray]] = {"model": [], "delayed": [], "walk": [], "late_walk": []}
    for i in range(len(material.markets)):
        windows = material.market_windows(i, part)
        before = material.market_windows(i, Part(material.start, part.start))
        at = 1 + np.flatnonzero(np.diff(windows.origin) == step)
        model = bundle.forecaster.log_returns(windows)
        walk = baseline(WALK, before, windows, levels, step).quantiles
        targets, moment = windows.targets[at], windows.origin[at]
        now.append(JudgedForecasts(model[at], targets, moment, levels))
        late.append(JudgedForecasts(model[at - 1], targets, moment, levels))
        forecasts = (model[at], model[at - 1], walk[at], walk[at - 1])
        for name, quantiles in zip(losses, forecasts, strict=True):
            losses[name].append(evaluation.crps_bp(quantiles, targets, levels))
    loss = {name: np.concatenate(parts) for name, parts in losses.items()}
    skills = {
        "skill": 1 - evaluation.relative_crps(loss["model"], loss["walk"]),
        "delayed_skill": 1 - evaluation.relative_crps(loss["delayed"], loss["late_walk"]),
    }
    return JudgedForecasts.joined(now), JudgedForecasts.joined(late), skills


def _bounce(prompt: list[Edge], delayed: list[Edge]) -> Check:
    """Check whether skill survives a delay of one candle.

    Skill that cannot be traded is the price jumping between bid and ask (Roll 1984).
    """
    after = {(edge.measure, edge.steps): edge for edge in delayed}
    lost, kept = [], []
    for edge in prompt:
        later = after.get((edge.measure, edge.steps))
        shown = f"{edge}, a candle later {'none' if later is None else later.shown}"
        gone = later is None or (later.p_value > _GONE and later.excess < edge.excess / 2)
        if edge.p_value < _SIGNIFICANT and gone:
            lost.append(shown)
        elif edge.steps == 1:
            kept.append(shown)
    if lost:
        hint = "bid-ask bounce: nobody can trade at that last price; do not act on its direction"
        return Check("bounce", FAILED, "skill that a delay ends: " + "; ".join(lost), hint)
    return Check("bounce", OK, "; ".join(kept))


def _direction(prompt: list[Edge]) -> Check:
    """Check for a direction that is right too often.

    The published evidence allows 50 to 53 % on liquid pairs.
    """
    directions = [edge for edge in prompt if edge.measure == "direction accuracy"]
    enough = [edge for edge in directions if edge.n >= _ALARM_ORIGINS]
    if too_good := [edge for edge in enough if edge.value > _ALARM_ACCURACY]:
        detail = f"{'; '.join(map(str, too_good))}: a bug until shown otherwise"
        hint = "look for the future in its inputs, and for bounce on a thin market"
        return Check("direction", FAILED, detail, hint)
    detail = "; ".join(map(str, directions)) or "no price moved where it forecast a direction"
    if not enough:
        few = f"{detail}: fewer than the {_ALARM_ORIGINS} origins that an alarm needs"
        return Check("direction", WARNING, few, "audit it again when there are more candles")
    return Check("direction", OK, f"{detail}, no more than {_ALARM_ACCURACY:.0%}")
