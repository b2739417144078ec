"""Compile the schemas that are worked on: `python -m worldbus.dev.compiling`, in the folder of a game or of worldbus itself.

Code alone is generated. Recording examples of new events and promising to keep them is for `worldbus proto`, once they are finished.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bus.errors import BadSettings
from schemas.compat import compare
from schemas.errors import SchemaError
from schemas.generate import generate
from schemas.layout import OURS
from worldbus.project import nearest


def main() -> int:
    """Bring the generated code in step. 1 if it cannot be, or if recorded events could not be read any more."""
    try:
        project = nearest(Path.cwd(), "proto")
        layout = OURS if project is None else project.layout()
        compare(layout)
        sys.stdout.write(f"{generate(layout)}\n")
    except (SchemaError, BadSettings) as error:
        sys.stdout.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
