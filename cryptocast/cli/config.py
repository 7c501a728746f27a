"""cryptocast config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast.cli.root.options import Run
from cryptocast.cli.root.output import Answer, line
from cryptocast.display import NOTHING

if TYPE_CHECKING:
    from rich.console import Console

    from cryptocast.workflows.config import Setting

NAME = "config"
EXAMPLE = "cryptocast config data.days"


def command(
    run: Run,
    key: Annotated[
        str | None,
        typer.Argument(help="One setting, or a section.", show_default=False),
    ] = None,
) -> Answer:
    """Show each setting, its value and where it came from. Secrets are never shown.

    Defaults < cryptocast.toml < CRYPTOCAST_<SECTION>__<KEY> (environment or .env) < the options
    of a command, which hold for that command alone.
    """
    from cryptocast.workflows.config import config

    with run.open() as ws:
        settings = config(ws, key)
    data = {
        "workspace": ws.folder,
        "settings": [_document(setting) for setting in settings],
    }
    width = max(len(setting.key) for setting in settings)

    def show(console: Console) -> None:
        line(console, f"# {ws.file}" if len(settings) > 1 else f"# {settings[0].meaning}")
        for setting in settings:
            line(console, f"{setting.key:{width}}  {_value(setting)}{_origin(setting)}")

    return Answer(data, show)


def _document(setting: Setting) -> dict[str, Any]:
    return {
        "key": setting.key,
        "value": setting.value,
        "from": setting.origin,
        "place": setting.place,
        "secrets": setting.secrets,
        "meaning": setting.meaning,
    }


def _value(setting: Setting) -> str:
    """Return the value as in the file; evenly spaced levels are abbreviated."""
    from cryptocast.config import toml_value

    value = setting.value
    if setting.key == "model.levels" and len(value) > 4:
        return f"[{value[0]}, {value[1]}, ..., {value[-1]}]"
    if value is None:
        return NOTHING
    text = toml_value(tuple(value) if isinstance(value, list) else value)
    for reference, is_set in setting.secrets.items():
        state = "set" if is_set else "not set"
        text = text.replace(f'"{reference}"', f"{reference} ({state})")
    return text


def _origin(setting: Setting) -> str:
    """Return where the value came from, as a comment."""
    place = {"file": "cryptocast.toml", "environment": setting.place}.get(setting.origin)
    return f"  # {place or setting.origin}"
