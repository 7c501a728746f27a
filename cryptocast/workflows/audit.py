"""audit: is a model honest? Leaks, a placebo, the bounce of prices, and luck that is too good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptocast import bundles, models
from cryptocast.bundles import Bundle, Card
from cryptocast.errors import StateError, UsageError, no_production
from cryptocast.values import FEATURES, Check
from cryptocast.workflows.auditing.perturbation import perturbation
from cryptocast.workflows.auditing.placebo import placebo
from cryptocast.workflows.auditing.unseen import unseen
from cryptocast.workflows.learning.material import Material, gather
from cryptocast.workflows.learning.scope import served_markets
from cryptocast.workflows.learning.training import require_bars
from cryptocast.workflows.learning.versions import registered_bundle
from cryptocast.workspace import Workspace

PLACEBOS = 4

_PLACEBO_BARS = 8_064  # four weeks of 5 minutes: longer walks only take longer to learn
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The findings about one version, and the figures that they rest on."""

    version: str
    kind: str
    checks: tuple[Check, ...]
    figures: Mapping[str, Any]


def audit(
    ws: Workspace, *, version: str | None = None, placebos: int = PLACEBOS, seed: int = 0
) -> AuditReport:
    """Audit a version (default: what serves) on the stored candles; nothing is written.

    Raises StateError without a production model, for an unknown version or one that reads
    other inputs, and where there are too few candles for its kind; UsageError where several
    versions serve and none is named.
    """
    bundle = _production(ws) if version is None else registered_bundle(ws, version)
    card = bundle.card
    _require_same_inputs(ws, card)
    kind = models.get(card.kind)
    material = gather(
        ws, served_markets(ws.settings, card), lookback=card.lookback, horizon=card.horizon
    )
    require_bars(ws.settings.data, kind, material)
    ws.progress.stage("change the future")
    checks = list(perturbation(material, bundle, seed=seed))
    ws.progress.stage("placebo")
    found, placebo_figures = placebo(
        _shortened(ws, material),
        kind,
        card,
        repetitions=placebos,
        progress=ws.progress,
        seed=seed,
    )
    checks += found
    ws.progress.stage("unseen origins")
    found, unseen_figures = unseen(material, bundle)
    figures = {"placebo": placebo_figures, "unseen": unseen_figures}
    return AuditReport(card.version, card.kind, (*checks, *found), figures)


def _production(ws: Workspace) -> Bundle:
    """What serves, from the bundle that ticks read."""
    with ws.store.read() as reader:
        serving = reader.productions().of_markets(ws.markets())
    versions = {row.model_version: market for market, row in serving.items()}
    if not versions:
        raise no_production()
    if len(versions) > 1:
        version, market = next(iter(versions.items()))
        raise UsageError(
            f"{len(versions)} versions serve: one is audited at a time",
            code="usage.market",
            hint=f"cryptocast audit --version {version} (it serves {market.symbol})",
        )
    return bundles.load(ws.bundle_folder(*versions))


def _require_same_inputs(ws: Workspace, card: Card) -> None:
    interval = ws.markets()[0].interval
    if card.features == FEATURES and card.interval == interval:
        return
    what = "features" if card.interval == interval else f"candles, of {card.interval}"
    raise StateError(
        f"version {card.version} reads other {what}: it cannot be audited here",
        code="state.other_version",
        hint="cryptocast train makes one that fits",
    )


def _shortened(ws: Workspace, material: Material) -> Material:
    """The material, of a long history only as much as a placebo needs."""
    bars = (material.end - material.start) // material.interval_seconds
    if bars <= _PLACEBO_BARS:
        return material
    days = _PLACEBO_BARS * material.interval_seconds / _DAY
    return gather(
        ws, material.markets, lookback=material.lookback, horizon=material.horizon, days=days
    )
