"""The runs of one experiment: begin, resume and end them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from importlib import metadata

from cryptocast.errors import RegistryError
from cryptocast.registry.connection import Connection
from cryptocast.registry.records import git_commit, packages
from cryptocast.registry.registered import OWNER


class Runs:
    """The runs that this process begins, each a child of the run in whose block it begins."""

    def __init__(self, store: Connection, owner: str | None) -> None:
        """Begin runs in the experiment of a store; `owner` identifies the workspace, if shared."""
        self._store = store
        self._owner = owner
        self._open: list[str] = []  # each the parent of the next

    @contextlib.contextmanager
    def begin(self, name: str, parent: str | None, tags: Mapping[str, str]) -> Iterator[str]:
        """Begin a run and yield its id; it ends as finished, or as failed if the block raises.

        Its parent is `parent`, or else the run in whose block this is called.
        """
        every_tag = {
            "mlflow.source.name": "cryptocast",
            "mlflow.source.type": "LOCAL",
            "cryptocast.version": metadata.version("cryptocast"),
            **{f"package.{package}": version for package, version in packages().items()},
            **({} if self._owner is None else {OWNER: self._owner}),
            **tags,
        }
        if commit := git_commit():
            every_tag["mlflow.source.git.commit"] = commit.removesuffix("-dirty")
        if parent := parent or (self._open[-1] if self._open else None):
            every_tag["mlflow.parentRunId"] = parent
        store = self._store
        with store.translated():
            run = store.client.create_run(store.experiment, run_name=name, tags=every_tag)
        with self._ended(run.info.run_id):
            yield run.info.run_id

    @contextlib.contextmanager
    def pipeline(self, name: str, tags: Mapping[str, str]) -> Iterator[str]:
        """Begin the run that is the parent of all runs of one pipeline, and yield its id.

        If a pipeline of that name was interrupted its run goes on; runs that it left unfinished
        are ended.
        """
        wanted = f"tags.stage = 'pipeline' and attributes.run_name = '{name}'"
        if self._owner is not None:
            wanted += f" and tags.`{OWNER}` = '{self._owner}'"
        client = self._store.client
        with self._store.translated():
            interrupted = client.search_runs([self._store.experiment], wanted)[:1]
            for run in interrupted:
                self._end_children(run.info.run_id)
                client.update_run(run.info.run_id, "RUNNING")
        if interrupted:
            with self._ended(interrupted[0].info.run_id):
                yield interrupted[0].info.run_id
        else:
            with self.begin(name, None, {"stage": "pipeline", **tags}) as run_id:
                yield run_id

    def _end_children(self, run_id: str) -> None:
        """End the runs below this one that a killed process left running."""
        children = self._store.client.search_runs(
            [self._store.experiment],
            f"tags.mlflow.parentRunId = '{run_id}' and attributes.status = 'RUNNING'",
        )
        for child in children:
            self._end_children(child.info.run_id)
            self._store.client.set_terminated(child.info.run_id, "KILLED")

    @contextlib.contextmanager
    def _ended(self, run_id: str) -> Iterator[None]:
        """End a run after the block; it is the parent of the runs begun in it."""
        self._open.append(run_id)
        try:
            yield
        except BaseException:
            with contextlib.suppress(RegistryError), self._store.translated():
                self._store.client.set_terminated(run_id, "FAILED")
            raise
        finally:
            self._open.pop()
        with self._store.translated():
            self._store.client.set_terminated(run_id, "FINISHED")
