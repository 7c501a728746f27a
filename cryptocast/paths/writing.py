"""Files of simulated paths: Parquet, CSV, NPZ and JSON, and the answer that a league asks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cryptocast.paths.simulation import MarketPaths, Simulation
from cryptocast.values import iso

if TYPE_CHECKING:
    from polars import DataFrame

ENDINGS = (".parquet", ".csv", ".npz", ".json")

_SYNTH_DIGITS = 8


def write(draft: Path, ending: str, simulation: Simulation) -> None:
    """Write all paths into `draft` in the format of an ending; every file says what it rests on.

    The same simulation gives the same bytes.
    """
    if ending == ".npz":
        _write_npz(draft, simulation)
    elif ending == ".json":
        draft.write_text(json.dumps(_as_json(simulation)) + "\n", encoding="utf-8")
    else:
        _write_table(draft, ending, simulation)


def write_synth(draft: Path, simulation: Simulation) -> None:
    """Write the paths of one market as Synth (Bittensor's subnet 50) takes them.

    A list: the origin in Unix seconds, the seconds of a step, and the prices of each path from
    the origin on, with at most 8 significant digits.
    """
    (one,) = simulation.markets
    start = np.full((simulation.paths, 1), one.last_close)
    rows = [
        [float(f"{price:.{_SYNTH_DIGITS}g}") for price in path]
        for path in np.hstack([start, one.prices]).tolist()
    ]
    content = [simulation.origin, simulation.step_seconds, *rows]
    draft.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _write_npz(draft: Path, simulation: Simulation) -> None:
    """Write arrays: `prices` [M, N, S] and what they belong to; texts are arrays of text."""
    markets = simulation.markets
    with draft.open("wb") as file:
        np.savez_compressed(
            file,
            prices=np.stack([one.prices for one in markets]),
            target_time=np.array(_targets(simulation)),
            market=np.array([one.market.id for one in markets]),
            last_close=np.array([one.last_close for one in markets]),
            model=np.array([one.model.version for one in markets]),
            library=np.array(simulation.library.name),
            curve=np.array([one.curve for one in markets]),
            origin=np.array(simulation.origin),
        )


def _as_json(simulation: Simulation) -> dict[str, Any]:
    return {
        "origin": iso(simulation.origin),
        "library": simulation.library.name,
        "target_times": [iso(moment) for moment in _targets(simulation)],
        "markets": [
            {
                "market": one.market.id,
                "last_close": one.last_close,
                "model": one.model.version,
                "curve": one.curve,
                "paths": one.prices.tolist(),
            }
            for one in simulation.markets
        ],
    }


def _write_table(draft: Path, ending: str, simulation: Simulation) -> None:
    table = frame(simulation)
    if ending == ".parquet":
        table.write_parquet(draft)
    else:
        table.write_csv(draft, datetime_format="%Y-%m-%dT%H:%M:%SZ")


def frame(simulation: Simulation) -> DataFrame:
    """Return a row per market, path and step: the price, and what the paths rest on."""
    import polars as pl  # late: neither the answer on the screen nor the tick needs it

    return pl.concat([_frame(simulation, one) for one in simulation.markets])


def _frame(simulation: Simulation, one: MarketPaths) -> DataFrame:
    import polars as pl  # late, as above

    count, steps = one.prices.shape
    rows = pl.DataFrame(
        {
            "path": np.repeat(np.arange(1, count + 1, dtype=np.int32), steps),
            "step": np.tile(np.arange(1, steps + 1, dtype=np.int32), count),
            "target_time": np.tile(np.array(_targets(simulation)), count),
            "price": one.prices.ravel(),
        }
    )
    moments = pl.from_epoch(pl.col("target_time")).dt.replace_time_zone("UTC")
    origin = pl.from_epoch(pl.lit(simulation.origin)).dt.replace_time_zone("UTC")
    return rows.select(
        pl.lit(one.market.id).alias("market"),
        origin.alias("origin"),
        "path",
        "step",
        moments,
        "price",
        pl.lit(one.model.version).alias("model"),
        pl.lit(simulation.library.name).alias("library"),
        pl.lit(one.curve).alias("curve"),
    )


def _targets(simulation: Simulation) -> list[int]:
    return [simulation.target_time(step) for step in range(1, simulation.steps + 1)]
