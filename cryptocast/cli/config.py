"""cryptocast config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer

if TYPE_CHECKING:
    from rich.console import Console

    from cryptocast.workflows.config import Setting

NAME = "config"
EXAMPLE = "cryptocast config data.days"


def command(
    run: Run,
    key: Annotated[
        str | None,
        typer.Argument(help="One setting, or a section of them.", show_default=False),
    ] = None,
) -> Answer:
    """Show each setting, its value and where it came from. Secrets are named, never shown.

    Defaults < cryptocast.toml < CRYPTOCAST_<SECTION>__<KEY> (environment or .env) < the options
    of a command, which rule that command alone.
    """
    from cryptocast.workflows.config import config

    with run.open() as ws:
        found = config(ws, key)
    data = {
        "workspace": str(ws.folder),
        "settings": [
            {
                "key": s.key,
                "value": s.value,
                "from": s.origin,
                "place": s.place,
                "secrets": dict(s.secrets),
                "meaning": s.meaning,
            }
            for s in found
        ],
    }
    lines = [(s.key, _value(s), _origin(s)) for s in found]
    wide = max(len(key) for key, _, _ in lines)

    def show(console: Console) -> None:
        head = f"# {ws.file}" if len(found) > 1 else f"# {found[0].meaning}"
        told = [f"{name:{wide}}  {value}{origin}" for name, value, origin in lines]
        console.print("\n".join([head, *told]), soft_wrap=True, markup=False)

    return Answer(data, show)


def _value(setting: Setting) -> str:
    """The value as the file writes it; a list that steps evenly is cut short."""
    from cryptocast.config import toml_value

    value = setting.value
    if setting.key == "model.levels" and len(value) > 4:
        return f"[{value[0]}, {value[1]}, ..., {value[-1]}]"
    told = "-" if value is None else toml_value(tuple(value) if isinstance(value, list) else value)
    for reference, is_set in setting.secrets.items():
        state = "set" if is_set else "not set"
        told = told.replace(f'"{reference}"', f"{reference} ({state})")
    return told


def _origin(setting: Setting) -> str:
    """Where the value came from, as a comment."""
    place = {"file": "cryptocast.toml", "environment": setting.place}.get(setting.origin)
    return f"  # {place or setting.origin}"
