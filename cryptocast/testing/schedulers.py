"""What a scheduler promises (`cryptocast.schedulers`)."""

from __future__ import annotations

from types import ModuleType

from cryptocast.schedulers import Plan, Text
from cryptocast.testing.claims import check


def check_scheduler(scheduler: ModuleType, plan: Plan) -> None:
    """Assert that a scheduler takes a workspace's ticks once and gives them back.

    It really installs and removes them: give it a machine, or a fake program, of its own.
    """
    check(bool(scheduler.when(plan)), "it does not say how often it ticks")
    texts = scheduler.texts(plan)
    check(bool(texts) and all(isinstance(t, Text) for t in texts), "texts gives no Text")
    check(not scheduler.installed(plan.workspace), "it has the ticks before they are installed")
    check(scheduler.install(plan) is True, "installing changes nothing")
    check(scheduler.install(plan) is False, "installing twice changes something again")
    check(scheduler.installed(plan.workspace) is True, "it does not know that it has the ticks")
    check(scheduler.remove(plan.workspace) is True, "removing changes nothing")
    check(scheduler.remove(plan.workspace) is False, "removing twice changes something again")
    check(not scheduler.installed(plan.workspace), "it still has the ticks after their removal")
