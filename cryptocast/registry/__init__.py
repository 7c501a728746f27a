"""MLflow behind a few verbs: runs, models, versions, aliases. The only room with MLflow."""

from cryptocast.registry.client import MODEL, SELECTION, Registry, Version
from cryptocast.registry.provenance import packages

__all__ = ["MODEL", "SELECTION", "Registry", "Version", "packages"]
