"""serve-loop: it ticks on the clock's grid, outlives what may heal, and stops when it is told."""

from __future__ import annotations

import errno
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cryptocast.cli.serve_loop import stopped_by_signals
from cryptocast.clock import VirtualClock
from cryptocast.errors import ConfigError, SourceError, StateError, StoreError, UsageError
from cryptocast.values import iso, parse_time
from cryptocast.workflows import serve_loop as module
from cryptocast.workflows.serve_loop import Stop, serve_loop
from cryptocast.workflows.serving.housekeeping import Pulse
from cryptocast.workflows.serving.loop import BUGS_IN_A_ROW, LoopTick
from cryptocast.workflows.serving.tick import TickReport
from cryptocast.workspace import Workspace
from support.commands import HELD, NEXT, good, query, run, start_loaded
from support.loopback import Loopback
from support.replies import hang

BAR = 300
START = parse_time("2024-06-03T00:07:00Z")
ROOT = Path(__file__).parents[2]
SIM = {"CRYPTOCAST_SOURCE__NAME": "sim", "CRYPTOCAST_SOURCE__PATH": ""}
WAIT = {"CRYPTOCAST_STORE__WAIT_SECONDS": "600"}
SKEW = SourceError("this machine's clock is ahead", code="clock.skew", hint="set the clock")
BUSY = StoreError("the file is in use", code="store.busy", hint="wait")


class Wall:
    """A wall clock that is set, as `sets` says: when it shows the first, by the second."""

    virtual = False

    def __init__(self, now: float, sets: Sequence[tuple[float, float]] = ()) -> None:
        self.shows = now
        self.sets = list(sets)

    def now(self) -> float:
        return self.shows

    def sleep_until(self, moment: float) -> None:
        assert self.shows < moment <= self.shows + 30
        self.shows = moment
        if self.sets and moment >= self.sets[0][0]:
            self.shows += self.sets.pop(0)[1]


class Served(SimpleNamespace):
    """All that the loop looks at of a forecast."""

    origin: int


Outcome = Callable[[int], TickReport | Exception]


def at_once(origin: int) -> TickReport | Exception:
    return TickReport(True, (Served(origin=origin),))  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cryptocast.toml").write_text('[source]\nname = "sim"\n', encoding="utf-8")
    return tmp_path


@pytest.fixture
def loop(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[LoopTick]]:
    """Run the loop around ticks that end as they are told to, on a clock made by hand."""

    def looped(
        clock: Any, outcome: Outcome | Sequence[Exception | None] = at_once, ticks: int = 4
    ) -> list[LoopTick]:
        script = None if callable(outcome) else iter(outcome)

        def tick(ws: Workspace) -> TickReport:
            origin = ws.markets()[0].floor(ws.clock.now())
            came = (next(script) or at_once(origin)) if script else outcome(origin)  # type: ignore[operator]
            if isinstance(came, Exception):
                raise came
            return came

        monkeypatch.setattr(module, "tick", tick)
        with Workspace.open(folder, environ={}, clock=clock) as ws:
            turns = len(outcome) if not callable(outcome) else ticks
            return list(serve_loop(ws, Stop(), max_ticks=turns))

    return looped


def times(turns: Sequence[LoopTick]) -> list[str]:
    return [iso(turn.at)[11:19] for turn in turns]


# When it ticks.


def test_it_ticks_at_once_and_then_ten_seconds_after_each_close(
    loop: Callable[..., list[LoopTick]],
) -> None:
    turns = loop(Wall(START))
    assert times(turns) == ["00:07:00", "00:10:10", "00:15:10", "00:20:10"]
    assert [turn.next_at for turn in turns] == [*(turn.at for turn in turns[1:]), None]


def test_ticks_that_take_long_shift_and_drop_none(loop: Callable[..., list[LoopTick]]) -> None:
    clock, durations = Wall(START), iter((250, 299, 10, 0))

    def slow(origin: int) -> TickReport | Exception:
        clock.shows += next(durations)
        return at_once(origin)

    # The first ends at 00:11:10, after the next one was due.
    assert times(loop(clock, slow)) == ["00:07:00", "00:11:10", "00:16:09", "00:20:10"]


