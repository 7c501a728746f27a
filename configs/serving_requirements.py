"""Print configs/serving-requirements.txt: python configs/serving_requirements.py > that file.

Each line stands in pyproject.toml too, with the same range: who serves and who trains agree.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

SERVING = {
    "duckdb",
    "numpy",
    "onnxruntime",
    "msgspec",
    "python-dotenv",
    "requests",
    "rich",
    "typer",
    "urllib3",
}
"""What forecast, serve-loop, fetch, status, export and schedule import."""

HEAD = """\
# What serving needs besides the package itself: a light installation, and configs/Dockerfile.
# Made from pyproject.toml by configs/serving_requirements.py.
"""


def main() -> None:
    """Print those of the project's dependencies that serve."""
    file = Path(__file__).parents[1] / "pyproject.toml"
    project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    named = {re.split(r"[^\w.-]", line)[0]: line for line in project["dependencies"]}
    print(HEAD + "\n".join(named[name] for name in sorted(SERVING)))


if __name__ == "__main__":
    main()
