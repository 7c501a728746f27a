"""The library that is shipped: whole, small, and drawn from in the same way every time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cryptocast import paths
from cryptocast.errors import ModelError
from cryptocast.paths.library import LARGEST, Draw, Own, decode, encode

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