def test_a_clock_that_leaps_ahead_is_noticed_within_thirty_seconds(
    loop: Callable[..., list[LoopTick]],
) -> None:
    turns = loop(Wall(START, [(START + 60, 3600)]))
    assert times(turns) == ["00:07:00", "01:08:00", "01:10:10", "01:15:10"]


def test_a_clock_that_is_set_back_has_no_origin_ticked_twice(
    loop: Callable[..., list[LoopTick]],
) -> None:
    # 10 minutes back after the third tick, and right again 5 minutes later.
    wrong = parse_time("2024-06-03T00:16:00Z")
    turns = loop(Wall(START, [(wrong, -600), (wrong - 300, 600)]))
    assert times(turns) == ["00:07:00", "00:10:10", "00:15:10", "00:21:10"]


def test_what_failed_by_a_clock_that_was_ahead_is_ticked_when_its_time_comes(
    loop: Callable[..., list[LoopTick]],
) -> None:
    clock = Wall(START + 600, [(START + 900, -600)])
    ticked: list[str] = []

    def refused(origin: int) -> TickReport | Exception:
        ticked.append(iso(origin)[11:16])
        return SKEW if clock.sets else at_once(origin)

    turns = loop(clock, refused, ticks=6)
    assert ticked == ["00:15", "00:20", "00:10", "00:15", "00:20", "00:25"]
    assert times(turns)[2] == "00:12:10"


def test_a_delay_as_long_as_the_interval_is_refused(folder: Path) -> None:
    done = run("serve-loop", "-w", folder, "--delay", "300")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: a delay of 300 s is as long as the interval 5m "
        "(a few seconds are enough: --delay 10)\n"
    )


# What it survives, and what it tells of it.


def told(turns: Sequence[LoopTick]) -> list[tuple[str, ...]]:
    return [turn.messages for turn in turns]


def test_lasting_trouble_is_told_ever_more_rarely_and_its_end_once(
    loop: Callable[..., list[LoopTick]],
) -> None:
    turns = loop(Wall(START), [BUSY] * 9 + [None, None, BUSY, None])
    line = "the file is in use (wait)"
    assert told(turns) == [
        (line,),
        (f"{line}; for 2 ticks now",),
        (),
        (f"{line}; for 4 ticks now",),
        *[()] * 3,
        (f"{line}; for 8 ticks now",),
        (),
        ("healthy again after 9 ticks",),
        (),
        (line,),
        ("healthy again after 1 tick",),
    ]


def test_errors_that_take_turns_are_told_no_more_often(
    loop: Callable[..., list[LoopTick]],
) -> None:
    turns = loop(Wall(START), [BUSY, SKEW] * 4)
    assert [len(lines) for lines in told(turns)] == [1, 1, 1, 1, 0, 0, 1, 1]


def test_a_warning_of_every_tick_is_told_ever_more_rarely(
    loop: Callable[..., list[LoopTick]],
) -> None:
    def stale(origin: int) -> TickReport | Exception:
        bars = (origin - START) // BAR + 9
        forecasts = (Served(origin=origin),)
        return TickReport(True, forecasts, (f"BTC/EUR is {bars} bars old",))  # type: ignore[arg-type]

    turns = loop(Wall(START), stale, ticks=5)
    assert [len(lines) for lines in told(turns)] == [1, 1, 0, 1, 0]
    assert told(turns)[3] == ("BTC/EUR is 11 bars old; for 4 ticks now",)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BUSY, "store.busy"),
        (SKEW, "clock.skew"),
        (StateError("too few candles", code="state.few"), "state.few"),
        (OSError(errno.ENOSPC, "No space left on device"), "os.enospc"),
        (TimeoutError("slow"), "os.timeouterror"),
        (ZeroDivisionError("division by zero"), "bug.ZeroDivisionError"),
        (MemoryError(), "bug.MemoryError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_it_goes_on_after_what_a_later_tick_may_heal(
    loop: Callable[..., list[LoopTick]], error: Exception, code: str
) -> None:
    first, second = loop(Wall(START), [error, None])
    assert first.error is not None
    assert first.error.code == code
    assert (first.report, second.error) == (None, None)
    assert second.messages == ("healthy again after 1 tick",)


