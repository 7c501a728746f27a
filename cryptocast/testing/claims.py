"""How a broken promise is told: AssertionError with a sentence."""

from __future__ import annotations

from collections.abc import Callable

from cryptocast.errors import ConfigError


def check(fine: bool, otherwise: str) -> None:
    """Raise AssertionError with the sentence `otherwise` unless all is fine."""
    if not fine:
        raise AssertionError(otherwise)


def check_refused(work: Callable[[], object], code: str, what: str) -> None:
    """Assert that the work raises ConfigError of that code, with a hint; `what` names its cause."""
    try:
        work()
    except ConfigError as error:
        check(error.code == code, f"{what} is refused with {error.code}, not with {code}")
        check(bool(error.hint), f"{what} is refused without a hint")
    else:
        raise AssertionError(f"{what} raises no ConfigError ({code})")
