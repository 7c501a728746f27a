"""Columns, types and units of the frames that cross rooms; `check` holds a frame to them."""

from __future__ import annotations

import polars as pl

SCORES = pl.Schema(
    {
        "model": pl.String,  # kind: lstm, random_walk, constant
        "version": pl.String,  # null for a baseline
        "market": pl.String,
        "step": pl.Int64,  # null for all steps together
        "n": pl.Int64,  # scored (origin, step) pairs
        "effective_n": pl.Float64,  # independent origins in the difference to the random walk
        "crps_bp": pl.Float64,
        "mae_bp": pl.Float64,  # of the median
        "relative_mae": pl.Float64,  # against the last price
        "direction_accuracy": pl.Float64,  # zero moves left out
        "direction_low": pl.Float64,  # its 90 % interval
        "direction_high": pl.Float64,
        "coverage80": pl.Float64,
        "coverage90": pl.Float64,
        "calibration": pl.Float64,  # mean over levels of |share at or below it - level|
        "qlike": pl.Float64,  # of the implied variance in bp^2; lower is better
        "skill_vs_random_walk": pl.Float64,
        "skill_low": pl.Float64,  # its 90 % interval
        "skill_high": pl.Float64,
        "skill_vs_constant": pl.Float64,
        "p_value": pl.Float64,  # one-sided Diebold-Mariano, against the random walk
    }
)
"""One row per (model, version, market, step). A figure that does not exist is null."""


def check(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """Return the frame itself if its columns and types are exactly the schema's.

    Raises ValueError with the first difference, which is a bug in the room that made the frame.
    """
    for name, wanted in schema.items():
        actual = frame.schema.get(name)
        if actual != wanted:
            raise ValueError(f"column {name} is {actual}, not {wanted}")
    if extra := set(frame.columns) - set(schema.names()):
        raise ValueError(f"unexpected columns: {', '.join(sorted(extra))}")
    return frame
