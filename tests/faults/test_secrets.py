"""The key is in no file, no output, no log and no URL, whatever fails."""

from __future__ import annotations

import base64
import logging
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

import duckdb
import pytest

from cryptocast.metering import Budget
from cryptocast.values import iso
from faults.cases import FAULTS, Fault, heal, lasting
from faults.world import World, calls_of, world
from support import dialects
from support.commands import AS_OF, INTERVAL, NOW, Done, candles, process, run
from support.loopback import Loopback, Reply, as_json, redirect

# With characters that a URL, a form or a regular expression would write in another way.
KEY = "s3cret/+key=%41&4f1d9c.*"
SHAPES = {
    KEY,
    quote(KEY, safe=""),
    quote(KEY),
    quote_plus(KEY),
    base64.b64encode(KEY.encode()).decode(),
    KEY.split("/")[1],  # most of it: what a cut or a split would leave
}
TELLTALES = {
    f"{status} that repeats the key": lasting(as_json({"error": f"your key {KEY}"}, status), "")
    for status in (200, 400, 401, 403, 404, 429, 500)
}
TELLTALES["HTML that repeats the key"] = lasting(Reply(200, f"<p>{KEY}</p>".encode()), "")
TELLTALES["a header that repeats the key"] = lasting(
    Reply(200, b"[]", {"X-RateLimit-Key": KEY}), ""
)
ALL_FAULTS: dict[str, Fault] = TELLTALES | {
    name: fault
    for name, fault in FAULTS.items()
    if "coincap" not in fault.without and fault.code_of("coincap")
}


@dataclass
class Watched:
    """A workspace with the key in its `.env`, and all that commands have said in it."""

    spot: World
    said: list[str] = field(default_factory=list)

    def run(self, *arguments: str | Path) -> Done:
        return self.heard(run(*arguments, "-w", self.spot.folder))

    def heard(self, done: Done) -> Done:
        self.said += [done.out, done.err]
        return done


@pytest.fixture
def recorded() -> Iterator[list[str]]:
    """Every line that anything logs, down to the bytes of connections."""
    lines: list[str] = []
    handler = logging.Handler(logging.DEBUG)
    handler.emit = lambda record: lines.append(  # type: ignore[method-assign]
        handler.format(record)
    )
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: list[str]
) -> Iterator[Watched]:
    """One that is still to be made."""
    monkeypatch.setattr(dialects, "KEY", KEY)
    folder = tmp_path / "w"
    folder.mkdir()
    (folder / ".env").write_text(f"COINCAP_API_KEY='{KEY}'\n", encoding="utf-8")
    with world("coincap", folder) as spot:
        spot.patch.delenv("COINCAP_API_KEY")
        spot.patch.setenv("CRYPTOCAST_SOURCE__MONTHLY_CREDITS", "1000000")
        spot.patch.setenv("CRYPTOCAST_DATA__DAYS", "2")
        calls_of(288, spot.patch)
        spot.server.candles[spot.symbol] = candles()
        spot.server.now = NOW + 100
        yield Watched(spot)


def texts(folder: Path) -> Iterator[tuple[str, str]]:
    """All that a workspace holds, by file; databases also row by row, as they may compress."""
    for file in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != ".env"):
        yield str(file), file.read_bytes().decode("latin-1")
        if file.suffix == ".duckdb":
            with duckdb.connect(str(file), read_only=True) as connection:
                names = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
                for (name,) in names:
                    rows = connection.execute(f"SELECT t::VARCHAR FROM {name} AS t").fetchall()
                    yield f"{file}: {name}", "\n".join(row for (row,) in rows)
        elif file.suffix == ".db":
            with sqlite3.connect(file) as lite:
                yield f"{file}: rows", "\n".join(lite.iterdump())
            lite.close()


def tells(text: str) -> set[str]:
    return {shape for shape in SHAPES if shape in text}


