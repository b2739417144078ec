"""Every code that our errors carry is in the reference, and the reference has no others."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
_RAISED = re.compile(
    r"""\bcode(?:: \w+)? ?= ?"([A-Z][A-Z0-9_]+)"|_bad\("([A-Z_]+)"|"([A-Z]+_[A-Z_0-9]+)" (?:if|else)|else "([A-Z]+_[A-Z_]+)\""""
)
_LISTED = re.compile(r"^\| `([A-Z_0-9]+)` \|", re.MULTILINE)


def test_the_reference_of_errors_lists_every_code_and_no_other() -> None:
    source = "\n".join(file.read_text() for file in sorted((ROOT / "bus").glob("*.py")))
    raised = {code for groups in _RAISED.findall(source) for code in groups if code}
    listed = _LISTED.findall((ROOT / "docs/reference/errors.md").read_text())

    assert len(set(listed)) == len(listed)
    assert set() == raised - set(listed)
    assert set() == {code for code in set(listed) - raised if f'"{code}"' not in source}
