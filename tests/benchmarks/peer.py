"""A worker that fits neuralforecast's LSTM on what `ours.py` saved: `peer.py FOLDER`.

{"fit": K, "target": T} fits week K and writes its quantiles of the log-return from the last
close [N, H, Q] to peer.npy. A target is the series that the peer is given:

- `level`: the log price. Its quantile at step h less the last log price is what is asked.
- `returns`: the log-return of a bar. Medians add up over the steps, and so do the squares
  of the distances from them, as those of independent returns would.

The network is as large as ours (one LSTM layer, 32 wide, 64 candles, 24 steps, the same
levels). Scaler, batches, learning rate and steps are its own defaults, but for 500 steps.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MQLoss
from neuralforecast.models import LSTM

LOOKBACK, HORIZON, HIDDEN, STEPS = 64, 24, 32, 500


def network(levels: list[float], steps: int) -> NeuralForecast:
    """The peer, quiet."""
    model = LSTM(
        h=HORIZON,
        input_size=LOOKBACK,
        encoder_n_layers=1,
        encoder_hidden_size=HIDDEN,
        decoder_hidden_size=HIDDEN,
        loss=MQLoss(quantiles=levels),
        max_steps=steps,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    return NeuralForecast([model], freq=1)


def frame(name: str, series: Any) -> pd.DataFrame:
    """A series as neuralforecast takes it."""
    return pd.DataFrame({"unique_id": name, "ds": np.arange(len(series)), "y": series})


def predict(peer: NeuralForecast, series: Any, at: Any) -> Any:
    """[N, H, Q] from the `LOOKBACK` values before each origin, each as a series of its own."""
    pieces = [frame(f"{i:05d}", series[end - LOOKBACK : end]) for i, end in enumerate(at)]
    answer = peer.predict(pd.concat(pieces))
    quantiles = answer.drop(columns=["unique_id", "ds"]).to_numpy()
    # Its quantiles may cross; in order they score better.
    return np.sort(quantiles.reshape(len(at), HORIZON, -1), axis=-1)


def summed(quantiles: Any) -> Any:
    """From quantiles of each bar's return to those of the return since the last close."""
    middle = quantiles.shape[-1] // 2
    median = quantiles[..., middle : middle + 1]
    width = np.sqrt(np.cumsum((quantiles - median) ** 2, axis=1))
    side = np.sign(np.arange(quantiles.shape[-1]) - middle)
    return np.cumsum(median, axis=1) + side * width


def fit(folder: Path, week: int, target: str, steps: int = STEPS) -> dict[str, float]:
    """Fit one week, then answer every origin that is judged."""
    given = np.load(folder / f"week{week}.npz")
    log_close, at = given["log_close"], given["at"]
    series = log_close if target == "level" else np.diff(log_close, prepend=log_close[0])
    started = time.perf_counter()
    peer = network(given["levels"].tolist(), steps)
    peer.fit(frame("candles", series[: int(given["train_bars"])]))
    seconds = time.perf_counter() - started
    quantiles = predict(peer, series, at)
    if target == "level":
        quantiles = quantiles - log_close[at - 1][:, None, None]
    else:
        quantiles = summed(quantiles)
    np.save(folder / "peer.npy", quantiles)
    windows = steps * peer.models[0].windows_batch_size
    return {"seconds": seconds, "windows_per_second": windows / seconds}


def main(folder: Path) -> None:
    """Answer until the input ends."""
    warnings.simplefilter("ignore")
    for name in ("lightning", "lightning.pytorch", "lightning.fabric", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    fit(folder, 0, "returns", steps=1)  # what is imported late is imported now
    print(json.dumps({"threads": torch.get_num_threads()}), flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        print(json.dumps(fit(folder, question["fit"], question["target"])), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
