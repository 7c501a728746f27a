"""What cron, systemd and launchd are given to read, read as they read it."""

from __future__ import annotations

import os
import plistlib
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from cryptocast import schedulers
from cryptocast.errors import ConfigError, UsageError
from cryptocast.schedulers import Plan, cron, launchd, mark, systemd, unique_name
from cryptocast.values import INTERVAL_SECONDS

HOUR = 3600
EXAMPLES = ("crontab", "cryptocast.service", "cryptocast.timer", "cryptocast.plist")
ZONES = {
    "UTC": frozenset({0}),
    "Berlin": frozenset({HOUR, 2 * HOUR}),
    "Kathmandu": frozenset({5 * HOUR + 45 * 60}),
    "Lord Howe": frozenset({10 * HOUR + 1800, 11 * HOUR}),
    "St. John's": frozenset({-3 * HOUR - 1800, -2 * HOUR - 1800}),
}
NAMES = (
    "plain", "two words", "100%", "it's", 'say "x"', "$HOME `id` $(id)", "Börse ₿", "a\\b",
    "a\\\\%", "\\%\\", "x # cryptocast: /y", "{workspace}", "~", "*", "%i %% %", "-w", "a;b&c|d>e",
)  # fmt: skip


def plan(
    workspace: Path = Path("/srv/btc"), interval: str = "5m", zone: str = "UTC", run: str = "/x/run"
) -> Plan:
    command = (run, "forecast", "--once", "--quiet", "--workspace", str(workspace))
    return Plan(workspace, command, workspace / "logs" / "schedule.log", interval, ZONES[zone])


def moments(expression: str) -> set[int]:
    """The minutes of a day at which five fields of cron fire."""
    minute, hour, *rest = expression.split(" ")
    assert rest == ["*", "*", "*"]

    def held(text: str, size: int) -> set[int]:
        if text.startswith("*"):
            return set(range(0, size, int(text[2:] or 1)))
        return {int(value) for value in text.split(",")}

    return {60 * h + m for h in held(hour, 24) for m in held(minute, 60)}


def as_cron_runs(line: str, *, vixie: bool) -> str:
    """The command that cron gives to the shell; Vixie's cron takes `\\\\` for one backslash."""
    command, read = line.split(" ", 5)[5], ""
    escaped = False
    for character in command:
        if escaped and (character == "%" or (vixie and character == "\\")):
            read, escaped = read[:-1] + character, False
            continue
        assert escaped or character != "%", "cron would end the command here"
        escaped = not escaped and character == "\\"
        read += character
    return read


