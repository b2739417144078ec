"""The C++ client over TLS: its sender reads the socket itself, and must not wait there for what has not been said."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats
import pytest
import pytest_asyncio
from nats.js import JetStreamContext

from worldbus.embedded.nats import binary, free_ports

COUNT = 6000


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """For 127.0.0.1, trusted by what this test starts; the key lies beside it."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("wanted the program openssl, found none")
    path = tmp_path / "cert.pem"
    arguments = [
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=127.0.0.1",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ]
    subprocess.run([program, *arguments, "-keyout", tmp_path / "key.pem", "-out", path], check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return path


@pytest_asyncio.fixture
async def log(certificate: Path, tmp_path: Path) -> AsyncIterator[tuple[str, JetStreamContext]]:
    """A server that takes nothing but TLS: its address, and its empty log."""
    url = f"tls://127.0.0.1:{(port := free_ports()[0])}"
    tls = f'tls {{ cert_file: "{certificate}", key_file: "{certificate.with_name("key.pem")}" }}'
    config = tmp_path / "nats.conf"
    config.write_text(f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{tmp_path / "js"}" }}\n{tls}\n')
    server = await asyncio.create_subprocess_exec(binary(), "-c", config, stderr=asyncio.subprocess.DEVNULL)
    client = await nats.connect(
        url,
        tls=ssl.create_default_context(cafile=str(certificate)),
        allow_reconnect=True,
        max_reconnect_attempts=1000,
        reconnect_time_wait=0.1,
    )
    stream = client.jetstream()
    await stream.add_stream(name="LOG", subjects=["evt.>"])
    yield url, stream
    await client.close()
    server.terminate()
    await server.wait()


async def test_over_tls_every_event_is_in_the_log_once_in_order(log: tuple[str, JetStreamContext], probe: Any) -> None:
    url, stream = log
    program = await probe("publish", url, "w1", COUNT, 7)
    assert await program.line() == {"ready": True}
    said = await program.line()
    await program.end()
    assert (said["recorded"], said["in_order"], said["resent"], said["reconnects"]) == (COUNT, True, 0, 0)
    assert (await stream.stream_info("LOG")).state.messages == COUNT
    last = await stream.get_msg("LOG", seq=COUNT)
    assert last.headers is not None
    assert last.headers["Nats-Msg-Id"] == f"probe-{COUNT - 1}"
