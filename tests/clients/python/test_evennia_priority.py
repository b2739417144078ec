"""The demo's bus steps back behind the game, and a person's terminal gets its own back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# The niceness of a process cannot be taken back by who is not root: another process tries it.
PROGRAM = """
import os, subprocess, sys
from pathlib import Path
from clients.evennia.demo.priority import stepped_back

def seen(pid):
    group = Path(f"/proc/{pid}/autogroup")
    return os.getpriority(os.PRIO_PROCESS, pid), int(group.read_text().split()[-1]) if group.exists() else None

child = "import subprocess, sys; subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL); print('up', flush=True); sys.stdin.read()"
server = subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
other = subprocess.Popen(["sleep", "60"], start_new_session=True)
server.stdout.readline()
below = int(Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()[0])
try:
    with stepped_back([server.pid, 2**22], int(sys.argv[1])):
        print(seen(os.getpid()), seen(server.pid), seen(below), seen(other.pid))
    print(seen(os.getpid())[1], seen(server.pid))
finally:
    for pid in (below, server.pid, other.pid):
        os.kill(pid, 9)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("nice", [0, 7])
def test_the_bus_and_what_it_started_step_back_and_nobody_else(nice: int) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(nice)], cwd=ROOT, capture_output=True, text=True, check=False, start_new_session=True
    )
    assert ran.returncode == 0, ran.stderr
    during, after = ran.stdout.splitlines()
    group = nice if Path("/proc/self/autogroup").exists() else None
    none = 0 if Path("/proc/self/autogroup").exists() else None
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    back = max(nice, ours)
    assert during == f"{(back, group)} {(back, group)} {(back, group)} {(ours, none)}"
    assert after == f"{none} {(back, group)}"
