"""A server that trickles uses up a time-out as one that is silent does."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable

import pytest
import requests

from cryptocast.wire import limit_replies
from support.loopback import Loopback, Reply, continues, drip, drip_head

SECONDS = 0.2
limit_replies()


def by_requests(url: str) -> bytes:
    return requests.get(url, timeout=SECONDS).content


def by_urllib(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=SECONDS) as reply:
        return bytes(reply.read())


@pytest.mark.parametrize(
    "fault", [drip_head(), continues(), drip(0.02)], ids=["its head", "to continue", "its body"]
)
@pytest.mark.parametrize("ask", [by_requests, by_urllib])
def test_an_answer_that_does_not_end_times_out(ask: Callable[[str], bytes], fault: Reply) -> None:
    with Loopback({}) as server:
        server.faults.append(fault)
        with pytest.raises(
            (TimeoutError, requests.Timeout, requests.ConnectionError), match="time"
        ):
            ask(server.base_url("any"))


@pytest.mark.parametrize("ask", [by_requests, by_urllib])
def test_a_long_body_may_take_longer_than_the_time_out(
    ask: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b"x" * 3000
    with Loopback({}) as server:
        server.faults.append(Reply(body=body))
        readings = iter(range(10_000))
        # Every look at the clock takes a second of it: the answer comes within many time-outs.
        with monkeypatch.context() as patch:
            patch.setattr(time, "monotonic", lambda: 0.1 * next(readings))
            assert ask(server.base_url("any")) == body
