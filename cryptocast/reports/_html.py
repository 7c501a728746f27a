"""HTML that cannot be broken by what it shows: text is escaped where it enters an element."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from cryptocast.values import iso

_VOID = ("meta", "input", "link", "br")
_NBSP = "\N{NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"


class Markup(str):
    """Text that is HTML already; every other `str` is escaped."""

    __slots__ = ()


def tag(name: str, /, *inside: str, **attributes: str | bool | None) -> Markup:
    """An element. `class_` is written `class`, `data_step` `data-step`; None and False are left
    out, True is a bare word.
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        word = key.rstrip("_").replace("_", "-")
        words.append(word if value is True else f'{word}="{html.escape(str(value))}"')
    opened = f"<{' '.join(words)}>"
    return Markup(opened if name in _VOID else f"{opened}{together(*inside)}</{name}>")


def together(*parts: str) -> Markup:
    """Parts one after the other, escaped where they are no markup."""
    return Markup("".join(p if isinstance(p, Markup) else html.escape(p) for p in parts))


def table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    words: Sequence[str] = (),
) -> Markup:
    """A table whose first column names the row; it scrolls by itself where it is too wide.

    Columns named in `words` hold text, the others figures.
    """
    kinds = ["words" if column in words else None for column in columns]
    heads = (tag("th", c, scope="col", class_=k) for c, k in zip(columns, kinds, strict=True))
    body = [
        tag(
            "tr",
            tag("th", row[0], scope="row"),
            *(tag("td", cell, class_=k) for cell, k in zip(row[1:], kinds[1:], strict=True)),
        )
        for row in rows
    ]
    head = tag("thead", tag("tr", *heads))
    made = tag("table", tag("caption", caption), head, tag("tbody", *body))
    return tag("div", made, class_="scroll", tabindex="0", role="region", aria_label=caption)


def island(data: Any, **attributes: str) -> Markup:
    """Data for the page's script: JSON that no text in it can end, and without NaN."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    safe = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return tag("script", Markup(safe), type="application/json", **attributes)


def percent(value: float | None, decimals: int = 0, *, sign: bool = False) -> str:
    """A share as a percentage, or a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    text = f"{100 * value:{'+' if sign else ''}.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", _MINUS) + _NBSP + "%"


def skill(value: float | None) -> str:
    """A skill with its sign, or a dash."""
    return percent(value, 2, sign=True)


def between(low: float | None, high: float | None) -> str:
    """An interval of skills, or nothing."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"{skill(low)} to {skill(high)}"


def number(value: float | None, decimals: int = 2) -> str:
    """A figure, or a dash where there is none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:,.{decimals}f}"


def price(value: float) -> str:
    """A price with as many decimals as its size asks for."""
    return f"{value:,.{2 if value >= 100 else 4 if value >= 1 else 8}f}"


def moment(at: float) -> str:
    """A time to the minute, in UTC."""
    return iso(int(at))[:16].replace("T", " ") + "Z"


def span(seconds: float) -> str:
    """A length of time in its largest fitting unit: `5 min`, `2 h`, `30 days`."""
    for unit, length in (("day", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length * (2 if unit == "day" else 1):
            count = seconds / length
            plural = "s" if unit == "day" else ""
            return (
                f"{count:.0f}{_NBSP}{unit}{plural}"
                if count == round(count)
                else (f"{count:.1f}{_NBSP}{unit}{plural}")
            )
    return f"{seconds:.0f}{_NBSP}s"


def counted(count: int, thing: str) -> str:
    """A number with its noun."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"
