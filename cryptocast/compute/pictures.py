"""Draw the pictures of one version on one market."""

from __future__ import annotations

import re

from cryptocast.evaluation import Diagnosis
from cryptocast.reports import plots


def market_pictures(d: Diagnosis, _: None) -> tuple[tuple[str, bytes], ...]:
    """Return the skill by the hour, and the newest forecast beside the prices, if there is one.

    Each is a PNG, with the name that it is kept under.
    """
    market = re.sub(r"[^A-Za-z0-9]+", "-", d.market)
    title = f"Skill by hour of day, {d.market}"
    by_hour = plots.skill_by_hour(d.skill_by_hour, d.origins_by_hour, title=title)
    if (fan := d.fan) is None:
        return ((f"skill_by_hour_{market}", by_hour),)
    picture = plots.fan(
        fan.times, fan.closes, fan.target_times, d.levels, fan.quantiles, title=d.market
    )
    return (f"skill_by_hour_{market}", by_hour), (f"fan_{market}", picture)
