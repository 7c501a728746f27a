"""tune: search the parameters of a model kind over rolling-origin folds, each trial a run."""

from __future__ import annotations

from cryptocast import models
from cryptocast.errors import CryptocastError, UsageError
from cryptocast.values import Market, iso
from cryptocast.workflows.learning.material import gather
from cryptocast.workflows.learning.scope import Group, for_each_group, model_groups
from cryptocast.workflows.learning.search import TuneReport, idle_report, tune_on
from cryptocast.workflows.learning.training import require_bars, starting
from cryptocast.workspace import Workspace


def tune(
    ws: Workspace,
    *,
    kind: str | None = None,
    trials: int | None = None,
    timeout_seconds: float | None = None,
    seed: int = 0,
    symbols: tuple[str, ...] = (),
) -> tuple[list[TuneReport], dict[Market, CryptocastError]]:
    """Search on the stored candles: one study of all markets, or one of each.

    A study of the same candles goes on where it stopped. `trials` is how many it shall hold
    in the end, `symbols` are the markets, by default all. Returns what was searched, and whose
    search failed. Raises StateError where there are too few candles for the kind. A kind
    without a search space needs none.
    """
    wanted = models.get(kind or ws.settings.model.kind)
    if timeout_seconds is not None and not timeout_seconds > 0:
        raise UsageError(f"--timeout {timeout_seconds:g} is no time", hint="--timeout 600")
    if (idle := idle_report(ws, wanted, trials)) is not None:
        ws.markets(symbols)
        return [idle], {}

    def work(markets: Group) -> TuneReport:
        material = gather(ws, markets)
        model, _ = starting(ws, material, wanted)
        require_bars(ws, model, material)
        name = f"{model.kind} {iso(material.end)} {material.fingerprint(material.learned)}"
        return ws.step(
            f"tune {model.kind}",
            lambda: tune_on(
                ws, material, model, name, trials=trials, timeout_seconds=timeout_seconds, seed=seed
            ),
        )

    return for_each_group(model_groups(ws.settings, ws.markets(symbols)), work)
