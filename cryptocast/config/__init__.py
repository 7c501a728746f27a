"""The settings of a workspace: what there is, how it is read and checked, how it is written."""

from cryptocast.config.loading import FILE_NAME, Origin, load, read_text
from cryptocast.config.rendering import render, toml_value
from cryptocast.config.settings import TABLES, GateSettings, Secrets, Settings, SourceSettings

__all__ = [
    "FILE_NAME",
    "TABLES",
    "GateSettings",
    "Origin",
    "Secrets",
    "Settings",
    "SourceSettings",
    "load",
    "read_text",
    "render",
    "toml_value",
]
