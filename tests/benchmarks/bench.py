"""`make bench`: what cryptocast promises to take, measured in one run. Exits 1 over a budget.

Every row is a ratio to something that was measured beside it: a slow or busy machine slows both.
With BENCH_SMOKE=1 all is small: it shows that each row works, and neither judges nor records.
Nothing here imports more than the standard library: what is measured runs in processes of
its own, and the memory of a child is told apart from ours only while ours is the smaller.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import workers
from candles import kept
from processes import Summary, Usage, Worker, interleaved, once, run
from record import record
from rows import TARGETS, Row, compare, grows, markdown, sized, table, tell, timed
from sizes import SMOKE, size

HERE = Path(__file__).resolve().parent
PYTHON = sys.executable
START = "2024-06-08T00:00:00Z"  # the end of the newest week that weeks.py makes
ROUNDS, WEEKS = size(9, 1), size(6, 1)
TRIALS, SEARCHED, ORIGINS = size(10, 1), size(20, 1), size(10_000, 500)
YEAR, HORIZON, LEVELS = size(105_120, 2_000), 24, 19  # of forecasts, and of each
# Each limit is a ratio to what is measured beside it; results/speed.md has the last run.
INIT, TICK, SPEED, MEMORY = 7.0, {"json": 2.0, "table": 2.1}, 10.0, 1.6
GROWTH, YEAR_SIZE, MANY, MANY_MEMORY, REPLAY = 1.3, 0.65, 4.0, 3.8, 20.0
GROWN = {
    "markets": size((1, 10, 100, 500, 2_000, 5_000), (1, 10)),
    "candles": size((10_000, 100_000, 1_000_000, 10_000_000), (1_000, 10_000)),
    "ledger": size((288, 8_640, 105_120), (288, 576)),  # a day, a month and a year of sets
}
EXPONENT = 1.1
THOUSANDS, TENFOLD, TENFOLD_MEMORY = size((500, 5_000), (1, 10)), 7.0, 500  # MiB
SHARED = size(100, 4)  # markets that the workers of an engine share
HELP, SEARCH, EVALUATE = 3.0, 10.0, 3.0
PATHS, TEN_COINS, SIMULATE = 2.0, 10.0, 1.5
HEAVY = PYTHON, "-c", "import mlflow, lightning, torch"
PIPELINE, FLOOR = "importing mlflow, lightning, torch", "the floor process"


class Bench:
    """The parts of the benchmark, in one temporary folder."""

    def __init__(self, folder: Path, peer_python: str, threads: int) -> None:
        self.folder = folder
        self.peer_python = peer_python
        self.threads = threads
        self.raw: dict[str, Any] = {}
        self.begun: Summary | None = None

    def init(self) -> Iterator[Row]:
        """`init` on a week of candles, as a whole process."""
        self._workspace()
        assert self.begun is not None
        what = f"init, 2,016 bars, {TRIALS} trials"
        yield timed(what, self.begun, PIPELINE, self._imports(), INIT)

    def forecast(self) -> Iterator[Row]:
        """`forecast --once` against the floor, and against the import of a training pipeline."""
        workspace, card_file = self._serving("forecast")
        with self._ledgers(workspace) as ledgers:
            ledgers.ask(do="rows")
        floor = self._floor(workspace, card_file)
        found = self._measure(
            "forecast",
            {
                "floor": lambda _: run(floor, self.folder),
                "table": lambda i: self._tick(workspace, 2 * i + 1),
                "json": lambda i: self._tick(workspace, 2 * i + 2, "--json"),
                "pipeline": lambda _: run(HEAVY, self.folder),
            },
        )
        for name, limit in TICK.items():
            mine, what = found[name], f"forecast --once ({name})"
            yield timed(what, mine, FLOOR, found["floor"], limit)
            faster = found["pipeline"].times(mine)
            against = f"the speed of {PIPELINE} {found['pipeline']}"
            yield Row(f"{what}: speed", f"{faster:.1f} x", against, faster, SPEED, at_least=True)
            held, least = mine.mebibytes, found["floor"].mebibytes
            yield sized(f"{what}: peak memory", "MiB", held, FLOOR, least, MEMORY)

    def serving(self) -> Iterator[Row]:
        """Ticks beside a year's ledger, of many markets, and a replay, imports aside."""
        (self.folder / "serving").mkdir()
        workspace, card_file = self._serving("serving/first")
        floor = self._floor(workspace, card_file)
        with self._ledgers(workspace) as ledgers:

            def taken(what: str) -> Callable[[int], Usage]:
                return lambda _: Usage(ledgers.ask(do=what)["found"], 0.0, "")

            ledgers.ask(do="year")
            ticks = self._measure("year", {w: taken(w) for w in ("tick_empty", "tick_year")})
            megabytes = ledgers.ask(do="year_bytes")["found"] / 1e6
            ledgers.ask(do="spread")
        whole = self._measure(
            "whole",
            {
                name: lambda i, name=name: self._tick(workspace.with_name(name), 100 + i)  # type: ignore[misc]  # a bound default
                for name in ("empty", "year")
            },
        )
        with self._ledgers(workspace) as ledgers:
            beside = {"floor": lambda _: run(floor, self.folder)}
            many = self._measure("many", {**beside, "many": taken("many")})
            mebibytes = ledgers.ask(do="peak_mebibytes")["found"]
            again = self._measure("replay", {**beside, "replay": taken("replay")})
        what = "forecast --once beside a year's ledger"
        yield timed(what, whole["year"], "beside none", whole["empty"], GROWTH)
        inside = ticks["tick_year"].times(ticks["tick_empty"])
        tell(f"  the tick alone, without its process: {inside:.2f} x, {ticks['tick_year']}")
        raw = YEAR * HORIZON * LEVELS * 8 / 1e6
        yield sized("a year's ledger: file", "MB", megabytes, "its prices", raw, YEAR_SIZE)
        what = f"a tick of {size(500, 10)} markets"
        yield timed(what, many["many"], FLOOR, many["floor"], MANY)
        least = many["floor"].mebibytes
        yield sized(f"{what}: peak memory", "MiB", mebibytes, FLOOR, least, MANY_MEMORY)
        what = f"replay of {size(2_016, 48):,} origins"
        yield timed(what, again["replay"], FLOOR, again["floor"], REPLAY)

    def futures(self) -> Iterator[Row]:
        """Whole paths against as many normal numbers, and `simulate` against a tick."""
        with Worker((PYTHON, str(HERE / "walks.py")), self.folder, self.threads) as walks:

            def taken(what: str) -> Callable[[int], Usage]:
                return lambda _: Usage(walks.ask(do=what)["found"], 0.0, "")

            found = self._measure("futures", {w: taken(w) for w in ("normal", "paths", "ten")})
        what = "1,000 paths of 288 steps, with a forecast's quantiles"
        yield timed(what, found["paths"], "as many normal numbers", found["normal"], PATHS)
        yield timed("those of ten coins", found["ten"], "one coin's", found["paths"], TEN_COINS)
        workspace, _ = self._serving("futures")
        where = "-w", str(workspace), "--as-of", START, "--json"
        simulate = PYTHON, "-m", "cryptocast", "simulate", *where
        whole = self._measure(
            "simulate",
            {
                "tick": lambda i: self._tick(workspace, i + 1, "--json"),
                "simulate": lambda _: run(simulate, self.folder),
            },
        )
        yield timed("simulate --json", whole["simulate"], "a tick", whole["tick"], SIMULATE)

    def growth(self) -> Iterator[Row]:
        """How a tick's time and memory grow: CPU time of whole processes with the candles there."""
        (self.folder / "growth").mkdir()
        workspace, _ = self._serving("growth/first")
        for what, counts in GROWN.items():
            for count in counts:
                with self._ledgers(workspace) as ledgers:
                    ledgers.ask(do=f"grow_{what}", count=count)
            grown = {count: workspace.with_name(f"{what}{count}") for count in counts}
            ticks = {str(count): self._next_tick(folder) for count, folder in grown.items()}
            by_count = interleaved(ticks, size(3, 1))
            found = list(by_count.values())
            for count, ticked in by_count.items():
                tell(f"  {int(count):,} {what}: {ticked} of CPU, {ticked.mebibytes:.0f} MiB")
            self.raw[f"growth {what}"] = [dataclasses.asdict(summary) for summary in found]
            yield from grows(f"a tick with {what}", counts, found, EXPONENT)
            if what == "markets":
                yield from self._thousands(by_count)
            for folder in grown.values():
                shutil.rmtree(folder)

    def _thousands(self, ticks: dict[str, Summary]) -> Iterator[Row]:
        """The most markets of all against a tenth of them."""
        few, many = THOUSANDS
        least, most = ticks[str(few)], ticks[str(many)]
        what = f"a tick of {many:,} markets"
        yield timed(f"{what}: CPU", most, f"one of {few:,}", least, TENFOLD)
        held = most.mebibytes / TENFOLD_MEMORY
        yield Row(
            f"{what}: peak memory", f"{most.mebibytes:.0f} MiB", f"{TENFOLD_MEMORY} MiB", held, 1.0
        )

    def _next_tick(self, workspace: Path) -> Callable[[int], Usage]:
        """Return what makes a tick at the first bars after `START`, timed by its CPU."""

        def tick(number: int) -> Usage:
            moment = f"{START[:11]}00:{5 * (number + 1):02d}:00Z"
            command = PYTHON, "-m", "cryptocast", "forecast", "--once", "--no-fetch", "--quiet"
            usage = run((*command, "-w", str(workspace), "--as-of", moment), self.folder)
            return dataclasses.replace(usage, seconds=usage.cpu)

        return tick

    def engines(self) -> Iterator[Row]:
        """What the workers of an engine save."""
        (self.folder / "engines").mkdir()
        workspace, _ = self._serving("engines/first")
        with self._ledgers(workspace) as ledgers:
            ledgers.ask(do="grow_markets", count=SHARED)
        many = workspace.with_name(f"markets{SHARED}")
        yield from workers.rows(many, workspace, f"{START[:11]}00:05:00Z", SEARCHED, SHARED)

    def help(self) -> Iterator[Row]:
        """`--help` against the import of what it is written with."""
        words = PYTHON, "-m", "cryptocast", "--help"
        least = PYTHON, "-c", "import typer, rich"
        found = self._measure(
            "help",
            {
                "least": lambda _: run(least, self.folder),
                "help": lambda _: run(words, self.folder),
            },
        )
        yield timed("--help", found["help"], "importing typer, rich", found["least"], HELP)

    def candles(self) -> Iterator[Row]:
        """Candles into the store and out of it."""
        folder = self.folder / "candles"
        folder.mkdir()
        yield from kept(folder, self.threads, lambda actions: self._measure("candles", actions))

    def learning(self) -> Iterator[Row]:
        """A search on a week and an evaluation of five, as whole processes."""
        workspace, candles = self.folder / "learning", self.folder / "learning.parquet"
        run((PYTHON, str(HERE / "weeks.py"), str(candles), "49"), self.folder)
        cryptocast = PYTHON, "-m", "cryptocast"
        where = "-w", str(workspace), "--as-of", START, "--json"
        source = "--source", "file", "--path", str(candles), "--symbol", "BTC/EUR"
        run((*cryptocast, "init", *where, *source, "--trials", "0"), self.folder)
        imports = self._imports()
        search = run((*cryptocast, "tune", *where, "--trials", str(SEARCHED)), self.folder)
        tried = json.loads(search.stdout)["data"]
        ends = ", ".join(f"{tried[end]} {end}" for end in ("pruned", "diverged"))
        tell(f"  of the trials, {ends}")
        what = f"tune, 2,016 bars, {SEARCHED} trials"
        yield timed(what, once(search), PIPELINE, imports, SEARCH)
        run((*cryptocast, "fetch", *where, "--days", "49"), self.folder)
        judged = run((*cryptocast, "evaluate", *where, "--test-bars", str(ORIGINS)), self.folder)
        scores = json.loads(judged.stdout)["data"]["scores"]
        models = {(row["model"], row["version"]) for row in scores}
        assert len({kind for kind, _ in models}) >= 7, models
        assert max(row["n"] for row in scores if row["step"] == 1) > 0.9 * ORIGINS  # it has gaps
        what = f"evaluate, {ORIGINS:,} origins, {len(models)} models"
        yield timed(what, once(judged), PIPELINE, imports, EVALUATE)
        self.raw["learning"] = {"tune": search.seconds, "evaluate": judged.seconds}

    def lstm(self) -> Iterator[Row]:
        """Our LSTM against neuralforecast's, one fit each by turns, week by week."""
        ours: list[dict[str, float]] = []
        peers: dict[str, list[dict[str, float]]] = {target: [] for target in TARGETS}
        folder, python = str(self.folder), self.peer_python
        mine_command = PYTHON, str(HERE / "ours.py"), folder, str(WEEKS)
        with Worker(mine_command, self.folder, self.threads) as mine:
            peer_command = python, str(HERE / "peer.py"), folder
            with Worker(peer_command, self.folder, self.threads) as peer:
                tell(f"  threads: ours {mine.ready['threads']}, peer {peer.ready['threads']}")
                for week in range(WEEKS):
                    ours.append(mine.ask(fit=week))
                    for target in TARGETS:
                        fitted = peer.ask(fit=week, target=target)
                        scores = mine.ask(score=str(self.folder / "peer.npy"), week=week)
                        peers[target].append(fitted | scores)
                    ours.append(mine.ask(fit=week))
        self.raw["lstm"] = {"ours": ours, "peer": peers}
        yield from compare(ours, peers)

    def _imports(self) -> Summary:
        """The import of a training pipeline, measured now, once: what long commands have beside."""
        warmed = interleaved({"imports": lambda _: run(HEAVY, self.folder)}, size(3, 1))["imports"]
        return Summary((warmed.median,), warmed.mebibytes)

    def _floor(self, workspace: Path, card_file: Path) -> tuple[str, ...]:
        """The command of the least process that forecasts with this model."""
        card = json.loads(card_file.read_text())
        database = workspace.with_name(f"{workspace.name}-floor.duckdb")
        shutil.copy(workspace / "cryptocast.duckdb", database)
        model, shape = card_file.with_name("model.onnx"), (card["lookback"], len(card["features"]))
        return PYTHON, str(HERE / "floor.py"), str(database), str(model), *map(str, shape)

    def _measure(self, part: str, actions: dict[str, Callable[[int], Usage]]) -> dict[str, Summary]:
        found = interleaved(actions, ROUNDS)
        self.raw[part] = {name: dataclasses.asdict(summary) for name, summary in found.items()}
        return found

    def _tick(self, workspace: Path, bar: int, *options: str) -> Usage:
        """`forecast --once` at the `bar`-th origin after init; it has to make a new forecast."""
        hours, minutes = divmod(5 * bar, 60)
        moment = f"{START[:11]}{hours:02d}:{minutes:02d}:00Z"
        command = PYTHON, "-m", "cryptocast", "forecast", "--once"
        usage = run((*command, "-w", str(workspace), "--as-of", moment, *options), self.folder)
        made = '"new": true' if "--json" in options else f"at {moment}"
        if made not in usage.stdout:
            raise SystemExit(f"no forecast was made at {moment}:\n{usage.stdout}")
        return usage

    def _workspace(self) -> Path:
        """A workspace by `cryptocast init`, made once."""
        workspace = self.folder / "workspace"
        if not workspace.exists():
            candles = self.folder / "BTC-EUR.parquet"
            run((PYTHON, str(HERE / "weeks.py"), str(candles)), self.folder)
            options = "--source", "file", "--path", str(candles), "--trials", str(TRIALS)
            command = PYTHON, "-m", "cryptocast", "init", "-w", str(workspace), *options
            self.begun = once(run((*command, "--as-of", START), self.folder))
            self.raw["init"] = self.begun.median
        return workspace

    def _serving(self, name: str) -> tuple[Path, Path]:
        """A copy of the workspace that has served once, and the card of its LSTM."""
        workspace = self.folder / name
        shutil.copytree(self._workspace(), workspace)
        card_file = self._lstm_in_production(workspace)
        self._tick(workspace, 0)
        return workspace, card_file

    def _ledgers(self, workspace: Path) -> Worker:
        command = PYTHON, str(HERE / "ledgers.py"), str(workspace)
        return Worker(command, self.folder, self.threads)

    def _lstm_in_production(self, workspace: Path) -> Path:
        """The card of the LSTM in production; one the gate refused is put there by force."""
        command = PYTHON, "-m", "cryptocast"
        where = "-w", str(workspace), "--as-of", START
        listed = run((*command, "models", *where, "--json"), self.folder).stdout
        found = json.loads(listed)["data"]
        version = next(v["version"] for v in found["versions"] if v["kind"] == "lstm")
        if found["production"] != version:
            options = "--force", "--reason", "benchmark"
            run((*command, "promote", version, *where, *options), self.folder)
        return workspace / "bundles" / str(version) / "card.json"


