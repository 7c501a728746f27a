"""A version's score on the test part: averaged over markets, kept in its tags, read back."""

from __future__ import annotations

from typing import Any

import pytest

from cryptocast.workflows.learning.versions import VersionScore


def row(step: int | str = "all", **figures: Any) -> dict[str, Any]:
    usual = {"crps_bp": 4.0, "skill_vs_random_walk": 0.01, "n": 24, "p_value": 0.25}
    return {"version": "2", "step": step, **usual, **figures}


def test_a_score_is_the_mean_over_the_markets_with_the_greatest_p_value() -> None:
    rows = [
        row(),
        row(crps_bp=6.0, skill_vs_random_walk=0.03, n=12, p_value=0.5),
        row(step=1, crps_bp=99.0),
        row(n=0, crps_bp=99.0),
        row(skill_vs_random_walk=None, crps_bp=99.0),
    ]
    assert VersionScore.of_rows(rows) == VersionScore(5.0, pytest.approx(0.02), 36, 0.5)


@pytest.mark.parametrize("rows", [[], [row(n=0)], [row(step=3)]])
def test_a_version_without_a_scored_row_has_no_score(rows: list[dict[str, Any]]) -> None:
    assert VersionScore.of_rows(rows) is None


@pytest.mark.parametrize("p_value", [0.25, None])
def test_a_score_is_read_back_from_its_tags(p_value: float | None) -> None:
    score = VersionScore.of_rows([row(p_value=p_value)])
    assert score is not None
    assert VersionScore.of_tags(score.tags) == score
    assert VersionScore.of_tags({"kind": "lstm"}) is None


def test_tags_of_an_older_cryptocast_lack_the_count_and_the_p_value() -> None:
    tags = {"test.crps_bp": "4", "test.skill": "0.01"}
    assert VersionScore.of_tags(tags) == VersionScore(4.0, 0.01, None, None)


def test_a_score_in_words_says_how_many_pairs_it_rests_on() -> None:
    assert VersionScore(4.0, -0.0123, 1234, 0.456).text == (
        "CRPS 4.000 bp, skill against the random walk -1.23% (n = 1,234, p = 0.46)"
    )
    assert VersionScore(4.0, 0.01, 24, None).text.endswith("+1.00% (n = 24)")
