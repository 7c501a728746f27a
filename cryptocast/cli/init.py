"""cryptocast init."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast import plugins
from cryptocast.cli.fetch import candles_document
from cryptocast.cli.root.options import (
    CandleFiles,
    Engine,
    Run,
    Seed,
    Start,
    Trials,
    completing,
    configuration,
    configurations,
)
from cryptocast.cli.root.output import Answer, sentences
from cryptocast.cli.screens.renewals import (
    Scores,
    renewals_code,
    renewals_document,
    renewals_warnings,
    show_renewals,
)
from cryptocast.cli.tune import kinds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptocast.workflows.init import InitReport
    from cryptocast.workflows.learning.renewals import Renewals
    from cryptocast.workflows.serving.fetching import FetchReport


def _sources() -> list[str]:
    """Return the names of sources, without loading any."""
    names = plugins.names(plugins.SOURCES)
    return ["auto", *("ccxt:EXCHANGE" if name == "ccxt" else name for name in names)]


_Config = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE",
        autocompletion=completing(configurations),
        help="Settings to start from: {choices}, or a file. Default: none.",
    ),
]
_Source = Annotated[
    str | None,
    typer.Option(
        autocompletion=completing(_sources),
        help="Where candles come from: {choices}. "
        "Default: [source] name (auto: coincap or bitvavo).",
    ),
]

_Symbol = Annotated[
    list[str] | None,
    typer.Option(
        help="BASE/QUOTE; repeatable. Adds a market to an existing workspace. "
        "Default: [market] symbols (BTC/EUR)."
    ),
]
_Kinds = Annotated[
    list[str] | None,
    typer.Option(
        autocompletion=completing(kinds),
        help="A kind of model to compare: {choices}; repeatable. Default: [model] kinds.",
    ),
]

NAME = "init"
EXAMPLE = "cryptocast init -w btc --source bitvavo --symbol BTC/EUR"


def command(
    run: Run,
    config: _Config = None,
    source: _Source = None,
    path: CandleFiles = None,
    symbol: _Symbol = None,
    model: _Kinds = None,
    days: Annotated[
        float | None,
        typer.Option(help="Days of candles to learn from. Default: [data] days (7)."),
    ] = None,
    trials: Trials = None,
    seed: Seed = None,
    start: Start = None,
    engine: Engine = None,
    scores: Scores = False,
) -> Answer:
    """Make a workspace with a promoted model: fetch, split, tune, train, evaluate, promote.

    If it is interrupted, the same command continues.
    """
    import os

    from cryptocast.workflows.init import InitOptions, init

    _require_a_name(run, os.environ)
    settings = {
        "source.name": source,
        "source.path": path and str(path),
        "data.days": days,
        "tune.trials": trials,
        "model.start": start,
        "engine.kind": engine,
        "model.kind": model and model[0],
        "model.kinds": model and (model if len(model) > 1 else []),
    }
    chosen = {key: value for key, value in settings.items() if value is not None}
    report = init(
        run.folder,
        InitOptions(configuration(config), chosen, tuple(symbol or ()), seed),
        environ=os.environ,
        clock=run.clock,
        progress=run.progress,
    )
    if report.candles is None or report.pipeline is None:
        ignored = config is not None or seed is not None or any(chosen.values())
        return _unchanged(report, options_ignored=ignored)
    texts = ["Next: cryptocast forecast --once"]
    if run.as_of is None:
        from cryptocast.workflows.watching.ticking import NOTHING

        texts.append(f"      {NOTHING}")
    return _made(report, report.candles, report.pipeline, texts, with_scores=scores)


def _require_a_name(run: Run, environ: Mapping[str, str]) -> None:
    """Ask before a folder that holds other things becomes a workspace because none was named.

    Raises UsageError if the answer is no, or if nobody can be asked.
    """
    from cryptocast.config import FILE_NAME
    from cryptocast.errors import UsageError
    from cryptocast.workspace import ENVIRONMENT

    folder = run.folder
    named = run.workspace is not None or ENVIRONMENT in environ
    if named or (folder / FILE_NAME).is_file() or not any(folder.iterdir()):
        return
    text = f"{folder} is not empty"
    if sys.stdin.isatty() and typer.confirm(f"{text}: make it a workspace?", err=True):
        return
    raise UsageError(text, hint="name a folder for the workspace: cryptocast init -w btc")


def _document(report: InitReport) -> dict[str, Any]:
    return {
        "workspace": report.folder,
        "source": report.source,
        "source_reason": report.source_reason,
        "added": report.added,
        "cost": report.cost,
        "finished_before": report.pipeline is None or bool(report.added),
    }


def _unchanged(report: InitReport, *, options_ignored: bool) -> Answer:
    """Answer for a workspace that existed before: markets may be added, nothing is trained."""
    text = f"{report.folder} is a finished workspace: nothing to do"
    if report.added:
        text = f"{report.folder}: {', '.join(report.added)} added"
    version, model = report.production
    data = _document(report) | {
        "candles": [] if report.candles is None else candles_document(report.candles),
        "split": {},
        "scores": [],
        "candidates": [],
        "decisions": [],
        "tuning": {"trials": 0, "best": None, "value": None},
        "decision": {"promoted": False, "version": version, "model": model, "reason": text},
    }
    ignored = "only --symbol changes a finished workspace; its settings are in cryptocast.toml"
    return Answer(data, sentences(text), [ignored] if options_ignored else [])


def _made(
    report: InitReport,
    candles: FetchReport,
    renewals: Renewals,
    texts: Sequence[str],
    *,
    with_scores: bool,
) -> Answer:
    """Answer for a workspace whose pipeline has just run."""
    if report.source_reason:
        texts = [f"source {report.source}: {report.source_reason}", *texts]
    if report.cost is not None:
        texts = [f"{report.source}: {report.cost} ([source] monthly_credits)", *texts]
    return Answer(
        _document(report) | renewals_document(candles, renewals),
        lambda console: show_renewals(console, candles, renewals, texts, with_scores=with_scores),
        renewals_warnings(candles, renewals),
        renewals_code(renewals),
    )
