"""report: the page says what the ledger says, and what is not there yet."""

from __future__ import annotations

import json
import re
import shutil
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryptocast.cli.screens.page import PageServer
from cryptocast.compute.scoring import score_rows
from cryptocast.errors import StoreError
from cryptocast.reports.facts import MarketFacts
from cryptocast.store import Store, Tick, Trouble
from cryptocast.values import iso
from cryptocast.workflows import report as module
from cryptocast.workflows.replay import plan, replay
from cryptocast.workflows.report import gather, report
from cryptocast.workflows.simulate import simulate
from cryptocast.workflows.watching.served import live
from cryptocast.workspace import Workspace
from support.commands import (
    INTERVAL,
    NOW,
    Done,
    counts,
    good,
    listing,
    process,
    query,
    run,
    start_loaded,
)
from support.ticks import BTC, SYMBOLS, at, change, drop, origin, ticked

LAST = 143
HEAVY = "torch", "lightning", "mlflow", "optuna", "pandas", "sklearn", "matplotlib"
LOOK = f"""
import sys
from cryptocast import cli
code = cli.run(sys.argv[1:])
print("loaded:", [name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def replayed(stocked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of two markets with half a day of replayed forecasts. Not to be written to."""
    folder = Path(shutil.copytree(stocked, tmp_path_factory.mktemp("replayed") / "w"))
    with at(folder, LAST, market__symbols=SYMBOLS[:2]) as ws:
        for _ in replay(ws, plan(ws, origin(0), origin(LAST))):
            pass
    return folder


@pytest.fixture
def r(replayed: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(replayed, tmp_path / "w"))


def facts_of(folder: Path, bar: float = LAST, days: float = 30, **settings: Any) -> Any:
    with at(folder, bar, **settings) as ws:
        return gather(ws, days)


def only(folder: Path, bar: float = LAST, **settings: Any) -> MarketFacts:
    (found,) = facts_of(folder, bar, **settings).markets
    return found


def written(ws: Workspace, **options: Any) -> str:
    return report(ws, **options).file.read_text(encoding="utf-8")


def words(folder: Path, bar: float = LAST) -> str:
    """The text of the page, without elements."""
    with at(folder, bar) as ws:
        page = written(ws)
    body = page[page.index("<body>") : page.index('<script type="application/json"')]
    return re.sub(r"[ \n]+", " ", re.sub(r"<[^>]+>", "", body))


def test_the_figures_are_those_of_evaluate_live_and_of_the_view(replayed: Path) -> None:
    found = only(replayed)
    with at(replayed, LAST) as ws:
        rows = [*score_rows(live(ws, days=30).scores)]
    served = {row["step"]: row for row in rows if row["model"] == "served"}
    assert found.outcomes is not None
    told = {"all": found.outcomes.total, **dict(enumerate(found.outcomes.steps, 1))}
    for step, score in told.items():
        row = served[step]
        assert (score.n, score.low, score.high) == (row["n"], row["skill_low"], row["skill_high"])
        for name in ("crps_bp", "coverage80", "coverage90"):
            assert getattr(score, name) == pytest.approx(row[name])
        assert score.skill == pytest.approx(row["skill_vs_random_walk"])
    view = query(
        replayed,
        "SELECT step, avg(crps_bp), avg(in80::INT) FROM forecast_scores"
        f" WHERE market = '{BTC.id}' AND epoch(target_time) <= {origin(LAST)} GROUP BY step",
    )
    for step, crps, in80 in view:
        assert told[step].crps_bp == pytest.approx(crps, rel=1e-6)
        assert told[step].coverage80 == pytest.approx(in80)


