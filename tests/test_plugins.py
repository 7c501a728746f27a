from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cryptocast import plugins
from cryptocast.errors import ConfigError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of two plugins, one helper, and one plugin that cannot be imported."""
    name = "plugged_for_a_test"
    folder = tmp_path / name
    folder.mkdir()
    for file, text in {
        "__init__": "",
        "square": "sides = 4",
        "circle": "sides = 0",
        "_drawing": "",
        "broken": "raise RuntimeError('imported')",
    }.items():
        (folder / f"{file}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    plugins.names.cache_clear()
    yield name  # type: ignore[misc]
    for module in [m for m in sys.modules if m.startswith(name)]:
        del sys.modules[module]


def test_each_file_that_does_not_begin_with_a_bar_is_a_plugin(package: str) -> None:
    assert plugins.names(package) == ("broken", "circle", "square")


def test_a_plugin_is_loaded_by_name_and_no_other_is(package: str) -> None:
    assert plugins.load(package, "square", what="shape").sides == 4
    assert f"{package}.circle" not in sys.modules


def test_a_plugin_of_another_name_is_refused_with_what_there_is(package: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plugins.load(package, "circel", what="shape")
    assert caught.value.code == "config.shape"
    assert caught.value.message == "there is no shape 'circel'"
    assert caught.value.hint == "did you mean 'circle'? known: broken, circle, square"


@pytest.mark.parametrize("name", ["zzz", "_drawing", "os", "", "../square"])
def test_nothing_but_a_plugin_is_loaded(package: str, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plugins.load(package, name, what="shape")
    assert "known: broken, circle, square" in caught.value.hint


def test_a_plugin_that_cannot_be_imported_says_why(package: str) -> None:
    with pytest.raises(RuntimeError, match="imported"):
        plugins.load(package, "broken", what="shape")
