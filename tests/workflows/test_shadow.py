"""shadow: a challenger forecasts beside production, unserved."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cryptocast.cli.root.hints import as_typed
from cryptocast.store import Store
from cryptocast.values import iso
from cryptocast.workflows import forecast
from support.commands import good, run
from support.ticks import deploy, drop, origin, sets, tick_rows, ticked
from workflows.serving.test_tracks import scales, slow_scales

MOMENT = iso(origin(1))


def shadow(folder: Path, *arguments: str) -> dict[str, object]:
    return good("shadow", *arguments, "-w", folder, "--as-of", MOMENT)


def shadowed(folder: Path, version: str | None) -> None:
    """The same without the command, which asks MLflow."""
    with Store(folder / "cryptocast.duckdb", 60).write() as writer:
        writer.put_event(origin(1), "shadow", None, {"version": version})


def test_a_version_shadows_from_the_next_tick_on(w: Path) -> None:
    ticked(w, 1)
    assert shadow(w, "1") == {"version": "1", "before": None}
    assert ticked(w, 2, 3).warnings == ()
    assert sets(w, "bar, model_version, served, mode, fallback") == [
        (1, "2", True, "live", None),
        (2, "1", False, "live", None),
        (2, "2", True, "live", None),
        (3, "1", False, "live", None),
        (3, "2", True, "live", None),
    ]
    assert tick_rows(w) == [(1, "ok"), (2, "ok"), (3, "ok")]


def test_its_bundle_is_frozen_when_it_is_named(w: Path) -> None:
    shutil.rmtree(w / "bundles" / "1")
    shadow(w, "1")
    assert (w / "bundles" / "1" / "model.onnx").is_file()


def test_what_is_served_is_the_same_with_and_without_it(w: Path) -> None:
    other = Path(shutil.copytree(w, w.parent / "other"))
    shadowed(w, "1")
    columns = "bar, model_version, quantiles::VARCHAR, scale::VARCHAR, fallback"
    for folder in (w, other):
        ticked(folder, *range(1, 5))
    assert sets(w, columns, "served") == sets(other, columns)


def test_a_set_of_a_shadow_is_never_shown_as_the_forecast(w: Path) -> None:
    shadowed(w, "1")
    ticked(w, 1)
    (shown,) = good("forecast", "-w", w, "--as-of", MOMENT)["forecasts"]
    assert shown["model"]["version"] == "2"


def test_it_is_calibrated_by_its_own_outcomes(w: Path) -> None:
    shadowed(w, "1")
    ticked(w, *range(1, 12))
    mine = scales(w, "NOT served")
    assert mine == slow_scales(w, served=False)
    assert scales(w) == slow_scales(w)
    assert mine[-1][0] != 1.0


def test_it_is_told_and_stopped(w: Path) -> None:
    assert shadow(w) == {"version": None, "before": None}
    assert shadow(w, "1") == {"version": "1", "before": None}
    assert shadow(w) == {"version": "1", "before": "1"}
    assert shadow(w, "--stop") == {"version": None, "before": "1"}
    ticked(w, 1)
    assert sets(w, "model_version") == [("2",)]


def test_a_person_is_told_in_words(w: Path) -> None:
    told = run("shadow", "1", "-w", w, "--as-of", MOMENT)
    assert told.out == "version 1 shadows production from the next tick on\n"
    stopped = run("shadow", "--stop", "-w", w, "--as-of", MOMENT)
    assert stopped.out == "no version shadows production\n"


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (
            ("2",), 3,
            (
                "state.serves",
                "version 2 is in production already",
                "cryptocast models lists the others",
            ),
        ),
        (("77",), 3, ("state.no_version", None, None)),
        (("1", "--stop"), 2, ("usage", "--stop takes no version", "cryptocast shadow --stop")),
    ],
)  # fmt: skip
def test_what_cannot_shadow_is_refused(
    w: Path, arguments: tuple[str, ...], code: int, error: tuple[str, str | None, str | None]
) -> None:
    done = run("shadow", *arguments, "-w", w, "--as-of", MOMENT, "--json")
    assert done.code == code
    found = done.error["code"], done.error["message"], done.error["hint"]
    expected = [part and as_typed(part) for part in error]
    assert all(mine in (None, theirs) for mine, theirs in zip(expected, found, strict=True))
    assert shadow(w)["version"] is None


def test_a_shadow_that_is_damaged_harms_nothing_and_is_told(w: Path) -> None:
    shadowed(w, "1")
    (w / "bundles" / "1" / "model.onnx").write_bytes(b"broken")
    report = ticked(w, 1)
    assert report.new is True
    assert report.warnings == ("shadow version 1 did not forecast (bundle_damaged)",)
    assert sets(w, "model_version, served, fallback") == [("2", True, None)]


def test_a_shadow_that_may_not_answer_is_told(w: Path) -> None:
    shadowed(w, "1")
    drop(w, range(5, 10))
    assert "shadow version 1 did not forecast (stale_data)" in ticked(w, 10).warnings
    assert sets(w, "model_version, served") == [("builtin:random_walk", True)]


def test_a_shadow_that_is_promoted_shadows_no_more(w: Path) -> None:
    shadowed(w, "1")
    ticked(w, 1)
    deploy(w, "1", "2")
    ticked(w, 2)
    assert sets(w, "bar, model_version, served") == [
        (1, "1", False), (1, "2", True), (2, "1", True),
    ]  # fmt: skip
    assert scales(w, "bar = 2") == [[1.0] * 24]


def test_a_shadow_that_served_as_a_stand_in_is_stored_once(w: Path) -> None:
    shadowed(w, "1")
    (w / "bundles" / "2" / "model.onnx").write_bytes(b"broken")
    ticked(w, 1)
    assert sets(w, "model_version, served, fallback") == [("1", True, "bundle_damaged")]


def test_each_market_has_its_shadow(w: Path) -> None:
    shadowed(w, "1")
    ticked(w, 1, market__symbols=["BTC/EUR", "ETH/EUR", "XRP/EUR"])
    assert sets(w, "market, served") == [
        ("file:BTC/EUR:5m", False), ("file:BTC/EUR:5m", True),
        ("file:ETH/EUR:5m", False), ("file:ETH/EUR:5m", True),
    ]  # fmt: skip


def test_a_tick_that_dies_before_its_shadow_has_served(
    w: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shadowed(w, "1")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(forecast, "cast_shadow", die)
        with pytest.raises(KeyboardInterrupt):
            ticked(w, 1)
    assert sets(w, "model_version, served") == [("2", True)]
    assert ticked(w, 1).new is False
