"""train: fit one model on the learned parts, log it to MLflow, register a version."""

from __future__ import annotations

import dataclasses

from cryptocast import models
from cryptocast.errors import CryptocastError
from cryptocast.values import Market
from cryptocast.workflows.learning.material import gather
from cryptocast.workflows.learning.parameters import named_params
from cryptocast.workflows.learning.scope import Group, for_each_group, model_groups, study_market
from cryptocast.workflows.learning.training import TrainReport, require_bars, starting, train_on
from cryptocast.workspace import Workspace


def train(
    ws: Workspace,
    *,
    kind: str | None = None,
    params: str = "best",
    seed: int = 0,
    symbols: tuple[str, ...] = (),
) -> tuple[list[TrainReport], dict[Market, CryptocastError]]:
    """Train a model kind on the stored candles: one version of all markets, or one of each.

    `params` is `best` (of the last study, else the defaults), `default`, or the path of a
    TOML or JSON file; `symbols` are the markets to learn from, by default all. Returns what
    was trained, and whose training failed. Raises StateError where there are too few candles
    for the kind.
    """

    def work(markets: Group) -> TrainReport:
        material = gather(ws, markets)
        model, no_base = starting(ws, material, models.get(kind or ws.settings.model.kind))
        chosen, origin = named_params(ws, model, params, study_market(ws.settings, markets))
        require_bars(ws, model, material)
        report = ws.step(
            f"train {model.kind}",
            lambda: train_on(ws, material, model, chosen, origin, seed=seed),
        )
        return dataclasses.replace(report, no_base=no_base)

    return for_each_group(model_groups(ws.settings, ws.markets(symbols)), work)
