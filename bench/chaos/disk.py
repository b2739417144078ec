"""A disk of our own whose power can be cut: an ext4 file system in an image file, shut down without flushing.

`EXT4_IOC_SHUTDOWN` with NOLOGFLUSH drops everything that was not synced, as a power cut drops what is in the page cache. It does not tear
sectors and does not reorder what was synced. Needs root, a loop device and mkfs.ext4.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
from pathlib import Path

IMAGE_BYTES = 1 << 30
_SHUTDOWN = (2 << 30) | (4 << 16) | (ord("X") << 8) | 125  # _IOR('X', 125, __u32)
_NO_LOG_FLUSH = 2
_CLONE_NEWNS = 0x00020000
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18


class NoDisk(Exception):
    """A machine that cannot mount an image; the message says what is missing."""


class Disk:
    """A mounted image. One owner."""

    def __init__(self, folder: Path) -> None:
        """Make the image and mount it; raises `NoDisk`."""
        if os.geteuid() != 0:
            raise NoDisk("mounting a loop image needs root")
        for program in ("mkfs.ext4", "mount", "umount"):
            if shutil.which(program) is None:
                raise NoDisk(f"wanted the program {program}, found none")
        if not Path("/dev/loop-control").exists():
            raise NoDisk("wanted loop devices, found no /dev/loop-control")
        self._image = folder / "disk.img"
        self.path = folder / "disk"
        self.path.mkdir()
        with self._image.open("wb") as image:
            image.truncate(IMAGE_BYTES)
        _run("mkfs.ext4", "-qF", str(self._image))
        self._mount()
        self.path.chmod(0o711)

    def sync(self) -> None:
        """Make all that was written so far survive."""
        handle = os.open(self.path, os.O_RDONLY)
        try:
            ctypes.CDLL(None).syncfs(handle)
        finally:
            os.close(handle)

    def cut(self) -> None:
        """The power goes: what was not synced is gone. Nothing works on the disk until `restore`."""
        handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(handle)

    def restore(self) -> None:
        """The power is back; the journal is replayed. No process may have files open there."""
        _run("umount", str(self.path))
        self._mount()

    def close(self) -> None:
        """Unmount and forget."""
        _run("umount", str(self.path))
        self._image.unlink()

    def _mount(self) -> None:
        _run("mount", "-t", "ext4", "-o", "loop", str(self._image), str(self.path))


def own_mounts() -> None:
    """Let the mounts of this process be seen by nobody else and end with it. Call before any thread is started."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) != 0 or libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None) != 0:
        raise NoDisk(f"wanted a mount namespace of our own: {os.strerror(ctypes.get_errno())}")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NoDisk(f"{' '.join(command)}: {done.stderr.strip() or f'status {done.returncode}'}")
