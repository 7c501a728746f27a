"""Tables that are measured stand in README.md between two marks."""

from __future__ import annotations

import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def place(name: str, text: str) -> None:
    """Put a text between `<!-- name -->` and `<!-- end of name -->`, instead of what was there."""
    before, first, rest = README.read_text(encoding="utf-8").partition(f"<!-- {name} -->\n")
    _, last, after = rest.partition(f"<!-- end of {name} -->")
    if not last:
        sys.exit(f"README.md has no place for the tables: <!-- {name} -->")
    README.write_text(f"{before}{first}{text}\n{last}{after}", encoding="utf-8")
