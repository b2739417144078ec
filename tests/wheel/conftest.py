"""One place outside the checkout for every test of the wheel."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.outside import Outside, outside


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """A folder of the session's own."""
    folder = Path(tempfile.mkdtemp(prefix="wb-wheel-"))
    folder.chmod(0o711)  # an embedded Postgres of root runs as another user
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def place(home: Path) -> Outside:
    """The wheels and the environments."""
    return outside(home)
