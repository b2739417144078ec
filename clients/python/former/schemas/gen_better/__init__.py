"""The former name of `worldbus_client.gen`. It works in 0.2, with a warning, and is gone in 0.3.

Every module below it is the one below `worldbus_client.gen`, not a copy: an event of a copied class would be none to the client. The wheel
has this file beside worldbus's own package `schemas`, of which it shares no file.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

NEW = "worldbus_client.gen"


class Former(MetaPathFinder, Loader):
    """Finds a module of the former name under the new one."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname.startswith(f"{__name__}.") else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(NEW + spec.name.removeprefix(__name__))
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own spec back, which importing it under another name has replaced."""
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


warnings.warn(f"{__name__} is {NEW} since 0.2, and gone in 0.3: import from there", DeprecationWarning, stacklevel=2)
sys.meta_path.insert(0, Former())  # before the finder of files, which would load each of them a second time
