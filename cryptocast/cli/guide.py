"""cryptocast guide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cryptocast.cli.root.options import Run, completing
from cryptocast.cli.root.output import Answer

if TYPE_CHECKING:
    from rich.console import Console

NAME = "guide"
EXAMPLE = "cryptocast guide serving"

TOPICS = {
    "start": "install, make a workspace, the first forecast",
    "candles": "sources, files, gaps, several markets, fallbacks, credits",
    "serving": "ticks, cron, the loop, containers, alerts, metrics, backups",
    "futures": "simulate: whole price paths up to 24 hours, what they are good for",
    "quality": "status, report, monitor, evaluate, audit: what the figures mean",
    "renewing": "retrain, the gate, versions in MLflow, a tracking server",
    "mlflow": "a version on its own: load it, serve it over HTTP, compare versions",
    "settings": "every setting with its default and meaning",
    "scripts": "JSON, exit codes, SQL, Python, notebooks",
    "api": "HTTP: forecasts, candles, scores, probabilities and a stream for other programs",
    "model": "what can be forecast, the baselines, the networks, how good they are",
    "possible": "how much better a forecast can be, and what was tried in vain",
    "scaling": "many markets: one model or one each, and what it costs",
    "prefect": "the pipelines as flows of a Prefect server, with a page for every run",
    "developing": "the house from the inside, for those who change it",
}
"""The pages in reading order, each with what it is about."""


def command(
    run: Run,  # noqa: ARG001 - every command takes the common options
    topic: Annotated[
        str | None,
        typer.Argument(
            autocompletion=completing(lambda: TOPICS), help="One page; without it, the list."
        ),
    ] = None,
) -> Answer:
    """Show the documentation that is shipped with the program, one page per topic."""
    from cryptocast.errors import UsageError

    if topic is None:
        pages = [{"topic": name, "about": about} for name, about in TOPICS.items()]
        return Answer({"topics": pages}, _show_topics)
    if topic not in TOPICS:
        raise UsageError(f"there is no page '{topic}'", hint=f"one of {', '.join(TOPICS)}")
    text = page(topic)
    return Answer({"topic": topic, "markdown": text}, lambda console: _show_page(console, text))


def page(topic: str) -> str:
    """Return one page of the guide as Markdown."""
    from importlib import resources

    file = resources.files("cryptocast") / "guide" / f"{topic}.md"
    return file.read_text(encoding="utf-8")


def _show_topics(console: Console) -> None:
    for topic, about in TOPICS.items():
        console.print(f"{topic:<12}{about}")
    console.print("\nRead one: cryptocast guide TOPIC")


def _show_page(console: Console, text: str) -> None:
    from rich.markdown import Markdown

    # Comments and pictures are for the page in a browser.
    lines = (line for line in text.splitlines() if not line.startswith(("<!-- ", "![")))
    console.print(Markdown("\n".join(lines)))
