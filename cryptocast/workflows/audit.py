"""audit: check that a model is honest: leaks, a placebo, bounce, and luck that is too good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptocast import bundles, models, paths
from cryptocast.bundles import Bundle, Card
from cryptocast.errors import StateError, UsageError, no_production
from cryptocast.values import DAY_SECONDS, FEATURES, Check
from cryptocast.workflows.auditing.perturbation import perturbation
from cryptocast.workflows.auditing.placebo import placebo
from cryptocast.workflows.auditing.unseen import unseen
from cryptocast.workflows.auditing.whole_paths import whole_paths
from cryptocast.workflows.futures.simulating import path_models
from cryptocast.workflows.learning.material import gather
from cryptocast.workflows.learning.scope import served_markets
from cryptocast.workflows.learning.training import require_bars
from cryptocast.workflows.learning.versions import registered_bundle, version_named
from cryptocast.workspace import Workspace

PLACEBOS = 4

_PLACEBO_BARS = 8_064  # four weeks of 5 minutes: longer walks only take longer to learn


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The checks of one version, and the figures that they rest on."""

    version: str
    kind: str
    checks: tuple[Check, ...]
    figures: Mapping[str, Any]


def audit(
    ws: Workspace, *, version: str | None = None, placebos: int = PLACEBOS, seed: int = 0
) -> AuditReport:
    """Audit a version (default: the one that serves) on the stored candles; write nothing.

    Raises StateError if there is no production model, for an unknown version or one that reads
    other inputs, and if there are too few candles for its kind; UsageError if several versions
    serve and none is named.
    """
    bundle = (
        _production(ws) if version is None else registered_bundle(ws, version_named(ws, version))
    )
    card, settings = bundle.card, ws.settings
    _require_same_inputs(card, settings.market.interval)
    kind, markets = models.get(card.kind), served_markets(settings, card)
    windows = {"lookback": card.lookback, "horizon": card.horizon}
    material = gather(ws, markets, **windows)
    require_bars(settings.data, kind, material)
    checks = ws.step("change the future", lambda: [*perturbation(material, bundle, seed=seed)])
    if card.interval in paths.shipped_intervals():
        curve_of = ws.frozen_curve if version is None else ws.registry().curve
        curves = path_models(settings.model.base, card.interval, [card.version], curve_of)
        checks += whole_paths(material, bundle, curves, seed=seed)
    few_days = _PLACEBO_BARS * material.interval_seconds / DAY_SECONDS
    longer = (material.end - material.start) / DAY_SECONDS > few_days
    short = gather(ws, markets, **windows, days=few_days) if longer else material
    placebo_checks, placebo_figures = ws.step(
        "placebo",
        lambda: placebo(short, kind, card, repetitions=placebos, progress=ws.progress, seed=seed),
    )
    unseen_checks, unseen_figures = ws.step("unseen origins", lambda: unseen(material, bundle))
    return AuditReport(
        card.version,
        card.kind,
        (*checks, *placebo_checks, *unseen_checks),
        {"placebo": placebo_figures, "unseen": unseen_figures},
    )


def _production(ws: Workspace) -> Bundle:
    """Load the version that serves, from the bundle that ticks read."""
    with ws.store.read() as reader:
        serving, graphs = reader.productions().of_markets(ws.markets()), reader.graphs()
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
    return bundles.load_version(ws.bundle_folder(*versions), graphs.get(*versions))


def _require_same_inputs(card: Card, interval: str) -> None:
    if card.features == FEATURES and card.interval == interval:
        return
    other = "features" if card.interval == interval else f"candles, of {card.interval}"
    raise StateError(
        f"version {card.version} reads other {other}: it cannot be audited here",
        code="state.other_version",
        hint="cryptocast train makes one that fits",
    )