def test_what_no_later_tick_heals_ends_it(loop: Callable[..., list[LoopTick]]) -> None:
    for error in (ConfigError("no such key"), UsageError("not like this")):
        with pytest.raises(type(error)):
            loop(Wall(START), [None, error, None])


def test_a_bug_is_logged_once_and_the_loop_goes_on(
    loop: Callable[..., list[LoopTick]], folder: Path
) -> None:
    bug = ZeroDivisionError("division by zero")
    turns = loop(Wall(START), [bug, bug, bug, None])
    assert told(turns)[0] == (
        "ZeroDivisionError: division by zero (a bug; its traceback is in logs/serve-loop.log)",
    )
    log = (folder / "logs" / "serve-loop.log").read_text(encoding="utf-8")
    assert log.startswith("2024-06-03T00:07:00Z Traceback (most recent call last):\n")
    assert log.count("ZeroDivisionError: division by zero") == 1


def test_the_same_bug_for_an_hour_ends_it(loop: Callable[..., list[LoopTick]]) -> None:
    bug, other = ZeroDivisionError("division by zero"), KeyError("other")
    patient = [*[bug] * (BUGS_IN_A_ROW - 1), other, *[bug] * (BUGS_IN_A_ROW - 1), None]
    assert len(loop(Wall(START), patient)) == len(patient)
    with pytest.raises(ZeroDivisionError):
        loop(Wall(START), [bug] * BUGS_IN_A_ROW)


def test_that_another_one_serves_is_told_once(loop: Callable[..., list[LoopTick]]) -> None:
    turns = loop(Wall(START), lambda origin: TickReport(False, at_once(origin).forecasts))  # type: ignore[union-attr]
    assert [len(lines) for lines in told(turns)] == [0, 1, 0, 0]
    assert told(turns)[1] == (
        "another process serves this workspace too; each origin is served once",
    )


# Its signs of life.


def health(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "logs" / "health.json").read_text(encoding="utf-8")))


def test_the_health_file_tells_of_the_last_tick(
    loop: Callable[..., list[LoopTick]], folder: Path
) -> None:
    seen: list[dict[str, Any]] = []

    def looking(origin: int) -> TickReport | Exception:
        seen.append(health(folder))
        return BUSY if len(seen) == 2 else at_once(origin)

    loop(Wall(START), looking, ticks=3)
    base = {"pid": os.getpid(), "started_at": "2024-06-03T00:07:00Z"}
    assert seen[0] == base | {"state": "starting", "updated_at": "2024-06-03T00:07:00Z"}
    assert seen[1] == base | {
        "state": "running",
        "last_tick_at": "2024-06-03T00:07:00Z",
        "origin": "2024-06-03T00:05:00Z",
        "status": "served",
        "error_code": None,
        "consecutive_failures": 0,
        "ticks": 1,
        "failed": 0,
        "next_tick_at": "2024-06-03T00:10:10Z",
        "updated_at": "2024-06-03T00:07:00Z",
    }
    failed = {"status": "failed", "error_code": "store.busy", "consecutive_failures": 1}
    assert seen[2].items() >= (failed | {"ticks": 2, "failed": 1}).items()
    assert health(folder).items() >= {"state": "stopped", "ticks": 3, "next_tick_at": None}.items()
    assert [p.name for p in (folder / "logs").iterdir()] == ["health.json"]


def test_a_health_file_of_another_loop_is_left_alone_at_the_end(
    loop: Callable[..., list[LoopTick]], folder: Path
) -> None:
    def another_writes(origin: int) -> TickReport | Exception:
        assert not half.exists()
        (folder / "logs" / "health.json").write_text('{"pid": 1}', encoding="utf-8")
        return at_once(origin)

    half = folder / "logs" / ".health.json.1"
    half.parent.mkdir()
    half.write_text("what a killed one left")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pulse, "note", lambda *_, **__: None)
        loop(Wall(START), another_writes, ticks=1)
    assert health(folder) == {"pid": 1}


