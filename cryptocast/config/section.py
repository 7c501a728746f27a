"""What every section of the settings is: a frozen table whose fields say what they may hold.

A function beside a field's type checks its value: it raises ValueError that says what is allowed.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable
from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct

from cryptocast.errors import holds_secret

# TOML arrays arrive as lists; the settings are frozen, so they are kept as tuples.
Strings = tuple[str, ...]
Count = Annotated[int, Meta(ge=1)]
Natural = Annotated[int, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]

REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")


class PlainSecret(ValueError):
    """A secret was written where only its name may stand; its value is never repeated."""


class Refused(Exception):
    """A value that a check of its section refuses: `cause` says what is allowed instead."""

    def __init__(self, section: type[Section], name: str, value: Any, cause: ValueError) -> None:
        super().__init__(str(cause))
        self.section = section
        self.name = name
        self.value = value
        self.cause = cause


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the settings: frozen, and strict about keys and types."""

    EXAMPLE: ClassVar[str] = ""  # for an array of tables: what `init` writes as a comment

    def __post_init__(self) -> None:
        """Call the checks of all fields. Raises Refused for the first value that does not pass."""
        for name, kind in type(self).__annotations__.items():
            checks = filter(callable, getattr(kind, "__metadata__", ()))
            value = getattr(self, name, None)  # None: what belongs to the class
            try:
                for check in (_is_finite, *checks):
                    check(value)
            except ValueError as error:
                raise Refused(type(self), name, value, error) from None


def _is_finite(value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")


def one_of(*known: str) -> Callable[[str], None]:
    """Return a check that a text is one of these; it names the nearest of them otherwise."""

    def check(value: str) -> None:
        if value not in known:
            close = difflib.get_close_matches(value, known, 1)
            guess = f", did you mean '{close[0]}'?" if close else ""
            raise ValueError(f"must be one of {', '.join(known)}{guess}")

    return check


def holds_no_password(value: str | None) -> None:
    """Check a URI that may stand in a file, or `env:NAME`."""
    if value is not None and not REFERENCE.fullmatch(value) and holds_secret(value):
        raise PlainSecret("holds a user, password or query: write env:NAME and put it there")


Uri = Annotated[str | None, holds_no_password]


def holds_no_secret(value: str | None) -> None:
    """Check an address that must not even name a secret."""
    if value is not None and holds_secret(value):
        raise PlainSecret("must hold neither a user, a password nor a query")


def refers_to(what: str) -> Callable[[str | None], None]:
    """Return a check that a text only names a secret, as `env:NAME`; it is not repeated."""

    def check(value: str | None) -> None:
        if value is not None and not REFERENCE.fullmatch(value):
            raise PlainSecret(
                f"must be written env:NAME, with the {what} itself in the environment"
            )

    return check