@pytest.mark.parametrize(
    ("interval", "fields"),
    [
        ("1m", "* * * * *"), ("5m", "*/5 * * * *"), ("15m", "*/15 * * * *"),
        ("30m", "*/30 * * * *"), ("1h", "0 * * * *"), ("2h", "0 */2 * * *"),
        ("6h", "0 */6 * * *"), ("12h", "0 */12 * * *"), ("1d", "0 0 * * *"),
    ],
)  # fmt: skip
def test_each_interval_has_its_fields(interval: str, fields: str) -> None:
    assert cron.when(plan(interval=interval)) == fields


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("interval", INTERVAL_SECONDS)
def test_cron_fires_at_each_close_wherever_the_machine_stands(interval: str, zone: str) -> None:
    fired = moments(cron.when(plan(interval=interval, zone=zone)))
    every = INTERVAL_SECONDS[interval] // 60
    closes = [
        {(close + offset // 60) % 1440 for close in range(0, 1440, every)} for offset in ZONES[zone]
    ]
    for there in closes:
        assert fired >= there
    # Lord Howe's clocks move by half an hour: only there the hours and minutes of both mix.
    if zone != "Lord Howe":
        assert fired == set().union(*closes)
    assert len(fired) <= max(4 * 1440 // every, 24)


def test_hours_of_summer_and_winter_are_both_there() -> None:
    assert cron.when(plan(interval="1d", zone="Berlin")) == "0 1,2 * * *"
    assert cron.when(plan(interval="1h", zone="Kathmandu")) == "45 * * * *"
    assert cron.when(plan(interval="30m", zone="Kathmandu")) == "15,45 * * * *"


def test_the_crontab_line_is_one_line_with_absolute_paths_and_its_mark() -> None:
    (text,) = cron.texts(plan())
    assert text.place == "crontab"
    assert text.text == (
        "*/5 * * * * /x/run forecast --once --quiet --workspace /srv/btc "
        ">> /srv/btc/logs/schedule.log 2>&1 # cryptocast: /srv/btc\n"
    )


@pytest.mark.parametrize("folder", NAMES)
@pytest.mark.parametrize("vixie", [True, False])
def test_a_shell_under_cron_runs_the_same_words(tmp_path: Path, folder: str, vixie: bool) -> None:
    workspace = tmp_path / folder
    (workspace / "logs").mkdir(parents=True)
    program = workspace / "run"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    made = plan(workspace, run=str(program))
    line = cron.texts(made)[0].text
    assert line.count("\n") == 1
    done = subprocess.run(
        ["/bin/sh", "-c", as_cron_runs(line.rstrip("\n"), vixie=vixie)],
        capture_output=True,
        check=True,
        cwd=tmp_path,
    )
    assert (done.stdout, done.stderr) == (b"", b"")
    assert made.log.read_text(encoding="utf-8").splitlines() == list(made.command[1:])


def test_no_mark_is_the_end_of_the_mark_of_another() -> None:
    folders = [f"/{name}" for name in NAMES]
    folders += ["/b", "/a # cryptocast: /b", "/a # cryptocast: '/x y'", "/x y", "/a '/x y'"]
    marks = {folder: " " + mark(Path(folder)) for folder in folders}
    for folder, own in marks.items():
        assert [f for f, other in marks.items() if other.endswith(own)] == [folder]


def test_a_line_that_cron_would_cut_is_refused() -> None:
    workspace = Path("/" + "/".join(["x" * 200] * 2))
    with pytest.raises(UsageError, match="would be too long for cron") as refused:
        cron.texts(plan(workspace))
    assert refused.value.hint == "cryptocast schedule --kind systemd"


@pytest.mark.parametrize("folder", ["/a\nb", "/a\rb", "/a\x00b", "/a\x1bb", "/a\udcffb"])
def test_a_folder_that_no_line_can_name_is_refused(folder: str) -> None:
    with pytest.raises(UsageError, match="cannot be scheduled") as refused:
        schedulers.checked(Path(folder))
    assert refused.value.hint == "rename the folder, or cryptocast serve-loop"
    assert "\n" not in refused.value.message


def test_units_have_names_of_their_own_that_a_file_system_takes() -> None:
    names = [unique_name(Path(f"/{folder}")) for folder in NAMES]
    assert len(set(names)) == len(names)
    for unit in names:
        assert unit.startswith("cryptocast-")
        assert set(unit) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert unique_name(Path("/srv/btc")) != unique_name(Path("/home/btc"))


def test_the_service_and_the_timer_are_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/cfg")
    service, timer = systemd.texts(plan())
    unit = unique_name(Path("/srv/btc"))
    assert service.place == f"/cfg/systemd/user/{unit}.service"
    assert timer.place == f"/cfg/systemd/user/{unit}.timer"
    assert service.text == (
        "# cryptocast: /srv/btc\n[Unit]\n"
        "Description=A forecast of /srv/btc by cryptocast\n\n[Service]\nType=oneshot\n"
        'ExecStart=:"/x/run" "forecast" "--once" "--quiet" "--workspace" "/srv/btc"\n'
        "StandardOutput=append:/srv/btc/logs/schedule.log\nStandardError=inherit\n"
        "TimeoutStartSec=300\n"
    )
    assert timer.text == (
        "# cryptocast: /srv/btc\n[Unit]\n"
        "Description=Forecasts of /srv/btc by cryptocast, after each close\n\n[Timer]\n"
        "OnCalendar=*-*-* *:00/5:00 UTC\nAccuracySec=1s\n\n[Install]\nWantedBy=timers.target\n"
    )


def verify(folder: Path, made: Plan) -> tuple[int, str]:
    """What systemd's own reader says of both units."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not on this machine")
    files = []
    for text in systemd.texts(made):
        files.append(folder / Path(text.place).name)
        files[-1].write_text(text.text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", *files],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_RUNTIME_DIR": str(folder)},
    )
    if "bus" in done.stderr or "initialize manager" in done.stderr:
        pytest.skip(f"systemd-analyze does not run here: {done.stderr.splitlines()[0]}")
    return done.returncode, done.stderr


@pytest.mark.parametrize("interval", INTERVAL_SECONDS)
def test_systemd_reads_the_units_of_each_interval(tmp_path: Path, interval: str) -> None:
    assert verify(tmp_path, plan(tmp_path, interval, run="/bin/true")) == (0, "")


@pytest.mark.parametrize("folder", NAMES)
def test_systemd_finds_the_program_in_any_folder(tmp_path: Path, folder: str) -> None:
    program = tmp_path / folder / "run"
    program.parent.mkdir(parents=True)
    shutil.copy("/bin/true", program)
    made = plan(program.parent, run=str(program))
    if set(folder) & set("'\"\\"):
        with pytest.raises(UsageError, match="systemd does not start a program named") as refused:
            systemd.texts(made)
        assert refused.value.hint.startswith("cryptocast schedule --kind cron --install")
        made = plan(program.parent, run="/bin/true")  # the workspace itself may be called so
    assert verify(tmp_path, made) == (0, "")


@pytest.mark.parametrize("folder", NAMES)
def test_launchd_reads_the_same_words(folder: str) -> None:
    made = plan(Path("/srv") / folder)
    (text,) = launchd.texts(made)
    read = plistlib.loads(text.text.encode())
    assert read["ProgramArguments"] == list(made.command)
    assert read["StandardOutPath"] == read["StandardErrorPath"] == str(made.log)
    assert text.place == f"~/Library/LaunchAgents/{read['Label']}.plist"


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("interval", INTERVAL_SECONDS)
def test_launchd_fires_when_cron_does(interval: str, zone: str) -> None:
    made = plan(interval=interval, zone=zone)
    entries = plistlib.loads(launchd.texts(made)[0].text.encode())["StartCalendarInterval"]
    fired = {
        60 * hour + minute
        for entry in entries
        for hour in ([entry["Hour"]] if "Hour" in entry else range(24))
        for minute in ([entry["Minute"]] if "Minute" in entry else range(60))
    }
    assert fired == moments(cron.when(made))


def test_an_unknown_scheduler_is_told_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="there is no scheduler 'atd'") as refused:
        schedulers.get("atd")
    assert refused.value.hint == "known: cron, launchd, prefect, systemd"


def test_the_examples_in_configs_are_what_is_printed() -> None:
    folder = Path(__file__).parents[2] / "configs"
    made = plan(run="/opt/cryptocast/bin/cryptocast")
    texts = [*cron.texts(made), *systemd.texts(made), *launchd.texts(made)]
    for file, text in zip(EXAMPLES, texts, strict=True):
        assert (folder / file).read_text(encoding="utf-8") == text.text