def mend(spot: World) -> None:
    """End all faults, and the day in which nothing is asked for after a refusal."""
    heal(spot)
    with spot.store.read() as reader:
        refused = reader.credits(["coincap"], time.time())["coincap"].refused_at
    if refused is not None:
        Budget(spot.store, 1_000_000).lift("coincap")


def test_the_key_is_nowhere_after_a_run_that_fails_in_every_way(
    watched: Watched, recorded: list[str]
) -> None:
    spot = watched.spot
    options = ("--source", "coincap", "--symbol", spot.symbol, "--trials", "1")
    done = watched.run("init", *options, "--as-of", AS_OF)
    assert done.code == 0, done.err
    for bar, (name, fault) in enumerate(ALL_FAULTS.items(), start=1):
        moment = iso(NOW + bar * INTERVAL)
        # What is said without an option is the last line of what --verbose says.
        for options in (("--json",), ("--verbose",)):
            fault.prepare(spot, page=1)
            spot.server.now = NOW + bar * INTERVAL + 100
            done = watched.run("fetch", "--as-of", moment, *options)
            # A page that repeats for ever is a good one where one is all.
            assert done.code in (2, 4) or name == "a page that repeats for ever", done.err
            mend(spot)
        fault.prepare(spot, page=1)
        done = watched.run("forecast", "--once", "--as-of", moment, "--verbose")
        assert done.code == 0, done.err
        mend(spot)
    moment = iso(NOW + (bar + 1) * INTERVAL)
    for command in ("doctor", "status", "models", "export"):
        what = ("candles", "--out", spot.folder / "candles.csv") if command == "export" else ()
        watched.run(command, *what, "--as-of", moment)
    spot.server.faults.extend([as_json({"error": KEY}, 500)] * 9)
    options = ("fetch", "-w", spot.folder, "--as-of", moment, "--start", iso(NOW), "--verbose")
    watched.heard(process(*options))

    assert [line for line in watched.said + recorded if tells(line)] == []
    assert [file for file, text in texts(spot.folder) if tells(text)] == []
    assert tells((spot.folder / ".env").read_text(encoding="utf-8"))  # what is looked for is seen
    assert spot.server.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    for request in spot.server.requests:
        assert not tells(request.path + str(request.query))
        others = {k: v for k, v in request.headers.items() if k != "authorization"}
        assert not tells(str(others))


def test_another_host_never_sees_the_key(watched: Watched, recorded: list[str]) -> None:
    spot = watched.spot
    (spot.folder / "cryptocast.toml").write_text("", encoding="utf-8")
    moment = iso(NOW + INTERVAL)
    for host in ("localhost", "127.0.0.1"):  # another name, and another port alone
        with Loopback({}) as other:
            spot.server.faults.append(
                redirect(f"{other.base_url('coincap', host)}/ta/x/candlesticks")
            )
            done = watched.run("fetch", "--as-of", moment, "--verbose")
            assert "source.bad_key" in done.err or "does not accept the key" in done.err
            (request,) = other.requests
            assert not tells(str(request))
    assert [line for line in watched.said + recorded if tells(line)] == []


@pytest.mark.parametrize("key", [f"{KEY} {KEY}", f"{KEY}é", f"{KEY}\n{KEY}"])
@pytest.mark.parametrize("options", [(), ("--json",), ("--verbose",)], ids=str)
def test_what_can_be_no_key_is_not_told_either(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recorded: list[str],
    key: str,
    options: tuple[str, ...],
) -> None:
    (tmp_path / "cryptocast.toml").write_text("", encoding="utf-8")
    with world("coincap", tmp_path) as spot:
        spot.patch.setenv("COINCAP_API_KEY", key)
        done = run("fetch", "-w", tmp_path, "--as-of", AS_OF, *options)
        assert done.code == 4
        assert spot.server.requests == []
    said = [done.out, done.err, *recorded, *(text for _, text in texts(tmp_path))]
    assert [text for text in said if tells(text)] == []
