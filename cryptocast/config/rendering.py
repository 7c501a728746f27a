"""The settings as a commented TOML file."""

from __future__ import annotations

import json
from typing import Any, cast

from cryptocast.config.settings import Section, Settings


def render(settings: Settings) -> str:
    """The settings as TOML, each key under a comment that says what it is.

    A setting without a value is written commented out.
    """
    lines = [
        "# cryptocast settings. A variable CRYPTOCAST_<SECTION>__<KEY> goes before this file, an",
        "# option before both. Secrets never stand here: write env:NAME.",
        "",
    ]
    for section in Settings.model_fields:
        values = cast(Section, getattr(settings, section))
        lines.append(f"[{section}]")
        for name, info in type(values).model_fields.items():
            value = getattr(values, name)
            lines.append(f"# {info.description}")
            lines.append(f"# {name} =" if value is None else f"{name} = {toml_value(value)}")
        lines.append("")
    return "\n".join(lines)


def toml_value(value: Any) -> str:
    """A setting's value as TOML writes it."""
    if isinstance(value, tuple):
        return "[" + ", ".join(toml_value(v) for v in value) + "]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{toml_value(k)} = {toml_value(v)}" for k, v in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    # TOML's basic strings are JSON's, but for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
