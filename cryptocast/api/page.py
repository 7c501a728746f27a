"""The OpenAPI description as one page that loads nothing and runs nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;
padding:0 1rem;color:#1a1a1a}
h1{margin-bottom:0}h2{margin-top:3rem;border-top:1px solid #ccc;padding-top:1rem}
h2 small{font-weight:normal;color:#666}code,pre{font:14px/1.45 ui-monospace,monospace}
pre{background:#f5f5f5;padding:.8rem;overflow:auto;max-height:24rem}
table{border-collapse:collapse;width:100%;margin:.5rem 0 1rem}
td,th{text-align:left;vertical-align:top;padding:.25rem .8rem .25rem 0;border-bottom:1px solid #eee}
summary{cursor:pointer;color:#06c}nav a{margin-right:.9rem;white-space:nowrap}
@media(prefers-color-scheme:dark){body{background:#151515;color:#ddd}pre{background:#222}
a,summary{color:#6af}td,th{border-color:#333}h2{border-color:#444}}
"""
_LIMITS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "maxItems", "pattern")


def described(schema: Mapping[str, Any]) -> str:
    """Return the page of an OpenAPI description."""
    info, paths = schema["info"], schema["paths"]
    links = "".join(f'<a href="#{escape(p)}">{escape(p)}</a>' for p in paths)
    parts = "".join(_route(schema, path, methods["get"]) for path, methods in paths.items())
    about = "".join(f"<p>{_prose(text)}</p>" for text in info["description"].split("\n\n"))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(info["title"])}</title>'
        f"<style>{_STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        f'{about}<p>For programs: <a href="openapi.json">/openapi.json</a></p>'
        f"<nav>{links}</nav>{parts}</html>"
    )


def _prose(text: str) -> str:
    """Return a text with its code marked as such."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if i % 2 else piece for i, piece in enumerate(pieces))


def _route(schema: Mapping[str, Any], path: str, route: Mapping[str, Any]) -> str:
    text = "".join(f"<p>{_prose(part)}</p>" for part in route["description"].split("\n\n"))
    rows = [
        (
            p["name"],
            _kind(p["schema"]).removesuffix(" or null"),
            f"{p.get('description', '')} {_limits(p['schema'])}",
        )
        for p in route.get("parameters", ())
    ]
    answer = route["responses"]["200"]
    (media, content), *_ = answer["content"].items()
    fields = _table(_fields(schema, content.get("schema", {})))
    example = ""
    if "example" in content:
        shown = escape(json.dumps(content["example"], indent=2))
        example = f"<details><summary>Example</summary><pre>{shown}</pre></details>"
    return (
        f'<h2 id="{escape(path)}">GET <a href="{escape(path[1:])}">{escape(path)}</a> '
        f"<small>{escape(media)}</small></h2>{text}{_table(rows)}"
        + (f"<details><summary>Fields</summary>{fields}</details>" if fields else "")
        + example
    )


def _table(rows: Any) -> str:
    lines = "".join(
        f"<tr><td><code>{escape(name)}</code><td>{escape(kind)}<td>{_prose(text)}"
        for name, kind, text in rows
    )
    return f"<table>{lines}</table>" if lines else ""


def _fields(
    schema: Mapping[str, Any], node: Mapping[str, Any], at: str = ""
) -> Iterator[tuple[str, str, str]]:
    """Yield each field below a node of the description: its path, type and meaning."""
    for choice in node.get("anyOf", (node,)):
        if "$ref" in choice:
            model = schema["components"]["schemas"][choice["$ref"].rpartition("/")[2]]
            for name, field in model.get("properties", {}).items():
                path = f"{at}.{name}".removeprefix(".")
                yield path, _kind(field), field.get("description", "")
                yield from _fields(schema, field, path)
        elif "items" in choice:
            yield from _fields(schema, choice["items"], f"{at}[]")


def _kind(node: Mapping[str, Any]) -> str:
    """Return the type of a field in a few words."""
    if "anyOf" in node:
        return " or ".join(dict.fromkeys(_kind(choice) for choice in node["anyOf"]))
    if "$ref" in node:
        return "object"
    if node.get("type") == "array":
        return f"list of {_kind(node.get('items', {}))}"
    return "time" if node.get("format") == "date-time" else str(node.get("type", "any"))


def _limits(node: Mapping[str, Any]) -> str:
    """Return the limits and the default of a parameter."""
    found: dict[str, Any] = {}
    for choice in (node, *node.get("anyOf", ())):
        found |= {name: choice[name] for name in _LIMITS if name in choice}
    words = [f"{name} `{value}`" for name, value in found.items()]
    if node.get("default") not in (None, []):
        words.append(f"default `{node['default']}`")
    return f"({', '.join(words)})" if words else ""
