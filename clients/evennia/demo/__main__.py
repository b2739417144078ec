"""`python -m clients.evennia.demo`: what `make demo-evennia` runs. Exit code 1 when a promise was broken."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

import click

from bus.errors import WorldbusError
from clients.evennia.demo.game import as_json
from clients.evennia.demo.report import Report
from clients.evennia.demo.run import Wanted, run
from worldbus.logging import configure
from worldbus.settings import Settings

PARTITIONS = 2  # of a small world on a machine that carries game and bus: each costs every handler a place that the server keeps on disk
ROOT = Path(__file__).parents[3]


@click.command()
@click.option("--players", default=20, show_default=True, type=click.IntRange(1, 1000), help="Players of Evennia's load tester.")
@click.option("--duration", default=60.0, show_default=True, type=click.FloatRange(5, 86400), help="Seconds of play.")
@click.option(
    "--engine",
    default="ladder",
    show_default=True,
    type=click.Choice(["ladder", "vllm"]),
    help="Who answers: the ladder alone, or vLLM on this CPU with a tiny model (make vllm).",
)
@click.option("--kills", default=0, show_default=True, help="How often to kill the NATS server meanwhile.")
@click.option(
    "--nice",
    default=8,
    show_default=True,
    type=click.IntRange(0, 19),
    help="Niceness of the bus's programs: on one machine the game goes first. 0: as the game.",
)
@click.option("--world", default="duskmarket", show_default=True, help="World.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder for all data; default: a new one, removed at the end.")
@click.option(
    "--environment", type=click.Path(path_type=Path), default=ROOT / ".venv-evennia", help="Where Evennia is installed (make evennia)."
)
@click.option("--stay", is_flag=True, help="Stay up when the load has ended, until Ctrl-C.")
@click.option("--json", "json_", is_flag=True, help="The report as one JSON line on stdout.")
def main(
    players: int,
    duration: float,
    engine: str,
    kills: int,
    nice: int,
    world: str,
    data: Path | None,
    environment: Path,
    stay: bool,
    json_: bool,
) -> None:
    """Evennia's tutorial world on the bus, played by Evennia's own load tester."""
    configure("console", "warning")

    def tell(words: str) -> None:
        click.echo(words, err=True)

    with tempfile.TemporaryDirectory(prefix="wb-evennia-") as temporary:
        folder = data or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            folder.chmod(0o711)  # Postgres runs as a user of its own below it
        settings = Settings.read({}, data=str(folder), world=world, partitions=str(PARTITIONS))
        wanted = Wanted(players=players, seconds=duration, engine=engine, kills=kills, nice=nice, worker=_worker(engine, folder))
        try:
            report = asyncio.run(run(settings, environment, wanted, tell, stay=stay))
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        except WorldbusError as error:
            tell(f"demo-evennia: {error}")
            raise SystemExit(1) from None
    click.echo(as_json(report.as_dict()) if json_ else _people(report))
    if not report.good:
        raise SystemExit(1)


def _worker(engine: str, folder: Path) -> tuple[str, ...]:
    """The command of a worker with the real vLLM."""
    if engine == "ladder":
        return ()
    program = ROOT / ".venv-vllm" / "bin" / "python"
    if not program.exists():
        raise click.UsageError("--engine vllm wants the environment with vLLM: run `make vllm`")
    return (str(program), "-m", "clients.evennia.demo.vllm_worker", str(folder))


def _people(report: Report) -> str:
    by_rung = ", ".join(f"{rung} {count}" for rung, count in report.lines.items())
    lines = [
        f"{report.players} players, {report.seconds:.0f} s, answers by {report.engine}",
        f"published {report.published}, in the log {report.in_log}",
        f"lost {report.lost}, duplicated {report.duplicated}, dropped {report.dropped}",
        f"spoken to {report.spoken_to} times, answered {sum(report.lines.values())} ({by_rung}), "
        f"own lines {report.own_lines}, seen in the room {report.shown}",
        f"command latency p95 {report.latency_on_ms} ms with the adapter, {report.latency_off_ms} ms without: {report.latency_ratio} "
        f"(nine times of ten between {report.latency_ratio_between})",
        f"share of a processor that the game takes: {report.processor_on} with the adapter, {report.processor_off} without",
        *(f"  {name.replace('_', ' ')}: p50 {p50} ms, p95 {p95} ms" for name, (p50, p95) in report.as_dict()["hops"].items()),
        *report.problems,
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
