from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryptocast import bundles
from cryptocast.bundles import Card, Forecaster, freeze, from_document, load
from cryptocast.errors import ModelError, StoreError
from cryptocast.models import _graphs
from cryptocast.values import FEATURES
from support.synthetic import LEVELS, bars, windows

QUANTILES = np.outer([1.0, 2.0], np.array(LEVELS) - 0.5)
GRAPH = _graphs.Graph(16).constant(QUANTILES)
CARD = Card(
    version="7",
    kind="lstm",
    levels=LEVELS,
    horizon=2,
    lookback=16,
    context_bars=1040,
    features=FEATURES,
    interval="5m",
    markets=("sim:BTC/EUR:5m",),
    data_start=1_717_372_800,
    data_end=1_717_459_200,
    fingerprint="0123456789abcdef",
    seed=3,
    params={"hidden": 32, "learning_rate": 1e-05, "note": "Grüße"},
    code_version="0.1.0",
    packages={"numpy": "2.4"},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "bundles" / "7"
    freeze(made, CARD, GRAPH)
    return made


def test_what_was_frozen_is_what_is_loaded(folder: Path) -> None:
    bundle = load(folder)
    assert bundle.card == CARD
    found = bundle.forecaster(np.zeros((3, 16, len(FEATURES))))
    np.testing.assert_array_equal(found, np.tile(QUANTILES.astype(np.float32), (3, 1, 1)))


def test_a_bundle_is_two_files_and_nothing_beside_them(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == ["card.json", "model.onnx"]
    assert [p.name for p in folder.parent.iterdir()] == ["7"]
    assert (folder / "model.onnx").read_bytes() == GRAPH


def test_the_same_model_is_frozen_to_the_same_bytes(folder: Path) -> None:
    before = (folder / "card.json").read_bytes()
    freeze(folder, CARD, GRAPH)
    assert (folder / "card.json").read_bytes() == before


def test_a_bundle_that_is_there_is_replaced(folder: Path) -> None:
    (folder / "stray.txt").write_text("old")
    other = _graphs.Graph(16).constant(QUANTILES * 2)
    freeze(folder, dataclasses.replace(CARD, seed=4), other)
    assert load(folder).card.seed == 4
    assert (folder / "model.onnx").read_bytes() == other
    assert [p.name for p in folder.parent.iterdir()] == ["7"]
    assert not (folder / "stray.txt").exists()


@pytest.mark.parametrize("method", ["write_bytes", "write_text", "rename"])
def test_a_freeze_that_fails_leaves_nothing_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, method, full)
        with pytest.raises(StoreError, match="the disk is full"):
            freeze(tmp_path / "7", CARD, GRAPH)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", ["write_bytes", "write_text"])
def test_a_freeze_that_fails_to_write_leaves_the_bundle_that_was_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, method, full)
        with pytest.raises(StoreError, match="the disk is full"):
            freeze(folder, dataclasses.replace(CARD, seed=4), GRAPH)
    assert load(folder).card == CARD
    assert [p.name for p in folder.parent.iterdir()] == ["7"]


def test_what_an_interrupted_freeze_left_is_in_nobodys_way(tmp_path: Path) -> None:
    left = tmp_path / f".7.{os.getpid()}.part"
    left.mkdir()
    (left / "model.onnx").write_bytes(b"half")
    freeze(tmp_path / "7", CARD, GRAPH)
    assert load(tmp_path / "7").card == CARD
    assert [p.name for p in tmp_path.iterdir()] == ["7"]


def failure(folder: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load(folder)
    assert caught.value.exit_code == 5
    assert caught.value.hint == "cryptocast promote 7"
    return caught.value


@pytest.mark.parametrize("name", [".", "card.json", "model.onnx"])
def test_a_bundle_that_is_not_whole_is_missing(folder: Path, name: str) -> None:
    folder.rename(folder.with_name("away"))
    if name != ".":
        folder.mkdir()
        (folder.with_name("away") / name).rename(folder / name)
    error = failure(folder)
    assert (error.code, error.message) == (
        "model.bundle_missing",
        f"the bundle {folder} is missing",
    )


@pytest.mark.parametrize("name", ["card.json", "model.onnx"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_byte_that_changed_is_found(folder: Path, name: str, share: float, flip: int) -> None:
    file = folder / name
    whole = file.read_bytes()
    changed = bytearray(whole)
    changed[int(share * len(whole))] ^= flip
    file.write_bytes(changed)
    try:
        if name == "card.json" and _means_the_same(bytes(changed), whole):
            assert load(folder).card == CARD  # a blank for a line's end, 1E-05 for 1e-05
        else:
            error = failure(folder)
            assert error.code == "model.bundle_damaged"
            assert error.message == f"the bundle {folder} is damaged"
    finally:
        file.write_bytes(whole)


def _means_the_same(one: bytes, other: bytes) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b'"card"', b"\xff", b"{", b"[" * 9999]
)
def test_a_card_that_is_none_is_damaged(folder: Path, content: bytes) -> None:
    (folder / "card.json").write_bytes(content)
    assert failure(folder).code == "model.bundle_damaged"


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("name", ["card.json", "model.onnx"])
def test_a_file_that_was_cut_off_is_damaged(folder: Path, name: str, share: float) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(len(content) * share)])
    assert failure(folder).code == "model.bundle_damaged"


