"""Receivers are told each thing once, its end too, whatever is killed, dead or run twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cryptocast.clock import VirtualClock
from cryptocast.store import Store
from cryptocast.values import ALERTS, Deployment
from cryptocast.workflows.forecast import tick
from cryptocast.workflows.watching import alerts
from cryptocast.workflows.watching.alerts import send_alerts
from cryptocast.workflows.watching.memory import Memory, pause_seconds, recall
from cryptocast.workspace import Workspace
from support.commands import INTERVAL, NOW, query
from support.hooks import SECRET, Hook
from support.ticks import BTC, change, deploy, origin, redenominate

SCRIPT = '<script>alert("x")</script>'


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as hook:
        yield hook


class Watched:
    """A workspace with a webhook; `look(bar)` is the end of a tick at that bar."""

    def __init__(self, folder: Path, hook: Hook) -> None:
        self.folder = folder
        self.hook = hook
        self.options: dict[str, Any] = {
            "notify.receiver": [{"name": "webhook", "url": "env:HOOK"}],
            "notify.timeout_seconds": 2.0,
        }

    def look(self, bar: float, *, ticks: bool = True, **options: Any) -> list[str]:
        """What is new at the hook since the last look: titles."""
        before = len(self.hook.bodies)
        self.warnings = self.send(bar, ticks=ticks, **options)
        return self.hook.titles[before:]

    def send(self, bar: float, *, ticks: bool = True, **options: Any) -> list[str]:
        named = {name.replace("__", "."): value for name, value in options.items()}
        with Workspace.open(
            self.folder,
            environ={"HOOK": self.hook.url},
            options=self.options | named,
            clock=VirtualClock(NOW + bar * INTERVAL),
        ) as ws:
            if not ticks:
                return send_alerts(ws)
            warnings = tick(ws, fetch=False).warnings
            return [text for text in warnings if "did not take an alert" in text]

    @property
    def text(self) -> str:
        return str(self.hook.bodies[-1]["text"])

    def put(self, kind: str, **detail: Any) -> None:
        with Store(self.folder / "cryptocast.duckdb", 60).write() as writer:
            writer.put_event(NOW, kind, None, detail)


@pytest.fixture
def watched(w: Path, hook: Hook) -> Watched:
    made = Watched(w, hook)
    assert made.look(1) == []  # what serves before somebody listens is no news
    return made


def test_where_nobody_is_to_be_told_nothing_is_read(
    w: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Workspace.open(w, environ={}) as ws:
        monkeypatch.setattr(Store, "read", None)
        assert send_alerts(ws) == []


def test_a_stand_in_is_told_once_and_so_is_its_end(watched: Watched) -> None:
    (watched.folder / "bundles" / "2").rename(watched.folder / "gone")
    assert watched.look(2) == ["a stand-in serves instead of production"]
    assert watched.text == "BTC/EUR: bundle_missing, since 2024-06-03T00:10:00Z"
    assert watched.hook.bodies[-1]["markets"] == [BTC.id]
    assert watched.hook.bodies[-1]["state"] == "problem"
    assert watched.look(3) == []
    (watched.folder / "gone").rename(watched.folder / "bundles" / "2")
    assert watched.look(4) == ["production serves again"]
    assert watched.hook.bodies[-1]["state"] == "recovered"
    assert watched.look(5) == []
    assert watched.warnings == []


def test_another_deployment_is_told_with_its_reason(watched: Watched) -> None:
    reason = f"because {SCRIPT}"
    with Store(watched.folder / "cryptocast.duckdb", 60).write() as writer:
        writer.put_deployment(Deployment(0, NOW, "*", "1", "2", "force", reason, "{}"))
    assert watched.look(2) == ["version 1 was promoted by force, in place of 2"]
    assert watched.text == reason
    deploy(watched.folder, "2", "1")
    newest = "(SELECT max(id) FROM deployments)"
    change(watched.folder, f"UPDATE deployments SET action = 'rollback' WHERE id = {newest}")
    deploy(watched.folder, "1", None)
    assert watched.look(3) == ["version 2 is back, in place of 1", "version 1 was promoted"]
    assert watched.look(4) == []


def test_deployments_of_many_markets_are_one_message(watched: Watched) -> None:
    def deployed(*numbers: int) -> None:
        with Store(watched.folder / "cryptocast.duckdb", 60).write() as writer:
            for number in numbers:
                writer.put_deployment(
                    Deployment(
                        0,
                        NOW,
                        f"sim:SIM{number}/USD:5m",
                        str(number),
                        None,
                        "promote",
                        "better",
                        "{}",
                    )
                )

    deployed(7)
    assert watched.look(2) == ["version 7 was promoted for sim:SIM7/USD:5m"]
    deployed(*range(10, 110))
    assert watched.look(3) == ["100 versions were deployed"]
    assert watched.text == (
        "sim:SIM10/USD:5m 10, sim:SIM11/USD:5m 11, sim:SIM12/USD:5m 12, sim:SIM13/USD:5m 13, "
        "sim:SIM14/USD:5m 14 and 95 more"
    )
    assert watched.look(4) == []


def test_a_dead_source_is_told_once_and_when_it_is_back(watched: Watched) -> None:
    change(watched.folder, f"DELETE FROM candles WHERE epoch(open_time) >= {origin(1)}")
    kinds = {"alerts": ["source"], "name": "webhook", "url": "env:HOOK"}
    options = {"notify__receiver": [kinds]}
    assert watched.look(7, **options) == []  # 30 minutes old
    assert watched.look(8, **options) == ["no candles come from file"]
    assert watched.text == "BTC/EUR: none since 2024-06-03T00:05:00Z"
    assert watched.look(9, **options) == []
    change(
        watched.folder,
        f"INSERT INTO candles SELECT '{BTC.id}', to_timestamp({origin(9)}),"
        " 1, 1, 1, 1, 1, 'live', now()",
    )
    assert watched.look(10, **options) == ["candles come again from file"]
    assert watched.look(11, **options) == []


def test_credits_that_are_nearly_spent_are_told_and_when_there_are_some_again(
    watched: Watched,
) -> None:
    def spend(credits: int) -> None:
        with Store(watched.folder / "cryptocast.duckdb", 60).write() as writer:
            writer.add_credits("file", time.time(), 1, credits)

    spend(449)
    assert watched.look(2) == []
    spend(1)
    assert watched.look(3) == ["the credits of file are nearly spent"]
    assert watched.text == "450 of 500 this month"
    assert watched.look(4) == []
    assert watched.look(5, source__monthly_credits=4000) == ["there are credits of file again"]
    assert watched.text == "450 of 4,000 this month"
    with Store(watched.folder / "cryptocast.duckdb", 60).write() as writer:
        writer.put_refusal("file", time.time(), time.time())
    assert watched.look(6, source__monthly_credits=4000) == ["the credits of file are nearly spent"]
    assert watched.text == "450 of 4,000 this month; it said that its plan is used up"


def test_a_decline_is_told_and_a_recovery_but_nothing_between(watched: Watched) -> None:
    watched.put("monitor", verdict="watch", reason="a wobble")
    assert watched.look(2) == []
    watched.put("monitor", verdict="declined", reason=f"skill fell {SCRIPT}")
    assert watched.look(3) == ["the forecasts have declined"]
    assert watched.text == f"skill fell {SCRIPT}"
    for bar, verdict in enumerate(("declined", "watch", "unknown", "declined"), start=4):
        watched.put("monitor", verdict=verdict, reason="still")
        assert watched.look(bar) == []
    watched.put("monitor", verdict="healthy", reason="all is well")
    assert watched.look(8) == ["the forecasts are healthy again"]
    assert watched.look(9) == []


def test_missed_ticks_are_told_when_somebody_ticks_again(watched: Watched) -> None:
    assert watched.look(3) == []  # one was missed
    assert watched.look(7) == ["forecasts are made again"]
    assert watched.text == (
        "BTC/EUR: 4 were missed, from 2024-06-03T00:10:00Z to 2024-06-03T00:30:00Z"
    )
    assert watched.look(8) == []


def test_silence_is_told_by_whoever_looks_and_then_its_end(watched: Watched) -> None:
    assert watched.look(3, ticks=False) == []
    assert watched.look(4, ticks=False) == ["no forecasts are made"]
    assert watched.text == "BTC/EUR: none since 2024-06-03T00:05:00Z"
    assert watched.look(5, ticks=False) == []
    assert watched.look(6) == ["forecasts are made again"]
    assert watched.text == (
        "BTC/EUR: 4 were missed, from 2024-06-03T00:10:00Z to 2024-06-03T00:25:00Z"
    )
    assert watched.look(7) == []


def test_many_markets_make_one_alert(watched: Watched) -> None:
    symbols = ["BTC/EUR", "ETH/EUR", "SOL/EUR"]
    (watched.folder / "bundles" / "2").rename(watched.folder / "gone")
    assert watched.look(2, market__symbols=symbols) == ["a stand-in serves instead of production"]
    assert watched.text.startswith("BTC/EUR, ETH/EUR, SOL/EUR: bundle_missing")
    assert len(watched.hook.bodies[-1]["markets"]) == 3


def test_a_market_that_is_no_more_is_forgotten(watched: Watched) -> None:
    (watched.folder / "bundles" / "2").rename(watched.folder / "gone")
    watched.look(2, market__symbols=["BTC/EUR", "ETH/EUR"])
    (watched.folder / "gone").rename(watched.folder / "bundles" / "2")
    assert watched.look(3, market__symbols=["ETH/EUR"]) == ["production serves again"]
    assert watched.hook.bodies[-1]["markets"] == ["file:ETH/EUR:5m"]


def test_a_receiver_is_told_only_the_kinds_that_it_wants(watched: Watched) -> None:
    only = [{"name": "webhook", "url": "env:HOOK", "alerts": ["credits"]}]
    (watched.folder / "bundles" / "2").rename(watched.folder / "gone")
    assert watched.look(2, notify__receiver=only) == []


def test_a_dead_receiver_is_warned_of_ever_more_rarely_and_told_when_it_is_back(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = watched.folder / "logs" / "alerts.log"
    watched.options["notify.receiver"].append({"name": "file"})
    assert watched.look(2) == []
    now = time.time()
    watched.hook.status = 500
    (watched.folder / "bundles" / "2").rename(watched.folder / "gone")
    warned = []
    for bar in range(3, 24):
        now += INTERVAL
        monkeypatch.setattr(time, "time", lambda: now)  # noqa: B023 - read in the same turn
        warned += [(bar, warning) for warning in watched.send(bar)]
    told = "webhook did not take an alert: it answered HTTP 500"
    assert warned == [
        (3, told),
        (4, f"{told}; 2 times in a row"),
        (6, f"{told}; 3 times in a row"),
        (10, f"{told}; 4 times in a row"),
        (18, f"{told}; 5 times in a row"),
    ]
    assert log.read_text(encoding="utf-8").count("a stand-in serves") == 1
    watched.hook.status = 200
    now += 3600
    assert watched.look(24) == ["a stand-in serves instead of production"]
    assert watched.look(25) == []
    assert SECRET not in str(query(watched.folder, "SELECT detail FROM events"))


def test_what_ended_before_a_dead_receiver_came_back_is_no_news(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.hook.status = 500
    (watched.folder / "bundles" / "2").rename(watched.folder / "gone")
    assert watched.look(2) == []
    (watched.folder / "gone").rename(watched.folder / "bundles" / "2")
    watched.hook.status = 200
    assert watched.look(3) == []


@pytest.mark.parametrize("how", ["hang", "drip"])
def test_a_receiver_that_hangs_delays_a_tick_by_its_time_out_and_no_more(
    watched: Watched, how: str
) -> None:
    watched.hook.how = how
    (watched.folder / "bundles" / "2").rename(watched.folder / "gone")
    watched.send(2, notify__receiver=[{"name": "file"}])
    warnings = watched.send(2, ticks=False, notify__timeout_seconds=0.4)
    assert warnings == ["webhook did not take an alert: no answer within 0.4 s"]
    asked = watched.hook.asked
    assert watched.send(3, ticks=False) == []  # it is left alone
    assert watched.hook.asked == asked


def test_a_receiver_that_cannot_be_opened_is_a_warning(w: Path, hook: Hook) -> None:
    made = Watched(w, hook)
    made.options["notify.receiver"] = [{"name": "webhook", "url": "env:NOWHERE"}]
    assert made.send(1) == []  # there is nothing to send
    (w / "bundles" / "2").rename(w / "gone")
    assert made.send(2) == [
        "webhook did not take an alert: notify.receiver.url names env:NOWHERE, which is not set "
        "(export NOWHERE=... or put it into .env)"
    ]


def test_a_store_that_is_busy_is_a_warning(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cryptocast.errors import StoreError

    def busy(self: Store) -> None:
        raise StoreError("it is busy", hint="wait")

    with Workspace.open(watched.folder, environ={}, options=watched.options) as ws:
        monkeypatch.setattr(Store, "read", busy)
        assert send_alerts(ws) == ["no alerts were sent: it is busy (wait)"]


def test_of_two_processes_only_one_tells(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    (watched.folder / "bundles" / "2").rename(watched.folder / "gone")
    send = alerts.send
    seconds: list[list[str]] = []

    def another_meanwhile(ws: Workspace, outgoing: Any) -> Any:
        monkeypatch.setattr(alerts, "send", send)
        seconds.append(watched.look(2, ticks=False))
        return send(ws, outgoing)

    monkeypatch.setattr(alerts, "send", another_meanwhile)
    assert watched.look(2) == ["a stand-in serves instead of production"]
    assert seconds == [[]]
    assert watched.look(3) == []


def test_what_a_killed_process_had_claimed_is_told_after_a_while(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    (watched.folder / "bundles" / "2").rename(watched.folder / "gone")
    with monkeypatch.context() as patch:
        patch.setattr(alerts, "send", killed)
        with pytest.raises(KeyboardInterrupt):
            watched.look(2)
    assert watched.look(3) == []
    later = time.time() + 121
    monkeypatch.setattr(time, "time", lambda: later)
    assert watched.look(4) == ["a stand-in serves instead of production"]


def test_a_new_unit_is_told_once(watched: Watched) -> None:
    redenominate(watched.folder, 2, 0.1)
    assert watched.look(13) == ["forecasts are made again"]
    assert watched.look(14) == ["prices of BTC/EUR are taken for a new unit"]
    assert watched.text.startswith("BTC/EUR: the price moved / ")
    assert watched.hook.bodies[-1]["state"] == "news"
    assert watched.look(15) == []


def test_what_is_told_is_kept_in_the_events(watched: Watched) -> None:
    (watched.folder / "bundles" / "2").rename(watched.folder / "gone")
    watched.look(2)
    with Store(watched.folder / "cryptocast.duckdb", 60).read() as reader:
        newest = reader.events("alert")[-1]
        memory = recall(reader.events("alert"))["webhook"]
    assert newest.detail["outcome"] == "sent"
    assert newest.detail["alerts"] == [
        {
            "kind": "fallback",
            "state": "problem",
            "title": "a stand-in serves instead of production",
            "text": "BTC/EUR: bundle_missing, since 2024-06-03T00:10:00Z",
        }
    ]
    assert memory.known["fallback"] == {BTC.id: "on"}
    assert not memory.claimed


def test_every_kind_of_alert_has_its_condition() -> None:
    from cryptocast.workflows.watching.news import KINDS

    assert tuple(KINDS) == ALERTS


def test_pauses_grow_to_an_hour() -> None:
    assert [pause_seconds(n, 300) for n in (1, 2, 3, 4, 5, 99)] == [
        150, 450, 1050, 2250, 3450, 3450,
    ]  # fmt: skip
    assert not Memory().waits(0.0, 300)


def test_two_receivers_of_a_kind_are_told_apart(watched: Watched) -> None:
    again = {"name": "webhook", "url": "env:HOOK"}
    with Workspace.open(
        watched.folder, environ={}, options={"notify.receiver": [again, {"name": "file"}, again]}
    ) as ws:
        assert list(alerts.receivers_by_name(ws.settings.notify)) == [
            "webhook",
            "file",
            "webhook 2",
        ]
