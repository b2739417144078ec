"""`worldbus gateway`: events over HTTP."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worldbus.cli.app import No, app
from worldbus.cli.options import PLACE, game_option, settings_options
from worldbus.cli.output import remark, remark_made, say

if TYPE_CHECKING:
    import ssl

    from worldbus.settings import Settings

PORT = 8088


@app.group(invoke_without_command=True)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default=f"127.0.0.1:{PORT}",
    show_default=True,
    envvar="WORLDBUS_GATEWAY_LISTEN",
    help="Where to listen; port 0 takes a free one.  [WORLDBUS_GATEWAY_LISTEN]",
)
@click.option(
    "--tokens",
    metavar="FILE",
    type=click.Path(path_type=Path),
    envvar="WORLDBUS_GATEWAY_TOKENS",
    help="TOML file of hashed tokens and what each may do; read again when it changes.  [WORLDBUS_GATEWAY_TOKENS]",
)
@click.option(
    "--webhook-secrets",
    metavar="FILE",
    type=click.Path(path_type=Path),
    envvar="WORLDBUS_GATEWAY_WEBHOOK_SECRETS",
    help="Signing secrets of the payment provider's webhooks, one a line, read again when it changes; none: no webhooks are taken.  "
    "[WORLDBUS_GATEWAY_WEBHOOK_SECRETS]",
)
@click.option(
    "--tls", metavar="CERT KEY", type=(click.Path(), click.Path()), default=None, help="Certificate chain and key as PEM files: HTTPS."
)
@click.option(
    "--cors",
    metavar="ORIGIN",
    multiple=True,
    envvar="WORLDBUS_GATEWAY_CORS",
    help="An origin whose pages may call from a browser, in full, like https://play.example.com; several times for several, no wildcards.  "
    "[WORLDBUS_GATEWAY_CORS]",
)
@click.option("--shared", is_flag=True, help="Let several processes listen on this port; the kernel spreads the connections.")
@settings_options(*PLACE, "reader_dsn", "world", "durability")
@click.pass_context
def gateway(
    context: click.Context,
    listen: str,
    tokens: Path | None,
    webhook_secrets: Path | None,
    tls: tuple[str, str] | None,
    cors: tuple[str, ...],
    shared: bool,
    settings: Settings,
) -> None:
    """Serve the HTTP gateway until Ctrl-C: POST /v1/events, GET /v1/subscribe, and what /openapi.json says.

    Every game server has a token of its own, made by `worldbus gateway token`. Any number of gateways may run. SIGTERM ends the streams,
    answers what has been asked, and closes. In a data folder without a world it makes one, and says so.
    """
    if context.invoked_subcommand is not None:
        return
    from worldbus.cli.serve import until_stopped
    from worldbus.logging import configure

    configure(settings.log, settings.log_level)
    until_stopped(_serve(settings, listen, tokens, webhook_secrets, tls, cors, shared))


async def _serve(
    settings: Settings,
    listen: str,
    tokens: Path | None,
    webhook_secrets: Path | None,
    tls: tuple[str, str] | None,
    cors: tuple[str, ...],
    shared: bool,
) -> None:
    from bus.errors import BadSettings
    from worldbus.compose import open_world, serve
    from worldbus.edges.signing_secrets import SigningSecrets
    from worldbus.games import current
    from worldbus.gateway.cors import Cors
    from worldbus.gateway.grants import Tokens
    from worldbus.gateway.service import Place, open_gateway

    if tokens is None:
        raise BadSettings(
            "wanted --tokens, the file that says who may publish, found none: make one with `worldbus gateway token >> tokens.toml`"
        )
    host, port = _address(listen)
    named = Cors(cors)
    place = Place(host=host, port=port, shared=shared, tls=_tls(tls))
    secrets = SigningSecrets(webhook_secrets) if webhook_secrets else ()
    granted = Tokens(tokens, frozenset(current().by_name))
    postgres = settings.embedded_nats or not settings.embedded_postgres  # beside a NATS of your own, an empty Postgres of ours is no use
    async with (
        open_world(settings, name="worldbus-gateway", postgres=postgres) as world,
        serve(world),
        open_gateway(world, granted, place, webhook_secrets=secrets, cors=named) as opened,
    ):
        remark_made(world.servers)
        shown = f"[{host}]" if ":" in host else host
        address = f"http{'s' if tls else ''}://{shown}:{opened.port}"
        remark(f"gateway of {len(granted)} tokens at {address}; stop it with Ctrl-C")
        with world.presence.part("gateway") as part:
            part.stands("serves", address)
            await asyncio.Event().wait()


def _address(listen: str) -> tuple[str, int]:
    from bus.errors import BadSettings

    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise BadSettings(f"--listen: wanted HOST:PORT, like 127.0.0.1:{PORT} or [::]:{PORT}, found {listen!r}")
    return host.strip("[]"), int(port)


def _tls(files: tuple[str, str] | None) -> ssl.SSLContext | None:
    import ssl

    from bus.errors import BadSettings

    if files is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(*files)
    except (OSError, ssl.SSLError) as error:
        raise BadSettings(f"--tls: wanted a certificate chain and its key as PEM files, found {error}") from error
    return context


@gateway.command()
@click.argument("name")
@click.option("--world", "worlds", multiple=True, required=True, help='A world it may touch; several times for several, "*" for all.')
@click.option("--says", multiple=True, default=("game",), show_default=True, help="A subsystem it may speak as.")
@click.option("--rate", type=click.FloatRange(0.001), default=2000.0, show_default=True, help="Events per second.")
@game_option
@click.option("-v", "--verbose", is_flag=True, help="Show tracebacks of errors.")
def token(name: str, worlds: tuple[str, ...], says: tuple[str, ...], rate: float, verbose: bool) -> None:
    """Make a token for the game server NAME: its table for the file on stdout, the token itself on stderr, this once."""
    from worldbus.games import current
    from worldbus.gateway.grants import mint, read

    secret, digest = mint()
    read({name: {"sha256": digest, "worlds": list(worlds), "says": list(says), "events_per_second": rate}}, frozenset(current().by_name))
    say(f"[{name}]\nsha256 = {json.dumps(digest)}\nworlds = {json.dumps(list(worlds))}")
    say(f"says = {json.dumps(list(says))}\nevents_per_second = {rate:g}\n")
    remark(secret)


@gateway.command()
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file instead of stdout.")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if --output differs from what would be written.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of YAML.")
@game_option
@click.option("-v", "--verbose", is_flag=True, help="Show tracebacks of errors.")
def openapi(output: Path | None, check: bool, as_json: bool, verbose: bool) -> None:
    """Describe the gateway as an OpenAPI 3.1 document."""
    from worldbus.gateway.openapi import to_json, to_yaml

    text = to_json() if as_json else to_yaml()
    if output is None:
        say(text.rstrip("\n"))
    elif check:
        if not output.exists() or output.read_text(encoding="utf-8") != text:
            raise No(f"{output} is not what this release says: write it with `worldbus gateway openapi --output {output}`")
    else:
        output.write_text(text, encoding="utf-8")
        remark(f"wrote {output}")
