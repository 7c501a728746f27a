"""Where a training's parameters come from: a study, the kind's defaults, or a file."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from cryptocast.errors import ConfigError
from cryptocast.seams import ModelKind, Params
from cryptocast.workspace import Workspace

TUNED = "tune.finished"
"""The event that keeps the best parameters of a study."""


def named_params(
    ws: Workspace, model: ModelKind, wanted: str, market: str | None
) -> tuple[Params, str]:
    """The parameters that `best`, `default` or a file name, and which of these they are.

    `best` are those of the last study of a market, None: of all together; without one the
    defaults. Raises ConfigError for a file that holds none.
    """
    if wanted == "default":
        return model.defaults(), "default"
    if wanted == "best":
        with ws.store.read() as reader:
            finished = [event for event in reader.events(TUNED) if event.market == market]
        studies = [event for event in finished if event.detail["kind"] == model.kind]
        if studies:
            # Where it starts is the settings' to say, not the study's.
            start = {k: v for k, v in model.defaults().items() if k in ("start_at", "network")}
            return {**studies[-1].detail["best"], **start}, "best"
        return model.defaults(), "default"
    file = Path(wanted)
    try:
        text = file.read_text(encoding="utf-8")
        document = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(
            f"cannot read the parameters {file}: {error.strerror}",
            code="config.params",
            hint="--params takes best, default, or a TOML or JSON file",
        ) from None
    except ValueError as error:
        raise ConfigError(
            f"{file} holds no parameters: {error}", code="config.params", hint="mend that line"
        ) from None
    if not isinstance(document, dict):
        raise ConfigError(f"{file} holds no table of parameters", code="config.params")
    return document, wanted
