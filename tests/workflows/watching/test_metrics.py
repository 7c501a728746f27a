"""What Prometheus reads: its text format, whole or not at all, and true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cryptocast.store import Store
from cryptocast.workflows.watching.metrics import Family, exposition, gather, write_metrics
from support.commands import NOW, query
from support.ticks import BTC, at, deploy, origin, ticked

SAMPLE = re.compile(
    r'(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?P<labels>([a-z_]+="(\\.|[^"\\\n])*",?)*)\})? '
    r"(?P<value>NaN|[+-]Inf|-?[0-9.e+-]+)"
)
LABEL = re.compile(r'([a-z_]+)="((?:\\.|[^"\\])*)"')


def read(text: str) -> dict[str, float]:
    """A parser of the format as Prometheus documents it: name{label="value"} -> value."""
    found: dict[str, float] = {}
    typed: set[str] = set()
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert kind in ("gauge", "counter")
            assert name not in typed
            typed.add(name)
            continue
        if line.startswith("# HELP "):
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, line
        assert sample["name"] in typed
        key = line.rpartition(" ")[0]
        assert key not in found
        found[key] = float(sample["value"])
    return found


def metrics(folder: Path, bar: float = 1, **settings: Any) -> dict[str, float]:
    with at(folder, bar, **settings) as ws, ws.store.read() as reader:
        return read(exposition(gather(reader, ws.markets(), ws.settings, ws.clock.now())))


def test_a_tick_is_told_with_its_forecast(w: Path) -> None:
    report = ticked(w, 1)
    (made,) = report.forecasts
    found = metrics(w, 1.04)
    market = f'{{market="{BTC.id}"}}'
    assert found[f"cryptocast_last_tick_timestamp_seconds{market}"] == origin(1)
    assert found[f"cryptocast_origin_timestamp_seconds{market}"] == origin(1)
    assert found[f"cryptocast_candle_timestamp_seconds{market}"] == origin(1)
    assert found[f"cryptocast_last_tick_failed{market}"] == 0
    assert found[f"cryptocast_lag_seconds{market}"] == 0
    assert found[f"cryptocast_stale_bars{market}"] == 0
    assert found[f"cryptocast_missing_bars{market}"] == 0
    assert found[f"cryptocast_fallback{market}"] == 0
    assert found[f"cryptocast_fallbacks_total{market}"] == 0
    assert found[f"cryptocast_last_close{market}"] == made.last_close
    assert found['cryptocast_production_info{version="2"}'] == 1
    assert found["cryptocast_production_timestamp_seconds"] == NOW
    assert found["cryptocast_written_timestamp_seconds"] == NOW + 312
    for step in (1, 12, 24):
        for place, level in ((0, "0.05"), (9, "0.5"), (18, "0.95")):
            key = f'{{market="{BTC.id}",step="{step}",level="{level}"}}'
            assert found[f"cryptocast_forecast_price{key}"] == made.quantiles[step - 1, place]


def test_coverage_is_that_of_what_was_served_live(w: Path) -> None:
    ticked(w, *range(1, 13))
    found = metrics(w, 13)
    ((in80, in90),) = query(
        w,
        "SELECT avg(in80::INT), avg(in90::INT) FROM forecast_scores WHERE mode = 'live'"
        f" AND step IN (1, 12, 24) AND target_time <= to_timestamp({origin(13)})",
    )
    for name, share in (("80", in80), ("90", in90)):
        key = f'cryptocast_coverage_ratio{{market="{BTC.id}",range="{name}"}}'
        assert found[key] == pytest.approx(share)


def test_missed_ticks_and_stand_ins_are_counted(w: Path) -> None:
    (w / "bundles" / "2").rename(w / "gone")
    ticked(w, 1, 4)
    found = metrics(w, 4)
    counts = {
        status: found[f'cryptocast_ticks_total{{market="{BTC.id}",status="{status}"}}']
        for status in ("ok", "late", "missed", "failed")
    }
    assert counts == {"ok": 2, "late": 0, "missed": 2, "failed": 0}
    assert found[f'cryptocast_fallbacks_total{{market="{BTC.id}"}}'] == 4
    assert found[f'cryptocast_fallback{{market="{BTC.id}"}}'] == 1


def test_the_monitor_is_told(w: Path) -> None:
    ticked(w, 1)
    windows = [
        {"market": BTC.id, "window": "day", "skill_vs_random_walk": -0.02},
        {"market": BTC.id, "window": "week", "skill_vs_random_walk": None},
    ]
    with Store(w / "cryptocast.duckdb", 60).write() as writer:
        writer.put_event(NOW, "monitor", None, {"verdict": "declined", "windows": windows})
    found = metrics(w)
    assert found['cryptocast_health{verdict="declined"}'] == 1
    assert found['cryptocast_health{verdict="healthy"}'] == 0
    assert found["cryptocast_health_timestamp_seconds"] == NOW
    assert found[f'cryptocast_skill_ratio{{market="{BTC.id}",window="day"}}'] == -0.02
    assert f'cryptocast_skill_ratio{{market="{BTC.id}",window="week"}}' not in found


def test_a_workspace_without_a_forecast_is_no_error(fresh: Path) -> None:
    found = metrics(fresh, 0)
    assert f'cryptocast_origin_timestamp_seconds{{market="{BTC.id}"}}' not in found
    assert f'cryptocast_candle_timestamp_seconds{{market="{BTC.id}"}}' in found


def test_credits_are_told_of_sources_that_cost_some(w: Path) -> None:
    import time

    with Store(w / "cryptocast.duckdb", 60).write() as writer:
        writer.add_credits("file", time.time(), 3, 12)
    found = metrics(w)
    assert found['cryptocast_credits_spent{source="file"}'] == 12
    assert found['cryptocast_credits_budget{source="file"}'] == 500


def test_a_version_with_any_name_is_escaped(w: Path) -> None:
    deploy(w, 'x"\\\n<script>', "2")
    with at(w) as ws, ws.store.read() as reader:
        text = exposition(gather(reader, ws.markets(), ws.settings, ws.clock.now()))
    read(text)
    assert 'cryptocast_production_info{version="x\\"\\\\\\n<script>"} 1\n' in text


def test_numbers_are_written_as_prometheus_reads_them() -> None:
    values = (1.0, 0.1, 1e300, float("nan"), float("inf"), float("-inf"), 1_717_372_800.25, -3.0)
    family = Family(
        "x", "a \\ of\nlines", tuple(((("n", str(i)),), v) for i, v in enumerate(values))
    )
    text = exposition([family, Family("none", "nothing", (((), None),))])
    assert [line.rpartition(" ")[2] for line in text.splitlines()[2:]] == [
        "1", "0.1", "1e+300", "NaN", "+Inf", "-Inf", "1717372800.25", "-3",
    ]  # fmt: skip
    assert text.startswith("# HELP x a \\\\ of\\nlines\n# TYPE x gauge\n")
    assert "none" not in text


def test_the_file_is_written_whole_and_leaves_no_draft(w: Path, tmp_path: Path) -> None:
    ticked(w, 1)
    file = tmp_path / "metrics" / "btc.prom"
    file.parent.mkdir()
    file.write_text("old")
    with at(w, 1, metrics__file=str(file)) as ws:
        assert write_metrics(ws) == []
        assert write_metrics(ws) == []
    assert len(read(file.read_text(encoding="utf-8"))) > 20
    assert [f.name for f in file.parent.iterdir()] == ["btc.prom"]


def test_a_file_that_cannot_be_written_is_a_warning(w: Path, tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "btc.prom"
    with at(w, 1, metrics__file=str(file)) as ws:
        assert write_metrics(ws) == [
            f"the metrics {file} cannot be written: No such file or directory"
        ]


def test_where_no_file_is_named_nothing_is_read(w: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with at(w) as ws:
        monkeypatch.setattr(Store, "read", None)
        assert write_metrics(ws) == []
