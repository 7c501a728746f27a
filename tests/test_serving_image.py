"""The serving image: its steps name what is there, and what it installs is enough to serve."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryptocast import bundles, dataset
from cryptocast.bundles import Card
from cryptocast.cli.root.options import configurations
from cryptocast.config import Settings
from cryptocast.models import _graphs
from cryptocast.sources.sim import simulate
from cryptocast.store import Store
from cryptocast.values import FEATURES, Deployment, Market, iso
from support.commands import Done, process
from support.loopback import Loopback

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
DOCKERFILE = (CONFIGS / "Dockerfile").read_text(encoding="utf-8")
REQUIREMENTS = (CONFIGS / "serving-requirements.txt").read_text(encoding="utf-8")
HEAVY = {
    "torch", "lightning", "pytorch-lightning", "mlflow", "mlflow-skinny", "optuna", "polars",
    "matplotlib", "pandas", "scikit-learn", "pyarrow", "scipy", "onnx", "sqlalchemy", "arch",
}  # fmt: skip
MODULES = {"python-dotenv": "dotenv"}
LEVELS = Settings().model.levels

# A process that cannot import what the image lacks. It runs each command line it is given.
WITHOUT = """
import json, sys

absent, lines = json.loads(sys.argv[1])

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from cryptocast import cli
codes = [cli.run(line) for line in lines]
print(json.dumps([codes, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def plain(name: str) -> str:
    """A distribution's name as every index writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required() -> set[str]:
    """The distributions that the requirements name."""
    lines = [line for line in REQUIREMENTS.splitlines() if not line.startswith("#")]
    return {plain(re.split(r"[^\w.-]", line)[0]) for line in lines}


def closure(*more: str) -> set[str]:
    """These, and more, and what they need, by the metadata of what is installed here."""
    found, todo = set[str](), sorted(required() | set(more))
    while todo:
        name = todo.pop()
        if name in found:
            continue
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another system or an older Python
        found.add(name)
        todo += [plain(re.split(r"[^\w.-]", n)[0]) for n in needs if "extra ==" not in n]
    return found


def test_the_requirements_are_what_the_project_says() -> None:
    made = subprocess.run(
        [sys.executable, CONFIGS / "serving_requirements.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout == REQUIREMENTS


def test_nothing_that_trains_is_among_them_or_what_they_need() -> None:
    assert required() <= closure()
    assert not closure() & HEAVY


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Path]:
    """A workspace at a loopback exchange, where a bundle serves; made without MLflow."""
    today = int(time.time()) // 86_400
    btc = Market.of("BTC/EUR", "bitvavo", "5m")
    traded = simulate(1, Market.of("BTC/EUR", "sim", "5m"), np.arange(today - 5, today + 2))
    card = Card(
        version="1", kind="random_walk", levels=LEVELS, horizon=24, lookback=64,
        context_bars=dataset.context_bars(64, 300), features=FEATURES, interval="5m",
        markets=(btc.id,), data_start=0, data_end=1, fingerprint="0", seed=0, params={},
        code_version="0.1.0", packages={},
    )  # fmt: skip
    quantiles = np.tile(np.array(LEVELS) - 0.5, (24, 1))
    bundles.freeze(tmp_path / "bundles" / "1", card, _graphs.Graph(64).constant(quantiles))
    with Store(tmp_path / "cryptocast.duckdb", 60).write() as writer:
        writer.put_deployment(Deployment(0, 1, "*", "1", None, "promote", "a test", "{}"))
    with Loopback({"BTC/EUR": traded}) as server:
        (tmp_path / "cryptocast.toml").write_text(
            f'[source]\nname = "bitvavo"\nbase_url = "{server.base_url("bitvavo")}"\n'
        )
        (tmp_path / ".env").write_text("CRYPTOCAST_LOOP__WAIT_SECONDS=0\n")
        yield tmp_path


def test_what_it_installs_is_enough_to_serve_and_no_more(workspace: Path) -> None:
    here = importlib.metadata.packages_distributions()
    kept = closure("fastapi", "uvicorn") | {"cryptocast"}
    absent = [module for module, names in here.items() if not {plain(n) for n in names} & kept]
    assert {"torch", "lightning", "mlflow", "optuna", "polars", "matplotlib"} <= set(absent)
    lines = [
        ["forecast", "--once", "--json"],
        ["forecast"],
        ["simulate", "--out", str(workspace / "p.npz"), "--json"],
        ["status", "--json"],
        ["fetch", "--days", "1", "--json"],
        ["export", "candles", "--out", str(workspace / "c.parquet"), "--json"],
        ["schedule", "--json"],
        ["monitor", "--json"],  # not in the image, and says so
        ["serve-loop", "--max-ticks", "1", "--json", "--api", "0"],  # with --build-arg WITH
    ]
    given = [[*line, "--workspace", str(workspace)] for line in lines]
    done = process(json.dumps([absent, given]), script=WITHOUT)
    assert done.code == 0, done.err
    *told, last = done.out.splitlines()
    codes, loaded = json.loads(last)
    assert codes == [2 if line[0] == "monitor" else 0 for line in lines], done.err
    assert "which is not installed" in done.err
    documents = [json.loads(line) for line in told if line.startswith('{"command"')]
    (forecast,) = documents[0]["data"]["forecasts"]
    assert forecast["model"] == {"version": "1", "kind": "random_walk", "fallback": None}
    assert documents[-1]["data"]["summary"]["ticks"] == 1
    unused = {name for name in required() if MODULES.get(name, name) not in loaded}
    assert unused == set()
    assert health(workspace).err.startswith("serve-loop stopped at ")


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, continued lines joined, comments left out."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.M).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line]


def test_the_dockerfile_copies_what_is_there_and_its_context_holds() -> None:
    ignored = (CONFIGS / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [
        source
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    assert {"configs", "cryptocast", "pyproject.toml"} <= set(copied)
    for source in copied:
        assert (ROOT / source).exists()
        assert f"!{Path(source).parts[0]}" in ignored


def test_the_wheel_holds_the_requirements_and_the_configurations_by_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"configs": "cryptocast/configs"}
    assert configurations() == {file.stem: file for file in CONFIGS.glob("*.toml")}


def test_the_dockerfile_installs_the_requirements_and_then_the_package_alone() -> None:
    installs = [rest for word, rest in instructions() if word == "RUN" and " install " in rest]
    first, second = [line.split(" install ", 1)[1] for line in installs if "pip" in line]
    assert first == "--no-cache-dir --requirement configs/serving-requirements.txt $WITH"
    assert ("ARG", "WITH=") in instructions()
    assert second == "--no-cache-dir --no-deps ."
    for word in ("http:", "https:", "index-url"):
        assert word not in DOCKERFILE + REQUIREMENTS


def test_the_image_serves_as_a_plain_user_with_the_workspace_as_a_volume() -> None:
    last = dict(instructions())
    assert [rest for word, rest in instructions() if word == "FROM"] == [
        "python:3.12-slim AS build",
        "python:3.12-slim",
    ]
    assert last["USER"] == "cryptocast"
    assert last["VOLUME"] == "/workspace"
    assert "CRYPTOCAST_WORKSPACE=/workspace" in last["ENV"].split()
    assert json.loads(last["ENTRYPOINT"]) == ["cryptocast"]
    assert json.loads(last["CMD"]) == ["serve-loop"]
    check = json.loads(last["HEALTHCHECK"].split("CMD ")[1])
    assert check == ["python", "/opt/cryptocast/healthcheck.py"]
    assert "COPY configs/healthcheck.py /opt/cryptocast/healthcheck.py\n" in DOCKERFILE


def health(folder: Path, **facts: Any) -> Done:
    """What the image's check says of a health file with these facts, or of the one there."""
    if facts:
        (folder / "logs").mkdir(exist_ok=True)
        (folder / "logs" / "health.json").write_text(json.dumps(facts))
    done = subprocess.run(
        [sys.executable, CONFIGS / "healthcheck.py"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CRYPTOCAST_WORKSPACE": str(folder)},
    )
    return Done(done.returncode, done.stdout, done.stderr)


def test_a_loop_is_healthy_until_it_misses_its_own_next_tick(tmp_path: Path) -> None:
    now = int(time.time())
    lately, due, missed = iso(now - 200), iso(now - 250), iso(now - 400)
    for facts in (
        {"state": "starting", "updated_at": lately},
        {"state": "running", "updated_at": missed, "next_tick_at": due},
        {"state": "running", "updated_at": missed, "next_tick_at": iso(now + 86_000)},
        {"state": "running", "updated_at": lately, "next_tick_at": None},
    ):
        assert health(tmp_path, **facts) == Done(0, "", "")
    late = health(tmp_path, state="running", updated_at=lately, next_tick_at=missed)
    assert late.code == 1
    assert re.fullmatch(
        rf"serve-loop is 40\d s late: a tick was due at {re.escape(missed)}\n", late.err
    )
    hung = health(tmp_path, state="starting", updated_at=missed)
    assert (hung.code, hung.err.startswith("serve-loop is 40")) == (1, True)
    stopped = health(tmp_path, state="stopped", updated_at=lately, next_tick_at=None)
    assert stopped == Done(1, "", f"serve-loop stopped at {lately}\n")


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"{}", b'{"state": "running"}'])
def test_a_health_file_that_tells_nothing_is_unhealthy(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "logs" / "health.json"
    if content is not None:
        file.parent.mkdir()
        file.write_bytes(content)
    done = health(tmp_path)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert done.err.startswith(f"{file} cannot be read: ")
