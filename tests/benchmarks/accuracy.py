"""How good the models are on recorded candles: `make accuracy DATA=FOLDER` (a quarter of an hour).

Of each file, weeks that are spread over it: every model has 7 days, which it learns from as
`init` splits them, and is scored on the 2 days after (576 origins). Skill is against W7, the
random walk that learned from the same candles; H, which knows the whole file, stands beside it.
neuralforecast's LSTM takes one week of each file, on the same origins. The tables go into
results/accuracy.md.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from eras import EVERY, Hindsight, Track, laid_out
from pairs import INTERVAL, LEARNED_DAYS, SCORED_DAYS, Pair, Week, pairs
from processes import Worker
from record import record
from rows import TARGETS
from skills import WALK, Scored, coins_table, differences_table, models_table

from cryptocast import evaluation, models
from cryptocast.bundles import Forecaster
from cryptocast.config import Settings
from cryptocast.evaluation.metrics import inside
from cryptocast.seams import Params, TrainingRun
from cryptocast.sources.file import recordings
from cryptocast.values import FloatArray, Windows

LEVELS = Settings().model.levels
BASE, TUNED, SCRATCH = "base", "fine-tuned", "from scratch"
LEARNERS: dict[str, tuple[str, Params]] = {
    BASE: ("base", {}),
    TUNED: ("lstm", {"start_at": "5m"}),
    SCRATCH: ("lstm", {"start_at": "har"}),
    **{kind: (kind, {}) for kind in models.baseline_kinds()},
}
"""The table's name of each model, its kind and parameters."""

HINDSIGHT = "walk in hindsight (H)"
PEER = "neuralforecast LSTM"
HERE = Path(__file__).resolve().parent


def score(pair: Pair) -> Scored:
    """Let every model learn from a pair's 7 days, and score it on the 2 days after."""
    import torch

    torch.set_num_threads(1)
    week = Week.of(pair)
    crps, inside90 = {}, {}
    for name, (kind, params) in LEARNERS.items():
        model = models.get(kind)
        made = model.fit(
            week.train, week.validation, levels=LEVELS, params=params, run=TrainingRun(0)
        )
        quantiles = Forecaster(made.onnx).log_returns(week.unseen)
        crps[name], inside90[name] = judged(quantiles, week.unseen)
    crps[HINDSIGHT], inside90[HINDSIGHT] = judged(in_hindsight(pair, week.unseen), week.unseen)
    return Scored(pair, crps, inside90)


def in_hindsight(pair: Pair, windows: Windows) -> FloatArray:
    """[N, H, Q] what H, which knows the whole file, forecasts at the origins of a pair."""
    track, chosen = _hindsight(pair.file)
    rows = (windows.origin - track.bars.first) // track.bars.market.interval_seconds - 1
    return np.asarray(chosen.forecast(track)(rows) * track.unit[rows][..., None])


@functools.lru_cache(maxsize=1)
def _hindsight(file: Path) -> tuple[Track, Hindsight]:
    (found,) = recordings([str(file)], {})
    track = laid_out(found, INTERVAL)
    assert track is not None
    return track, Hindsight.of(track, track.judged(EVERY))


def judged(quantiles: FloatArray, windows: Windows) -> tuple[FloatArray, float]:
    """[N, H] CRPS in bp, and the share of outcomes in the 90 % range."""
    loss = evaluation.crps_bp(quantiles, windows.targets, LEVELS)
    return loss, float(np.nanmean(inside(quantiles, windows.targets, LEVELS, 0.9)))


