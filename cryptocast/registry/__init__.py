"""MLflow behind a few verbs: runs, models, versions, aliases. The only room with MLflow."""

import os

# Before the import: no telemetry leaves the machine, nothing is printed on stdout, and a
# server that does not answer is given up in a minute rather than in a quarter of an hour.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

from cryptocast.registry.client import SELECTION, Registry
from cryptocast.registry.provenance import git_commit, packages
from cryptocast.registry.records import RegisteredVersion, TrainingData
from cryptocast.registry.registered import CHALLENGER, MODEL

__all__ = [
    "CHALLENGER",
    "MODEL",
    "SELECTION",
    "RegisteredVersion",
    "Registry",
    "TrainingData",
    "git_commit",
    "packages",
]
