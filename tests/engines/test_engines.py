"""What every engine promises: order, errors, dead workers, and the same results to the bit."""

from __future__ import annotations

import dataclasses
import gc
import importlib
import importlib.util
import itertools
import secrets
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from polars.testing import assert_frame_equal

from cryptocast import config, plugins
from cryptocast.config import EngineSettings
from cryptocast.engines import open_engine
from cryptocast.engines import ray as ray_engine
from cryptocast.errors import ConfigError, EngineError
from cryptocast.seams import Engine, Silence
from cryptocast.testing import check_engine
from cryptocast.workflows import pretrain as pretraining
from cryptocast.workflows import replay as workflow
from cryptocast.workflows.evaluate import evaluate
from cryptocast.workflows.train import train
from cryptocast.workflows.tune import tune
from cryptocast.workspace import Workspace
from support.commands import NOW, candles, start, write
from support.pieces import die, loaded
from support.ticks import SYMBOLS, at, origin, sets

KINDS = plugins.built_in(plugins.ENGINES)


@pytest.fixture(scope="module", params=KINDS)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each engine with two workers, opened once."""
    if request.param == "ray":
        _join_ray()
    opened = open_engine(EngineSettings(kind=request.param, workers=2))
    yield opened
    opened.close()
    if request.param == "ray":
        import ray

        # It does not wait for the processes that it ends, and Python warns of that.
        processes = [o for o in gc.get_objects() if issubclass(type(o), subprocess.Popen)]
        ray.shutdown()
        for process in processes:
            process.wait(60)


def _join_ray() -> None:
    """Start a local Ray of two workers without a dashboard."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed (cryptocast[ray])")
    import ray

    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))  # Ray would leave one at home
        ray.init(
            "local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            _node_ip_address="127.0.0.1",
        )


@contextmanager
def working(folder: Path, engine: Any, bar: float = 0, **settings: Any) -> Iterator[Workspace]:
    """The workspace at a bar with its markets and that engine, which stays open."""
    with at(folder, bar, market__symbols=SYMBOLS, **settings) as ws:
        ws._engine = Kept(engine)
        yield ws


class Kept:
    """An engine that outlives the workspace that works with it."""

    def __init__(self, engine: Any) -> None:
        self.workers, self.map = engine.workers, engine.map

    def close(self) -> None:
        pass


def test_an_engine_keeps_what_engines_promise(engine: Engine, tmp_path: Path) -> None:
    check_engine(engine, tmp_path)


_first: dict[Any, Any] = {}  # of the first engine


def test_scores_are_the_same_to_the_bit(engine: Engine, w: Path) -> None:
    with working(w, engine) as ws:
        report = evaluate(ws, days=1)
    first = _first.setdefault("scores", report)
    assert_frame_equal(report.scores, first.scores, check_exact=True)
    assert set(report.scores["market"]) == {m.id for m in ws.markets()}
    for one, other in zip(report.diagnoses, first.diagnoses, strict=True):
        assert one.skill_by_hour.tobytes() == other.skill_by_hour.tobytes()
        assert one.fan.quantiles.tobytes() == other.fan.quantiles.tobytes()


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_study_is_the_same_to_the_bit(engine: Engine, w: Path, at_once: int) -> None:
    with working(w, engine, tune__at_once=at_once, tune__folds=2, tune__trials=4) as ws:
        (report,), _ = tune(ws)
    found = (report.study, report.history, report.best, report.value, report.importance)
    assert found == _first.setdefault(("study", at_once), found)
    assert report.study.endswith(" 3 at once") == (at_once == 3)


def test_a_search_gives_each_worker_a_fold_before_the_first_result(w: Path) -> None:
    engine = Two()
    with working(w, engine, tune__folds=2, tune__trials=1) as ws:
        tune(ws)
    assert engine.first == [0, 1]  # of one trial, which alone would keep one worker busy


class Two:
    """An engine of two workers that starts with two pieces."""

    workers = 2
    first: list[int]

    def map(
        self, function: Callable[[Any, Any], Any], pieces: Iterator[Any], shared: Any
    ) -> Iterator[Any]:
        started = list(itertools.islice(pieces, 2))
        self.first = [piece.fold for piece in started]
        return (function(piece, shared) for piece in started)


def test_a_replay_is_the_same_to_the_bit(
    engine: Engine, w: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflow, "BLOCK_ORIGINS", 30)
    with working(w, engine, bar=40) as ws:
        blocks = [
            (block.sets[0].market, len(block.sets))
            for block in workflow.replay(ws, workflow.plan(ws, origin(1), origin(40)))
        ]
    assert [size for _, size in blocks] == [30, 30, 30, 30]  # the last 10 of all three together
    rows = sets(w, "* EXCLUDE (written_at)")
    assert len(rows) == 120
    assert (blocks, rows) == _first.setdefault("replay", (blocks, rows))


