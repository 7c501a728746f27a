"""schedule, with a crontab and a systemctl of the test's own in PATH."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from cryptocast import schedulers
from cryptocast.cli.root.hints import as_typed
from cryptocast.schedulers import Plan, unique_name
from cryptocast.testing import check_scheduler
from support.commands import Done, good, listing, run

ROOT = Path(__file__).parents[2]
FOREIGN = b'# mine\nMAILTO=""\n\n17 3 * * 1  /bin/true caf\xe9 \x0b # cryptocast: /elsewhere\r\n'
CRONTAB = """#!/bin/sh
echo "$*" >> "{0}/calls"
[ ! -f "{0}/refuses" ] || {{ echo "You are not allowed to use this program" >&2; exit 1; }}
case "$1" in
-l) [ -f "{0}/table" ] || {{ echo "no crontab for somebody" >&2; exit 1; }}; cat "{0}/table" ;;
-) cat > "{0}/table" ;;
esac
"""
SYSTEMCTL = """#!/bin/sh
echo "$*" >> "{0}/calls"
[ ! -f "{0}/refuses" ] || {{ echo "Failed to connect to bus: No medium found" >&2; exit 1; }}
"""


class Machine:
    """What the fake programs keep."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.table = folder / "table"
        self.units = folder / "config" / "systemd" / "user"

    def calls(self) -> list[str]:
        """The command lines since the last look."""
        file = self.folder / "calls"
        found = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return found

    def lines(self) -> list[bytes]:
        return self.table.read_bytes().split(b"\n")[:-1]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with cron and systemd, and with no variable that a tick would miss."""
    folder = tmp_path / "machine"
    (folder / "bin").mkdir(parents=True)
    for program, text in (("crontab", CRONTAB), ("systemctl", SYSTEMCTL)):
        file = folder / "bin" / program
        file.write_text(text.format(folder))
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    for variable in ("https_proxy", "http_proxy", "all_proxy", "no_proxy", "requests_ca_bundle"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    return Machine(folder)


def made(tmp_path: Path, *, called: str = "btc", text: str = "", logs: bool = True) -> Path:
    """An empty workspace."""
    folder = tmp_path / called
    folder.mkdir()
    if logs:
        (folder / "logs").mkdir()
    (folder / "cryptocast.toml").write_text(text, encoding="utf-8")
    return folder


def refused(done: Done, message: str, hint: str) -> None:
    assert (done.code, done.out) == (2, "")
    assert (done.error["message"], done.error["hint"]) == (message, as_typed(hint))


def test_the_line_is_printed_as_it_is_and_nothing_is_written(
    machine: Machine, tmp_path: Path
) -> None:
    folder = made(tmp_path)
    before = listing(folder)
    done = run("schedule", "-w", folder)
    program = Path(sys.executable).parent / "cryptocast"
    assert done == Done(
        0,
        f"*/5 * * * * {program} forecast --once --quiet --workspace {folder} "
        f">> {folder}/logs/schedule.log 2>&1 # cryptocast: {folder}\n",
        "",
    )
    assert listing(folder) == before
    assert machine.calls() == []


def test_one_document_tells_how_often_what_and_where(machine: Machine, tmp_path: Path) -> None:
    folder = made(tmp_path, text='[market]\ninterval = "1h"\n')
    data = good("schedule", "-w", folder)
    line = run("schedule", "-w", folder).out
    assert data == {
        "kind": "cron",
        "action": "print",
        "changed": False,
        "when": data["when"],
        "command": [
            str(Path(sys.executable).parent / "cryptocast"),
            *("forecast", "--once", "--quiet", "--workspace", str(folder)),
        ],
        "log": f"{folder}/logs/schedule.log",
        "texts": [{"place": "crontab", "text": line}],
        "variables": [],
    }
    assert line.startswith(data["when"] + " ")
    assert data["when"].endswith(" * * * *")
    assert good("schedule", "--kind", "systemd", "-w", folder)["when"] == "*-*-* *:00:00 UTC"
    assert good("schedule", "--kind", "launchd", "-w", folder)["when"] == "every 1h"


def test_the_units_are_printed_with_the_files_that_they_belong_into(
    machine: Machine, tmp_path: Path
) -> None:
    folder = made(tmp_path)
    done = run("schedule", "--kind", "systemd", "-w", folder)
    unit = machine.units / unique_name(folder)
    first, second = done.out.split("\n\n# /")
    assert first.startswith(f"# {unit}.service\n# cryptocast: {folder}\n[Unit]\n")
    assert ("/" + second).startswith(f"{unit}.timer\n# cryptocast: {folder}\n[Unit]\n")
    plist = run("schedule", "--kind", "launchd", "-w", folder).out
    assert plist.startswith("<?xml")
    assert "\t<key>Label</key>" in plist
    assert not machine.units.exists()


@pytest.mark.parametrize("called", ["btc", "two words", '100% it\'s "ö" \\ ₿'])
@pytest.mark.parametrize("foreign", [b"", FOREIGN])
def test_cron_gets_the_line_once_and_loses_it_again(
    machine: Machine, tmp_path: Path, foreign: bytes, called: str
) -> None:
    folder, other = made(tmp_path, called=called, logs=False), made(tmp_path, called="other")
    if foreign:
        machine.table.write_bytes(foreign)
    line = run("schedule", "-w", folder).out.encode()
    first = good("schedule", "--install", "-w", folder)
    assert (first["action"], first["changed"]) == ("install", True)
    assert machine.calls() == ["-l", "-"]
    assert machine.table.read_bytes() == foreign + line
    assert (folder / "logs").is_dir()
    assert good("schedule", "--install", "-w", folder)["changed"] is False
    assert machine.calls() == ["-l"]
    good("schedule", "--install", "-w", other)
    assert machine.table.read_bytes().startswith(foreign + line)
    assert len(machine.lines()) == foreign.count(b"\n") + 2
    gone = good("schedule", "--remove", "-w", folder)
    assert gone == {"kind": "cron", "action": "remove", "changed": True}
    assert good("schedule", "--remove", "-w", folder)["changed"] is False
    good("schedule", "--remove", "-w", other)
    assert machine.table.read_bytes() == foreign


def test_another_interval_takes_the_place_of_the_line_before(
    machine: Machine, tmp_path: Path
) -> None:
    folder = made(tmp_path)
    good("schedule", "--install", "-w", folder)
    machine.table.write_bytes(machine.table.read_bytes() + FOREIGN)
    (folder / "cryptocast.toml").write_text('[market]\ninterval = "15m"\n')
    assert good("schedule", "--install", "-w", folder)["changed"] is True
    assert machine.lines()[0].startswith(b"*/15 * * * * ")
    assert machine.table.read_bytes().split(b"\n", 1)[1] == FOREIGN


def test_a_last_line_without_an_end_gets_one(machine: Machine, tmp_path: Path) -> None:
    folder = made(tmp_path)
    machine.table.write_bytes(b"0 0 * * * /bin/true")
    good("schedule", "--install", "-w", folder)
    assert machine.lines()[0] == b"0 0 * * * /bin/true"
    assert len(machine.lines()) == 2


def test_a_person_is_told_what_was_done(machine: Machine, tmp_path: Path) -> None:
    folder = made(tmp_path)
    options = ("schedule", "-w", folder)
    assert run(*options, "--install").out == "installed in cron (*/5 * * * *): crontab\n"
    assert run(*options, "--install").out == "is already in cron (*/5 * * * *): crontab\n"
    assert run(*options, "--remove").out == f"{folder} removed from cron\n"
    assert run(*options, "--remove").out == f"{folder} was not in cron\n"
    told = run(*options, "--install", "--kind", "systemd").out.splitlines()
    assert told[0].startswith(f"installed in systemd (*-*-* *:00/5:00 UTC): {machine.units}/")
    assert told[1:] == ["It runs while you are logged in; to run it always: loginctl enable-linger"]
    assert run(*options, "--remove", "--kind", "systemd", "-q").out == ""


def test_systemd_gets_both_files_once_and_loses_them_again(
    machine: Machine, tmp_path: Path
) -> None:
    folder, other = made(tmp_path, called="100% 'ö'"), made(tmp_path, called="other")
    options = ("schedule", "--kind", "systemd", "-w")
    timer = f"{unique_name(folder)}.timer"
    data = good(*options, folder, "--install")
    assert data["changed"] is True
    for text in data["texts"]:
        assert Path(text["place"]).read_text(encoding="utf-8") == text["text"]
    on = ["--user show --property=Version", "--user daemon-reload"]
    on += [f"--user enable --now {timer}", f"--user restart {timer}"]
    assert machine.calls() == on
    assert good(*options, folder, "--install")["changed"] is False
    assert machine.calls() == [on[0], on[2]]
    good(*options, other, "--install")
    assert len(list(machine.units.iterdir())) == 4
    machine.calls()
    assert good(*options, folder, "--remove")["changed"] is True
    assert machine.calls() == [on[0], f"--user disable --now {timer}", on[1]]
    assert good(*options, folder, "--remove")["changed"] is False
    assert {file.stem for file in machine.units.iterdir()} == {unique_name(other)}


def test_a_workspace_that_is_gone_can_still_be_removed(machine: Machine, tmp_path: Path) -> None:
    folder = made(tmp_path)
    good("schedule", "--install", "-w", folder)
    for file in ("cryptocast.toml", "logs"):
        (folder / file).rename(tmp_path / file)
    folder.rmdir()
    assert good("schedule", "--remove", "-w", folder)["changed"] is True
    assert machine.lines() == []


HINTS = {
    "cron": "cryptocast schedule --kind systemd --install, or cryptocast serve-loop",
    "systemd": "cryptocast schedule --kind cron --install, or cryptocast serve-loop",
}
PROGRAMS = {"cron": "crontab", "systemd": "systemctl"}


@pytest.mark.parametrize("kind", HINTS)
@pytest.mark.parametrize("option", ["--install", "--remove"])
def test_a_machine_without_the_program_is_told_with_the_other_way(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, option: str
) -> None:
    folder = made(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run("schedule", option, "--kind", kind, "-w", folder, "--json")
    refused(done, f"there is no program '{PROGRAMS[kind]}' on this machine", HINTS[kind])
    assert done.error["code"] == "usage.scheduler"
    assert run("schedule", "--kind", kind, "-w", folder).code == 0  # printing needs none


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("cron", "crontab -l failed: You are not allowed to use this program"),
        ("systemd", "systemctl --user show --property=Version failed: "
         "Failed to connect to bus: No medium found"),
    ],
)  # fmt: skip
def test_a_scheduler_that_refuses_is_told_and_nothing_is_left(
    machine: Machine, tmp_path: Path, kind: str, message: str
) -> None:
    folder = made(tmp_path)
    (machine.folder / "refuses").touch()
    done = run("schedule", "--install", "--kind", kind, "-w", folder, "--json")
    refused(done, message, HINTS[kind])
    assert not machine.units.exists()
    assert not machine.table.exists()


def test_units_that_cannot_be_written_are_told(machine: Machine, tmp_path: Path) -> None:
    folder = made(tmp_path)
    machine.units.parent.mkdir(parents=True)
    machine.units.touch()  # a file where the folder belongs
    done = run("schedule", "--install", "--kind", "systemd", "-w", folder, "--json")
    service = machine.units / f"{unique_name(folder)}.service"
    refused(done, f"{service} cannot be written: File exists", HINTS["systemd"])


def test_launchd_is_put_in_place_by_hand(machine: Machine, tmp_path: Path) -> None:
    folder = made(tmp_path)
    file = f"~/Library/LaunchAgents/{unique_name(folder)}.plist"
    options = ("schedule", "--kind", "launchd", "-w", folder, "--json")
    refused(
        run(*options, "--install"),
        "the property list for launchd is printed, not installed",
        f"cryptocast schedule --kind launchd > {file}; launchctl bootstrap gui/$UID {file}",
    )
    refused(
        run(*options, "--remove"),
        "the property list for launchd is printed, not removed",
        f"launchctl bootout gui/$UID {file}; rm {file}",
    )


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (("--install", "--remove"), "--install and --remove exclude each other",
         "cryptocast schedule --install"),
        (("--kind", "crn"), "there is no scheduler 'crn'",
         "did you mean 'cron'? known: cron, launchd, prefect, systemd"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(
    machine: Machine, tmp_path: Path, options: Sequence[str], message: str, hint: str
) -> None:
    refused(run("schedule", *options, "-w", made(tmp_path), "--json"), message, hint)


def test_outside_a_workspace_there_is_nothing_to_schedule(machine: Machine, tmp_path: Path) -> None:
    done = run("schedule", "-w", tmp_path / "w", "--json")
    assert (done.code, done.error["code"]) == (3, "state.no_workspace")


def test_variables_that_a_scheduled_tick_would_miss_are_named_and_never_their_values(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(tmp_path, text='[[source.fallback]]\nname = "coincap"\n')
    file = folder / ".env"
    options = ("schedule", "-w", folder)
    assert run(*options).err == f"warning: COINCAP_API_KEY is not set: write it into {file}\n"
    monkeypatch.setenv("COINCAP_API_KEY", "s3cret")
    monkeypatch.setenv("CRYPTOCAST_MARKET__INTERVAL", "15m")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:s3cret@proxy")
    seen = "is set in this shell only, and a scheduled tick does not see it: write it into"
    done = run(*options, "--json")
    assert done.err.splitlines() == [
        f"warning: COINCAP_API_KEY {seen} {file}",
        f"warning: CRYPTOCAST_MARKET__INTERVAL {seen} {file}",
        "warning: HTTPS_PROXY is set in this shell only: set it for cron too",
    ]
    assert done.data["variables"] == [
        {"name": "COINCAP_API_KEY", "found": "shell"},
        {"name": "CRYPTOCAST_MARKET__INTERVAL", "found": "shell"},
        {"name": "HTTPS_PROXY", "found": "shell"},
    ]
    file.write_text("COINCAP_API_KEY=s3cret\nCRYPTOCAST_MARKET__INTERVAL=15m\n")
    monkeypatch.delenv("HTTPS_PROXY")
    monkeypatch.delenv("CRYPTOCAST_MARKET__INTERVAL")
    settled = [run(*options, "--kind", kind) for kind in ("cron", "systemd", "launchd")]
    assert [told.err for told in settled] == ["", "", ""]
    assert settled[0].out.startswith("*/15 ")
    found = good(*options)["variables"]
    assert found == [{"name": "COINCAP_API_KEY", "found": ".env"}]
    for told in (done, *settled):
        assert "s3cret" not in told.out + told.err + json.dumps(found)


def test_a_missing_folder_for_the_log_is_told(machine: Machine, tmp_path: Path) -> None:
    folder = made(tmp_path, logs=False)
    done = run("schedule", "-w", folder)
    assert done.err == f"warning: {folder}/logs is missing: make that folder first\n"
    assert run("schedule", "--install", "-w", folder).err == ""


def test_a_folder_for_the_log_that_cannot_be_made_is_told(machine: Machine, tmp_path: Path) -> None:
    folder = made(tmp_path, logs=False)
    (folder / "logs").touch()
    done = run("schedule", "--install", "-w", folder, "--json")
    hint = "give the user that runs cryptocast the right to write there"
    refused(done, f"{folder}/logs cannot be created: File exists", hint)


def test_a_python_without_the_program_beside_it_is_run_as_a_module(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    command = good("schedule", "-w", made(tmp_path))["command"]
    assert command[:3] == [str(tmp_path / "python3"), "-m", "cryptocast"]


def test_make_cron_prints_what_schedule_prints() -> None:
    done = subprocess.run(
        [
            "make",
            "--no-print-directory",
            "-n",
            "-o",
            ".venv/.installed",
            "cron",
            "WORKSPACE=my btc",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ".venv/bin/cryptocast schedule -w 'my btc'\n"


@pytest.mark.parametrize("kind", ["cron", "systemd"])
def test_a_scheduler_keeps_what_packages_must_promise_too(
    kind: str, machine: Machine, tmp_path: Path
) -> None:
    tick = ("/bin/true", "forecast", "--once")
    plan = Plan(tmp_path / "w", tick, tmp_path / "log", "5m", frozenset({0}))
    check_scheduler(schedulers.get(kind), plan)