def main() -> int:
    """Measure, print, compare."""
    parts = [
        "init",
        "forecast",
        "serving",
        "growth",
        "engines",
        "futures",
        "help",
        "candles",
        "learning",
        "lstm",
    ]
    parser = argparse.ArgumentParser(description="Measure what cryptocast promises to take.")
    parser.add_argument("--only", action="append", choices=parts, help="this part, repeatable")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    parser.add_argument("--peer-python", default=PYTHON, help="one that has neuralforecast")
    parser.add_argument("--threads", type=int, default=1, help="of torch, for both LSTMs")
    parser.add_argument("--no-record", action="store_true", help="only print")
    given = parser.parse_args()
    chosen = [part for part in parts if part in (given.only or parts)]
    there = "import importlib.util as i, sys; sys.exit(i.find_spec('neuralforecast') is None)"
    if "lstm" in chosen and subprocess.run((given.peer_python, "-c", there)).returncode:
        tell("neuralforecast is not installed: `make bench` installs it (dependency group bench)")
        return 2
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="cryptocast-bench-") as folder:
        bench = Bench(Path(folder), given.peer_python, given.threads)
        for part in chosen:
            started = time.perf_counter()
            tell(f"{part} ...")
            rows += getattr(bench, part)()
            tell(f"  {time.perf_counter() - started:.0f} s")
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}; LSTM fits in {given.threads} thread(s) each, {WEEKS} weeks\n{table(rows)}")
    if chosen == parts and not given.no_record and not SMOKE:
        today = time.strftime("%Y-%m-%d", time.gmtime())
        record("speed", f"Measured on {today}, {machine}:\n\n{markdown(rows)}")
    if given.json:
        document = {
            "machine": machine,
            "rows": [dataclasses.asdict(row) | {"ok": row.ok} for row in rows],
            "raw": bench.raw,
        }
        given.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0 if SMOKE or all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