def test_the_parts_add_up_to_the_whole(replayed: Path) -> None:
    found = only(replayed).outcomes
    assert found is not None
    total = found.total
    assert found.mode == "replay"
    assert sum(score.n for score in found.days.values()) == total.n
    assert sum(version.sets for version in found.versions) == LAST + 1 == len(found.origins)
    assert found.by_step.in80.n.sum() == found.by_hour.in80.n.sum() == total.n
    known = found.by_hour.in80.n > 0
    hours = np.average(found.by_hour.in80.share[known], weights=found.by_hour.in80.n[known])
    assert hours == pytest.approx(total.coverage80)
    assert (found.by_step.in80.low <= found.by_step.in80.share).all()
    assert (found.by_step.in80.share <= found.by_step.in80.high).all()
    for each in found.calibrations:
        assert each.between.sum() == pytest.approx(1)
        assert (np.diff(each.below) >= 0).all()


def test_live_sets_count_alone_and_where_none_has_an_outcome_replayed_ones(r: Path) -> None:
    at_bar = 100
    change(r, f"UPDATE forecast_sets SET mode = 'live' WHERE epoch(origin) >= {origin(at_bar)}")
    found = only(r).outcomes
    assert found is not None
    assert (found.mode, len(found.origins)) == ("live", LAST + 1 - at_bar)
    early = only(r, at_bar).outcomes
    assert early is not None
    assert (early.mode, len(early.origins)) == ("replay", at_bar)


def test_the_clock_rules_what_is_seen(r: Path) -> None:
    change(
        r,
        f'UPDATE deployments SET "at" = to_timestamp({origin(50)})'
        " WHERE id = (SELECT max(id) FROM deployments)",
    )
    with Store(r / "cryptocast.duckdb", 60).write() as writer:
        writer.put_event(origin(90), "monitor", None, {"verdict": "declined", "reason": "later"})
        writer.put_event(origin(20), "monitor", None, {"verdict": "watch", "reason": "earlier"})
    facts = facts_of(r, 40)
    assert facts.markets[0].outcomes.origins[-1] == origin(40)
    assert np.isnan(facts.markets[0].outcomes.targets[-1]).all()
    assert facts.markets[0].newest.origin == origin(40)
    assert facts.markets[0].candles.open_time[-1] == origin(39)
    assert (facts.verdict.verdict, facts.verdict.reason) == ("watch", "earlier")
    assert len(facts.deployments) == len(facts_of(r, 100).deployments) - 1
    assert facts_of(r, 100).verdict.verdict == "declined"


def test_the_worst_market_comes_first_and_unknown_ones_last(replayed: Path) -> None:
    facts = facts_of(replayed, market__symbols=("SOL/EUR", *SYMBOLS[:2]))
    skills = [None if m.outcomes is None else m.outcomes.total.skill for m in facts.markets]
    assert skills[2] is None
    assert skills[:2] == sorted(skills[:2])
    assert facts.markets[2].market.symbol == "SOL/EUR"


def test_a_series_that_is_stored_and_not_configured_is_named(replayed: Path) -> None:
    assert facts_of(replayed).others == ["file:ETH/EUR:5m", "file:SOL/EUR:5m"]


