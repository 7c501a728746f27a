"""What every plug-in promises, as checks that a package can run on its own plug-ins.

They need no test framework: each raises AssertionError with a sentence that says what is broken.
Our own plug-ins pass the same checks.
"""

from __future__ import annotations

from cryptocast.testing.engines import check_engine as check_engine
from cryptocast.testing.models import check_model as check_model
from cryptocast.testing.receivers import check_receiver as check_receiver
from cryptocast.testing.schedulers import check_scheduler as check_scheduler
from cryptocast.testing.sources import check_source as check_source
