"""The library that is shipped: whole, small, and drawn from in the same way every time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cryptocast import paths
from cryptocast.errors import ModelError
from cryptocast.paths.library import LARGEST, OWN_ORIGINS, Draw, Own, decode, encode

SHIPPED = Path(paths.__file__).parent / "shipped" / "5m"


def test_codes_keep_the_size_of_residuals_to_a_few_percent() -> None:
    values = np.concatenate([np.linspace(-8, 8, 4001), [0.0, LARGEST, 2 * LARGEST]])
    kept = decode(encode(values)).astype(float)
    assert np.abs(kept - np.clip(values, -LARGEST, LARGEST)).max() < 0.15
    assert abs(np.abs(kept).mean() / np.abs(np.clip(values, -LARGEST, LARGEST)).mean() - 1) < 0.002


def test_the_shipped_files_are_small_and_say_where_they_come_from() -> None:
    assert sum(file.stat().st_size for file in SHIPPED.parent.glob("*/*")) <= 6_000_000
    assert paths.shipped_intervals() == ("5m", "15m")
    for interval, day in (("5m", 288), ("15m", 96)):
        model = paths.shipped(interval)
        assert "MIT" in model.card.origin
        assert len(model.card.sha256) == 64
        assert model.library.codes.shape == (model.card.library_origins, 8, day)
        assert len(model.card.coins) == 8
        assert model.card.name == model.curve.name == f"paths-{interval}"


@pytest.mark.parametrize("interval", ["5m", "15m"])
def test_residuals_are_of_mean_size_one(interval: str) -> None:
    codes = paths.shipped(interval).library.codes
    assert np.allclose(np.abs(decode(codes)).mean(axis=(0, 1)), 1.0, atol=0.02)


def test_the_coins_of_one_draw_move_together_and_each_place_has_its_own_path() -> None:
    library = paths.shipped().library
    draw = Draw.of(2000, library, 0, 1_700_000_100)
    days = [library.residuals(draw, place).sum(axis=1) for place in range(10)]
    assert np.corrcoef(days[0], days[1])[0, 1] > 0.4
    assert abs(np.corrcoef(days[0], days[9])[0, 1]) < 0.2  # beyond the coins of the library
    for i in range(10):
        assert not any((days[i] == other).mean() > 0.1 for other in days[:i])


def test_a_draw_follows_from_its_seed_and_origin() -> None:
    library = paths.shipped().library
    one, same = (Draw.of(50, library, 3, 1_700_000_100) for _ in range(2))
    assert (one.origin == same.origin).all()
    for other in (Draw.of(50, library, 4, 1_700_000_100), Draw.of(50, library, 3, 1_700_000_400)):
        assert (one.origin != other.origin).any()


def test_half_of_the_paths_take_the_own_origins_each_as_often_as_any_other() -> None:
    draw = Draw.of(1000, paths.shipped().library, 3, 1_700_000_100)
    own = draw.own[draw.own >= 0]
    assert len(own) == 500
    assert set(np.bincount(own, minlength=OWN_ORIGINS)) == {2, 4}  # a path, and it upside down
    assert 200 < (draw.own[:500] >= 0).sum() < 300  # fewer paths are half and half too


def own_past(sizes: np.ndarray, usable: int) -> Own:
    return Own(sizes.reshape(OWN_ORIGINS, -1).astype(np.float32), np.arange(OWN_ORIGINS) < usable)


@pytest.mark.parametrize(("usable", "share"), [(200, 0.8), (75, 0.6)])
def test_the_librarys_paths_get_the_sizes_of_the_markets_own(usable: int, share: float) -> None:
    """On this market a third of the moves are none, and as many large ones more."""
    library, rng = paths.shipped().library, np.random.default_rng(5)
    draw = Draw.of(1000, library, 3, 1_700_000_100)
    others = draw.own < 0
    own = own_past(rng.exponential(1.5, 57_600) * (rng.random(57_600) > 1 / 3), usable)
    ours, drawn = library.residuals(draw, 0), library.residuals(draw, 0, own)
    levels = np.array([0.2, 0.5, 0.8, 0.95, 0.99])
    plain, moved, its = (
        np.quantile(np.abs(values), levels)
        for values in (ours[others], drawn[others], own.residuals[:usable])
    )
    assert moved == pytest.approx((1 - share) * plain + share * its, rel=0.05)
    assert ((drawn > 0) == (ours > 0))[others].all()  # a code keeps its sign


def test_one_crash_of_the_own_past_is_not_the_size_of_all_large_moves() -> None:
    library = paths.shipped().library
    quiet = np.abs(np.random.default_rng(6).standard_normal(57_600))
    quiet[:30] = LARGEST
    codes = library.codes[:200, 0]
    table = own_past(quiet, 200).table(codes)
    sizes = table[:128]
    assert (np.diff(sizes) >= 0).all()
    assert (table[129:][::-1] == -sizes[1:]).all()
    assert table[encode(np.array([6.0])).view(np.uint8)][0] < 6


def test_the_mean_size_of_the_paths_is_the_same_at_every_step() -> None:
    library = paths.shipped().library
    draw = Draw.of(1000, library, 3, 1_700_000_100)
    for own in (None, own_past(np.random.default_rng(7).standard_normal(57_600), 200)):
        sizes = np.abs(library.residuals(draw, 2, own)).mean(axis=0)
        assert np.ptp(sizes) < 1e-5 * sizes.mean()
    assert abs(np.abs(library.residuals(draw, 2)).mean() - 1) < 0.05


def test_a_single_path_keeps_its_own_sizes_also_where_it_stands_still() -> None:
    library = paths.shipped().library
    still = own_past(np.zeros(57_600), 200)
    for seed in range(8):
        draw = Draw.of(1, library, seed, 1_700_000_100)
        assert np.ptp(np.abs(library.residuals(draw, 0))) > 1
        assert np.isfinite(library.residuals(draw, 0, still)).all()


@pytest.mark.parametrize(
    ("name", "content"),
    [("model.npz", b"PK"), ("model.npz", None), ("card.json", b"{}"), ("card.json", b"[1]")],
)
def test_a_damaged_library_is_one_error(tmp_path: Path, name: str, content: bytes | None) -> None:
    folder = Path(shutil.copytree(SHIPPED, tmp_path / "paths"))
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=r"the library of paths .* cannot be read") as raised:
        paths.load(folder)
    assert raised.value.code == "model.paths_damaged"


def test_a_saved_model_is_read_back(tmp_path: Path) -> None:
    model = paths.shipped()
    card = model.save(tmp_path / "copy")
    again = paths.load(tmp_path / "copy")
    assert again.card == card
    assert (again.library.codes == model.library.codes).all()
    assert json.loads((tmp_path / "copy" / "card.json").read_text())["sha256"] == card.sha256


def test_days_get_the_size_that_the_markets_own_days_had() -> None:
    rng, size = np.random.default_rng(4), np.full(288, 0.001)
    steps = rng.standard_normal((200, 288))
    trending = steps.cumsum(axis=1)[:, ::-1] / 12  # what follows goes the same way
    for residuals in (2 * steps, trending):
        own = Own(residuals.astype(np.float32), np.arange(200) < 150)
        moves = 0.001 * rng.standard_normal((1000, 288))
        before = moves.copy()
        own.widen(moves, size)
        ratio = (
            np.abs(residuals[:150].sum(axis=1)).mean() / np.abs(1000 * before.sum(axis=1)).mean()
        )
        widened = np.abs(moves.sum(axis=1)).mean() / np.abs(before.sum(axis=1)).mean()
        assert widened == pytest.approx(ratio**0.75, rel=1e-5)
        assert np.ptp(moves - before, axis=1).max() < 1e-12  # spread evenly over the day
    still = np.zeros((10, 288))
    own.widen(still, size)
    assert not still.any()
