"""Where a workspace's models start: at the network that knows other markets, or at nothing."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cryptocast import Workspace, bundles, models
from cryptocast.cli.models import _row
from cryptocast.cli.root.hints import as_typed
from cryptocast.values import iso
from cryptocast.workflows.learning.selection import NOTHING_NEW
from cryptocast.workflows.models import models as list_versions
from support.commands import AS_OF, Made, as_in_a_test, good, query, run

# The simulated exchange of 2026: no week of it was there when the shipped networks were trained.
LATER, NEXT = "2026-03-01T00:00:00Z", "2026-03-01T00:05:00Z"
SIM = ("--source", "sim", "--symbol", "BTC/EUR", "--trials", "0", "--as-of", LATER)
HOURS = (*SIM, "--days", "0.125")
TINY = {
    "DATA__DAYS": "2",
    "DATA__TEST_BARS": "24",
    "DATA__GATE_BARS": "60",
    "DATA__VALIDATION_BARS": "60",
}
SHIPPED = bundles.load(models.base_folder("5m")).card
SKILL = f"{(SHIPPED.evidence or {})['skill']:+.2%}"
OVERLAP = (
    f"the base network learned from candles of {iso(SHIPPED.data_start)} to "
    f"{iso(SHIPPED.data_end)}, these weeks among them"
)

Copy = Callable[[tuple[Path, dict[str, Any]]], Path]


def begun(folder: Path, *options: str | Path, **settings: str) -> tuple[Path, dict[str, Any]]:
    """A new workspace outside of any test, and what `init` said; settings as `MODEL__HORIZON`."""
    with as_in_a_test() as patch:
        for name in [n for n in os.environ if n.startswith(("CRYPTOCAST_", "MLFLOW_TR"))]:
            patch.delenv(name)
        setting(patch, settings)
        return folder, good("init", "-w", folder, *options)


def setting(patch: pytest.MonkeyPatch, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        patch.setenv(f"CRYPTOCAST_{name}", value)


@pytest.fixture(scope="module")
def hours(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Three hours of candles. Not to be written to: copy it."""
    return begun(tmp_path_factory.mktemp("hours") / "w", *HOURS)


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Two days of candles, that an LSTM can learn from; the base network is made production."""
    folder, data = begun(tmp_path_factory.mktemp("days") / "w", *SIM, **TINY)
    force = ("--force", "--reason", "to begin with", "--as-of", LATER)
    good("promote", by_role(data)["base"]["version"], "-w", folder, *force)
    return folder, data


@pytest.fixture
def own(tmp_path: Path) -> Copy:
    """Copies of such a workspace."""
    return lambda made: Path(shutil.copytree(made[0], tmp_path / "w"))


def by_role(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {candidate["role"]: candidate for candidate in data["candidates"]}


def listed(folder: Path) -> dict[str, dict[str, Any]]:
    return {v["version"]: v for v in good("models", "-w", folder)["versions"]}


def at_next(*arguments: str | Path) -> dict[str, Any]:
    return good(*arguments, "--as-of", NEXT)


# Three hours: nothing can be trained.


def test_three_hours_of_candles_promote_the_base_network(
    hours: tuple[Path, dict[str, Any]],
) -> None:
    folder, data = hours
    roles = by_role(data)
    assert set(roles) == {"base", "random_walk"}
    assert (data["no_base"], data["tuning"]["trials"]) == (None, 0)
    chosen = data["decision"]
    assert (chosen["promoted"], chosen["model"]) == (True, "base")
    assert chosen["version"] == roles["base"]["version"]
    assert chosen["reason"].startswith("not decided here: skill ")
    assert chosen["reason"].endswith(
        " against the random walk on only 15 origins, 24 are needed; serves because it was "
        f"{SKILL} on candles that it had not learned from; too few candles for the lstm: "
        "406 would suffice"
    )
    assert roles["base"]["gate"] == chosen["reason"].rpartition("; too few")[0]
    assert (roles["base"]["promoted"], roles["random_walk"]["promoted"]) == (True, None)
    assert chosen["gate"][0]["prior"] == (SHIPPED.evidence or {})["skill"]
    assert sum(part["rows"] for part in data["split"].values()) < 50
    assert len(query(folder, 'SELECT * EXCLUDE ("at", written_at) FROM deployments')) == 1


def test_the_first_tick_serves_it_and_no_fallback(
    hours: tuple[Path, dict[str, Any]], own: Copy
) -> None:
    (found,) = at_next("forecast", "--once", "-w", own(hours))["forecasts"]
    assert found["model"] == {
        "version": hours[1]["decision"]["version"],
        "kind": "base",
        "fallback": None,
    }
    assert len(found["steps"]) == 24


def test_its_card_says_that_it_learned_nothing_here_and_what_it_showed_elsewhere(
    hours: tuple[Path, dict[str, Any]],
) -> None:
    version = hours[1]["decision"]["version"]
    card = bundles.load(hours[0] / "bundles" / version).card
    assert (card.kind, dict(card.params), card.lookback) == ("base", {"network": "5m"}, 4)
    assert card.data_start == card.data_end
    assert card.evidence == SHIPPED.evidence
    assert card.markets == ("sim:BTC/EUR:5m",)


def test_from_scratch_no_base_network_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_MODEL__START", "scratch")
    data = good("init", "-w", tmp_path / "w", *HOURS)
    assert set(by_role(data)) == {"random_walk"}
    assert data["no_base"] is None
    assert (data["decision"]["model"], data["decision"]["reason"]) == (
        "random_walk",
        "too few candles for the lstm: 406 would suffice",
    )


def test_a_person_sees_the_candidates_and_the_option_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("init", "-w", "w", *HOURS, "--from", "scratch")
    assert done.code == 0, done.err
    told = " ".join(done.out.split())
    assert "Candidates: skill against the random walk" in told
    assert "serves" in told
    assert "No candidate" not in told
    assert f"Next: cryptocast forecast -w w --as-of {LATER} --once\n" in done.out
    kept = (tmp_path / "w" / "cryptocast.toml").read_text(encoding="utf-8")
    assert 'start = "scratch"' in kept
    refused = run("train", "--model", "base", "-w", tmp_path / "w", "--as-of", LATER, "--json")
    assert refused.error["code"] == "state.no_base"
    assert refused.error["message"] == "[model] start asks for no base network"
    assert refused.error["hint"].startswith("--from base, or ")


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("bse", "must be one of base, scratch, did you mean 'base'?"),
        ("har", "must be one of base, scratch"),
    ],
)
def test_another_start_is_refused(tmp_path: Path, option: str, hint: str) -> None:
    done = run("init", "-w", tmp_path / "w", *HOURS, "--from", option, "--json")
    assert done.code == 2
    assert done.error == {
        "code": "config.invalid",
        "message": f'model.start = "{option}" in the command line is not allowed',
        "hint": hint,
    }
    assert not (tmp_path / "w").exists()


def no_base(folder: Path, why: str, as_of: str = LATER) -> None:
    """To train nothing but a base network is refused for this reason."""
    done = run("train", "--model", "base", "-w", folder, "--as-of", as_of, "--json")
    assert done.code == 3
    assert done.error == {
        "code": "state.no_base",
        "message": why,
        "hint": as_typed("cryptocast train --model lstm --from scratch"),
    }


def test_an_interval_that_no_network_is_shipped_for_is_told_and_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_MARKET__INTERVAL", "30m")
    data = good("init", "-w", tmp_path / "w", *SIM, "--days", "1")
    shipped = ", ".join(models.base_intervals())
    assert data["no_base"] == f"no base network is shipped for 30m, only for {shipped}"
    assert "base" not in by_role(data)
    assert data["decision"]["model"] == "random_walk"
    no_base(tmp_path / "w", data["no_base"])


def test_the_network_knows_the_steps_of_a_whole_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_MODEL__HORIZON", "288")
    good("init", "-w", tmp_path / "w", *HOURS)
    (forecast,) = at_next("forecast", "--once", "-w", tmp_path / "w")["forecasts"]
    assert (forecast["model"]["kind"], len(forecast["steps"])) == ("base", 288)


def test_a_network_that_learned_from_these_weeks_is_no_candidate(made: Made, fresh: Path) -> None:
    assert made.data["no_base"] == OVERLAP
    assert set(by_role(made.data)) == {"random_walk", "trained"}
    no_base(fresh, OVERLAP, AS_OF)
    # Asked to start at it, the LSTM starts at nothing: the settings' wish is no demand.
    told = good("train", "--from", "base", "--params", "default", "-w", fresh, "--as-of", AS_OF)
    assert told["params"]["start_at"] == "har"


# Two days: all may stand for selection.


def test_every_start_is_a_candidate_and_the_decision_names_one(
    days: tuple[Path, dict[str, Any]],
) -> None:
    folder, data = days
    roles = by_role(data)
    assert set(roles) == {"base", "fine-tuned", "scratch", "random_walk"}
    assert data["no_base"] is None
    kinds = {role: found["model"] for role, found in roles.items()}
    assert kinds == {
        "base": "base",
        "fine-tuned": "lstm",
        "scratch": "lstm",
        "random_walk": "random_walk",
    }
    assert data["decision"]["version"] in {found["version"] for found in roles.values()}
    assert all(isinstance(found["validation_skill"], float) for found in roles.values())
    assert roles["random_walk"]["validation_skill"] == pytest.approx(0)
    versions = listed(folder)
    assert {versions[f["version"]]["tags"]["role"] for f in roles.values()} == set(roles)
    asked = [found for found in roles.values() if found["gate"] is not None]
    assert asked
    serves = next(f for f in roles.values() if f["version"] == data["decision"]["version"])
    assert serves["promoted"] is True or serves["model"] == "random_walk"
    scored = {row["version"] for row in data["scores"] if row["version"]}
    assert scored == {found["version"] for found in roles.values()}


def test_the_fine_tuned_one_started_at_the_network_and_the_other_did_not(
    days: tuple[Path, dict[str, Any]],
) -> None:
    folder, data = days
    roles = by_role(data)
    with_base, without = (
        good("train", "--repeat", roles[role]["version"], "-w", folder, "--as-of", LATER)
        for role in ("fine-tuned", "scratch")
    )
    assert with_base["params"]["start_at"] == "5m"
    assert without["params"]["start_at"] == "har"
    assert with_base["identical"]
    assert without["identical"]


@pytest.fixture
def copied(days: tuple[Path, dict[str, Any]], own: Copy) -> Path:
    """A copy whose production is the base network."""
    return own(days)


def test_train_starts_where_it_is_told(copied: Path) -> None:
    assert at_next("train", "-w", copied)["params"]["start_at"] == "5m"
    assert at_next("train", "--from", "base", "-w", copied)["params"]["start_at"] == "5m"
    assert at_next("train", "--from", "scratch", "-w", copied)["params"]["start_at"] == "har"
    plain = at_next("train", "--model", "base", "-w", copied)
    assert (plain["kind"], plain["params"], plain["epochs"]) == ("base", {"network": "5m"}, 0)


def test_the_best_parameters_of_a_study_are_used_with_whatever_start(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = at_next("tune", "--trials", "1", "-w", copied)
    assert study["best"]["start_at"] == "5m"
    assert study["study"].endswith(" from 5m")
    other = at_next("train", "--from", "scratch", "-w", copied)
    assert (other["params_from"], other["params"]["start_at"]) == ("best", "har")
    monkeypatch.setenv("CRYPTOCAST_MODEL__START", "scratch")
    study = at_next("tune", "--trials", "1", "-w", copied)
    assert study["best"]["start_at"] == "har"
    assert " from " not in study["study"]
    other = at_next("train", "--from", "base", "-w", copied)
    assert (other["params_from"], other["params"]["start_at"]) == ("best", "5m")


def test_the_base_network_is_promoted_by_hand_if_the_gate_agrees(
    days: tuple[Path, dict[str, Any]], copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk, base = (by_role(days[1])[role]["version"] for role in ("random_walk", "base"))
    force = ("--force", "--reason", "x")
    at_next("promote", walk, "-w", copied, *force)
    monkeypatch.setenv("CRYPTOCAST_GATE__LEAST_SKILL", "-1")
    monkeypatch.setenv("CRYPTOCAST_GATE__WORST_LOSS", "1")
    found = at_next("promote", base, "-w", copied)["decision"]
    assert (found["promoted"], found["model"]) == (True, "base")
    against = {c["opponent"]: c["prior"] for c in found["gate"]}
    assert against == {
        "the random walk": (SHIPPED.evidence or {})["skill"],
        f"production version {walk}": None,
    }
    monkeypatch.setenv("CRYPTOCAST_GATE__LEAST_SKILL", "0.9")
    at_next("promote", walk, "-w", copied, *force)
    refused = run("promote", base, "-w", copied, "--as-of", NEXT, "--json")
    assert (refused.code, refused.error["code"]) == (6, "gate.refused")


def test_retraining_keeps_the_base_network_where_nothing_is_better(
    days: tuple[Path, dict[str, Any]], copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, {"GATE__LEAST_SKILL": "0.9", "MODEL__KIND": "base"})  # the quickest kind
    base = by_role(days[1])["base"]["version"]
    data = at_next("retrain", "-w", copied)
    assert set(by_role(data)) == {"base", "random_walk"}
    decision = data["decision"]
    assert (decision["promoted"], decision["version"], decision["model"]) == (False, base, "base")
    last = query(copied, "SELECT model_version FROM deployments ORDER BY id DESC LIMIT 1")
    assert last == [(base,)]


# Every command on a workspace that the base network serves in.


def test_an_audit_of_the_base_network_finds_nothing_and_says_what_it_cannot_judge(
    copied: Path,
) -> None:
    done = run("audit", "--placebos", "1", "-w", copied, "--as-of", NEXT, "--json")
    assert done.code == 0, done.err
    checks = {check["name"]: check for check in done.data["checks"]}
    assert {name for name, check in checks.items() if check["status"] == "failed"} == set()
    assert checks["placebo coverage"]["status"] == "warning"
    assert checks["placebo coverage"]["detail"] == (
        "not judged: its ranges come from a base network that learned on no such walks"
    )
    assert checks["look-ahead"]["status"] == checks["tick"]["status"] == "ok"
    assert "unseen origins" in checks["bounce"]["detail"]


def test_the_base_network_cannot_be_repeated_for_it_learned_nothing_here(
    days: tuple[Path, dict[str, Any]], copied: Path
) -> None:
    base = by_role(days[1])["base"]["version"]
    done = run("train", "--repeat", base, "-w", copied, "--as-of", NEXT, "--json")
    assert done.code == 3
    assert done.error == {
        "code": "state.nothing_learned",
        "message": f"version {base} learned nothing here: it is a base network",
        "hint": "cryptocast pretrain makes one anew, from the candles of its own card",
    }


def test_every_other_command_works_where_the_base_network_serves(
    days: tuple[Path, dict[str, Any]], copied: Path
) -> None:
    base = by_role(days[1])["base"]["version"]
    (tick,) = at_next("forecast", "--once", "-w", copied)["forecasts"]
    assert tick["model"] == {"version": base, "kind": "base", "fallback": None}
    checks = at_next("doctor", "-w", copied)["checks"]
    assert {check["status"] for check in checks} == {"ok"}
    told = at_next("evaluate", "--version", base, "-w", copied)
    assert base in {row["version"] for row in told["scores"]}
    replayed = ("--start", "2026-02-28T23:30:00Z", "--end", LATER)
    assert run("replay", *replayed, "-w", copied, "--as-of", NEXT).code == 0
    served = query(copied, "SELECT DISTINCT model_version, fallback FROM forecast_sets")
    assert served == [(base, None)]
    assert listed(copied)[base]["serves"] == ["*"]
    for command in ("status", "monitor"):
        assert run(command, "-w", copied, "--as-of", NEXT).code == 0


def test_the_list_of_versions_says_what_init_said(
    days: tuple[Path, dict[str, Any]], copied: Path
) -> None:
    roles = by_role(days[1])
    lines = run("models", "-w", copied).out.splitlines()
    first = next(line for line in lines if line.split()[:1] == [roles["base"]["version"]])
    assert first.split()[3] == "-"  # it learned from none of these candles
    (base,) = (v for v in listed(copied).values() if v["kind"] == "base")
    assert base["data_start"] == base["data_end"]
    with Workspace.open(copied) as ws:
        entry = list_versions(ws).versions[0]
    same = dataclasses.replace(entry, gate="refused", gate_reason=NOTHING_NEW)
    assert _row(same)[-1] == "nothing\nnew"
