"""What a receiver of alerts promises (`seams.Notifier`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from cryptocast.errors import NotifyError
from cryptocast.seams import Notifier
from cryptocast.testing.claims import check
from cryptocast.values import Alert

_ALERT = Alert(
    1_717_372_800.0,
    "promotion",
    "news",
    "",
    "because & 'quotes'\n\x1b[2Ja bell\x07 and ümläute",
    "my <b>coins</b>",
    ("sim:BTC/EUR:5m",),
)


def check_receiver(
    opened: Callable[[], Notifier],
    taken: Callable[[], Sequence[str]],
    spoil: Callable[[], None],
    secret: str,
) -> None:
    """Assert that a receiver takes each alert once, and says so if it cannot.

    `opened` opens it, `taken` returns what it took as texts, `spoil` makes it fail from then on,
    and `secret` is what no error may tell.
    """
    notifier = opened()
    for number in range(3):
        notifier.send(replace(_ALERT, title=f"number {number} of <script>"))
    told = taken()
    check(len(told) == 3, f"of 3 alerts it took {len(told)}")
    for number, text in enumerate(told):
        check(f"number {number} of <script>" in text, "alerts do not keep their order and title")
        check("because & 'quotes'" in text and "ümläute" in text, "an alert loses its text")
    spoil()
    try:
        notifier.send(_ALERT)
    except NotifyError as error:
        check(secret not in f"{error} {error.hint}", "an error tells the secret")
    else:
        raise AssertionError("an alert that it cannot take raises no NotifyError")
