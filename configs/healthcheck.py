"""Exit 0 while serve-loop lives, by the workspace's logs/health.json; else 1, and one line why.

A source that is down is no reason to start the loop anew: only a loop that has stopped, or
missed its own next tick by 5 minutes, is unhealthy.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import datetime
from pathlib import Path

LATE_SECONDS = 300  # a tick may take two minutes: late candles, slow sources, a busy store


def main() -> str | None:
    """What is wrong, or None."""
    file = Path(os.environ.get("CRYPTOCAST_WORKSPACE", "."), "logs", "health.json")
    try:
        health = json.loads(file.read_bytes())
        state, awaited = health["state"], health.get("next_tick_at") or health["updated_at"]
        late = time.time() - datetime.fromisoformat(awaited).timestamp()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{file} cannot be read: {error!r}"
    if state == "stopped":
        return f"serve-loop stopped at {health['updated_at']}"
    if late > LATE_SECONDS:
        return f"serve-loop is {late:.0f} s late: a tick was due at {awaited}"
    return None


if __name__ == "__main__":
    sys.exit(main())
