"""Gradient boosting: for each level the quantile of the size of moves, from the newest bar.

Sizes are in units of sigma * sqrt(step) and all steps share them. The quantiles lie about zero,
because nothing says which way the price goes: those above the median are learned from the sizes,
those below mirror them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper
from sklearn.ensemble import GradientBoostingRegressor

from cryptocast.errors import ConfigError
from cryptocast.seams import Params, TrainingRun, Trial
from cryptocast.values import FEATURES, Fitted, Windows

LEAST_GAP = 0.01  # between neighbouring quantiles, so that prices differ in their last digit
_IR_VERSION, _OPSETS = 8, (helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3))


@dataclass(frozen=True)
class Shape:
    """The parameters of a training."""

    trees: int = 30
    depth: int = 2
    learning_rate: float = 0.1


class Model:
    """Gradient boosting as a model kind (`cryptocast.seams.ModelKind`)."""

    kind = "boosted"

    def started_at(self, network: str) -> Model:
        """Return itself: trees start at no network."""
        return self

    def least_bars(self, lookback: int, horizon: int) -> int:
        """Return 100: with fewer, the outer levels have nothing to learn from."""
        return 100

    def defaults(self) -> Params:
        """Return the parameters of a training that nobody tuned."""
        return dataclasses.asdict(Shape())

    def suggest(self, trial: Trial) -> Params:
        """Return one point of the search space."""
        return {
            "trees": trial.suggest_int("trees", 5, 40),
            "depth": trial.suggest_int("depth", 1, 3),
            "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
        }

    def fit(
        self,
        train: Windows,
        validation: Windows,
        *,
        levels: Sequence[float],
        params: Params,
        run: TrainingRun,
    ) -> Fitted:
        """Boost one model a level above the median. Raise ConfigError for an unknown parameter."""
        if unknown := set(params) - {field.name for field in dataclasses.fields(Shape)}:
            raise ConfigError(
                f"boosted has no parameter '{min(unknown)}'",
                code="config.params",
                hint="known: trees, depth, learning_rate",
            )
        shape = Shape(**params)  # type: ignore[arg-type]
        newest, sizes = train.inputs[:, -1], np.abs(train.standardised)
        size = np.nan_to_num(sizes).sum(axis=1) / np.maximum(np.isfinite(sizes).sum(axis=1), 1)
        known = np.isfinite(sizes).any(axis=1)
        boosted = [
            GradientBoostingRegressor(
                loss="quantile",
                alpha=2 * level - 1,
                n_estimators=shape.trees,
                max_depth=shape.depth,
                learning_rate=shape.learning_rate,
                random_state=run.seed,
            ).fit(newest[known], size[known])
            for level in levels
            if level > 0.5
        ]
        horizon = train.targets.shape[1]
        return Fitted(self.kind, dict(params), _graph(boosted, train.inputs.shape[1], horizon))


def _graph(boosted: Sequence[GradientBoostingRegressor], lookback: int, horizon: int) -> bytes:
    """Return the ONNX graph from `inputs` [N, L, F] to `quantiles` [N, H, Q]."""
    above = len(boosted)
    fixed = {
        "newest_bar": np.array(-1),
        "steps_axis": np.array([1]),
        "least": np.float32(LEAST_GAP),
        "all_of_them": np.array([above]),
        # From sizes, smallest first, to gaps outwards from the median, and to quantiles.
        "to_gaps": (np.eye(above) - np.eye(above, k=1)).astype(np.float32),
        "to_quantiles": _outwards(above),
        "over_steps": np.ones((horizon, 1), dtype=np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["inputs", "newest_bar"], ["newest"], axis=1),
        helper.make_node(
            "TreeEnsembleRegressor", ["newest"], ["raw"], domain="ai.onnx.ml", **_trees(boosted)
        ),
        helper.make_node(
            "TopK", ["raw", "all_of_them"], ["sizes", "places"], axis=1, largest=0, sorted=1
        ),
        helper.make_node("MatMul", ["sizes", "to_gaps"], ["gaps"]),
        helper.make_node("Max", ["gaps", "least"], ["apart"]),
        helper.make_node("MatMul", ["apart", "to_quantiles"], ["of_a_step"]),
        helper.make_node("Unsqueeze", ["of_a_step", "steps_axis"], ["one_step"]),
        helper.make_node("Mul", ["one_step", "over_steps"], ["quantiles"]),
    ]
    window, answer = ["N", lookback, len(FEATURES)], ["N", horizon, 2 * above + 1]
    graph = helper.make_graph(
        nodes,
        "boosted",
        [helper.make_tensor_value_info("inputs", TensorProto.FLOAT, window)],
        [helper.make_tensor_value_info("quantiles", TensorProto.FLOAT, answer)],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in fixed.items()],
    )
    model = helper.make_model(graph, opset_imports=_OPSETS, ir_version=_IR_VERSION)
    checker.check_model(model)
    return bytes(model.SerializeToString())


def _outwards(above: int) -> np.ndarray[Any, Any]:
    """Return [A, 2 A + 1], which sums gaps outwards from the median, to both sides."""
    upper = np.triu(np.ones((above, above)))
    return np.hstack([-upper[:, ::-1], np.zeros((above, 1)), upper]).astype(np.float32)


def _trees(boosted: Sequence[GradientBoostingRegressor]) -> dict[str, Any]:
    """Return the attributes of TreeEnsembleRegressor: a target for each model."""
    nodes: dict[str, list[Any]] = {
        name: []
        for name in (
            "treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids"
        )
    }  # fmt: skip
    targets: dict[str, list[Any]] = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    number = 0
    for target, model in enumerate(boosted):
        for (tree,) in model.estimators_:
            for node in range(tree.tree_.node_count):
                leaf = tree.tree_.children_left[node] == -1
                nodes["treeids"].append(number)
                nodes["nodeids"].append(node)
                nodes["featureids"].append(0 if leaf else int(tree.tree_.feature[node]))
                nodes["values"].append(0.0 if leaf else float(tree.tree_.threshold[node]))
                nodes["modes"].append("LEAF" if leaf else "BRANCH_LEQ")
                nodes["truenodeids"].append(0 if leaf else int(tree.tree_.children_left[node]))
                nodes["falsenodeids"].append(0 if leaf else int(tree.tree_.children_right[node]))
                if leaf:
                    targets["treeids"].append(number)
                    targets["nodeids"].append(node)
                    targets["ids"].append(target)
                    value = model.learning_rate * tree.tree_.value[node, 0, 0]
                    targets["weights"].append(float(value))
            number += 1
    begin = [float(model.init_.constant_[0, 0]) for model in boosted]
    return {
        **{f"nodes_{name}": values for name, values in nodes.items()},
        **{f"target_{name}": values for name, values in targets.items()},
        "n_targets": len(boosted),
        "base_values": begin,
        "post_transform": "NONE",
        "aggregate_function": "SUM",
    }
