"""cryptocast config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast.cli.root.options import Run, completing
from cryptocast.cli.root.output import Answer, line
from cryptocast.display import NOTHING

if TYPE_CHECKING:
    from rich.console import Console

    from cryptocast.workflows.config import Setting

NAME = "config"
EXAMPLE = "cryptocast config set data.days 14"


def command(
    run: Run,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY | set KEY VALUE]",
            autocompletion=completing(_keys),
            help="A setting or a section to show, or a setting to change.",
        ),
    ] = None,
) -> Answer:
    """Show each setting, its value and where it came from; or change one. Secrets are never shown.

    `set` checks the value (JSON, unless it is text; null: the default again) and writes it into
    cryptocast.toml, whose comments stay.

    Defaults < cryptocast.toml < CRYPTOCAST_<SECTION>__<KEY> (environment or .env) < the options
    of a command, which hold for that command alone.
    """
    from cryptocast.errors import UsageError
    from cryptocast.workflows.config import config

    given = words or []
    if given[:1] == ["set"] and len(given) == 3:
        return _changed(run, *given[1:])
    if given[:1] == ["set"] or len(given) > 1:
        raise UsageError("config takes one KEY, or set KEY VALUE", hint=EXAMPLE)
    key = given[0] if given else None
    with run.open() as ws:
        settings = config(ws, key)
    data = {"workspace": ws.folder, "settings": [_document(setting) for setting in settings]}
    width = max(len(setting.key) for setting in settings)

    def show(console: Console) -> None:
        line(console, f"# {ws.file}" if len(settings) > 1 else f"# {settings[0].meaning}")
        for setting in settings:
            line(console, f"{setting.key:{width}}  {_value(setting)}{_origin(setting)}")

    return Answer(data, show)


def _keys() -> list[str]:
    """Return the word `set` and every setting."""
    from cryptocast.config import keys

    return ["set", *keys()]


def _changed(run: Run, key: str, text: str) -> Answer:
    """Change a setting, and answer with what now holds."""
    from cryptocast.config import parse_value
    from cryptocast.workflows.config import change

    value = parse_value(key, text)
    with run.open({key: value}) as ws:
        setting = change(ws, key, value)
    warnings = []
    if setting.origin == "environment":
        warnings = [f"{setting.place} overrides the file"]
    return Answer(
        {"workspace": ws.folder, "settings": [_document(setting)]},
        lambda console: line(console, f"{setting.key}  {_value(setting)}{_origin(setting)}"),
        warnings,
    )


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
