"""tune: search the parameters of a model kind over rolling-origin folds, each trial a run."""

from __future__ import annotations

from cryptocast import models
from cryptocast.errors import CryptocastError, UsageError
from cryptocast.tuning import SearchPlan
from cryptocast.values import Market, iso
from cryptocast.workflows.learning.bases import starting
from cryptocast.workflows.learning.material import gather
from cryptocast.workflows.learning.scope import Group, for_each_group, model_groups
from cryptocast.workflows.learning.search import TuneReport, idle_report, tune_on
from cryptocast.workflows.learning.training import require_bars
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

    A study of the same candles continues where it stopped. `trials` is the number that it holds
    in the end; `symbols` are the markets, by default all. Return the reports, and the error of
    each market whose search failed. Raises StateError if there are too few candles for the
    kind; a kind without a search space needs none.
    """
    settings = ws.settings
    wanted = models.get(kind or settings.model.kind)
    trials = settings.tune.trials if trials is None else trials
    if timeout_seconds is not None and not timeout_seconds > 0:
        raise UsageError(
            f"--timeout must be above 0, not {timeout_seconds:g}", hint="--timeout 600"
        )
    if (idle := idle_report(wanted, trials)) is not None:
        ws.markets(symbols)  # raises for a symbol that is not configured
        return [idle], {}

    def search_on(markets: Group) -> TuneReport:
        material = gather(ws, markets)
        model, _ = starting(settings.model, material, wanted)
        require_bars(settings.data, model, material)
        study = f"{model.kind} {iso(material.end)} {material.fingerprint(material.learned)}"
        timeout = timeout_seconds or settings.tune.timeout_seconds
        plan = SearchPlan(ws.studies, study, trials, seed, timeout, settings.tune.at_once)
        return ws.step(f"tune {model.kind}", lambda: tune_on(ws, material, model, plan))

    return for_each_group(model_groups(settings, ws.markets(symbols)), search_on)