def test_models_of_single_markets_are_the_same_to_the_bit(engine: Engine, w: Path) -> None:
    with working(w, engine, model__scope="market", data__days=3) as ws:
        reports, failed = train(ws, params="default")
        graphs = [ws.registry().onnx(report.version) for report in reports]
    assert (len(set(graphs)), failed) == (len(SYMBOLS), {})
    found = graphs, [dataclasses.astuple(report) for report in reports]
    assert found == _first.setdefault("train", found)


def test_a_base_network_is_the_same_to_the_bit(engine: Engine, tmp_path: Path) -> None:
    for symbol in SYMBOLS[:2]:
        write(tmp_path / f"{symbol.replace('/', '-')}.parquet", candles(symbol, bars=1200))
    quick = {"pretrain.steps": 50, "pretrain.hidden": 4, "pretrain.batch_size": 64}
    settings, _ = config.load(None, {}, quick)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretraining, "open_engine", lambda _: Kept(engine))
        report = pretraining.pretrain(
            settings,
            pretraining.PretrainData([str(tmp_path)]),
            tmp_path / "base",
            seed=0,
            origin=None,
            now=NOW,
            progress=Silence(),
        )
    found = (tmp_path / "base" / "model.onnx").read_bytes(), report.scores, report.origins
    assert found == _first.setdefault("pretrain", found)
    assert {path.name for path in tmp_path.glob("[!BE]*")} == {"base"}  # and no state is left


def test_a_worker_imports_no_workflow_no_store_and_no_mlflow(engine: Engine) -> None:
    if engine.workers == 1:
        pytest.skip("here is no other process")
    heavy = ("cryptocast.workflows", "cryptocast.workspace", "cryptocast.store", "mlflow", "duckdb")
    assert set(engine.map(loaded, range(6), heavy)) == {()}


def test_workers_import_what_they_are_told_to_before_a_piece_needs_it(engine: Engine) -> None:
    if engine.workers == 1:
        pytest.skip("here is no other process")
    engine.prepare(("wave", "no_module_of_that_name"))
    assert ("wave",) in set(engine.map(loaded, range(6), ("wave",)))


def test_an_engine_that_there_is_not_is_refused_when_the_workspace_is_opened(w: Path) -> None:
    with pytest.raises(ConfigError, match="no engine 'rya'") as caught:
        Workspace.open(w, environ={}, options={"engine.kind": "rya"})
    assert caught.value.code == "config.engine"
    assert caught.value.hint == "did you mean 'ray'? known: here, processes, ray"


def test_without_ray_its_engine_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"cryptocast\[ray\] is not installed") as caught:
        open_engine(EngineSettings(kind="ray"))
    assert caught.value.code == "config.extra"


def test_where_there_is_no_cluster_it_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = "127.0.0.1:{1}".format(*closed.getsockname())
        engine = open_engine(EngineSettings(kind="ray", address=address))
        with pytest.raises(EngineError, match=f"^there is no Ray cluster at {address}: ") as caught:
            engine.map(loaded, (0,), ())
        engine.close()
    assert caught.value.code == "engine.unreachable"


def test_a_cluster_that_goes_away_is_told_before_ray_ends_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("ray")
    engine = ray_engine.Engine(EngineSettings(kind="ray", address="auto"))
    monkeypatch.setattr(engine, "_ray", Silent())
    monkeypatch.setattr(engine, "_head", ("127.0.0.1", 1))
    with pytest.raises(EngineError, match="the Ray cluster is gone") as caught:
        list(engine.map(loaded, range(3), ()))
    assert (caught.value.code, caught.value.exit_code) == ("engine.lost", 4)
    assert "--engine here" in caught.value.hint
    engine.close()  # which does not wait for it either


class Silent:
    """A Ray whose cluster takes pieces and never answers."""

    @property
    def exceptions(self) -> Any:
        return importlib.import_module("ray.exceptions")

    def is_initialized(self) -> bool:
        return True

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 1.0}

    def put(self, value: Any) -> Any:
        return value

    def remote(self, function: Any) -> Any:
        return SimpleNamespace(
            options=lambda **_: SimpleNamespace(remote=lambda *arguments: arguments)
        )

    def wait(self, references: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return [], references


def test_workers_that_die_again_and_again_are_told() -> None:
    engine = open_engine(EngineSettings(kind="processes", workers=1))
    with pytest.raises(EngineError, match="a worker process was killed, and 3 others") as caught:
        list(engine.map(die, range(2), None))
    assert caught.value.code == "engine.worker"
    engine.close()


def test_workers_end_with_a_driver_that_is_killed() -> None:
    with start(script=DRIVER) as driver:
        assert driver.stdout is not None
        worker = int(driver.stdout.readline())
        driver.kill()
    deadline = time.monotonic() + 60
    while runs(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not runs(worker)


DRIVER = """
from cryptocast.config import EngineSettings
from cryptocast.engines import open_engine
from cryptocast.engines import ray as ray_engine
from cryptocast.errors import ConfigError, EngineError
from support.pieces import halt
if __name__ == "__main__":
    list(open_engine(EngineSettings(kind="processes", workers=1)).map(halt, range(2), None))
"""


def runs(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
