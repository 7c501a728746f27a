"""The settings as a commented TOML file, and as the table of the guide."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from msgspec.structs import fields

from cryptocast.config.section import Section
from cryptocast.config.settings import SECTIONS, TABLES, Settings


def render(settings: Settings) -> str:
    """Return the settings as TOML, each key under a comment that says what it is.

    A setting without a value is written as a comment.
    """
    lines = [
        "# cryptocast settings. A variable CRYPTOCAST_<SECTION>__<KEY> overrides this file, an",
        "# option overrides both. Never write a secret here: write env:NAME.",
        "",
    ]
    for section, kind in SECTIONS.items():
        values = getattr(settings, section)
        lines.append(f"[{section}]")
        tables: list[str] = []
        for name, described in kind.__annotations__.items():
            meaning = described.__metadata__[-1]
            value = getattr(values, name)
            if name in TABLES:
                tables += _tables(f"{section}.{name}", meaning, value, TABLES[name])
                continue
            lines.append(f"# {meaning}")
            lines.append(f"# {name} =" if value is None else f"{name} = {toml_value(value)}")
        lines += [*tables, ""]
    return "\n".join(lines)


def _tables(
    key: str, description: str, values: Sequence[Section], kind: type[Section]
) -> list[str]:
    """Return an array of tables; an empty one as a comment, so that TOML still takes tables."""
    lines = [f"# {description}"]
    for value in values:
        given = {f.name: getattr(value, f.name) for f in fields(kind)}
        told = [f for f in fields(kind) if given[f.name] != f.default]
        lines += [f"[[{key}]]", *(f"{f.name} = {toml_value(given[f.name])}" for f in told)]
    return lines if values else [*lines, f"#   [[{key}]]", f"#   {kind.EXAMPLE}"]


def settings_table() -> str:
    """Return every setting with its default and meaning as a Markdown table."""
    rows = ["| key | default | meaning |", "| --- | --- | --- |"]
    defaults = Settings()
    for section, kind in SECTIONS.items():
        values = getattr(defaults, section)
        for name, described in kind.__annotations__.items():
            meaning = described.__metadata__[-1]
            if name in TABLES:
                rows.append(f"| `[[{section}.{name}]]` |  | {meaning} |")
                continue
            default = getattr(values, name)
            shown = "" if default is None else f"`{toml_value(default)}`"
            if name == "levels":
                shown = f"`[{default[0]}, {default[1]}, ..., {default[-1]}]`"
            rows.append(f"| `[{section}] {name}` | {shown} | {meaning} |")
    return "\n".join(rows)


def toml_value(value: Any) -> str:
    """Return a setting's value as TOML writes it."""
    if isinstance(value, tuple):
        return "[" + ", ".join(toml_value(v) for v in value) + "]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{toml_value(k)} = {toml_value(v)}" for k, v in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    # TOML's basic strings are JSON's, except for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
