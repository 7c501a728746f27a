"""The one encoder of values as JSON knows them: for answers, and for details kept in the store."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from msgspec import json

from cryptocast.errors import CryptocastError
from cryptocast.values import Market, iso

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")


class _DateTime:
    """Mark a text as a time in JSON schemas: pydantic asks the mark by this name."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {**handler(schema), "format": "date-time"}


Moment = Annotated[str, _DateTime()]
"""A time as documents have it: ISO 8601 with `Z`."""


def documented(kind: type[T]) -> type[T]:
    """Let JSON schemas of a TypedDict say what stands below each of its fields."""
    kind.__pydantic_config__ = {"use_attribute_docstrings": True}  # type: ignore[attr-defined]  # pydantic looks for it there
    return kind


def plain(value: Any) -> Any:
    """Return a value as JSON knows it: a number that is not finite becomes None.

    Dataclasses become their fields, tuples and arrays lists, paths text, and an error its code,
    message and hint. Raise TypeError for what JSON cannot hold.
    """
    return json.decode(json.encode(value, enc_hook=_fallback))


def document(
    value: DataclassInstance, *, times: Sequence[str] = (), without: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the fields of a frozen value as JSON knows them, in their order.

    The fields named in `times` are moments: Unix seconds become ISO 8601, None stays. A market
    becomes its id. Those named in `without` are left out.
    """
    names = [field.name for field in dataclasses.fields(value) if field.name not in without]
    fields = {name: getattr(value, name) for name in names}
    for name, content in fields.items():
        if isinstance(content, Market):
            fields[name] = content.id
    for name in times:
        fields[name] = None if fields[name] is None else iso(fields[name])
    return dict(plain(fields))


def _fallback(value: Any) -> Any:
    """Return what stands for a value that the encoder does not know."""
    if isinstance(value, CryptocastError):
        return {"code": value.code, "message": value.message, "hint": value.hint}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, PurePath):
        return str(value)
    return value.tolist()  # numpy: an array, or one of its numbers
