"""A warm interpreter that children are forked from: what is installed is imported once, what is worked on anew by each child.

    python -P warm.py FD        FD: a Unix stream socket to whoever orders

    orders   {"fork": 1} with two sockets, for the child's talk and for its comparison      {"warm": [module, …]}
    reports  {"forked": pid}                                                                {"ended": pid, "code": n}

It has one thread and no event loop, so that a fork is whole. Uses the standard library alone: what it imports no child can import anew.
It ends when nobody orders any more, and ends its children then.
"""

from __future__ import annotations

import array
import json
import os
import select
import signal
import site
import socket
import sys
import sysconfig
from contextlib import suppress
from importlib import import_module
from importlib.machinery import ModuleSpec
from typing import Any

MOST = 1 << 20  # bytes of one order
LOOK_S = 0.05  # between two looks at who has ended


def installed_folders() -> tuple[str, ...]:
    """The folders of the standard library and of installed packages: nobody works on what lies there."""
    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    found = [*paths, *site.getsitepackages(), site.getusersitepackages()]
    return tuple({os.path.join(os.path.realpath(path), "") for path in found if path})  # noqa: PTH118 - as few imports as can be


INSTALLED = installed_folders()


def is_installed(file: str) -> bool:
    """True for a file of the standard library or of an installed package."""
    return os.path.realpath(file).startswith(INSTALLED)


class Guard:
    """Lets nothing be imported that somebody may be working on: an import of such a module fails, and whatever needed it with it."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find a module like `importlib.abc.MetaPathFinder`."""
        for finder in sys.meta_path:
            if finder is self:
                continue
            spec = finder.find_spec(name, path, target)
            if spec is None:
                continue
            files = [spec.origin] if spec.has_location and spec.origin else list(spec.submodule_search_locations or ())
            if not all(is_installed(one) for one in files):
                raise ImportError(f"{name} is being worked on", name=name)
            return spec
        return None


def warm(names: list[str]) -> None:
    """Import what is installed of these modules. Whatever cannot be imported is left to the children."""
    guard = Guard()
    sys.meta_path.insert(0, guard)
    try:
        for name in names:
            if name not in sys.modules:
                with suppress(BaseException):  # a child finds out, and says so
                    import_module(name)
    finally:
        sys.meta_path.remove(guard)


def fork(orders: socket.socket, talk: socket.socket, comparison: socket.socket) -> int:
    """A child that plays. Returns its pid, in the parent alone."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    orders.close()
    code = 70
    try:
        from worldbus.dev.play import play

        code = play(talk, comparison)
    except BaseException:  # nothing of a child may run the parent's loop
        import traceback

        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def main(number: int) -> None:
    """Take orders until nobody gives any."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever orders
    orders = socket.socket(fileno=number)
    children: set[int] = set()
    rest = b""
    while True:
        ready, _, _ = select.select([orders], [], [], LOOK_S if children else None)
        if ready:
            data, fds = receive(orders)
            if not data:
                break
            rest += data
            *lines, rest = rest.split(b"\n")
            for line in lines:
                order = json.loads(line)
                if "warm" in order:
                    warm(order["warm"])
                else:
                    children.add(one := forked(orders, fds))
                    report(orders, forked=one)
        for pid in list(children):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                children.discard(pid)
                report(orders, ended=pid, code=os.waitstatus_to_exitcode(status))
    for pid in children:
        os.kill(pid, signal.SIGTERM)


def forked(orders: socket.socket, fds: list[int]) -> int:
    """The pid of a child that talks through these."""
    talk, comparison = (socket.socket(fileno=one) for one in fds)
    pid = fork(orders, talk, comparison)
    talk.close()
    comparison.close()
    return pid


def receive(orders: socket.socket) -> tuple[bytes, list[int]]:
    """Bytes, and the sockets that came with them."""
    fds = array.array("i", ())
    data, ancillary, _, _ = orders.recvmsg(MOST, socket.CMSG_SPACE(2 * fds.itemsize))
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    return data, list(fds)


def report(orders: socket.socket, **facts: int) -> None:
    """A line to whoever orders; whether it is still there is found out by reading."""
    with suppress(OSError):
        orders.sendall(json.dumps(facts).encode() + b"\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
