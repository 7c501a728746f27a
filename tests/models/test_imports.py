from __future__ import annotations

import subprocess
import sys

from lightning_utilities.core import imports
from lightning_utilities.core.imports import RequirementCache

from cryptocast.models import _imports

DESCRIBED = """
import sys
from cryptocast import models
for kind in ("lstm", "gru", "tcn", "base"):
    model = models.get(kind)
    model.started_at("5m").defaults(), model.least_bars(64, 24)
print([name for name in ("torch", "lightning") if name in sys.modules])
"""


def test_a_kind_is_described_without_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DESCRIBED], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_lightning_is_told_that_plots_and_signal_processing_are_not_installed() -> None:
    with _imports._without_needless():
        assert not imports.package_available("scipy")
        assert not RequirementCache("matplotlib")
        assert imports.package_available("numpy")
        assert RequirementCache("torch>=2.0")
    assert imports.package_available("scipy")
    assert RequirementCache("matplotlib")
