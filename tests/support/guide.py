"""The pages of the guide: what a test reads in them, and the table that is generated."""

from __future__ import annotations

import re
from pathlib import Path

from cryptocast import config
from cryptocast.cli.guide import TOPICS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "cryptocast" / "guide"
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {topic: (FOLDER / f"{topic}.md").read_text(encoding="utf-8") for topic in TOPICS}


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def shell_lines(text: str) -> list[str]:
    """Return every line of the sh blocks, comments cut off."""
    lines = [line.split(" #")[0].strip() for b in blocks(text, "sh") for line in b.splitlines()]
    return [line for line in lines if line]


def with_settings(text: str) -> str:
    """Return the page of settings with the table as the program has it."""
    before, first, rest = text.partition("<!-- settings -->\n")
    _, last, after = rest.partition("<!-- end of settings -->")
    return f"{before}{first}{config.settings_table()}\n{last}{after}"


if __name__ == "__main__":
    page = FOLDER / "settings.md"
    page.write_text(with_settings(page.read_text(encoding="utf-8")), encoding="utf-8")
