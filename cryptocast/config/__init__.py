"""The settings of a workspace: which there are, and how they are read, checked and written."""

from cryptocast.config.learning import (
    DataSettings,
    GateSettings,
    ModelSettings,
    PretrainSettings,
    SourceSettings,
)
from cryptocast.config.loading import (
    ENVIRONMENT_PREFIX,
    FILE_NAME,
    Origin,
    keys,
    load,
    parse_value,
    read_text,
    unknown,
)
from cryptocast.config.rendering import render, settings_table, toml_value
from cryptocast.config.settings import (
    TABLES,
    MonitorSettings,
    NotifySettings,
    PruneSettings,
    ReceiverSettings,
    RetrainSettings,
    Secrets,
    Settings,
)

__all__ = [
    "ENVIRONMENT_PREFIX",
    "FILE_NAME",
    "TABLES",
    "DataSettings",
    "GateSettings",
    "ModelSettings",
    "MonitorSettings",
    "NotifySettings",
    "Origin",
    "PretrainSettings",
    "PruneSettings",
    "ReceiverSettings",
    "RetrainSettings",
    "Secrets",
    "Settings",
    "SourceSettings",
    "keys",
    "load",
    "parse_value",
    "read_text",
    "render",
    "settings_table",
    "toml_value",
    "unknown",
]