def with_peer(scored: Sequence[Scored], python: str, folder: Path) -> list[Scored]:
    """The same pairs with neuralforecast's LSTM beside our models.

    It is given the target by which it does better on the validation parts of all pairs.
    """
    weeks = [Week.of(each.pair) for each in scored]
    for number, week in enumerate(weeks):
        step = week.bars.market.interval_seconds
        asked = np.concatenate([week.validation.origin, week.unseen.origin])
        np.savez(
            folder / f"week{number}.npz",
            log_close=week.bars.log_close,
            train_bars=week.split.train.bars(step),
            at=(asked - week.bars.first) // step,
            levels=LEVELS,
        )
    found: dict[str, list[tuple[float, tuple[FloatArray, float]]]] = {t: [] for t in TARGETS}
    with Worker((python, str(HERE / "peer.py"), str(folder)), folder, threads=1) as peer:
        for number, week in enumerate(weeks):
            for target in TARGETS:
                peer.ask(fit=number, target=target)
                quantiles = np.load(folder / "peer.npy")
                many = len(week.validation)
                validation, _ = judged(quantiles[:many], week.validation)
                answer = float(np.nanmean(validation)), judged(quantiles[many:], week.unseen)
                found[target].append(answer)
            print(f"{number + 1}/{len(weeks)} {scored[number].pair.coin}: peer", flush=True)
    best = min(TARGETS, key=lambda target: np.mean([loss for loss, _ in found[target]]))
    return [
        Scored(each.pair, each.crps_bp | {PEER: crps}, each.inside90 | {PEER: share})
        for each, (_, (crps, share)) in zip(scored, found[best], strict=True)
    ]


def report(scored: Sequence[Scored], beside: Sequence[Scored]) -> str:
    """All tables as Markdown."""
    parts = [
        f"Measured on {datetime.now(UTC):%Y-%m-%d} by `make accuracy DATA=FOLDER`:"
        f" {len(scored)} pairs of a coin and a week, {LEARNED_DAYS} days to learn from and the"
        f" {SCORED_DAYS} days after to be scored on. CRPS skill in per cent against W7, the random"
        " walk of the same 7 days (standard error by a jackknife over weeks, all coins of a week"
        " together). H is no forecaster: it knows in hindsight which of 13 decays is best for each"
        " step of each file, and its quantiles."
    ]
    for era in sorted({each.pair.era for each in scored}):
        mine = [each for each in scored if each.pair.era == era]
        names = [*LEARNERS, HINDSIGHT]
        parts += [f"{era}, {_saw(mine)}, {len(mine)} pairs:", models_table(mine, names)]
    unseen = [each for each in scored if not each.pair.known]
    if unseen:
        against = (BASE, SCRATCH), (TUNED, BASE), (TUNED, SCRATCH)
        parts += ["The eras that the base network never saw, paired on the same origins:"]
        parts += [differences_table(unseen, against)]
    names = [PEER, BASE, TUNED, SCRATCH, "har", WALK]
    for known in (False, True):
        if mine := [each for each in beside if each.pair.known == known]:
            title = f"Beside neuralforecast's LSTM, a week of each file, {_saw(mine)}"
            parts += [f"{title}, {len(mine)} pairs:", models_table(mine, names)]
    for name in (BASE, TUNED, SCRATCH):
        table = coins_table(scored, name)
        parts += [f"<details><summary>Coin by coin: {name}</summary>", table, "</details>"]
    return "\n\n".join(parts)


def _saw(scored: Sequence[Scored]) -> str:
    if all(each.pair.known for each in scored):
        return f"which the base network learned from (in-sample for {BASE} and {TUNED})"
    return "which the base network never saw"


def main() -> None:
    """Score all pairs, print the tables, and record them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weeks", type=int, default=5, help="weeks of each file")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--peer-python", default=sys.executable, help="one with neuralforecast")
    parser.add_argument("--no-record", action="store_true", help="only print")
    options = parser.parse_args()
    chosen = list(pairs(options.folder, options.weeks))
    if not chosen:
        sys.exit(f"{options.folder} holds no Parquet file with a month of candles of a pair")
    scored: list[Scored] = []
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for found in pool.imap(score, chosen):
            scored.append(found)
            walk = np.nanmean(found.crps_bp[WALK])
            told = (f"{n} {100 * (1 - np.nanmean(found.crps_bp[n]) / walk):+.2f}" for n in LEARNERS)
            print(f"{len(scored)}/{len(chosen)} {found.pair.coin}: {', '.join(told)}", flush=True)
    beside: list[Scored] = []
    there = "import importlib.util as u; exit(u.find_spec('neuralforecast') is None)"
    if subprocess.run((options.peer_python, "-c", there), check=False).returncode:
        print(f"without neuralforecast: {options.peer_python} does not have it", file=sys.stderr)
    else:
        with tempfile.TemporaryDirectory() as folder:
            middle = scored[options.weeks // 2 :: options.weeks]
            beside = with_peer(middle, options.peer_python, Path(folder))
    text = report(scored, beside)
    print(text)
    if not options.no_record:
        record("accuracy", text)


if __name__ == "__main__":
    main()
