"""Lightning, imported without what it brings along that no training here needs.

Its metrics import whatever plots and signal processing are installed: a quarter of the seconds
that a worker needs before its first training, and a list of all fonts. It asks for them by
`lightning_utilities`, which is told meanwhile that they are not there. Where another version of
Lightning asks otherwise, they are imported as before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lightning_utilities.core import imports

from cryptocast.drafts import confine_libraries

_NEEDLESS = ("matplotlib", "PIL", "rich", "scipy")


@contextlib.contextmanager
def _without_needless() -> Iterator[None]:
    """Let Lightning find none of the needless packages while the block imports it."""
    names = ("package_available", "_version")
    theirs: dict[str, Any] = {name: vars(imports).get(name) for name in names}

    def package_available(name: str) -> bool:
        return name not in _NEEDLESS and theirs["package_available"](name)

    def version_of(name: str) -> str:
        if name in _NEEDLESS:
            raise PackageNotFoundError(name)
        return version(name)

    vars(imports).update(package_available=package_available, _version=version_of)
    try:
        yield
    finally:
        vars(imports).update(theirs)


confine_libraries()  # torch makes its folder when it is imported
with _without_needless():
    from lightning.pytorch import Callback as Callback
    from lightning.pytorch import LightningModule as LightningModule
    from lightning.pytorch import Trainer as Trainer
