"""What the shipped base networks are worth on eras that they never saw: for `ablation.py`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from eras import HORIZON, Track
from lab import Lab
from learning import of_base
from ranges import covered
from sums import Sums, in_percent, told
from variants import SHIPPED, VARIANTS

from cryptocast import models
from cryptocast.models import base as base_networks
from cryptocast.values import FloatArray

STEPS = tuple(step for step in (1, 6, 12, 24) if step <= HORIZON)
OTHERS = "15m", "1h"


def report(lab: Lab) -> list[str]:
    """The tables as Markdown."""
    return [
        "The shipped network of 5 minutes on the eras that it never saw, coin by coin: skill"
        " against H (least: of all steps), and against W7; and what share of the outcomes the 90 %"
        " range held, least and most of all steps, as it is, with the online calibration, and with"
        " it in each fortnight (least and most of all fortnights and steps):",
        "\n".join(coins(lab)),
        "Candles of other intervals, put together from those of 5 minutes: their own network and"
        " the one of 5 minutes as it is, against H; then their own against W7:",
        "\n".join(intervals(lab)),
    ]


def coins(lab: Lab) -> list[str]:
    """A row a coin of the unseen eras."""
    names = [*(f"step {step}" for step in STEPS), f"mean of {HORIZON}", "least"]
    names += ["against W7: step 1", "mean", "in 90 %", "calibrated", "in a fortnight"]
    lines = heads("coin", names)
    base = of_base(base_networks.load("5m", HORIZON))
    for tracks in unseen(lab):
        for track in tracks:
            forecast = base(track, tracks)
            hard = Sums.of([lab.part(track, forecast)])
            left_out, skill = hard.left_out(), hard.skill()
            cells = [in_percent(left_out[:, step - 1], skill[step - 1]) for step in STEPS]
            cells.append(in_percent(left_out.mean(axis=1), float(skill.mean())))
            cells.append(f"{100 * skill.min():+.2f}")
            cells += _told(Sums.of([lab.against_w7(track, forecast)]))
            cells += [_span(share) for share in covered(track, forecast)]
            lines.append(f"| {track.name} | {' | '.join(cells)} |")
    return lines


def intervals(lab: Lab) -> list[str]:
    """A row an interval and era."""
    names = ["network of", "its own: step 1", "mean", "that of 5m: step 1", "mean"]
    names += ["own less 5m: step 1", "mean", "against W7: step 1", "mean"]
    names += ["in 90 %", "calibrated", "in a fortnight"]
    lines = heads("interval and era", names)
    finest = of_base(base_networks.load("5m", HORIZON))
    for interval in OTHERS:
        other = dataclasses.replace(lab, interval=interval)
        shipped = interval in models.base_intervals()
        if shipped:
            own = of_base(base_networks.load(interval, HORIZON))
        else:
            own = VARIANTS[SHIPPED].learn([t for t in other.tracks if _is_known(t)])
        for tracks in unseen(other):
            one, two = (
                Sums.of([other.part(t, learned(t, tracks)) for t in tracks])
                for learned in (own, finest)
            )
            cells = ["the package" if shipped else "this run", *_told(one), *_told(two)]
            cells += told(one.left_out() - two.left_out(), one.skill() - two.skill())
            cells += _told(Sums.of([other.against_w7(t, own(t, tracks)) for t in tracks]))
            shares = [covered(t, own(t, tracks)) for t in tracks]
            cells += [_span(np.concatenate(each)) for each in zip(*shares, strict=True)]
            lines.append(f"| {interval}, {tracks[0].era} | {' | '.join(cells)} |")
    return lines


def heads(first: str, names: Sequence[str]) -> list[str]:
    """The first two lines of a table."""
    return [f"| {first} | {' | '.join(names)} |", "| --- |" + " --- |" * len(names)]


def unseen(lab: Lab) -> Iterator[list[Track]]:
    """The tracks of each era that the shipped networks did not learn from."""
    yield from (tracks for tracks in lab.eras.values() if not _is_known(tracks[0]))


def _is_known(track: Track) -> bool:
    return track.era == "2024"


def _told(sums: Sums) -> tuple[str, str]:
    return told(sums.left_out(), sums.skill())


def _span(share: FloatArray) -> str:
    return f"{100 * share.min():.1f} .. {100 * share.max():.1f}"
