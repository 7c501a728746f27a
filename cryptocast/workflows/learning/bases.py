"""Base networks, which know other markets but not these weeks: choose the one to start at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cryptocast import bundles, models
from cryptocast.bundles import Card
from cryptocast.compute.material import Material
from cryptocast.compute.scoring import BASE
from cryptocast.config import ModelSettings
from cryptocast.errors import ConfigError, ModelError, StateError
from cryptocast.seams import ModelKind, Params
from cryptocast.values import iso


@dataclass(frozen=True, slots=True)
class BaseNetwork:
    """A base network: the name that models know it by, and its card."""

    network: str
    card: Card


def base_for(settings: ModelSettings, material: Material) -> tuple[BaseNetwork | None, str | None]:
    """Return the base network to start at, or the reason why there is none.

    Both are None if the settings want none. A network that learned from the weeks of the
    material is not used: it could not be judged on them. Raises ConfigError if `[model] base`
    names a folder that holds no network, or one for another interval.
    """
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
    return BaseNetwork(name, card), None


def _card(name: str) -> Card:
    try:
        return bundles.load(models.base_folder(name)).card
    except ModelError as error:
        raise ConfigError(
            f"[model] base: {error.message}",
            code="config.base",
            hint="name a folder that cryptocast pretrain wrote, or leave it out",
        ) from error


def starting(
    settings: ModelSettings, material: Material, kind: ModelKind
) -> tuple[ModelKind, str | None]:
    """Return the kind, set to start at the base network if there is one, or why there is none.

    Raises StateError if the kind is `BASE` and no base network can be used.
    """
    base, reason = base_for(settings, material)
    if base is not None:
        return kind.started_at(base.network), None
    if kind.kind == BASE:
        scratch = "cryptocast train --model lstm --from scratch"
        raise StateError(
            reason or "[model] start asks for no base network",
            code="state.no_base",
            hint=f"--from base, or {scratch}" if reason is None else scratch,
        )
    return kind, reason


def evidence_of(params: Params) -> Mapping[str, float] | None:
    """Return what the base network that the parameters name has shown on other markets, or None."""
    name = params.get("network", params.get("start_at", models.HAR))
    return None if name == models.HAR else bundles.load(models.base_folder(str(name))).card.evidence