def test_troubles_at_neighbouring_origins_are_one_incident(r: Path) -> None:
    drop(r, [3, 4, 9])
    change(
        r,
        "UPDATE forecast_sets SET fallback = 'stale_data'"
        f" WHERE epoch(origin) BETWEEN {origin(10)} AND {origin(12)}",
    )
    ticks = [
        Tick(BTC.id, origin(bar), origin(bar), origin(bar) + 1, status, code, None)
        for bar, status, code in (
            (20, "missed", None), (21, "missed", None), (23, "missed", None),
            (30, "failed", "source.quota"), (31, "failed", "source.unreachable"),
            (40, "late", None),
        )
    ]  # fmt: skip
    with Store(r / "cryptocast.duckdb", 60).write() as writer:
        writer.ledger.put_ticks(ticks)
    found = only(r)
    told = [(i.kind, (i.start - NOW) // INTERVAL, i.count, i.detail) for i in found.incidents]
    assert told == [
        ("gap", 3, 2, "candles missing"),
        ("gap", 9, 1, "candles missing"),
        ("fallback", 10, 3, "stale_data"),
        ("missed", 20, 2, ""),
        ("missed", 23, 1, ""),
        ("failed", 30, 1, "source.quota"),
        ("failed", 31, 1, "source.unreachable"),
        ("late", 40, 1, ""),
    ]
    assert (found.ticks["missed"], found.ticks["failed"], found.ticks["late"]) == (3, 2, 1)
    told_now = "3 missing candles, 3 stand-in forecasts, 3 missed ticks, 2 failed ticks"
    assert told_now in words(r)


def test_a_run_of_trouble_ends_where_its_reason_changes() -> None:
    troubles = [Trouble("failed", 300 * i, "a" if i < 2 else "b") for i in range(4)]
    assert [(i.start, i.end, i.count) for i in module._runs(troubles, 300)] == [
        (0, 600, 2),
        (600, 1200, 2),
    ]


def test_a_new_workspace_is_told_what_to_type(w: Path) -> None:
    text = words(w)
    assert "Newest forecastnone yettype cryptocast forecast --once" in text
    assert "Nothing has been forecast in this range yet. Type cryptocast forecast --once" in text


def test_forecasts_without_an_outcome_are_shown_and_said_to_be_open(w: Path) -> None:
    ticked(w, 1)
    found = only(w, 1)
    assert found.outcomes is not None
    assert not found.outcomes.scored
    text = words(w, 1)
    assert "1 forecast made, and no outcome is known yet" in text
    assert f"the first is due at {iso(origin(2))[:16].replace('T', ' ')}Z" in text


def test_without_candles_before_the_first_forecast_there_is_coverage_but_no_skill(r: Path) -> None:
    change(r, f"DELETE FROM candles WHERE epoch(open_time) < {origin(0)}")
    found = only(r).outcomes
    assert found is not None
    assert found.total.n > 0
    assert found.total.coverage80 is not None
    assert (found.total.skill, found.rolling) == (None, None)
    assert "There were too few candles before the first forecast" in words(r)


@pytest.mark.parametrize("kept", [0, 1])
def test_no_candle_or_one_makes_a_page_all_the_same(r: Path, kept: int) -> None:
    change(r, f"DELETE FROM candles WHERE epoch(open_time) >= {origin(kept)}")
    change(r, f"DELETE FROM candles WHERE epoch(open_time) < {origin(0)}")
    if kept == 0:
        assert "There are no candles in this range: type cryptocast fetch." in words(r)
    else:
        assert len(only(r).candles) == 1
        assert words(r)


def test_a_year_of_gaps_is_one_incident_and_a_small_page(r: Path) -> None:
    change(
        r,
        "UPDATE candles SET open_time = open_time - INTERVAL 365 DAY"
        f" WHERE market = '{BTC.id}' AND epoch(open_time) < {origin(-100)}",
    )
    (found,) = facts_of(r, days=380).markets
    assert max(gap.bars for gap in found.gaps) > 100_000
    (told,) = good("report", "-w", r, "--as-of", iso(origin(LAST)), "--days", "380")["markets"]
    assert (told["missing"], told["incidents"]) == (found.missing_bars, found.troubles())
    assert told["incidents"] < told["missing"]
    with at(r, LAST) as ws:
        assert report(ws, days=380).bytes < 8e6


def test_the_page_is_replaced_as_a_whole_or_stays(r: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with at(r, LAST) as ws:
        made = report(ws)
        before = made.file.read_bytes()
        assert made.file == r / "reports" / "report.html"
        assert made.bytes == len(before)
        files = listing(r)

        def fail(_: object) -> str:
            raise RuntimeError("a bug")

        monkeypatch.setattr(module, "render", fail)
        with pytest.raises(RuntimeError, match="a bug"):
            report(ws)
    assert made.file.read_bytes() == before
    assert listing(r) == files


def test_the_same_store_gives_the_same_page_and_nothing_is_written_to_it(r: Path) -> None:
    before = counts(r)
    with at(r, LAST) as ws:
        assert written(ws) == written(ws)
    assert counts(r) == before


def test_the_command_tells_what_the_page_shows(r: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    data = good("report", "-w", r, "--as-of", iso(origin(LAST)), "--out", out, "--days", "2")
    assert data["file"] == str(out)
    assert data["bytes"] == out.stat().st_size
    assert (data["start"], data["end"]) == (iso(origin(LAST - 576)), iso(origin(LAST)))
    (market,) = data["markets"]
    assert (market["market"], market["mode"], market["forecasts"]) == (BTC.id, "replay", LAST + 1)
    assert 0.5 < market["coverage80"] <= 1
    shown = run("report", "-w", r, "--as-of", iso(origin(LAST)))
    assert shown.code == 0
    assert str(r / "reports" / "report.html") in shown.out


def test_an_out_that_cannot_be_is_refused(r: Path, tmp_path: Path) -> None:
    folder = run("report", "-w", r, "--out", tmp_path, "--json")
    assert (folder.code, folder.error["message"]) == (2, f"{tmp_path} is a folder")
    missing = run("report", "-w", r, "--out", tmp_path / "no" / "x.html", "--json")
    assert (missing.code, missing.error["hint"]) == (2, f"mkdir -p {tmp_path / 'no'}")


def test_it_loads_nothing_that_trains(replayed: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    options = ("report", "-w", replayed, "--as-of", iso(origin(LAST)), "--out", out, "--quiet")
    done = process(*options, script=LOOK)
    assert (done.code, done.out, done.err) == (0, "", "loaded: []\n")


@pytest.fixture
def server(r: Path) -> Iterator[Any]:
    options = ("report", "-w", r, "--as-of", iso(origin(LAST)), "--serve", "--port", "0", "--json")
    with start_loaded(*options) as child:
        try:
            yield child
        finally:
            child.kill()


def get(address: str, **headers: str) -> tuple[int, bytes]:
    try:
        request = urllib.request.Request(address, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, b""


def test_serve_shows_the_file_as_it_is_on_this_machine_only_until_stopped(
    server: Any, r: Path
) -> None:
    data = json.loads(server.stdout.readline())["data"]
    address = data["address"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
    file = r / "reports" / "report.html"
    assert get(address) == (200, file.read_bytes())
    file.write_text("another", encoding="utf-8")
    assert get(address + "report.html?x") == (200, b"another")
    assert get(address + "cryptocast.toml")[0] == 404
    assert get(address + "../cryptocast.toml")[0] == 404
    assert get(address, Host="example.com")[0] == 403
    server.send_signal(signal.SIGINT)
    out, err = server.communicate(timeout=600)
    assert (server.returncode, out) == (0, "")
    assert "Traceback" not in err


def test_a_served_page_is_made_anew_when_a_candle_has_closed(
    r: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[float] = []
    file = r / "page.html"
    with at(r, 100) as ws:

        def make() -> None:
            made.append(ws.clock.now())
            if len(made) == 2:
                raise StoreError("the database is in use", code="store.busy", hint="wait")
            file.write_text(f"{len(made)}", encoding="utf-8")

        make()
        with PageServer(file, 0, make, ws) as server:
            assert server.page() == b"1"
            ws.clock.sleep_until(origin(101))
            assert server.page() == b"1"
            assert server.page() == b"3"
            assert server.page() == b"3"
    told = capsys.readouterr().err
    assert told == "warning: the report stays as it was: the database is in use (wait)\n"


def test_a_port_that_is_taken_is_told(r: Path) -> None:
    with at(r, 100) as ws, PageServer(r / "x", 0, lambda: None, ws) as first:
        port = first.address.rsplit(":", 1)[1].strip("/")
        done: Done = run("report", "-w", r, "--serve", "--port", port, "--json")
    assert done.code == 2
    assert f"port {port} of 127.0.0.1 is not available" in done.error["message"]


def test_the_cone_is_that_of_the_paths_that_simulate_gives(replayed: Path) -> None:
    with at(replayed, LAST, market__symbols=SYMBOLS[:1]) as ws:
        (market,) = gather(ws, 30.0).markets
        (paths,) = simulate(ws).markets
    assert market.cone is not None
    assert market.cone.quantiles.shape == (288, len(paths.levels))
    assert (market.cone.quantiles[143] == paths.quantiles(144)).all()
