from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cryptocast import models, plugins
from cryptocast.config import ReceiverSettings, Secrets
from cryptocast.errors import ConfigError
from cryptocast.notify import open_notifier
from cryptocast.plugins import Group
from cryptocast.workflows.keeping import checks
from support.distributions import install, plugins_may_change  # noqa: F401 - a fixture

NAME = "plugged_for_a_test"
SHAPES = Group("shape", "shapes", (NAME,), ("sides",))
Add = Callable[..., None]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package of two plugins, one helper, and one plugin that cannot be imported."""
    folder = tmp_path / NAME
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
    plugins.modules.cache_clear()
    yield NAME
    for module in [m for m in sys.modules if m.startswith(NAME)]:
        del sys.modules[module]


@pytest.fixture
def add(tmp_path: Path, plugins_may_change: None) -> Iterator[Add]:  # noqa: F811 - the fixture
    """Install a package that adds the plugin `name` to a group, as a module with a text."""
    added: list[str] = []

    def install_one(group: str, name: str, text: str, package: str = "others") -> None:
        module = f"{package}_{name}_of_a_test"
        (tmp_path / f"{module}.py").write_text(text)
        install(tmp_path, package, {group: {name: module}})
        added.append(module)

    yield install_one
    for module in added:
        sys.modules.pop(module, None)


def test_each_file_that_does_not_begin_with_a_bar_is_a_plugin(package: str) -> None:
    assert plugins.names(SHAPES) == ("broken", "circle", "square")


def test_a_plugin_is_loaded_by_name_and_no_other_is(package: str) -> None:
    assert plugins.load(SHAPES, "square").sides == 4
    assert f"{package}.circle" not in sys.modules


def test_a_plugin_of_another_name_is_refused_with_what_there_is(package: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plugins.load(SHAPES, "circel")
    assert caught.value.code == "config.shape"
    assert caught.value.message == "there is no shape 'circel'"
    assert caught.value.hint == "did you mean 'circle'? known: broken, circle, square"


@pytest.mark.parametrize("name", ["zzz", "_drawing", "os", "", "../square"])
def test_nothing_but_a_plugin_is_loaded(package: str, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plugins.load(SHAPES, name)
    assert "known: broken, circle, square" in caught.value.hint


def test_a_plugin_that_cannot_be_imported_says_why(package: str) -> None:
    with pytest.raises(RuntimeError, match="imported"):
        plugins.load(SHAPES, "broken")


def test_an_installed_package_adds_a_plugin_that_is_imported_when_it_is_used(
    package: str, add: Add
) -> None:
    add("shapes", "hexagon", "sides = 6")
    assert plugins.names(SHAPES) == ("broken", "circle", "hexagon", "square")
    assert "others_hexagon_of_a_test" not in sys.modules
    assert plugins.load(SHAPES, "hexagon").sides == 6


def test_no_package_is_searched_for_a_name_of_our_own(
    package: str, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: pytest.fail("searched"))
    assert plugins.load(SHAPES, "square").sides == 4


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import no_such_thing", "cannot be imported: ModuleNotFoundError: No module named"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit: 3"),
        ("colour = 'red'", "lacks sides"),
    ],
)
def test_a_plugin_that_is_none_is_one_line_that_names_its_package(
    package: str, add: Add, text: str, why: str
) -> None:
    add("shapes", "hexagon", text)
    with pytest.raises(ConfigError) as caught:
        plugins.load(SHAPES, "hexagon")
    assert (caught.value.code, caught.value.exit_code) == ("config.plugin", 2)
    assert caught.value.message.startswith(
        "the shape 'hexagon' of the package others "
        f"(shapes: hexagon = others_hexagon_of_a_test) {why}"
    )
    assert "\n" not in caught.value.message
    assert caught.value.hint == "mend or upgrade others, or choose another shape"


def test_a_plugin_takes_the_name_of_none_of_ours(package: str, add: Add) -> None:
    add("shapes", "square", "sides = 5")
    assert plugins.load(SHAPES, "square").sides == 4
    assert plugins.names(SHAPES) == ("broken", "circle", "square")
    (plugin,) = plugins.installed(SHAPES)
    assert plugin.refusal == "cryptocast has a shape 'square' of its own"


def test_a_name_that_two_packages_claim_is_nobodys(package: str, add: Add) -> None:
    add("shapes", "hexagon", "sides = 6")
    add("shapes", "hexagon", "sides = 6.0", package="strangers")
    with pytest.raises(ConfigError) as caught:
        plugins.load(SHAPES, "hexagon")
    assert caught.value.message == "others and strangers both have a shape 'hexagon'"
    assert "hexagon" not in plugins.names(SHAPES)


def test_a_model_without_the_seam_is_refused(add: Add) -> None:
    add("cryptocast.models", "oracle", "class Model:\n    kind = 'oracle'\n")
    with pytest.raises(ConfigError, match=r"lacks started_at, least_bars, defaults, suggest, fit"):
        models.get("oracle")


def test_a_receiver_of_a_package_is_opened_by_its_name(add: Add, tmp_path: Path) -> None:
    text = (
        "NEEDS_URL = False\n"
        "class Notifier:\n"
        "    def __init__(self, receiver): self.file = receiver.file\n"
        "    def send(self, alert): raise NotImplementedError\n"
    )
    add("cryptocast.receivers", "pigeon", text)
    settings = ReceiverSettings(name="pigeon")
    opened = open_notifier(settings, Secrets({}), folder=tmp_path, timeout_seconds=1)
    assert type(opened).__module__ == "others_pigeon_of_a_test"


def test_doctor_names_plugins_without_importing_them_and_fails_for_a_refused_one(
    add: Add,
) -> None:
    add("cryptocast.models", "lstm", "raise RuntimeError")
    add("cryptocast.sources", "tape", "raise RuntimeError")
    found = {check.name: (check.status, check.detail) for check in checks.plug_ins()}
    assert found == {
        "plug-in tape": ("ok", "a source of the package others (others_tape_of_a_test)"),
        "plug-in lstm": (
            "failed",
            "a model of the package others (others_lstm_of_a_test) is refused: "
            "cryptocast has a model 'lstm' of its own",
        ),
    }
