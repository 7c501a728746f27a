"""pretrain: from files of candles to a network that init starts at, however often interrupted."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryptocast import bundles, models
from cryptocast.bundles import Forecaster
from cryptocast.compute.pretraining import PretrainRule, Recorded, ScoredSeries, base_scores
from cryptocast.config import Settings
from cryptocast.models import _base
from cryptocast.sources import sim
from cryptocast.values import FEATURES, Candles, Market, Recording, iso
from support.commands import INTERVAL, NOW, candles, good, run, start_loaded, write

BARS = 1_200
FIRST = NOW - 2_016 * INTERVAL
QUICK = {"STEPS": "100", "HIDDEN": "4", "BATCH_SIZE": "64"}
LATER = "2026-03-01T00:00:00Z"
FOLDER = ["card.json", "model.onnx"]

# A process that is killed in the second epoch of its second training.
IN_THE_SECOND = """
import sys, time
from cryptocast import cli
from cryptocast.models import _lightning
_lightning._SAVE_SECONDS = -1.0
keep = _lightning._Keeper._keep
def halting(self, number):
    if ".all." in self.training.run.checkpoint.name and number == 2:
        print("here", flush=True)
        time.sleep(3600)
    return keep(self, number)
_lightning._Keeper._keep = halting
sys.exit(cli.run(sys.argv[1:]))
"""


def minutes(symbol: str, bars: int) -> Candles:
    """Candles of a minute each, of as many bars of five, without a gap."""
    days = np.arange(FIRST // sim.DAY_SECONDS, FIRST // sim.DAY_SECONDS + 7, dtype=np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sim, "MISSING_SHARE", 0.0)
        return sim.simulate(0, Market.of(symbol, "sim", "1m"), days).take(slice(5 * bars))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three markets: of five minutes as Parquet and as CSV, of one minute as Parquet."""
    folder = tmp_path_factory.mktemp("files")
    write(folder / "BTC-EUR.parquet", candles("BTC/EUR", bars=BARS))
    write(folder / "ETH-EUR.csv", candles("ETH/EUR", bars=BARS))
    write(folder / "SOL-EUR.parquet", minutes("SOL/EUR", BARS))
    return folder


