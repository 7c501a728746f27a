"""A worker that fits our LSTM: `ours.py FOLDER WEEKS` writes week0.npz and so on, then answers.

{"fit": K} fits week K; {"score": FILE, "week": K} judges quantiles [N, H, Q] in that file.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from weeks import Week

from cryptocast import evaluation, models
from cryptocast.bundles import Forecaster
from cryptocast.seams import Params, TrainingRun
from cryptocast.values import FloatArray


def fit(week: Week, params: Params) -> dict[str, float]:
    """From candles to a graph that can serve; scored afterwards."""
    model = models.get("lstm")
    started = time.perf_counter()
    bars = week.bars()
    train = week.windows(bars, week.split.train)
    fitted = model.fit(
        train,
        week.windows(bars, week.split.validation),
        levels=week.settings.model.levels,
        params=params,
        run=TrainingRun(0),
    )
    seconds = time.perf_counter() - started
    validation, unseen = score(week, Forecaster(fitted.onnx).log_returns(week.judged(bars)))
    return {
        "seconds": seconds,
        "epochs": len(fitted.history),
        "windows_per_second": len(fitted.history) * len(train.inputs) / seconds,
        "validation_bp": validation,
        "unseen_bp": unseen,
    }


def score(week: Week, quantiles: FloatArray) -> tuple[float, float]:
    """Mean CRPS in bp over validation, and over the gate and the test."""
    targets = week.judged(week.bars()).targets
    return week.means(evaluation.crps_bp(quantiles, targets, week.settings.model.levels))


def main(folder: Path, count: int) -> None:
    """Answer until the input ends."""
    weeks = [Week(number) for number in range(count)]
    for number, week in enumerate(weeks):
        week.save(folder / f"week{number}.npz")
    fit(weeks[0], {"epochs": 1})  # what is imported late is imported now
    print(json.dumps({"threads": torch.get_num_threads()}), flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        if "fit" in question:
            answer = fit(weeks[question["fit"]], {})
        else:
            names = "validation_bp", "unseen_bp"
            quantiles = np.load(question["score"])
            answer = dict(zip(names, score(weeks[question["week"]], quantiles), strict=True))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
