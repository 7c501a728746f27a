"""Tables that are measured stand in results/NAME.md between two marks, below what explains them."""

from __future__ import annotations

import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def record(name: str, text: str) -> None:
    """Replace the text between `<!-- NAME -->` and `<!-- end of NAME -->` in results/NAME.md."""
    file = RESULTS / f"{name}.md"
    page = file.read_text(encoding="utf-8") if file.is_file() else ""
    before, first, rest = page.partition(f"<!-- {name} -->\n")
    _, last, after = rest.partition(f"<!-- end of {name} -->")
    if not last:
        sys.exit(f"{file} has no place for the tables: <!-- {name} -->")
    file.write_text(f"{before}{first}{text}\n{last}{after}", encoding="utf-8")
