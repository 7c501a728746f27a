"""Which base network a workspace may start at: it knows other markets, but not these weeks."""

from __future__ import annotations

from dataclasses import dataclass

from cryptocast import bundles, models
from cryptocast.bundles import Card
from cryptocast.errors import ConfigError, ModelError
from cryptocast.values import iso
from cryptocast.workflows.learning.material import Material
from cryptocast.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Known:
    """A base network: the name that models know it by, and its card."""

    network: str
    card: Card


def _card(name: str) -> Card:
    try:
        return bundles.load(models.base_folder(name)).card
    except ModelError as error:
        raise ConfigError(
            f"[model] base: {error.message}",
            code="config.base",
            hint="name a folder that cryptocast pretrain wrote, or leave it out",
        ) from error


def known_base(ws: Workspace, material: Material) -> tuple[Known | None, str | None]:
    """The network to start at, or why there is none; neither where none is wanted.

    One that learned from the weeks of the material is none: it could not be judged on them.
    Raises ConfigError where `[model] base` names a folder that holds none.
    """
    settings = ws.settings.model
    if settings.start != "base":
        return None, None
    interval = material.markets[0].interval
    name = settings.base or interval
    if settings.base is None and interval not in models.base_intervals():
        shipped = ", ".join(models.base_intervals())
        return None, f"no base network is shipped for {interval}, only for {shipped}"
    card = _card(name)
    if card.interval != interval:
        raise ConfigError(
            f"the base network {name} is for candles of {card.interval}, not {interval}",
            code="config.base",
            hint='train one with cryptocast pretrain, or set [model] start = "scratch"',
        )
    if card.horizon < material.horizon:
        return None, f"the base network knows {card.horizon} steps, not {material.horizon}"
    if card.data_start < material.end and material.start < card.data_end:
        learned = f"{iso(card.data_start)} to {iso(card.data_end)}"
        return None, f"the base network learned from candles of {learned}, these weeks among them"
    return Known(name, card), None
