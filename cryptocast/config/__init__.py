"""The settings of a workspace: what there is, how it is read and checked, how it is written."""

from cryptocast.config.loading import (
    ENVIRONMENT_PREFIX,
    FILE_NAME,
    Origin,
    load,
    read_text,
    unknown,
)
from cryptocast.config.rendering import render, settings_table, toml_value
from cryptocast.config.settings import (
    TABLES,
    DataSettings,
    GateSettings,
    ModelSettings,
    MonitorSettings,
    NotifySettings,
    PretrainSettings,
    PruneSettings,
    ReceiverSettings,
    RetrainSettings,
    Secrets,
    Settings,
    SourceSettings,
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
    "load",
    "read_text",
    "render",
    "settings_table",
    "toml_value",
    "unknown",
]
