"""A model kind of an installed package lives as ours do, from the search to a served forecast."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from cryptocast import models
from cryptocast.cli import tune
from cryptocast.testing import check_model
from support.commands import AS_OF, NEXT, good, query, run
from support.distributions import install, plugins_may_change  # noqa: F401 - a fixture

EXAMPLE = Path(__file__).parents[1] / "boosted"
MODULE = "cryptocast_boosted"
SIM = ("--source", "sim", "--symbol", "BTC/EUR", "--trials", "2", "--as-of", AS_OF)
SMALL = {
    "DATA__DAYS": "2",
    "DATA__GATE_BARS": "60",
    "DATA__VALIDATION_BARS": "60",
    "MODEL__HORIZON": "3",
    "MODEL__LEVELS": "[0.25, 0.5, 0.75]",
}


@pytest.fixture
def boosted(
    tmp_path: Path,
    plugins_may_change: None,  # noqa: F811 - the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The example package is installed, and its default is a few trees."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    install(tmp_path, project["name"], project["entry-points"])
    monkeypatch.syspath_prepend(EXAMPLE)
    monkeypatch.setenv("CRYPTOCAST_MODEL__KIND", "boosted")


def test_a_model_of_a_package_is_tuned_logged_gated_and_served(
    boosted: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "boosted" in tune.kinds()
    assert MODULE not in sys.modules
    for name, value in SMALL.items():
        monkeypatch.setenv(f"CRYPTOCAST_{name}", value)
    w = tmp_path / "w"
    data = good("init", "-w", w, *SIM)
    assert data["tuning"]["trials"] == 2
    assert set(data["tuning"]["best"]) == {"trees", "depth", "learning_rate"}
    version = next(s["version"] for s in data["scores"] if s["model"] == "boosted")
    assert version in [candidate["version"] for candidate in data["candidates"]]
    logged = {v["version"]: v for v in good("models", "-w", w)["versions"]}
    assert logged[version]["kind"] == "boosted"
    force = ("--force", "--reason", "to see it serve", "--as-of", AS_OF)
    good("promote", version, "-w", w, *force)
    del sys.modules[MODULE]
    good("forecast", "--once", "-w", w, "--as-of", NEXT)
    assert MODULE not in sys.modules  # a tick needs the graph alone
    served = query(w, "SELECT model_version, model_kind FROM forecast_sets")
    assert served == [(version, "boosted")]


def test_the_example_keeps_what_packages_must_promise(boosted: None) -> None:
    check_model(models.get("boosted"), {"trees": 4})


def test_a_setting_that_names_a_missing_plugin_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cryptocast.toml").touch()
    monkeypatch.setenv("CRYPTOCAST_MODEL__KIND", "boosted")
    done = run("status", "-w", tmp_path, "--as-of", NEXT, "--json")
    assert done.code == 2
    assert done.error["message"] == "there is no model 'boosted', named in model.kind"
