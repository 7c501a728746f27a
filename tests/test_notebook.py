"""The notebook in `configs/` runs as it stands, and what it shows loads nothing."""

from __future__ import annotations

import re
import shutil
import warnings
from pathlib import Path

import polars as pl
import pytest

from cryptocast import VirtualClock, Workspace
from cryptocast.answers.frames import Shown
from cryptocast.errors import StateError, UsageError
from cryptocast.store import Store
from cryptocast.values import iso
from support.commands import (  # noqa: F401 - fixtures work where their names are
    INTERVAL,
    NOW,
    _mlflow_is_loaded,
    _ready_mlflow,
    _signals_stay,
    _small_networks,
    counts,
    forced,
    good,
    made,
)
from support.guide import ROOT

LAST = NOW + 3 * INTERVAL


@pytest.fixture(scope="module")
def served(forced: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811 - fixture
    """A workspace with three forecasts, two of which have an outcome. Not to be written to."""
    folder = Path(shutil.copytree(forced, tmp_path_factory.mktemp("served") / "w"))
    for moment in (NOW + INTERVAL, NOW + 2 * INTERVAL, LAST):
        good("forecast", "--once", "-w", folder, "--as-of", iso(moment))
    return folder


def opened(folder: Path) -> Workspace:
    return Workspace.open(folder, clock=VirtualClock(LAST))


def pictures(html: str) -> int:
    """The number of pictures; whatever else the HTML names, it loads nothing."""
    assert not re.search(r"https?:|<script|@import|url\(", html)
    return html.count('src="data:image/png;base64,')


def test_the_notebook_runs_as_it_stands(served: Path, tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="pip install nbformat nbclient ipykernel")
    nbclient = pytest.importorskip("nbclient", reason="pip install nbformat nbclient ipykernel")
    pytest.importorskip("ipykernel", reason="pip install nbformat nbclient ipykernel")
    (tmp_path / "demo").symlink_to(served)
    notebook = nbformat.read(ROOT / "configs" / "notebook.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    start = notebook.cells[1]
    start.source = start.source.replace(
        'open(Path("demo"))', f'open(Path("demo"), clock=VirtualClock({LAST}))'
    ).replace("import Workspace", "import VirtualClock, Workspace")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the kernel's sockets
        nbclient.NotebookClient(notebook, resources={"metadata": {"path": tmp_path}}).execute()
    shown = {
        cell.source: cell.outputs[-1]["data"]["text/html"]
        for cell in notebook.cells
        if cell.get("outputs")
    }
    with_pictures = [text for text, html in shown.items() if pictures(html)]
    assert [text.split("\n")[-1] for text in with_pictures] == [
        *("forecast", 'ws.candles(symbols=("BTC/EUR",))', "paths", "ws.scores()")
    ]
    assert len(shown) == 7
    assert all("<table" in html for html in shown.values())


def test_answers_are_frames_in_the_units_of_the_ledger_and_change_nothing(served: Path) -> None:
    before = counts(served)
    with opened(served) as ws:
        forecast, candles, scores = ws.forecast(), ws.candles(), ws.scores()
        asked = ws.query(
            "SELECT step, target_time, unnest(quantiles) AS price, unnest(levels) AS level "
            f"FROM forecasts WHERE origin = to_timestamp({LAST}) ORDER BY step, level"
        )
        stored = ws.query("SELECT * EXCLUDE (provenance, fetched_at) FROM candles ORDER BY 2")
        paths = ws.simulate(count=30, horizon="1h", seed=1)
    columns = [name for name in forecast.columns if name.startswith("q")]
    long = forecast.unpivot(columns, index=["step", "target_time"]).sort("step", "value")
    assert (forecast.height, len(columns), columns[0]) == (24, 19, "q0.05")
    assert long["value"].to_list() == asked["price"].to_list()
    assert long["target_time"].to_list() == asked["target_time"].to_list()
    assert forecast["model_version"].unique().to_list() == ["2"]
    assert candles.sort("open_time").equals(stored)
    assert scores.filter(pl.col("model") == "served")["n"].drop_nulls().max() == 3  # of all steps
    assert (paths.height, paths["path"].n_unique(), paths["step"].max()) == (360, 30, 12)
    assert counts(served) == before


def test_a_frame_shows_its_pictures_until_it_is_changed(served: Path) -> None:
    with opened(served) as ws:
        answers = [ws.forecast(), ws.candles(), ws.scores(), ws.simulate(count=10, horizon="10m")]
    for answer in answers:  # after the workspace was closed
        assert isinstance(answer, pl.DataFrame)
        assert pictures(answer._repr_html_()) == 1
        assert pictures(answer.filter(pl.col("market") == "")._repr_html_()) == 0
    odd = Shown.of(pl.DataFrame({"a": ["<b>"]}), lambda: [('"<b>', b"x")] * 9)._repr_html_()
    assert "<b>" not in odd
    assert pictures(odd) == 3


def test_candles_of_a_range_are_asked_for_in_words(served: Path) -> None:
    with opened(served) as ws:
        day = ws.candles(start="2024-06-01", end="2024-06-02T00:00:00Z")
        assert day.height == 288
        with pytest.raises(UsageError, match="'soon' is not a time"):
            ws.candles(start="soon")
        with pytest.raises(StateError, match="there are no candles in that time"):
            ws.candles(end="2020-01-01")


def test_an_old_forecast_and_a_replay_are_warned_about(served: Path, tmp_path: Path) -> None:
    replayed = Path(shutil.copytree(served, tmp_path / "w"))
    later = VirtualClock(LAST + 10 * INTERVAL)
    with Workspace.open(served, clock=later) as ws, pytest.warns(UserWarning, match="newest forec"):
        ws.forecast()
    with Store(replayed / "cryptocast.duckdb", 1).write() as writer:
        writer.query("UPDATE forecast_sets SET mode = 'replay'")
    with opened(replayed) as ws, pytest.warns(UserWarning, match="these are replayed"):
        ws.scores()
