"""The package from Python: what the guide shows a notebook."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import cryptocast
from support.commands import good
from support.guide import PAGES, blocks

AS_OF = "2024-06-03T00:00:00Z"


def test_every_public_name_is_there_and_has_words() -> None:
    for name in cryptocast.__all__:
        assert getattr(cryptocast, name) is not None
    assert dir(cryptocast) == sorted(cryptocast.__all__)


def test_the_stub_names_what_the_package_has() -> None:
    stub = (Path(cryptocast.__file__).parent / "__init__.pyi").read_text(encoding="utf-8")
    assert set(re.findall(r'^    "(\w+)",$', stub, re.M)) == set(cryptocast.__all__)
    for name in set(cryptocast.__all__) - {"__version__"}:
        assert re.search(rf"import (\w+ as )?{name}\b", stub), name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(
        AttributeError, match="module 'cryptocast' has no attribute 'forecast_twice'"
    ):
        cryptocast.forecast_twice  # noqa: B018 - the look-up is what is tested


def test_importing_the_package_loads_nothing_of_it() -> None:
    look = "import sys, cryptocast; print([m for m in sys.modules if m[:6] in ('crypto', 'numpy')])"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout == "['cryptocast']\n"


def test_the_examples_of_the_guide_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    look, mirror, example = blocks(PAGES["scripts"], "python")
    folder = tmp_path / "btc"
    monkeypatch.setenv("CRYPTOCAST_MODEL__KIND", "random_walk")
    good("init", "-w", folder, "--source", "sim", "--days", "1", "--as-of", AS_OF)
    monkeypatch.setenv("CRYPTOCAST_STORE__MIRROR", "true")
    monkeypatch.chdir(tmp_path)
    # The simulator has only past days at once, so the example's clock is set to one of them.
    clock = 'Workspace.open(Path("btc"), clock=VirtualClock(1717372800))'
    imports = "from cryptocast import VirtualClock, Workspace, forecast_once"
    text = example.replace('Workspace.open(Path("btc"))', clock)
    text = text.replace("from cryptocast import Workspace, forecast_once", imports)
    names: dict[str, object] = {}
    exec(text, names)
    assert capsys.readouterr().out.startswith("sim:BTC/EUR:5m ")
    candles, newest = names["candles"], names["newest"]
    assert 280 <= candles.height <= 288  # type: ignore[attr-defined]  # some bars are missing
    assert newest.height == 24  # type: ignore[attr-defined]  # a polars frame as well
    for text in (look, mirror):
        exec(text, names)
        assert "crps_bp" in names["frame"].columns  # type: ignore[attr-defined]  # a polars frame
