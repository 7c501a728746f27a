"""The skill that a version promised: one figure, whichever screen shows it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from cryptocast.store import Store, as_json
from cryptocast.values import Deployment, iso
from cryptocast.workflows.learning.deployment import promised_skill
from cryptocast.workflows.report import gather
from support.commands import NOW, good
from support.ticks import BTC, at, origin, ticked


def gate(*skills: float | None) -> str:
    named = zip(("the random walk", "production version 1"), skills, strict=False)
    return json.dumps({"gate": [{"opponent": o, "shrunken": s} for o, s in named]})


def deployed(number: int, version: str, scores: str, market: str = "*") -> Deployment:
    return Deployment(number, 0.0, market, version, None, "promote", "x", scores)


def promises(*rows: Deployment) -> list[float | None]:
    return [promised_skill(row, rows) for row in rows]


def test_it_is_the_gates_figure_for_the_version_that_was_deployed() -> None:
    first, second = deployed(1, "1", gate(0.01, 0.5)), deployed(2, "2", gate(0.02))
    back = deployed(3, "1", '{"gate": []}')  # a roll-back compares nothing
    assert promises(first, second, back) == [0.01, 0.02, 0.01]


def test_a_later_comparison_of_the_same_version_counts_from_then_on() -> None:
    rows = [deployed(1, "1", gate(0.01)), deployed(2, "1", gate(0.03)), deployed(3, "1", "{}")]
    assert promises(*rows) == [0.01, 0.03, 0.03]


def test_a_version_that_was_never_compared_has_none() -> None:
    assert promises(deployed(1, "1", "{}")) == [None]
    assert promises(deployed(1, "1", gate(None))) == [None]
    assert promises(deployed(1, "1", gate(0.1)), deployed(2, "2", "{}")) == [0.1, None]


def test_a_comparison_for_another_market_says_nothing_of_this_one() -> None:
    rows = [
        deployed(1, "1", gate(0.01), "file:ETH/EUR:5m"),
        deployed(2, "1", "{}", BTC.id),
        deployed(3, "1", "{}"),
        deployed(4, "1", gate(0.02)),
        deployed(5, "1", "{}", BTC.id),
    ]
    assert promises(*rows) == [0.01, None, None, 0.02, 0.02]


@pytest.mark.parametrize(
    "scores",
    ["null", "[]", '{"gate": [{}]}', '{"gate": 1}', "no JSON", "", gate(float("nan"))],
)
def test_figures_that_cannot_be_read_are_none(scores: str) -> None:
    first = deployed(1, "1", gate(0.012))
    assert promises(first) == [0.012]
    assert promises(dataclasses.replace(first, scores=scores)) == [None]


@pytest.mark.parametrize("prior", [None, 0.02])
@pytest.mark.parametrize("n", [0, 300])
def test_status_monitor_and_report_show_the_same_figure(
    w: Path, prior: float | None, n: int
) -> None:
    walk = {"opponent": "the random walk", "skill": 0.05, "shrunken": 0.0123, "n": n}
    other = {"opponent": "production version 1", "skill": 0.5, "shrunken": 0.4, "n": n}
    scores = {"gate": [{**comparison, "prior": prior} for comparison in (other, walk)]}
    with Store(w / "cryptocast.duckdb", 60).write() as writer:
        row = Deployment(0, NOW, "*", "2", "1", "promote", "x", as_json(scores))
        writer.put_deployment(row)
    ticked(w, 1)
    now = ("-w", w, "--as-of", iso(origin(3)))
    shown: dict[str, Any] = {"status": good("status", *now)["production"]["promised_skill"]}
    for row in good("monitor", *now)["windows"]:
        shown[f"monitor {row['window']}"] = row["promised_skill"]
    with at(w, 3) as ws:
        facts = gather(ws, 30)
    shown["report"] = facts.promised[facts.productions[0].id]
    assert list(shown) == ["status", "monitor 2h", "monitor day", "monitor week", "report"]
    assert set(shown.values()) == {0.0123}
