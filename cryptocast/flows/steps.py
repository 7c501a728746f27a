"""Run the steps of a workflow as Prefect tasks, and show its progress in the logs of the run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from cryptocast.errors import CryptocastError
from cryptocast.flows.states import failed

T = TypeVar("T")

RETRY_SECONDS = (5.0, 20.0)
"""How long to wait before each retry of a step whose error says that retrying may help."""

_LOG_SECONDS = 15.0


class TaskSteps:
    """A `seams.Steps` that makes each step a task, and the `seams.Progress` that its log shows.

    The tasks are called directly, in the thread of the flow, because locks and the turns at the
    store belong to threads.
    """

    def __init__(self) -> None:
        self._flow_log = get_run_logger()
        self._log: logging.Logger | logging.LoggerAdapter[Any] = self._flow_log
        self._logged_at = 0.0
        self._detail = ""

    def step(self, name: str, work: Callable[[], T]) -> T:
        """Run one step as a task, and return its result or raise its exception unchanged."""
        results: list[T] = []  # the result goes past Prefect, which would look into it

        def keep_result() -> None:
            results.append(work())

        state = _step(name, keep_result, self, return_state=True)
        if state.is_completed():
            return results[-1]
        error = state.result(raise_on_failure=False)
        assert isinstance(error, BaseException)  # noqa: S101 - a failed state holds one
        raise error

    def stage(self, name: str) -> None:
        """Do nothing: Prefect shows which task is running."""

    def advance(self, done: float, total: float, detail: str = "") -> None:
        """Log how far the present step is, at most every 15 seconds."""
        self._detail = detail or self._detail
        if (now := time.monotonic()) - self._logged_at >= _LOG_SECONDS and total > 0:
            self._logged_at = now
            self._log.info(" ".join(f"{done / total:.0%} {detail}".split()))

    def waiting(self, what: str) -> None:
        """Log what is waited for."""
        self._log.info(f"waiting for {what}")

    def warn(self, warnings: Iterable[str]) -> None:
        """Write warnings into the log of the flow."""
        for text in warnings:
            self._flow_log.warning(text)

    def run_logged(self, name: str, work: Callable[[], object]) -> None:
        """Run the work of a step with its task's log, and log how long it took."""
        self._log, self._detail = get_run_logger(), ""
        self._logged_at = started = time.monotonic()
        try:
            work()
            self._log.info(
                " ".join(f"{name}: {time.monotonic() - started:.1f} s {self._detail}".split())
            )
        finally:
            self._log = self._flow_log


def _is_no_bug(record: logging.LogRecord) -> bool:
    """Return whether a log record is worth showing: not the traceback of an explained error.

    Prefect's engine logs one after the state, which has said what happened.
    """
    return not (record.exc_info and isinstance(record.exc_info[1], CryptocastError))


logging.getLogger("prefect.flow_runs").addFilter(_is_no_bug)


def _retry_helps(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Return whether the error of a step says that the same call may succeed later."""
    return isinstance(state.data, CryptocastError) and state.data.retry


@task(
    task_run_name="{name}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(RETRY_SECONDS),
    retry_delay_seconds=list(RETRY_SECONDS),
    retry_condition_fn=_retry_helps,
)
def _step(name: str, work: Callable[[], None], steps: TaskSteps) -> State[Any] | None:
    """Run one step of a workflow."""
    try:
        steps.run_logged(name, work)
    except CryptocastError as error:
        return failed(error)
    return None
