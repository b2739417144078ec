"""Code in the docs that is marked to be run does what its page says."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bus.connection import connect
from bus.event import Event
from bus.json_format import to_dict
from bus.log import open_log
from worldbus.embedded import NatsServer
from worldbus.testing.servers import delete_streams

ROOT = Path(__file__).parents[2]
RUN = re.compile(r"<!-- run: tests/docs/test_examples.py -->\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_there_is_one_to_run() -> None:
    assert [page.stem for page in sorted((ROOT / "docs").rglob("*.md")) if RUN.search(page.read_text())] == ["envelope"]


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, text=True, capture_output=True, check=False)


async def test_a_plain_nats_client_publishes_json(nats_server: NatsServer) -> None:
    found = RUN.search((ROOT / "docs" / "reference" / "envelope.md").read_text())
    assert found is not None
    async with connect(nats_server.url, name="docs") as connection:
        await delete_streams(connection, nats_server)
        log = await open_log(connection)
        environment = {**os.environ, "WORLDBUS_NATS_URL": nats_server.url}
        done = [await asyncio.to_thread(_run, [sys.executable, "-c", found[1]], environment) for _ in range(2)]
        events = [to_dict(event) async for some in log.read() for event in some]
        await log.aclose()

    assert [(one.returncode, one.stdout) for one in done] == [(0, "1\n"), (0, "1\n")], done[0].stderr
    assert [(event["id"], event["type"], event["subject"], event["data"]) for event in events] == [
        ("plain-1", "worldbus.player.v1.PlayerJoined", "mira", {"display_name": "Mira", "zone": "quay"})
    ]


COMMANDS = re.findall(r"^nats pub ((?:.*\\\n)*.*)$", (ROOT / "docs/reference/envelope.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_what_the_command_line_of_nats_would_send_is_an_event(line: str) -> None:
    """Not run by `nats` itself, which is not in the packages: its arguments are read as it reads them."""
    words = shlex.split(line.replace("\\\n", " "))
    headers = [words[at + 1].partition(":") for at, word in enumerate(words) if word == "-H"]
    block = "NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, _, value in headers) + "\r\n"
    event = Event.stored(words[-1].encode(), words[0].replace("evt.", "evt.3."), 7, 10**18, block.encode() if headers else None)

    assert to_dict(event)["id"].startswith("plain-")
    assert (event.header is not None) == bool(headers)


def test_both_modes_are_shown() -> None:
    assert ["-H" in one for one in COMMANDS] == [False, True]
