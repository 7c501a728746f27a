"""What passes between a client and the loopback server, and the faults an answer can have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """What a client asked, with the prefix of the API cut off."""

    api: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case


@dataclass(frozen=True)
class Reply:
    """An answer, or a fault: a body may be cut, held back, dripped, or the line reset."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    declared_length: int | None = None
    hang_seconds: float = 0.0
    drip_seconds: float = 0.0
    reset: bool = False
    head: bytes = b""  # sent again and again instead of an answer, a byte at a time if it drips


def as_json(document: Any, status: int = 200, **headers: str) -> Reply:
    """A JSON reply; `Retry_After="1"` is a header."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    kind = {"Content-Type": "application/json"}
    return Reply(status, json.dumps(document).encode(), {**kind, **named})


def html(status: int = 200) -> Reply:
    """A page for people, as proxies and maintenance windows give it."""
    return Reply(status, b"<!doctype html><html><h1>Be right back</h1></html>")


def truncated_json() -> Reply:
    """Whole by its length, broken as JSON."""
    return Reply(200, b'{"candles": [{"open": 1.0, "high')


def cut_off() -> Reply:
    """A body that ends before its declared length: the connection broke."""
    return Reply(200, b'{"candles": [', declared_length=5000)


def hang(seconds: float = 3600.0) -> Reply:
    """No answer for so long (the server's end cuts it short)."""
    return Reply(hang_seconds=seconds)


def drip(seconds: float = 0.05) -> Reply:
    """A byte now and a byte then: no single read times out."""
    return Reply(200, b" " * 2000, drip_seconds=seconds)


def drip_head(seconds: float = 0.02) -> Reply:
    """A head that never ends, a byte now and a byte then."""
    return Reply(head=b"HTTP/1.1 200 OK\r\nX: " + b"x" * 60_000, drip_seconds=seconds)


def continues() -> Reply:
    """`100 Continue` without end."""
    return Reply(head=b"HTTP/1.1 100 Continue\r\n\r\n")


def reset() -> Reply:
    """The connection is torn down without a word."""
    return Reply(reset=True)


def redirect(to: str) -> Reply:
    """Elsewhere."""
    return Reply(302, b"", {"Location": to})
