"""MLflow behind a few methods: runs, models, versions, aliases. No other room imports MLflow."""

import os

# Set before the import, so that nothing is printed on stdout, and a server that does not answer,
# drips or asks to come back in an hour is given up after a minute.
os.environ.setdefault("MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER", "false")
os.environ.setdefault("PGCONNECT_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

from cryptocast.registry.client import CHALLENGER as CHALLENGER
from cryptocast.registry.client import MODEL as MODEL
from cryptocast.registry.client import SELECTION as SELECTION
from cryptocast.registry.client import Registry as Registry
from cryptocast.registry.flavour import CURVE as CURVE
from cryptocast.registry.flavour import Servable as Servable
from cryptocast.registry.records import RegisteredVersion as RegisteredVersion
from cryptocast.registry.records import TrainingData as TrainingData
from cryptocast.registry.records import git_commit as git_commit
from cryptocast.registry.records import packages as packages
from cryptocast.wire import limit_replies

limit_replies()