def test_a_health_file_that_cannot_be_written_stops_nothing(
    loop: Callable[..., list[LoopTick]], folder: Path
) -> None:
    (folder / "logs").write_text("no folder")
    assert len(loop(Wall(START), [None, ZeroDivisionError(), None])) == 3


def test_a_virtual_clock_tells_no_watchdog(
    loop: Callable[..., list[LoopTick]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(folder / "nobody"))
    loop(VirtualClock(START))  # a datagram to nobody would raise nothing, but be heard by systemd


def test_a_virtual_loop_says_that_it_is_one_and_leaves_the_file_of_a_living_loop_alone(
    loop: Callable[..., list[LoopTick]], folder: Path
) -> None:
    file = folder / "logs" / "health.json"
    loop(VirtualClock(START))
    health = json.loads(file.read_bytes())
    assert (health["virtual"], health["state"], health["ticks"]) == (True, "stopped", 4)
    assert health["last_tick_at"] == "2024-06-03T00:20:10Z"
    living = json.dumps({"state": "running", "next_tick_at": iso(round(time.time()) + 250)})
    file.write_text(living, encoding="utf-8")
    loop(VirtualClock(START))
    assert file.read_text(encoding="utf-8") == living


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_when_it_asks_to_be(
    loop: Callable[..., list[LoopTick]],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    abstract: bool,
) -> None:
    name = f"@cryptocast-{os.getpid()}" if abstract else os.path.relpath(folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name.replace("@", "\0"))
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        loop(Wall(parse_time("2024-06-03T00:09:50Z")), ticks=2)
        heard = [systemd.recv(100) for _ in range(5)]
    assert heard == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"WATCHDOG=1", b"STOPPING=1"]


# In a workspace.


def test_it_leaps_from_tick_to_tick_on_the_virtual_clock(workspace: Path) -> None:
    options = ("--as-of", "2024-06-03T00:07:00Z", "--max-ticks", "4", "--json")
    done = run("serve-loop", "-w", workspace, *options)
    assert done.code == 0
    *ticks, _ = [json.loads(line)["data"] for line in done.out.splitlines()]
    assert [t["at"] for t in ticks] == [
        "2024-06-03T00:07:00Z",
        "2024-06-03T00:10:10Z",
        "2024-06-03T00:15:10Z",
        "2024-06-03T00:20:10Z",
    ]
    assert [t["forecasts"][0]["origin"] for t in ticks] == [
        f"2024-06-03T00:{minute}:00Z" for minute in ("05", "10", "15", "20")
    ]
    assert [t["forecasts"][0]["issued_at"] for t in ticks] == [t["at"] for t in ticks]
    assert {t["forecasts"][0]["stale_bars"] for t in ticks} == {0}
    assert query(workspace, "SELECT count(*) FROM forecasts WHERE served") == [(4 * 24,)]


def test_the_delay_after_each_close_can_be_chosen(workspace: Path) -> None:
    options = ("--as-of", NEXT, "--max-ticks", "2", "--delay", "45", "--json")
    done = run("serve-loop", "-w", workspace, *options)
    assert json.loads(done.out.splitlines()[1])["data"]["at"] == "2024-06-03T00:10:45Z"


