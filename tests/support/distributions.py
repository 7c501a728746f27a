"""Packages as an installer leaves them: a `dist-info` folder beside their modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cryptocast import plugins


def install(folder: Path, package: str, groups: Mapping[str, Mapping[str, str]]) -> None:
    """Add a package's entry points by group and name; what it had before stays."""
    info = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    with (info / "entry_points.txt").open("a") as file:
        for group, entries in groups.items():
            lines = [f"{name} = {module}" for name, module in entries.items()]
            file.write("\n".join([f"[{group}]", *lines, ""]))
    plugins._entries.cache_clear()


@pytest.fixture
def plugins_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Packages may be installed into `tmp_path`; after the test they are gone."""
    monkeypatch.syspath_prepend(tmp_path)
    yield
    plugins._entries.cache_clear()
