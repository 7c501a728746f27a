"""The order in which a pipeline's versions are put before the gate."""

from __future__ import annotations

from typing import Any

from cryptocast.evaluation import Verdict
from cryptocast.registry import SELECTION, RegisteredVersion
from cryptocast.workflows.learning import selection


def versions(**skills: float) -> list[RegisteredVersion]:
    empty: dict[str, Any] = {"aliases": (), "params": {}, "description": ""}
    return [
        RegisteredVersion(
            version=str(number),
            kind="base" if role == "base" else "lstm",
            run_id="",
            created_at=0,
            metrics={SELECTION: 1 - skill},
            tags={selection.ROLE: role.replace("_", "-")},
            **empty,
        )
        for number, (role, skill) in enumerate(skills.items(), start=1)
    ]


def test_a_version_that_scores_as_the_base_to_the_last_bit_learned_nothing_new() -> None:
    same = versions(base=0.0071, fine_tuned=0.0071, scratch=0.009)
    assert selection._same_as_base(same) == [same[1]]
    assert selection._same_as_base(versions(base=0.0071, fine_tuned=0.0072)) == []
    assert selection._same_as_base(versions(base=0.0071, scratch=0.0071)) == []


def test_a_refusal_names_the_version_and_says_once_that_nothing_new_was_learned() -> None:
    fine_tuned, scratch = versions(fine_tuned=0.0, scratch=0.0)
    nothing = Verdict(False, selection.NOTHING_NEW)
    assert (
        selection._refusal(fine_tuned, nothing)
        == "the fine-tuned lstm learned nothing new from your candles"
    )
    assert (
        selection._refusal(scratch, Verdict(False, "no"))
        == "the scratch lstm of version 2 is not promoted: no"
    )
    reasons = ["the fine-tuned lstm learned nothing new from your candles", "worse here", "older"]
    assert selection._told(reasons) == "; ".join([*reasons[1:], reasons[0]])