@pytest.fixture(scope="module")
def made(files: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A network of these files, and what the command said. Not to be written to."""
    out = tmp_path_factory.mktemp("made") / "base"
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith("CRYPTOCAST_")]:
            patch.delenv(name)
        quick(patch)
        return out, good("pretrain", "--data", files, "--out", out, "--origin", "made up, CC0")


def quick(patch: pytest.MonkeyPatch) -> None:
    for name, value in QUICK.items():
        patch.setenv(f"CRYPTOCAST_PRETRAIN__{name}", value)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)


def graph(folder: Path) -> bytes:
    return (folder / "model.onnx").read_bytes()


def refused(*arguments: str | Path) -> dict[str, str]:
    done = run("pretrain", *arguments, "--json")
    return {**done.error, "exit": str(done.code)}


def test_the_answer_says_what_was_learned_and_what_it_came_to(
    made: tuple[Path, dict[str, Any]], files: Path
) -> None:
    out, data = made
    assert (data["folder"], data["interval"], data["series"]) == (str(out), "5m", 3)
    assert data["origins"] == pytest.approx(3 * BARS, rel=0.02)
    assert data["seconds"] > 0
    names = ["BTC-EUR.parquet", "ETH-EUR.csv", "SOL-EUR.parquet"]
    assert list(dict.fromkeys(row["market"] for row in data["scores"])) == names
    for name in names:
        steps = [row["step"] for row in data["scores"] if row["market"] == name]
        assert sorted(steps, key=str) == sorted([*range(1, 25), "all"], key=str)
    assert {row["model"] for row in data["scores"]} == {"base"}
    whole = [row["skill_vs_random_walk"] for row in data["scores"] if row["step"] == "all"]
    assert data["evidence"] == {
        "skill": pytest.approx(np.mean(whole)),
        "worst_skill": pytest.approx(min(whole)),
        "series": 3.0,
        "n": float(sum(row["n"] for row in data["scores"] if row["step"] == "all")),
        "start": float(FIRST + round(0.7 * BARS) * INTERVAL),
        "end": float(FIRST + BARS * INTERVAL),
    }
    assert sorted(p.name for p in files.iterdir()) == names


def test_what_is_held_out_is_the_newest_time_of_all(made: tuple[Path, dict[str, Any]]) -> None:
    """Cut at one moment: the coins move together, so none may tell of another's future."""
    assert made[1]["held_out_from"] == iso(FIRST + round(0.7 * BARS) * INTERVAL)


def test_the_folder_is_a_bundle_whose_card_tells_where_it_comes_from(
    made: tuple[Path, dict[str, Any]],
) -> None:
    out, data = made
    bundle = bundles.load(out)
    card = bundle.card
    assert sorted(p.name for p in out.iterdir()) == FOLDER
    assert sorted(p.name for p in out.parent.iterdir()) == ["base"]
    assert (card.version, card.kind, card.interval, card.horizon) == ("base-5m", "base", "5m", 24)
    assert card.markets == ("BTC/EUR", "ETH/EUR", "SOL/EUR")
    assert (card.origin, card.evidence) == ("made up, CC0", data["evidence"])
    assert (card.params["steps"], card.params["hidden"]) == (100, 4)
    assert (card.data_start, card.data_end) == (FIRST, FIRST + BARS * INTERVAL)
    found = bundle.forecaster(np.zeros((2, card.lookback, len(FEATURES))))
    assert found.shape == (2, 24, len(card.levels))
    assert _base.read(graph(out)).first.shape == (41, 4)


def test_the_same_files_and_seed_give_the_same_bytes_which_replace_others_only_when_done(
    made: tuple[Path, dict[str, Any]], files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, freeze = tmp_path / "other", bundles.freeze
    freeze(out, bundles.load(made[0]).card, b"an older graph")
    seen: list[bytes] = []

    def watched(folder: Path, *arguments: Any) -> None:
        seen.append(graph(folder))
        freeze(folder, *arguments)

    monkeypatch.setattr(bundles, "freeze", watched)
    again = good("pretrain", "--data", files / "*-EUR.*", "--out", out)
    assert seen == [b"an older graph"]
    assert graph(out) == graph(made[0])
    assert again["scores"] == made[1]["scores"]
    assert bundles.load(out).card.origin is None


def test_a_person_sees_the_skill_of_each_series(files: Path, tmp_path: Path) -> None:
    done = run("pretrain", "--data", files / "BTC-EUR.parquet", "--out", tmp_path / "base")
    assert done.code == 0, done.err
    assert "CRPS skill against the random walk from " in done.out.replace("\n", " ")
    assert "BTC-EUR.parquet" in done.out
    assert "1 series, 1,1" in done.out.replace("\n", " ")


def test_a_killed_pretrain_goes_on_and_ends_as_if_nothing_had_been(
    made: tuple[Path, dict[str, Any]], files: Path, tmp_path: Path
) -> None:
    out = tmp_path / "base"
    options = ("pretrain", "--data", files, "--out", out, "--origin", "made up, CC0")
    child = start_loaded(*options, script=IN_THE_SECOND)
    assert child.stdout is not None
    assert child.stdout.readline() == "here\n", child.communicate()[1]
    child.send_signal(signal.SIGKILL)
    child.communicate()
    left = sorted(p.name for p in tmp_path.iterdir())
    assert [name.split(".")[-2] for name in left] == ["all", "older"]
    assert all(name.startswith(".base.") for name in left)
    done = run(*options, "--json")
    assert done.code == 0, done.err
    assert "part 1 of 2" not in done.err  # neither training begins anew
    assert done.data["scores"] == made[1]["scores"]
    assert graph(out) == graph(made[0])
    assert [p.name for p in tmp_path.iterdir()] == ["base"]


def test_finer_candles_are_put_together_and_coarser_ones_refused(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_MARKET__INTERVAL", "1m")
    error = refused("--data", files, "--out", tmp_path / "base")
    assert error == {
        "code": "config.interval",
        "message": "BTC-EUR.parquet holds candles of 5m: none of 1m can be made of them",
        "hint": "set [market] interval to theirs, or leave the file out",
        "exit": "2",
    }
    assert list(tmp_path.iterdir()) == []


def test_settings_of_a_file_say_how(files: Path, tmp_path: Path) -> None:
    config = tmp_path / "pretrain.toml"
    text = "[market]\ninterval = '15m'\n[model]\nhorizon = 3\n[pretrain]\nhidden = 5\n"
    config.write_text(text, encoding="utf-8")
    os.environ.pop("CRYPTOCAST_PRETRAIN__HIDDEN")
    long = write(tmp_path / "c" / "SOL-EUR.parquet", minutes("SOL/EUR", 576 * 3))
    options = ("--data", long, "--data", files, "--config", config, "--out", tmp_path / "base")
    data = good("pretrain", *options)
    assert (data["interval"], data["series"]) == ("15m", 1)  # the others are too short
    card = bundles.load(tmp_path / "base").card
    assert (card.interval, card.horizon, card.params["hidden"]) == ("15m", 3, 5)
    assert card.markets == ("SOL/EUR",)


def test_it_takes_the_settings_of_a_workspace_that_is_named(files: Path, tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    settings = tmp_path / "w" / "cryptocast.toml"
    settings.write_text("[model]\nhorizon = 3\n", encoding="utf-8")
    good("pretrain", "-w", tmp_path / "w", "--data", files, "--out", tmp_path / "base")
    assert bundles.load(tmp_path / "base").card.horizon == 3


def test_what_is_not_closed_now_is_not_learned_from(files: Path, tmp_path: Path) -> None:
    now = FIRST + 700 * INTERVAL
    good("pretrain", "--data", files, "--out", tmp_path / "base", "--as-of", iso(now))
    card = bundles.load(tmp_path / "base").card
    assert (card.data_start, card.data_end) == (FIRST, now)


def test_files_of_one_name_go_by_their_paths(files: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "c" / "BTC-EUR.parquet", candles("BTC/EUR"))
    data = good("pretrain", "--data", files, "--data", other, "--out", tmp_path / "base")
    names = {row["market"] for row in data["scores"]}
    both = {str(files / "BTC-EUR.parquet"), str(other)}
    assert names == both | {"ETH-EUR.csv", "SOL-EUR.parquet"}


def test_a_series_that_ends_before_the_newest_time_is_learned_from_all_the_same(
    files: Path, tmp_path: Path
) -> None:
    early = candles("LTC/EUR", bars=600)
    before = replace(early, open_time=early.open_time - 10**6 * INTERVAL)
    write(tmp_path / "c" / "LTC-EUR.parquet", before)
    data = good("pretrain", "--data", tmp_path / "c", "--data", files, "--out", tmp_path / "base")
    assert data["series"] == 4
    assert "LTC-EUR.parquet" not in {row["market"] for row in data["scores"]}
    assert data["evidence"]["series"] == 3.0
    again = run("pretrain", "--data", tmp_path / "c", "--data", files, "--out", tmp_path / "base")
    assert "1 of 4 series end earlier: used for training, not scored" in again.out


@pytest.fixture(scope="module")
def other_years(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two markets, recorded long before those of `files`."""
    folder = tmp_path_factory.mktemp("other_years")
    for symbol in ("ADA/EUR", "LTC/EUR"):
        late = candles(symbol, bars=900)
        early = replace(late, open_time=late.open_time - 10**6 * INTERVAL)
        write(folder / f"{symbol.replace('/', '-')}.parquet", early)
    return folder


def test_a_network_can_be_scored_on_files_of_other_years(
    made: tuple[Path, dict[str, Any]], files: Path, other_years: Path, tmp_path: Path
) -> None:
    """The same network is written, and its card says what it is worth where it never was."""
    out = tmp_path / "base"
    data = good("pretrain", "--data", files, "--unseen", other_years, "--out", out)
    assert (data["series"], data["held_out_from"]) == (3, None)
    assert {row["market"] for row in data["scores"]} == {"ADA-EUR.parquet", "LTC-EUR.parquet"}
    first = int(candles("ADA/EUR", bars=900).open_time[0]) - 10**6 * INTERVAL
    whole = [row for row in data["scores"] if row["step"] == "all"]
    assert [row["n"] for row in whole] == [pytest.approx(24 * (675 - 11.5), rel=0.03)] * 2
    assert data["evidence"] == {
        "skill": pytest.approx(np.mean([row["skill_vs_random_walk"] for row in whole])),
        "worst_skill": pytest.approx(min(row["skill_vs_random_walk"] for row in whole)),
        "series": 2.0,
        "n": float(sum(row["n"] for row in whole)),
        "start": float(first + 225 * INTERVAL),
        "end": float(first + 900 * INTERVAL),
    }
    assert bundles.load(out).card.evidence == data["evidence"]
    assert graph(out) == graph(made[0])


def test_a_network_that_knows_more_steps_is_scored_on_those_that_are_asked_for() -> None:
    shipped = Forecaster((models.base_folder("5m") / "model.onnx").read_bytes())
    recording = Recording(
        Path("BTC-EUR.csv"), Market.of("BTC/EUR", "file", "5m"), candles("BTC/EUR", bars=BARS)
    )
    rule = PretrainRule(Settings(), FIRST + 10**9)
    recorded = Recorded.of(recording, rule.settings, rule.now)
    assert recorded is not None
    assert shipped.horizon > rule.settings.model.horizon
    scores = base_scores(ScoredSeries(recorded, shipped, recorded.warmed_up), rule)
    assert {row["step"] for row in scores} == {*range(1, 25), "all"}


def test_what_moves_with_the_learned_candles_is_not_unseen(
    files: Path, other_years: Path, tmp_path: Path
) -> None:
    options = ("--data", files / "BTC-EUR.parquet", "--unseen", other_years)
    assert refused(*options, "--unseen", files / "ETH-EUR.csv", "--out", tmp_path / "base") == {
        "code": "usage.unseen",
        "message": "ETH-EUR.csv shares time with BTC-EUR.parquet, which the network learns from",
        "hint": "markets move together: name files of other years, --unseen DATA",
        "exit": "2",
    }
    assert not (tmp_path / "base").exists()


def test_too_few_candles_are_refused(tmp_path: Path) -> None:
    short = write(tmp_path / "c" / "BTC-EUR.parquet", candles(bars=575))
    assert refused("--data", short, "--out", tmp_path / "base") == {
        "code": "state.not_enough_candles",
        "message": "no file holds 576 candles of 5m",
        "hint": "give pretrain longer files, or another [market] interval",
        "exit": "3",
    }
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_a_file_that_cannot_be_read_is_exit_4(tmp_path: Path) -> None:
    file = tmp_path / "BTC-EUR.parquet"
    file.write_bytes(b"PAR1 and no more")
    error = refused("--data", file, "--out", tmp_path / "base")
    assert (error["code"], error["exit"]) == ("source.bad_file", "4")
    assert error["message"].startswith(f"{file} cannot be read: ")
    missing = refused("--data", tmp_path / "*.csv", "--out", tmp_path / "base")
    assert (missing["code"], missing["exit"]) == ("source.no_file", "4")
    assert missing["hint"] == "check --data"


@pytest.mark.parametrize("out", ["file/base", "file"])
def test_a_folder_that_cannot_be_written_is_told_before_the_training(
    tmp_path: Path, files: Path, out: str
) -> None:
    (tmp_path / "file").write_text("a file, no folder", encoding="utf-8")
    error = refused("--data", files, "--out", tmp_path / out)
    why = "File exists" if "/" in out else "Not a directory"
    assert error == {
        "code": "usage.out",
        "message": f"{tmp_path / out} cannot be written: {why}",
        "hint": "name a folder that you may write: --out DIR",
        "exit": "2",
    }
    assert (tmp_path / "file").read_text(encoding="utf-8") == "a file, no folder"


@pytest.mark.parametrize("how", ["named", "here"])
def test_a_folder_of_somebodys_files_is_never_replaced(
    tmp_path: Path, files: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work", encoding="utf-8")
    monkeypatch.chdir(mine)
    error = refused("--data", files, "--out", mine if how == "named" else ".")
    assert error == {
        "code": "usage.out",
        "message": f"{mine} holds other files than a network's: thesis.tex",
        "hint": "it would be replaced as a whole: name another folder, --out DIR",
        "exit": "2",
    }
    assert [p.name for p in mine.iterdir()] == ["thesis.tex"]


def test_a_disk_that_is_full_at_the_end_is_one_line_and_costs_no_training(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    error = refused("--data", files / "BTC-EUR.parquet", "--out", tmp_path / "base")
    assert error["message"] == f"{tmp_path / 'base'} cannot be written: No space left on device"
    assert error["exit"] == "2"


def test_init_starts_at_the_network_that_was_made(
    made: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_MODEL__BASE", str(made[0]))
    options = ("--source", "sim", "--symbol", "BTC/EUR", "--days", "0.125", "--as-of", LATER)
    data = good("init", "-w", tmp_path / "w", *options)
    base = next(c for c in data["candidates"] if c["role"] == "base")
    assert data["no_base"] is None
    versions = {v["version"]: v for v in good("models", "-w", tmp_path / "w")["versions"]}
    assert versions[base["version"]]["kind"] == "base"
    settings = (tmp_path / "w" / "cryptocast.toml").read_text(encoding="utf-8")
    assert json.dumps(str(made[0])) in settings
    assert base["gate"] is not None
    skill = f"{made[1]['evidence']['skill']:+.2%}"
    assert base["gate"].startswith("not decided here: ")
    assert base["gate"].endswith(
        f"; serves because it was {skill} on candles that it had not learned from"
    )


def test_a_network_of_another_interval_is_refused_by_init(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = models.base_folder("15m")
    monkeypatch.setenv("CRYPTOCAST_MODEL__BASE", str(folder))
    options = ("--source", "sim", "--symbol", "BTC/EUR", "--days", "0.125", "--as-of", LATER)
    done = run("init", "-w", tmp_path / "w", *options, "--json")
    assert done.error == {
        "code": "config.base",
        "message": f"the base network {folder} is for candles of 15m, not 5m",
        "hint": 'train one with cryptocast pretrain, or set [model] start = "scratch"',
    }
    assert done.code == 2
