"""`python -m worldbus.lore_check [FOLDER]`: print what is wrong with a world's lore; the exit status is 1 if anything is."""

from __future__ import annotations

import sys
from pathlib import Path

from worldbus.games import current
from worldbus.lore_check.check import check


def main(arguments: list[str]) -> int:
    """Check one world's folder: that of the current game, unless another is named."""
    found = check(Path(arguments[0]) if arguments else current().content.folder)
    verdict = f"{len(found)} findings" if found else "the lore agrees with the world's tables"
    sys.stdout.writelines(f"{line}\n" for line in (*found, verdict))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
