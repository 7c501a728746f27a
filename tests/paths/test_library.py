"""The library that is shipped: whole, small, and drawn from in the same way every time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cryptocast import paths
from cryptocast.errors import ModelError
from cryptocast.paths.library import LARGEST, Draw, decode, encode

SHIPPED = Path(paths.__file__).parent / "shipped" / "5m"


def test_codes_keep_the_size_of_residuals_to_a_few_percent() -> None:
    values = np.concatenate([np.linspace(-8, 8, 4001), [0.0, LARGEST, 2 * LARGEST]])
    kept = decode(encode(values)).astype(float)
    assert np.abs(kept - np.clip(values, -LARGEST, LARGEST)).max() < 0.15
    assert abs(np.abs(kept).mean() / np.abs(np.clip(values, -LARGEST, LARGEST)).mean() - 1) < 0.002


def test_the_shipped_files_are_small_and_say_where_they_come_from() -> None:
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) <= 6_000_000
    card = paths.shipped().card
    assert "MIT" in card.origin
    assert len(card.sha256) == 64
    assert len(card.coins) == paths.shipped().library.codes.shape[1] == 8


def test_residuals_are_of_mean_size_one() -> None:
    codes = paths.shipped().library.codes
    assert np.allclose(np.abs(decode(codes)).mean(axis=(0, 1)), 1.0, atol=0.02)


def test_the_coins_of_one_draw_move_together_and_each_place_has_its_own_path() -> None:
    library = paths.shipped().library
    draw = Draw.of(2000, library, 0, 1_700_000_100)
    days = [library.residuals(draw, place, 288).sum(axis=1) for place in range(10)]
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