def test_a_tick_that_fails_is_told_and_the_next_one_tries_again(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_MARKET__SYMBOLS", '["sim:BTC/EUR:5m"]')
    from cryptocast.sources import sim

    pages, asked = sim.Source.pages, []

    def down_once(self: sim.Source, *arguments: Any, **named: Any) -> object:
        asked.append(arguments)
        if len(asked) == 1:
            raise SourceError("sim is down", hint="wait")
        return pages(self, *arguments, **named)

    monkeypatch.setattr(sim.Source, "pages", down_once)
    done = run("serve-loop", "-w", workspace, "--as-of", NEXT, "--max-ticks", "2", "--json")
    first, second, last = [json.loads(line)["data"] for line in done.out.splitlines()]
    assert first == {"at": NEXT, "error": "source.failed"}
    assert second["forecasts"][0]["market"] == "sim:BTC/EUR:5m"
    assert last == {"summary": {"ticks": 2, "failed": 1}}
    assert done.code == 0
    assert done.err.splitlines()[0] == f"warning: {NEXT} sim is down (wait)"
    assert "warning: 2024-06-03T00:10:10Z healthy again after 1 tick" in done.err


def test_for_a_person_it_prints_a_line_a_tick(workspace: Path) -> None:
    done = run("serve-loop", "-w", workspace, "--as-of", NEXT, "--max-ticks", "2")
    first, second, last = done.out.splitlines()
    assert first.startswith(f"{NEXT}  BTC/EUR  ")
    assert first.endswith("version 2")
    assert second.startswith("2024-06-03T00:10:00Z  BTC/EUR  ")
    assert last == "stopped after 2 ticks, 0 failed"


def test_what_is_promoted_serves_from_the_next_tick_on(workspace: Path) -> None:
    with Workspace.open(workspace, clock=VirtualClock(START)) as ws:
        turns = serve_loop(ws, Stop(), max_ticks=3)
        versions = [version_of(next(turns))]
        forced = ("--force", "--reason", "better", "--as-of", NEXT)
        good("promote", "1", "-w", workspace, *forced)
        versions += [version_of(turn) for turn in turns]
    assert versions == ["2", "1", "1"]


def version_of(turn: LoopTick) -> str:
    assert turn.report is not None
    return turn.report.forecasts[0].model.version


def test_output_into_a_full_disk_stops_no_forecast(workspace: Path) -> None:
    options = ("--as-of", NEXT, "--max-ticks", "2")
    with Path("/dev/full").open("wb") as full:
        subprocess.run(
            [sys.executable, "-m", "cryptocast", "serve-loop", "-w", str(workspace), *options],
            stdout=full,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=600,
        )
    assert query(workspace, "SELECT count(*) FROM forecasts WHERE step = 1") == [(2,)]


def test_two_loops_serve_each_origin_once(workspace: Path) -> None:
    options = ("serve-loop", "-w", workspace, "--as-of", NEXT, "--max-ticks", "6", "--json")
    loops = [start_loaded(*options) for _ in range(2)]
    try:
        outs = [loop.communicate(timeout=600)[0].splitlines() for loop in loops]
    finally:
        for child in loops:
            child.kill()
    assert [child.returncode for child in loops] == [0, 0]
    ticks = [[json.loads(line)["data"] for line in out[:-1]] for out in outs]
    assert [sum(pair["new"] for pair in pairs) for pairs in zip(*ticks, strict=True)] == [1] * 6
    assert query(workspace, "SELECT count(*) FROM forecasts WHERE served AND step = 1") == [(6,)]


# How it stops.


@pytest.fixture(params=["SIGTERM", "SIGINT", "SIGHUP"])
def told_to_stop(request: pytest.FixtureRequest) -> signal.Signals:
    return signal.Signals[request.param]


def stops(child: subprocess.Popen[str], name: signal.Signals) -> tuple[str, str]:
    """Tell a loop to stop; what it says shows whether it ended its tick before."""
    child.send_signal(name)
    out, err = child.communicate(timeout=600)
    assert child.returncode == 0, err
    return out, err


def until(reached: Callable[[], object]) -> None:
    for _ in range(30_000):
        if reached():
            return
        time.sleep(0.02)
    raise AssertionError("it never came to that")


def in_a_tick(workspace: Path) -> bool:
    return (workspace / "logs" / "health.json").exists()


STOPPED = '{"command": "serve-loop", "ok": true, "data": {"summary": {"ticks": 0, "failed": 0}}}\n'


def test_it_stops_while_a_source_does_not_answer(
    workspace: Path, told_to_stop: signal.Signals
) -> None:
    with Loopback({}) as server:
        server.faults.extend([hang()] * 20)
        environ = {
            "CRYPTOCAST_SOURCE__NAME": "bitvavo",
            "CRYPTOCAST_SOURCE__BASE_URL": server.base_url("bitvavo"),
            "CRYPTOCAST_MARKET__SYMBOLS": '["BTC/EUR"]',
        }
        child = start_loaded("serve-loop", "-w", workspace, "--json", environ=environ)
        try:
            until(lambda: server.requests)
            assert stops(child, told_to_stop) == (STOPPED, "")
        finally:
            child.kill()
    assert health(workspace)["state"] == "stopped"
    good("forecast", "--once", "-w", workspace, "--as-of", NEXT)


def test_it_stops_while_another_process_holds_the_database(workspace: Path) -> None:
    with start_loaded(workspace / "cryptocast.duckdb", script=HELD) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        child = start_loaded("serve-loop", "-w", workspace, "--json", environ=SIM | WAIT)
        try:
            until(lambda: in_a_tick(workspace))
            time.sleep(0.2)
            assert stops(child, signal.SIGTERM) == (STOPPED, "")
        finally:
            for one in (child, holder):
                one.kill()
                one.communicate()


# A call into a library hears no signal: Python runs the handler when it is over.
DEAF = """
import hashlib, sys
from cryptocast import cli
from cryptocast.workflows import serve_loop
serve_loop.tick = lambda ws: hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
sys.exit(cli.run(sys.argv[1:]))
"""


def test_it_stops_even_where_a_library_hears_no_signal(workspace: Path) -> None:
    child = start_loaded("serve-loop", "-w", workspace, "--json", script=DEAF, environ=SIM)
    try:
        until(lambda: in_a_tick(workspace))
        time.sleep(0.1)
        assert stops(child, signal.SIGTERM) == (STOPPED, "")
    finally:
        child.kill()
        child.communicate()


def test_a_signal_between_ticks_ends_it_before_the_next(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Stop()
    with Workspace.open(workspace, clock=VirtualClock(START)) as ws:
        turns = serve_loop(ws, stop)
        next(turns)
        stop.ask()
        assert list(turns) == []


def test_a_second_signal_breaks_off_no_rolling_back() -> None:
    stop, rolled_back = Stop(), []

    def tick() -> None:
        with stop.interruptible():
            try:
                stop.ask()
            finally:
                stop.ask()
                rolled_back.append(True)

    with pytest.raises(KeyboardInterrupt):
        tick()
    assert rolled_back == [True]


def test_an_interrupt_that_nobody_asked_for_is_none_of_the_loops(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(ws: Workspace) -> TickReport:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "tick", interrupted)
    with (
        Workspace.open(folder, environ={}, clock=Wall(START)) as ws,
        pytest.raises(KeyboardInterrupt),
    ):
        list(serve_loop(ws, Stop()))


def test_what_it_changed_of_the_process_is_put_back() -> None:
    with stopped_by_signals(lambda: None):
        pass
    assert signal.set_wakeup_fd(-1) == -1


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ends = pty.openpty()
    yield ends
    for end in ends:
        os.close(end)


def test_on_a_terminal_it_shows_one_screen_with_a_countdown(
    workspace: Path, terminal: tuple[int, int]
) -> None:
    ours, theirs = terminal
    command = [sys.executable, "-m", "cryptocast", "serve-loop", "-w", str(workspace)]
    environ = {**os.environ, **SIM, "TERM": "xterm", "COLUMNS": "100", "LINES": "24"}
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, env=environ) as child:
        shown = ""
        try:
            for _ in range(30_000):
                if select.select([ours], [], [], 0.02)[0]:
                    shown += os.read(ours, 65536).decode()
                if "next tick" in shown:
                    break
            child.send_signal(signal.SIGINT)
            assert child.wait(timeout=600) == 0
            shown += os.read(ours, 65536).decode()
        finally:
            child.kill()
    assert "a tick is running" in shown
    assert "BTC/EUR" in shown
    assert shown.endswith("stopped after 1 tick, 0 failed\r\n")


# For long.


def test_a_long_run_and_kills_lose_nothing(workspace: Path) -> None:
    """The small sister of `make soak`."""
    script = str(ROOT / "tests" / "benchmarks" / "soak.py")
    options = ("--ticks", "24", "--kills", "2", "--workspace", str(workspace))
    done = subprocess.run(
        [sys.executable, script, *options], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert all(line.startswith("ok   ") for line in lines)
    assert "ok   kills survived: 2 of 2" in lines
    assert "ok   duplicates: 0" in lines
