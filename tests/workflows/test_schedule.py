"""schedule as a notebook would use it: a frozen report, by the machine's own time zone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cryptocast.workflows import schedule
from cryptocast.workspace import Workspace


@pytest.fixture
def nepal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clocks are 5:45 h ahead of UTC."""
    monkeypatch.setenv("TZ", "NPT-5:45")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_cron_goes_by_the_local_time_and_systemd_by_utc(nepal: None, tmp_path: Path) -> None:
    (tmp_path / "cryptocast.toml").write_text('[market]\ninterval = "12h"\n')
    with Workspace.open(tmp_path, environ={}) as ws:
        found = schedule.schedule(ws, "cron")
        assert found.when == "45 5,17 * * *"
        assert schedule.schedule(ws, "systemd").when == "*-*-* 00/12:00:00 UTC"
    assert found.log == tmp_path / "logs" / "schedule.log"
    assert (found.kind, found.changed) == ("cron", False)
    assert [text.place for text in found.texts] == ["crontab"]