def test_a_graph_that_is_none_is_damaged_even_with_the_right_hash(tmp_path: Path) -> None:
    freeze(tmp_path / "7", CARD, b"no graph")
    with pytest.raises(ModelError) as caught:
        load(tmp_path / "7")
    assert caught.value.code == "model.bundle_damaged"
    assert caught.value.message.startswith("the model graph cannot be read: ")


def test_a_bundle_of_another_format_asks_for_an_upgrade(tmp_path: Path) -> None:
    freeze(tmp_path / "7", dataclasses.replace(CARD, format=99), GRAPH)
    with pytest.raises(ModelError) as caught:
        load(tmp_path / "7")
    assert caught.value.code == "model.bundle_format"
    assert caught.value.message == (
        f"the bundle {tmp_path / '7'} has format 99, this cryptocast reads {bundles.FORMAT}"
    )


def test_a_card_is_read_from_its_document_whatever_else_stands_there() -> None:
    document = json.loads(json.dumps(dataclasses.asdict(CARD))) | {"onnx_sha256": "x"}
    assert from_document(document) == CARD


def test_forecasts_are_as_wide_as_the_volatility_and_the_root_of_the_step() -> None:
    known = windows(bars(60, 1), 20, 40, horizon=2)
    found = Forecaster(GRAPH).log_returns(known)
    expected = QUANTILES * known.sigma[:, None, None] * np.sqrt([1, 2])[:, None]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


def test_a_bundle_is_loaded_without_mlflow_and_torch(folder: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from cryptocast import bundles\n"
        "bundles.load(Path(sys.argv[1]))\n"
        "heavy = {'torch', 'lightning', 'mlflow', 'optuna', 'onnx', 'pandas', 'polars'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    root = str(Path(bundles.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": root},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("count", [0, 1, 4_096, 4_097])
def test_any_number_of_windows_is_answered(folder: Path, count: int) -> None:
    assert load(folder).forecaster(np.zeros((count, 16, len(FEATURES)))).shape == (count, 2, 19)


def test_a_card_of_before_it_told_how_to_repeat_a_training_is_read(folder: Path) -> None:
    document = dataclasses.asdict(CARD)
    for name in ("validation_start", "max_stale_bars", "commit"):
        del document[name]
    card = from_document(document)
    assert card == CARD
    assert (card.validation_start, card.max_stale_bars, card.commit) == (None, None, None)


@pytest.mark.parametrize("lacking", ["kind", "levels", "data_end", "fingerprint"])
def test_a_card_that_is_not_whole_is_told(lacking: str) -> None:
    document = dataclasses.asdict(CARD)
    del document[lacking]
    if lacking == "levels":
        document["levels"] = None
    with pytest.raises(ModelError) as caught:
        from_document(document)
    assert caught.value.code == "model.card_damaged"
    assert caught.value.message == "the card of version 7 is incomplete"
    assert caught.value.hint == "cryptocast models lists other versions"


def test_a_bundle_of_an_earlier_version_reads_only_the_features_that_it_knows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = FEATURES[:-4]
    monkeypatch.setattr(_graphs, "FEATURES", known)
    graph = _graphs.Graph(16)
    level = graph.MatMul(graph.newest(), graph.fixed(np.eye(len(known))[:, :2]))
    older = graph.stretched(np.tile(np.arange(-9.0, 10), (2, 1)), level)
    freeze(folder, dataclasses.replace(CARD, features=known), older)
    inputs = np.random.default_rng(0).normal(size=(3, 16, len(FEATURES)))
    np.testing.assert_allclose(
        load(folder).forecaster(inputs)[..., -1], 9 * np.exp(inputs[:, -1, :2]), rtol=1e-5
    )
