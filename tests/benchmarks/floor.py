"""The least that a forecast process can do: the imports, one window, one insert.

`floor.py DATABASE MODEL.ONNX LOOKBACK FEATURES`. The database is a copy of a workspace's.
"""

from __future__ import annotations

import sys

import duckdb
import numpy as np
import onnxruntime
import typer


def main(database: str, model: str, lookback: int, features: int) -> None:
    """Forecast once from a blank window and keep the answer."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    window = np.zeros((1, lookback, features), dtype=np.float32)
    quantiles = session.run(["quantiles"], {"inputs": window})[0].ravel().tolist()
    with duckdb.connect(database) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS floor (quantiles DOUBLE[])")
        connection.execute("INSERT INTO floor VALUES (?)", [quantiles])


if __name__ == "__main__":
    assert typer  # the parser of a command line is part of the floor
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
