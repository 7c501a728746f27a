"""Put together what MLflow keeps of a version: graph, card, code, and candles to try it on."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptocast import __version__
from cryptocast.bundles import Card
from cryptocast.compute.material import Material
from cryptocast.dataset import Part
from cryptocast.registry import Servable
from cryptocast.values import MIN_CANDLES, Fitted, iso

_ROOT = Path(__file__).parents[2]
_FILES = (
    *("bundles.py", "calibration.py", "candles.py", "drafts.py", "errors.py", "values.py"),
    *("dataset/*.py", "compute/__init__.py", "compute/standalone.py"),
)
"""What `compute.standalone` imports, and itself."""


def pack(material: Material, card: Card, fitted: Fitted) -> Servable:
    """Return a trained model as MLflow serves it where no cryptocast is installed."""
    package, code = _code()
    return Servable(
        graph=fitted.onnx,
        card=dataclasses.asdict(card),
        package=package,
        code=code,
        loader=f"{package}.compute.standalone",
        example=_example(material),
    )


@functools.cache  # the running code is the one at the process's start
def _code() -> tuple[str, Mapping[str, str]]:
    """Return the name of a package, and its files: the texts by path.

    The package is named after its content. In one process, a version's code thus never stands in
    for that of another release, nor for the cryptocast that is installed.
    """
    files = sorted(file for pattern in _FILES for file in _ROOT.glob(pattern))
    texts = {str(f.relative_to(_ROOT)): f.read_text(encoding="utf-8") for f in files}
    digest = hashlib.sha256("\0".join([*texts, *texts.values()]).encode()).hexdigest()
    package = f"cryptocast_{digest[:12]}"
    code = {
        path: text.replace("from cryptocast", f"from {package}") for path, text in texts.items()
    }
    return package, {"__init__.py": f'"""Code of cryptocast {__version__}."""\n', **code}


def _example(material: Material) -> Mapping[str, list[Any]] | None:
    """Return the candles before the newest origin that can be forecast, by column, or None.

    They are of the first market, and as few as give a forecast.
    """
    origins = material.market_windows(0, Part(material.start, material.end)).origin
    if not len(origins):
        return None
    candles = material.candles[0]
    before = candles.take(candles.open_time < origins[-1])
    before = before.take(slice(-max(material.lookback, MIN_CANDLES), None))
    return {
        "market": [material.markets[0].id] * len(before),
        "open_time": [iso(moment) for moment in before.open_time.tolist()],
        **{name: getattr(before, name).tolist() for name in ("open", "high", "low", "close")},
        "volume": before.volume.tolist(),
    }
