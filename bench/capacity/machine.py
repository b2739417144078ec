"""Costs of a server and its children: seconds of CPU, by program."""

from __future__ import annotations

import os
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> dict[str, float]:
    """Seconds of CPU so far of a process and everything that descends from it, by program."""
    parents: dict[int, list[int]] = {}
    rows: dict[int, tuple[str, float]] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            head, _, tail = (folder / "stat").read_text().rpartition(")")
        except OSError:
            continue  # it has just ended
        fields = tail.split()
        rows[int(folder.name)] = head.partition("(")[2], (int(fields[11]) + int(fields[12])) / TICK
        parents.setdefault(int(fields[1]), []).append(int(folder.name))
    spent: dict[str, float] = {}
    todo = [pid]
    while todo:
        one = todo.pop()
        todo += parents.get(one, [])
        if one in rows:
            name, busy_s = rows[one]
            spent[name] = spent.get(name, 0.0) + busy_s
    return spent
