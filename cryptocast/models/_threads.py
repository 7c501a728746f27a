"""How many threads a training takes: one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Matrices this small gain nothing from a second thread, and two trainings on two cores
    whose threads wait for each other take minutes instead of a second.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
