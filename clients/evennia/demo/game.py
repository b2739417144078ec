"""A game directory of Evennia's, made, started and ended; and its load tester."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
from collections.abc import Mapping
from pathlib import Path

from bus.errors import WorldbusError
from clients.evennia.demo.telnet import Telnet, enter
from worldbus.embedded.nats import free_ports

ADMIN = "admin"
STARTS = 6
BUILD = "batchcommand tutorial_world.build"
SETTINGS = """
TELNET_PORTS = [{telnet}]
TELNET_INTERFACES = ["127.0.0.1"]
WEBSERVER_PORTS = [({web}, {web_inside})]
WEBSERVER_INTERFACES = ["127.0.0.1"]
WEBSOCKET_CLIENT_PORT = {websocket}
WEBSOCKET_CLIENT_INTERFACE = "127.0.0.1"
AMP_PORT = {amp}
DUMMYRUNNER_SETTINGS_MODULE = "clients.evennia.demo.load"
from worldbus_evennia.settings import *
WORLDBUS_STAGE = "worldbus_evennia.duskmarket"
from evennia.server.profiling.settings_mixin import *
"""


class GameFailed(WorldbusError):
    """Evennia did not do what was asked of it."""

    code = "GAME_FAILED"


class Game:
    """One game. Everything it writes lies in its folder; every port is a free one of 127.0.0.1."""

    def __init__(self, folder: Path, environment: Path, *, url: str, world: str) -> None:
        self.folder = folder / "game"
        self._programs = environment / "bin"
        self.password = f"demo-{secrets.token_urlsafe(12)}"
        self.ports = dict(zip(("telnet", "web", "web_inside", "websocket", "amp"), free_ports(5), strict=True))
        self._environ = {
            "PATH": f"{self._programs}:{os.defpath}",
            "HOME": str(folder),
            "WORLDBUS_NATS_URL": url,
            "WORLDBUS_WORLD": world,
            "EVENNIA_SUPERUSER_USERNAME": ADMIN,
            "EVENNIA_SUPERUSER_PASSWORD": self.password,
            "EVENNIA_SUPERUSER_EMAIL": "nobody@example.org",
            "PYTHONUNBUFFERED": "1",
        }
        self._load: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Make it if it is not there, start it, build the tutorial world."""
        await self._evennia("--init", self.folder.name, cwd=self.folder.parent)
        with (self.folder / "server/conf/settings.py").open("a") as settings:
            settings.write(SETTINGS.format(**self.ports))
        await self._evennia("migrate")
        for _ in range(STARTS):
            if "timed out" not in await self._evennia(
                "start"
            ):  # its own patience is short on a busy machine; asking again goes on from there
                break
        await self._logged("successfully restarted in 'reset' mode")  # a new game restarts once; who comes before that is forgotten
        admin = await self.admin()
        since = len(admin.seen)
        admin.type(BUILD)
        await admin.until(r"Batchfile '.*' applied|End of tutorial|automatically continue", since=since, within=600)
        await admin.close()

    async def admin(self) -> Telnet:
        """The superuser, logged in."""
        return await self.enter(ADMIN, self.password)

    async def enter(self, name: str, password: str, *, create: bool = False) -> Telnet:
        """A player, logged in."""
        return await enter(self.ports["telnet"], name, password, create=create)

    async def _logged(self, words: str) -> None:
        """Wait until the server's log says so."""
        log = self.folder / "server/logs/server.log"
        async with asyncio.timeout(180):
            while not log.exists() or words not in log.read_text(errors="replace"):
                await asyncio.sleep(0.2)

    async def load(self, players: int) -> None:
        """Let Evennia's own load tester play."""
        with (self.folder / "load.log").open("wb") as log:
            self._load = await asyncio.create_subprocess_exec(
                str(self._programs / "evennia"),
                "--dummyrunner",
                str(players),
                cwd=self.folder,
                env=self._environ,
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        assert self._load.stdin is not None
        self._load.stdin.write(b"Y\n")
        self._load.stdin.close()

    async def end_load(self) -> None:
        """The players leave."""
        if self._load is None or self._load.returncode is not None:
            return
        os.killpg(self._load.pid, signal.SIGINT)
        try:
            await asyncio.wait_for(self._load.wait(), 15)
        except TimeoutError:
            os.killpg(self._load.pid, signal.SIGKILL)
            await self._load.wait()

    async def stop(self) -> None:
        """End the load and the game."""
        await self.end_load()
        if (self.folder / "server/conf/settings.py").exists():
            await self._evennia("stop")

    def processor_s(self) -> float | None:
        """Processor seconds that Evennia's server process has spent; None where the system does not say (it is Linux that does)."""
        try:
            pid = (self.folder / "server/server.pid").read_text().strip()
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def problems(self) -> list[str]:
        """Errors in the server's own log."""
        log = self.folder / "server/logs/server.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return [line for line in lines if "[EE]" in line or "Traceback" in line]

    async def _evennia(self, *arguments: str, cwd: Path | None = None) -> str:
        """Run Evennia's command and return its output. Raises `GameFailed`."""
        process = await asyncio.create_subprocess_exec(
            str(self._programs / "evennia"),
            *arguments,
            cwd=cwd or self.folder,
            env=self._environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await asyncio.wait_for(process.communicate(), 600)
        text = said.decode(errors="replace")
        if process.returncode:
            raise GameFailed(f"`evennia {' '.join(arguments)}` ended with {process.returncode}: {text[-2000:]}")
        return text


def as_json(value: Mapping[str, object]) -> str:
    """One line."""
    return json.dumps(value, separators=(",", ":"))
