"""Settings: defaults < `cryptocast.toml` < `CRYPTOCAST_<SECTION>__<KEY>` < options, validated.

Each field's description is the comment that `init` writes above the key.
"""

from __future__ import annotations

import difflib
import itertools
import json
import math
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from cryptocast.errors import ConfigError
from cryptocast.values import INTERVAL_SECONDS, Market

FILE_NAME = "cryptocast.toml"
ENVIRONMENT_PREFIX = "CRYPTOCAST_"
NOT_SETTINGS = frozenset({"CRYPTOCAST_WORKSPACE"})
_CREDENTIALS_IN_URL = re.compile(
    r"://[^/\s][^@\s]*@|[?&](password|passwd|token|secret|key)=", re.IGNORECASE
)
_MAY_HOLD_SECRETS = frozenset({"source.api_key", "source.base_url", "mlflow.tracking_uri"})

# TOML arrays arrive as lists; the settings are frozen, so they are kept as tuples.
_Strings = Annotated[tuple[str, ...], Field(strict=False)]
_Floats = Annotated[tuple[float, ...], Field(strict=False)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class MarketSettings(_Section):
    """`[market]`."""

    symbols: _Strings = Field(
        ("BTC/EUR",), min_length=1, description="what to forecast: BASE/QUOTE, or a full market id"
    )
    interval: str = Field("5m", description="length of a candle: " + ", ".join(INTERVAL_SECONDS))

    @field_validator("interval")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in INTERVAL_SECONDS:
            raise ValueError("must be one of " + ", ".join(INTERVAL_SECONDS))
        return value


class SourceSettings(_Section):
    """`[source]`."""

    name: str = Field("auto", description="where candles come from; auto: settled once, by init")
    path: _Strings | str | None = Field(
        None, description="source file: a file, folder, glob, or list of them"
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="source file: foreign column names, as { open_time = 'ts', close = 'last' }",
    )
    base_url: str | None = Field(None, description="HTTP sources: another root than the official")
    api_key: str = Field(
        "env:COINCAP_API_KEY", description="the key's place: env:NAME (environment or .env file)"
    )
    slugs: dict[str, str] = Field(
        default_factory=dict, description="source coincap: its slug of a base, { BTC = 'bitcoin' }"
    )
    seed: int = Field(0, ge=0, description="source sim: the seed of the simulated world")

    @field_validator("api_key")
    @classmethod
    def _reference(cls, value: str) -> str:
        if not re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*", value):
            # The value itself may be a key: it is not repeated.
            raise PlainSecret("must be written env:NAME, with the key itself in the environment")
        return value

    @field_validator("columns")
    @classmethod
    def _columns(cls, value: dict[str, str]) -> dict[str, str]:
        allowed = ("open_time", "open", "high", "low", "close", "volume")
        for key in value:
            if key not in allowed:
                raise ValueError(f"'{key}' is not one of {', '.join(allowed)}")
        return value

    @field_validator("base_url")
    @classmethod
    def _alive(cls, value: str | None) -> str | None:
        # First, because the refusals below repeat the value.
        if value is not None and ("@" in value or "?" in value):
            raise PlainSecret("must hold neither a user, a password nor a query")
        if value is not None and "api.coincap.io" in value:
            raise ValueError(
                "CoinCap v2 (api.coincap.io) was shut on 2025-03-31; leave base_url out for v3"
            )
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value

    def paths(self) -> tuple[Path, ...]:
        """`path` as paths, a glob still a glob."""
        if self.path is None:
            return ()
        return tuple(Path(p) for p in ((self.path,) if isinstance(self.path, str) else self.path))


class DataSettings(_Section):
    """`[data]`."""

    days: float = Field(7, gt=0, le=3650, description="days of candles that a model is made from")
    test_bars: int = Field(24, ge=1, description="the last candles: the test set")
    gate_bars: int = Field(288, ge=1, description="candles before them that only the gate sees")
    validation_bars: int = Field(
        288, ge=1, description="candles before those: early stopping, tuning and selection"
    )


class ModelSettings(_Section):
    """`[model]`."""

    kind: str = Field("lstm", description="the model that is tuned and trained")
    lookback: int = Field(64, ge=8, le=512, description="candles that the network looks at")
    horizon: int = Field(24, ge=1, le=288, description="steps ahead that are forecast")
    levels: _Floats = Field(
        tuple(round(0.05 * i, 2) for i in range(1, 20)),
        description="quantile levels: evenly spaced, symmetric, with 0.5 among them",
    )

    @field_validator("levels")
    @classmethod
    def _even(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(value) < 3 or not all(0 < level < 1 for level in value):
            raise ValueError("must be at least 3 numbers between 0 and 1")
        spacing = (value[-1] - value[0]) / (len(value) - 1)
        even = all(math.isclose(b - a, spacing, abs_tol=1e-9) for a, b in itertools.pairwise(value))
        if spacing <= 0 or not even:
            raise ValueError("must be evenly spaced and rising")
        if not any(math.isclose(level, 0.5, abs_tol=1e-9) for level in value):
            raise ValueError("must hold 0.5")
        if not math.isclose(value[0] + value[-1], 1, abs_tol=1e-9):
            raise ValueError("must be symmetric about 0.5")
        return tuple(round(level, 9) for level in value)


class TuneSettings(_Section):
    """`[tune]`."""

    trials: int = Field(10, ge=0, le=10_000, description="trials of a study; 0: the defaults")
    timeout_seconds: float | None = Field(None, gt=0, description="stop the study after that long")


class LoopSettings(_Section):
    """`[loop]`."""

    delay_seconds: float = Field(10, ge=0, description="serve-loop ticks this long after a close")
    wait_seconds: float = Field(
        30, ge=0, description="after the close, wait this long for the newest candle"
    )
    late_seconds: float = Field(150, gt=0, description="a forecast issued later than this is late")
    max_stale_bars: int = Field(
        3, ge=0, description="an older newest candle makes the random walk serve"
    )


class StoreSettings(_Section):
    """`[store]`."""

    wait_seconds: float = Field(30, ge=0, description="how long a busy database is waited for")


class MlflowSettings(_Section):
    """`[mlflow]`."""

    tracking_uri: str | None = Field(
        None, description="tracking server or database; the workspace's mlflow.db when left out"
    )

    @field_validator("tracking_uri")
    @classmethod
    def _no_password(cls, value: str | None) -> str | None:
        if value is not None and _CREDENTIALS_IN_URL.search(value):
            raise PlainSecret("holds a user or password: write env:NAME and put it there")
        return value


class Settings(_Section):
    """All settings of a workspace."""

    market: MarketSettings = MarketSettings()
    source: SourceSettings = SourceSettings()
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    tune: TuneSettings = TuneSettings()
    loop: LoopSettings = LoopSettings()
    store: StoreSettings = StoreSettings()
    mlflow: MlflowSettings = MlflowSettings()

    def markets(self) -> tuple[Market, ...]:
        """The configured markets, in order, each once.

        Raises ConfigError for a malformed symbol, or where their intervals differ: one
        model serves them all.
        """
        found = [
            Market.of(symbol, self.source.name, self.market.interval)
            for symbol in self.market.symbols
        ]
        for market in found:
            if market.interval != found[0].interval:
                raise ConfigError(
                    f"{market.id} and {found[0].id} differ in interval",
                    code="config.interval",
                    hint="one workspace holds one interval; make another with cryptocast init",
                )
        return tuple(dict.fromkeys(found))


class PlainSecret(ValueError):
    """A secret was written where only its name may stand; its value is never repeated."""


Origin = Literal["default", "file", "environment", "option"]


@dataclass(frozen=True, slots=True)
class Secrets:
    """The environment and the workspace's `.env` file: the only places secrets live."""

    environ: Mapping[str, str] = field(repr=False)

    def resolve(self, reference: str) -> str | None:
        """The secret behind `env:NAME`, or None where it is not set."""
        return self.environ.get(reference.removeprefix("env:")) or None


def load(
    file: Path | None,
    environ: Mapping[str, str],
    options: Mapping[str, Any] | None = None,
    *,
    cwd: Path | None = None,
) -> tuple[Settings, dict[str, Origin]]:
    """Read, merge and validate the settings.

    `options` are dotted keys (`data.days`) with values that are not None. Returned with
    the settings: for each dotted key that is set anywhere, where its value came from.
    Raises ConfigError that names the key, the value and what is allowed.
    """
    merged: dict[str, dict[str, Any]] = {}
    origins: dict[str, Origin] = {}

    def put(key: str, value: Any, origin: Origin) -> None:
        section, _, name = key.partition(".")
        merged.setdefault(section, {})[name] = value
        origins[key] = origin

    for key, value in _from_file(file).items():
        put(key, value, "file")
    if file is not None and "path" in merged.get("source", {}):
        merged["source"]["path"] = _absolute(merged["source"]["path"], file.parent)
    for key, value in _from_environment(environ).items():
        put(key, _absolute(value, cwd) if key == "source.path" else value, "environment")
    for key, value in (options or {}).items():
        put(key, _absolute(value, cwd) if key == "source.path" else value, "option")
    try:
        return Settings.model_validate(merged), origins
    except ValidationError as error:
        raise _translate(error, origins, file) from None


def read_text(file: Path) -> str:
    """A configuration file's text; ConfigError where there is none."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(
            f"cannot read the configuration {file}: {reason}",
            code="config.file",
            hint="check the path that --config or the workspace names",
        ) from None


def _from_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        document = tomllib.loads(read_text(file))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{file} is not valid TOML: {error}", code="config.toml", hint="mend that line"
        ) from None
    flat: dict[str, Any] = {}
    for section, content in document.items():
        if section not in Settings.model_fields:
            raise _unknown(section, list(Settings.model_fields), str(file))
        if not isinstance(content, dict):
            raise ConfigError(
                f"{section} in {file} is a value where a table belongs",
                hint=f"write it as [{section}]",
            )
        flat.update({f"{section}.{key}": value for key, value in content.items()})
    return flat


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in sorted(environ.items()):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in NOT_SETTINGS:
            continue
        section, separator, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        if not separator or section not in Settings.model_fields:
            known = [f"{ENVIRONMENT_PREFIX}{s.upper()}__" for s in Settings.model_fields]
            raise _unknown(name, known, "the environment")
        found[f"{section}.{key}"] = _decode(section, key, text)
    return found


def _decode(section: str, key: str, text: str) -> Any:
    """A variable's text as the setting's type: JSON where that is no string, else as it is."""
    model = cast(type[_Section], Settings.model_fields[section].annotation)
    known = model.model_fields.get(key)
    if known is not None and known.annotation is str:
        return text
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return text
    # A folder may be called 2024: where text is allowed too, only a list or table is read as JSON.
    texts = known is not None and str in get_args(known.annotation)
    return text if texts and not isinstance(value, list | dict) else value


def _absolute(value: Any, folder: Path | None) -> Any:
    if isinstance(value, str):
        # abspath, not resolve: a glob's stars and a link's name stay as they were written.
        return os.path.abspath((folder or Path.cwd()) / Path(value).expanduser())  # noqa: PTH100
    if isinstance(value, list | tuple):
        return [_absolute(v, folder) for v in value]
    return value


def _unknown(name: str, known: list[str], where: str) -> ConfigError:
    close = difflib.get_close_matches(name, known, 1, 0.5)
    guess = f"did you mean '{close[0]}'?" if close else "known: " + ", ".join(known)
    return ConfigError(f"unknown setting '{name}' in {where}", code="config.unknown", hint=guess)


def _translate(
    error: ValidationError, origins: Mapping[str, Origin], file: Path | None
) -> ConfigError:
    """The first finding of pydantic as one line of ours."""
    first = error.errors()[0]
    parts = [str(p) for p in first["loc"]]
    key = ".".join(parts[:2])
    origin = origins.get(key, "default")
    where = {
        "file": str(file),
        "environment": f"{ENVIRONMENT_PREFIX}{key.upper().replace('.', '__')}",
        "option": "the command line",
    }.get(origin, "the defaults")
    if first["type"] == "extra_forbidden":
        model = cast(type[_Section], Settings.model_fields[parts[0]].annotation)
        known = [f"{parts[0]}.{name}" for name in model.model_fields]
        return _unknown(key, known, where)
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, PlainSecret):
        return ConfigError(
            f"{key} in {where} {cause}",
            code="config.secret",
            hint="for example env:COINCAP_API_KEY",
        )
    wish = str(cause) if cause is not None else re.sub(r"^\w+ should", "must", first["msg"])
    # What stands in the wrong place for a secret may be one: it is not repeated.
    secret = key in _MAY_HOLD_SECRETS and cause is None
    shown = key if secret else f"{key} = {json.dumps(first['input'], default=str)}"
    return ConfigError(
        f"{shown} in {where} is not allowed",
        hint=wish.replace("tuple", "array").replace("dictionary", "table"),
    )


def render(settings: Settings) -> str:
    """The settings as TOML, each key under a comment that says what it is.

    A setting without a value is written commented out.
    """
    lines = [
        "# cryptocast settings. A variable CRYPTOCAST_<SECTION>__<KEY> goes before this file, an",
        "# option before both. Secrets never stand here: write env:NAME.",
        "",
    ]
    for section in Settings.model_fields:
        values = cast(_Section, getattr(settings, section))
        lines.append(f"[{section}]")
        for name, info in type(values).model_fields.items():
            value = getattr(values, name)
            lines.append(f"# {info.description}")
            lines.append(f"# {name} =" if value is None else f"{name} = {_toml(value)}")
        lines.append("")
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{_toml(k)} = {_toml(v)}" for k, v in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    # TOML's basic strings are JSON's, but for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
