"""Becomes a server: sets what a child must set for itself between fork and exec, then executes the server in its place.

Runs as a script of its own (`python -I -S launch.py …`, standard library only), because the same calls made in a forked copy of a threaded
program can deadlock, and because changing the user would clear a parent-death signal set earlier.

    launch.py PARENT_PID DEATH_SIGNAL UID GID REACH -- COMMAND [ARGUMENT …]

UID and GID of -1 keep the user. REACH=1 lets the new user pass through folders that are closed to it (a checkout under root's home).
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28
SECBIT_NO_SETUID_FIXUP = 1 << 2
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def _permitted() -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("CapPrm:")).split()[1], 16)


def _keep_reach() -> None:
    """Keep one capability, reading through closed folders, over the exec that follows.

    Containers often withhold CAP_DAC_READ_SEARCH and grant the wider CAP_DAC_OVERRIDE; the narrower is taken where there is a choice.
    """
    held = _permitted()
    capability = next(cap for cap in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if held & (1 << cap))
    bit = 1 << capability
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)  # effective, permitted, inheritable; low words, then high words
    _call("capset", header, data)
    _call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0)


def _become(uid: int, gid: int, *, reach: bool) -> None:
    if reach:
        # Keeps capabilities over the change of user until they are cut down below, and lets access(2) count the one that is left:
        # Postgres looks for its own programs with it.
        _call("prctl", PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if reach:
        _keep_reach()


def main(arguments: list[str]) -> None:
    parent, death_signal, uid, gid, reach = map(int, arguments[:5])
    command = arguments[6:]
    if uid >= 0:
        try:
            _become(uid, gid, reach=bool(reach))
        except OSError as error:
            raise SystemExit(
                f"FATAL: root may not become user {uid} here ({error.strerror}): "
                "grant CAP_SETUID, CAP_SETGID and CAP_SETPCAP, or run as another user"
            ) from None
    os.umask(0o077)
    _call("prctl", PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:  # it died before it could be watched
        raise SystemExit(1)
    os.execv(command[0], command)  # noqa: S606  # that is what this script is for


if __name__ == "__main__":
    main(sys.argv[1:])
