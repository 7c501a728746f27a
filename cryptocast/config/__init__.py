"""The settings of a workspace: which there are, and how they are read, checked and written."""

from cryptocast.config.learning import REFERENCE as REFERENCE
from cryptocast.config.learning import DataSettings as DataSettings
from cryptocast.config.learning import GateSettings as GateSettings
from cryptocast.config.learning import ModelSettings as ModelSettings
from cryptocast.config.learning import PretrainSettings as PretrainSettings
from cryptocast.config.learning import SourceSettings as SourceSettings
from cryptocast.config.loading import ENVIRONMENT_PREFIX as ENVIRONMENT_PREFIX
from cryptocast.config.loading import FILE_NAME as FILE_NAME
from cryptocast.config.loading import Origin as Origin
from cryptocast.config.loading import keys as keys
from cryptocast.config.loading import load as load
from cryptocast.config.loading import parse_value as parse_value
from cryptocast.config.loading import read_text as read_text
from cryptocast.config.loading import unknown as unknown
from cryptocast.config.rendering import render as render
from cryptocast.config.rendering import settings_table as settings_table
from cryptocast.config.rendering import toml_value as toml_value
from cryptocast.config.settings import TABLES as TABLES
from cryptocast.config.settings import EngineSettings as EngineSettings
from cryptocast.config.settings import MonitorSettings as MonitorSettings
from cryptocast.config.settings import NotifySettings as NotifySettings
from cryptocast.config.settings import PruneSettings as PruneSettings
from cryptocast.config.settings import ReceiverSettings as ReceiverSettings
from cryptocast.config.settings import RetrainSettings as RetrainSettings
from cryptocast.config.settings import Secrets as Secrets
from cryptocast.config.settings import Settings as Settings
