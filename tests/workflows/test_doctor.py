"""doctor: every line says whether something is sound, and what to do where it isn't."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from cryptocast.cli.root.hints import as_typed
from cryptocast.sources import coincap
from cryptocast.workflows.keeping import answers, checks
from support.commands import AS_OF, HELD, INTERVAL, NOW, candles, good, query, run, start_loaded
from support.loopback import KEY, Loopback, as_json

Found = dict[str, dict[str, str]]


def doctor(folder: Path, *options: str, code: int = 0) -> Found:
    """The checks by name; the exit code is 6 where one failed."""
    done = run("doctor", "-w", folder, "--json", *options)
    assert done.code == code, done.out + done.err
    checks = {check["name"]: check for check in done.data["checks"]}
    assert ("failed" in {c["status"] for c in checks.values()}) == (code == 6)
    assert all(c["hint"] for c in checks.values() if c["status"] != "ok")
    return checks


def told(check: dict[str, str]) -> tuple[str, str, str]:
    return check["status"], check["detail"], check["hint"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, impatient: None) -> Iterator[Loopback]:
    """CoinCap at loopback, with a plan that pays for a loop."""
    with Loopback({"BTC/USD": candles("BTC/USD"), "BTC/EUR": candles()}) as loopback:
        monkeypatch.setenv("CRYPTOCAST_SOURCE__NAME", "coincap")
        monkeypatch.setenv("CRYPTOCAST_SOURCE__BASE_URL", loopback.base_url("coincap"))
        monkeypatch.setenv("CRYPTOCAST_SOURCE__MONTHLY_CREDITS", "10000")
        monkeypatch.setenv("CRYPTOCAST_MARKET__SYMBOLS", '["BTC/USD"]')
        monkeypatch.setenv("COINCAP_API_KEY", KEY)
        yield loopback


def test_a_sound_workspace_has_only_ok_lines(workspace: Path) -> None:
    checks = doctor(workspace, "--as-of", AS_OF)
    assert {c["status"] for c in checks.values()} == {"ok"}
    assert set(checks) == {
        "workspace",
        "disk",
        "store",
        "source file",
        "candles file:BTC/EUR:5m",
        "gaps file:BTC/EUR:5m",
        "mlflow",
        "production",
        "previous",
        "schedule",
    }
    assert checks["source file"]["detail"] == "answers for BTC/EUR: 4 of its last 4 candles"
    assert checks["production"]["detail"] == "version 2 (lstm), its hash is right"


def test_for_a_person_each_check_is_a_line_with_what_to_do(workspace: Path, tmp_path: Path) -> None:
    (workspace / "bundles" / "2" / "model.onnx").write_bytes(b"broken")
    done = run("doctor", "-w", workspace, "--as-of", AS_OF)
    assert done.code == 6
    lines = done.out.splitlines()
    assert lines[0] == f"ok       workspace: {workspace}"
    place = next(i for i, line in enumerate(lines) if line.startswith("FAILED   production: "))
    assert lines[place + 1] == as_typed("         -> cryptocast promote 2")


@pytest.mark.parametrize(
    ("receiver", "status", "detail"),
    [
        ('name = "console"', "ok", "is set up (cryptocast notify --test tries it)"),
        ('name = "webhook"', "failed", "the receiver 'webhook' has no url"),
    ],
)
def test_a_receiver_that_could_not_be_told_is_found(
    workspace: Path, receiver: str, status: str, detail: str
) -> None:
    with (workspace / "cryptocast.toml").open("a", encoding="utf-8") as settings:
        settings.write(f"\n[[notify.receiver]]\n{receiver}\n")
    checks = doctor(workspace, "--as-of", AS_OF, code=0 if status == "ok" else 6)
    found = next(check for name, check in checks.items() if name.startswith("receiver "))
    assert (found["status"], found["detail"]) == (status, detail)


def test_a_damaged_bundle_fails_and_the_advised_command_mends_it(workspace: Path) -> None:
    shutil.rmtree(workspace / "bundles" / "2")
    checks = doctor(workspace, "--as-of", AS_OF, code=6)
    assert checks["production"]["hint"] == "cryptocast promote 2"
    good("promote", "2", "-w", workspace, "--as-of", AS_OF)
    assert doctor(workspace, "--as-of", AS_OF)["production"]["status"] == "ok"


def test_a_damaged_previous_bundle_is_a_warning(workspace: Path) -> None:
    shutil.rmtree(workspace / "bundles" / "1")
    check = doctor(workspace, "--as-of", AS_OF)["previous"]
    assert check["status"] == "warning"
    assert check["hint"] == "cryptocast rollback freezes it anew when it is needed"


def test_an_alias_of_mlflow_that_names_another_version_is_found_and_mended(
    workspace: Path,
) -> None:
    from cryptocast.workspace import Workspace

    with Workspace.open(workspace) as ws:
        ws.registry().point("production", "1")
    check = doctor(workspace, "--as-of", AS_OF)["alias"]
    assert told(check) == (
        "warning",
        "MLflow's alias production names version 1, but version 2 serves",
        "cryptocast promote 2",
    )
    good("promote", "2", "-w", workspace, "--as-of", AS_OF)
    assert "alias" not in doctor(workspace, "--as-of", AS_OF)


def test_an_empty_workspace_says_what_is_lacking(tmp_path: Path) -> None:
    (tmp_path / "cryptocast.toml").write_text('[source]\nname = "sim"\n', encoding="utf-8")
    checks = doctor(tmp_path, code=6)
    assert told(checks["candles sim:BTC/EUR:5m"]) == (
        "failed",
        "none is stored",
        "cryptocast fetch",
    )
    assert told(checks["production"]) == (
        "failed",
        "there is no production model",
        "cryptocast init",
    )


def test_stale_candles_are_a_warning(workspace: Path) -> None:
    check = doctor(workspace, "--as-of", "2024-06-03T00:20:00Z")["candles file:BTC/EUR:5m"]
    assert check["status"] == "warning"
    assert check["detail"] == "2,016, the newest of 2024-06-02T23:55:00Z, 4 behind"
    assert check["hint"].startswith("cryptocast fetch")


def test_gaps_are_listed_with_start_end_and_bars(workspace: Path) -> None:
    with duckdb.connect(str(workspace / "cryptocast.duckdb")) as connection:
        moments = [NOW - bar * INTERVAL for bar in (10, 11, 200)]
        connection.execute(
            "DELETE FROM candles WHERE open_time IN (SELECT to_timestamp(unnest(?::BIGINT[])))",
            [moments],
        )
    check = doctor(workspace, "--as-of", AS_OF)["gaps file:BTC/EUR:5m"]
    assert check["status"] == "warning"
    assert check["hint"] == "cryptocast fetch"
    assert check["gaps"] == [
        {"start": "2024-06-02T07:20:00Z", "end": "2024-06-02T07:25:00Z", "bars": 1},
        {"start": "2024-06-02T23:05:00Z", "end": "2024-06-02T23:15:00Z", "bars": 2},
    ]
    good("fetch", "-w", workspace, "--as-of", AS_OF)
    assert doctor(workspace, "--as-of", AS_OF)["gaps file:BTC/EUR:5m"]["status"] == "ok"


def test_gaps_that_the_source_has_too_are_no_fault_of_ours(
    server: Loopback, workspace: Path
) -> None:
    c = server.candles["BTC/USD"]
    server.candles["BTC/USD"] = c.take(c.open_time != NOW - 9 * INTERVAL)
    for _ in range(2):
        good("fetch", "-w", workspace, "--as-of", AS_OF)
    check = doctor(workspace, "--as-of", AS_OF)["gaps coincap:BTC/USD:5m"]
    assert (check["status"], check["detail"]) == (
        "ok",
        "the source lacks 1 of the bars: 2024-06-02T23:15:00Z to 2024-06-02T23:20:00Z (1)",
    )


def test_a_database_in_use_is_told_with_its_holder(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_STORE__WAIT_SECONDS", "0.2")
    holder = start_loaded(workspace / "cryptocast.duckdb", script=HELD)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        checks = doctor(workspace, "--as-of", AS_OF, code=6)
        assert checks["store"]["status"] == "warning"
        assert f"PID {holder.pid}" in checks["store"]["detail"]
    finally:
        holder.kill()
        holder.communicate()


def test_a_database_that_is_none_fails(workspace: Path) -> None:
    (workspace / "cryptocast.duckdb").write_bytes(b"not a database" * 999)
    assert doctor(workspace, "--as-of", AS_OF, code=6)["store"]["status"] == "failed"


def test_what_a_killed_process_left_is_told_with_the_command_that_removes_it(
    workspace: Path,
) -> None:
    draft = workspace / ".cryptocast.duckdb.123.new"
    draft.write_bytes(b"")
    check = doctor(workspace, "--as-of", AS_OF)["leftovers"]
    assert told(check) == ("warning", f"a killed process left {draft}", f"rm {draft}")


def test_a_folder_that_cannot_be_written_to_fails(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = os.access
    closed = workspace / "bundles"
    monkeypatch.setattr(os, "access", lambda f, mode: f != closed and access(f, mode))
    check = doctor(workspace, "--as-of", AS_OF, code=6)["workspace"]
    assert check["detail"] == f"{closed} cannot be written to"


@pytest.mark.parametrize(("free", "status", "code"), [(4e8, "warning", 0), (4e7, "failed", 6)])
def test_a_disk_that_is_nearly_full_is_told(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, free: float, status: str, code: int
) -> None:
    usage = shutil.disk_usage(workspace)._replace(free=int(free))
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: usage)
    check = doctor(workspace, "--as-of", AS_OF, code=code)["disk"]
    assert (check["status"], check["detail"]) == (status, f"{free / 1e9:.1f} GB free")


def test_the_key_is_asked_for_and_tried(server: Loopback, workspace: Path) -> None:
    good("fetch", "-w", workspace, "--as-of", AS_OF)
    server.requests.clear()
    checks = doctor(workspace, "--as-of", AS_OF)
    assert told(checks["key"]) == ("ok", "COINCAP_API_KEY is set", "")
    assert checks["source coincap"]["detail"] == "answers for BTC/USD: 4 of its last 4 candles"
    assert len(server.requests) == 1
    assert checks["clock"]["status"] == "ok"


def test_markets_that_no_tick_can_bring_are_told_before(
    server: Loopback, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good("fetch", "-w", workspace, "--as-of", AS_OF)
    told_ok = doctor(workspace, "--as-of", AS_OF)["reach of coincap"]
    assert told_ok["status"] == "ok"
    assert re.fullmatch(r"a tick brings about \d+ markets in 60 s; there are 1", told_ok["detail"])
    monkeypatch.setattr(coincap.Source, "pace", (1, 90.0))
    assert told(doctor(workspace, "--as-of", AS_OF)["reach of coincap"]) == (
        "warning",
        "a tick brings about 0 markets in 60 s; there are 1",
        "give some of them to another source, or to a workspace of their own elsewhere",
    )


def test_of_thousands_of_markets_some_are_asked_for(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "_MOST_ASKED", 1)
    monkeypatch.setenv("CRYPTOCAST_MARKET__SYMBOLS", '["BTC/EUR", "ETH/EUR", "SOL/EUR"]')
    found = doctor(workspace, "--as-of", AS_OF, code=6)
    assert found["source file:BTC/EUR:5m"]["detail"].startswith("answers for BTC/EUR")
    assert found["source file"]["detail"] == "1 of its 3 markets were asked for"
    assert "source file:ETH/EUR:5m" not in found


def test_a_key_that_is_missing_or_wrong_fails(
    server: Loopback, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COINCAP_API_KEY", "wrong-key")
    checks = doctor(workspace, "--as-of", AS_OF, code=6)
    assert checks["key"]["status"] == "ok"
    assert checks["source coincap"]["status"] == "failed"
    assert "wrong-key" not in str(checks)
    monkeypatch.delenv("COINCAP_API_KEY")
    checks = doctor(workspace, "--as-of", AS_OF, code=6)
    assert checks["key"]["status"] == "failed"
    assert checks["key"]["detail"] == "COINCAP_API_KEY is not set"


def test_credits_say_what_the_loop_costs_and_what_the_plan_fits(
    server: Loopback, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good("fetch", "-w", workspace, "--as-of", AS_OF)
    check = doctor(workspace, "--as-of", AS_OF)["credits"]
    ((calls, spent),) = query(workspace, "SELECT calls, credits FROM credits")
    assert told(check) == (
        "ok",
        f"{spent} of 10,000 credits this month in {calls} calls; "
        "a tick every 5m costs 8,928 credits a month",
        "",
    )
    monkeypatch.setenv("CRYPTOCAST_SOURCE__MONTHLY_CREDITS", "4000")
    check = doctor(workspace, "--as-of", AS_OF)["credits"]
    assert check["status"] == "warning"
    assert check["detail"].endswith("8,928 credits a month; 4,000 pay for one every 15m")


def test_a_spent_budget_fails_before_a_call_is_made(
    server: Loopback, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good("fetch", "-w", workspace, "--as-of", AS_OF)
    monkeypatch.setenv("CRYPTOCAST_SOURCE__MONTHLY_CREDITS", "10")
    server.requests.clear()
    checks = doctor(workspace, "--as-of", AS_OF, code=6)
    assert server.requests == []
    assert checks["credits"]["status"] == checks["source coincap"]["status"] == "failed"


def test_a_plan_that_was_enlarged_is_found_out_at_once(server: Loopback, workspace: Path) -> None:
    good("fetch", "-w", workspace, "--as-of", AS_OF)
    refusal = as_json({"error": "Forbidden: Monthly usage limit exceeded"}, 403)
    later = ("--as-of", "2024-06-03T00:30:00Z")
    server.faults.extend([refusal, refusal])
    assert run("fetch", "-w", workspace, *later).code == 4
    assert doctor(workspace, *later, code=6)["credits"]["status"] == "failed"
    assert run("fetch", "-w", workspace, *later, "--json").error["code"] == "source.quota"
    checks = doctor(workspace, *later)
    assert checks["source coincap"]["status"] == checks["credits"]["status"] == "ok"
    assert good("fetch", "-w", workspace, *later)["markets"][0]["new"] == 6


@pytest.mark.parametrize(("skew", "status", "code"), [(-60.0, "warning", 0), (900.0, "failed", 6)])
def test_the_clock_is_compared_with_the_servers(
    server: Loopback, workspace: Path, skew: float, status: str, code: int
) -> None:
    good("fetch", "-w", workspace, "--as-of", AS_OF)
    server.skew_seconds = skew
    check = doctor(workspace, "--as-of", AS_OF, code=code)["clock"]
    assert check["status"] == status
    assert ("behind" if skew > 0 else "ahead of") in check["detail"]
    assert "timedatectl" in check["hint"]


def test_fallback_sources_are_asked_too(
    server: Loopback, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good("fetch", "-w", workspace, "--as-of", AS_OF)
    url = server.base_url("coinbase")
    tables = [
        {"name": "coinbase", "base_url": url},
        {"name": "bitvavo", "base_url": "http://127.0.0.1:1"},
    ]
    monkeypatch.setenv("CRYPTOCAST_SOURCE__FALLBACK", json.dumps(tables))
    checks = doctor(workspace, "--as-of", AS_OF, code=6)
    assert checks["source coinbase"]["status"] == "ok"
    assert checks["source bitvavo"]["status"] == "failed"


def test_an_mlflow_that_is_damaged_fails(workspace: Path) -> None:
    (workspace / "mlflow.db").write_bytes(b"not a database" * 999)
    assert doctor(workspace, "--as-of", AS_OF, code=6)["mlflow"]["status"] == "failed"


def test_a_real_process_exits_with_6(tmp_path: Path) -> None:
    (tmp_path / "cryptocast.toml").write_text('[source]\nname = "sim"\n', encoding="utf-8")
    process = start_loaded("doctor", "-w", tmp_path, "-q")
    out, _ = process.communicate(timeout=600)
    assert (process.returncode, out) == (6, "")


def test_a_secrets_file_that_others_can_read_is_a_warning(workspace: Path) -> None:
    file = workspace / ".env"
    file.write_text("X=1\n", encoding="utf-8")
    file.chmod(0o644)
    found = doctor(workspace, "--as-of", AS_OF)["secrets"]
    assert told(found) == ("warning", f"others can read {file}", f"chmod 600 {file}")
    file.chmod(0o600)
    assert "secrets" not in doctor(workspace, "--as-of", AS_OF)


def test_each_market_is_looked_at_whatever_is_wrong_with_another(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_MARKET__SYMBOLS", '["GONE/EUR", "BTC/EUR"]')
    checks = doctor(workspace, "--as-of", AS_OF, code=6)
    assert checks["source file:GONE/EUR:5m"]["status"] == "failed"
    assert checks["source file:BTC/EUR:5m"]["status"] == "ok"
