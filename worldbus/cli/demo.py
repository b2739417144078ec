"""`worldbus demo`: the whole of worldbus in one command."""

from __future__ import annotations

import shlex
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import click

from worldbus.cli.app import No, app
from worldbus.cli.options import PLACE, json_option, run, settings_options
from worldbus.cli.output import Progress, remark, say, say_json, table

if TYPE_CHECKING:
    from worldbus.demo.proof import Proof
    from worldbus.demo.report import Report
    from worldbus.settings import Settings

NEXT = {  # view that is there → what can be asked of it
    "clock": "sql 'SELECT world, day, hour, season, time_of_day FROM clock'",
    "weather": "sql 'SELECT zone, sky, intensity, temperature_c FROM weather'",
}


@app.command()
@click.option("--players", type=click.IntRange(0, 100_000), default=20, show_default=True, help="Simulated players.")
@click.option("--seconds", type=click.FloatRange(0.1, 86_400), default=60.0, show_default=True, help="How long they play.")
@click.option("--seed", type=int, default=1, show_default=True, help="What the players' dice are drawn from.")
@click.option("--lockstep", is_flag=True, help="Wait for the world between steps: the same seed gives the same log, byte for byte.")
@click.option("--hours", type=click.FloatRange(0.01, 10_000), default=1.0, show_default=True, help="With --lockstep: hours of world time.")
@json_option
@settings_options(*PLACE, "world", "durability")
def demo(players: int, seconds: float, seed: int, lockstep: bool, hours: float, as_json: bool, settings: Settings) -> None:
    """Let a small world live for a while, then count what happened.

    Starts NATS and Postgres on the data folder, migrates the tables, runs every handler, the projector and a clock, and lets the bots
    that the game declares play. Every figure of the report is counted from the log and the tables. Exit code 1 if anything was lost,
    duplicated, out of order or parked. The data stays in the folder: afterwards `worldbus sql`, `worldbus replay` and the others work
    on it.

    With --lockstep, on an empty data folder: one step is a minute of the world, nobody speaks before it has settled, all times come from
    its clock. Then every decision is made again, the ledger is summed up and every projection is built anew and compared.
    """
    from worldbus.extras import require

    require("the demo", *(["servers"] if settings.embedded_postgres else []), "knowledge", "gateway")
    with Progress() as progress:
        report = run(_lockstep(settings, players, hours, seed, progress) if lockstep else _live(settings, players, seconds, seed, progress))
    if as_json:
        say_json(report.as_dict())
    else:
        _show(report, settings)
    if not report.good:
        if report.proof is not None and not report.proof.good:
            raise No("the world is not what its log says: see `proof`")
        raise No(f"{report.lost} lost, {report.duplicated} duplicated, {report.out_of_order} out of order, {report.parked} parked")


def _live(settings: Settings, players: int, seconds: float, seed: int, tell: Progress) -> Coroutine[Any, Any, Report]:
    from worldbus.demo.run import Wanted, run

    return run(settings, Wanted(players=players, seconds=seconds, seed=seed), tell)


def _lockstep(settings: Settings, players: int, hours: float, seed: int, tell: Progress) -> Coroutine[Any, Any, Report]:
    from worldbus.demo.lockstep import Wanted, run

    return run(settings, Wanted(players=players, hours=hours, seed=seed), tell)


def _show(report: Report, settings: Settings) -> None:
    say(f"World {report.world!r} lived for {report.seconds:g} s with {report.players} players (seed {report.seed}, {report.durability}).")
    say()
    say(f"  published    {report.published:>8}   events acknowledged to players, the clock and who writes lore")
    say(f"  in the log   {report.events:>8}   positions {report.first} to {report.last}")
    say(f"  handled      {report.handled:>8}   decisions on record")
    say(f"  projected    {report.projected:>8}   events in the archive and the tables")
    say(f"  knows        {report.passages:>8}   passages of {report.documents} documents of lore")
    say(f"  lost {report.lost} · duplicated {report.duplicated} · out of order {report.out_of_order} · parked {report.parked}")
    say()
    rows: list[tuple[object, ...]] = [
        (
            name,
            one.events_in,
            one.events_out,
            one.parked,
            one.decide_p95_us,
            one.latency.p50_ms,
            one.latency.p95_ms,
            one.latency.p99_ms,
            f"{one.view}: {one.rows}" if one.view else "",
        )
        for name, one in report.per_handler.items()
    ]
    rows.append(("publish", None, report.published, None, None, report.publish.p50_ms, report.publish.p95_ms, report.publish.p99_ms, ""))
    ends = report.end_to_end
    rows.append(("end to end", None, None, None, None, ends.p50_ms, ends.p95_ms, ends.p99_ms, ""))
    say(table(rows, ("subsystem", "events in", "events out", "parked", "decide p95 us", "p50 ms", "p95 ms", "p99 ms", "view: rows")))
    if report.proof is not None:
        _show_proof(report.proof)
    for problem in report.problems:
        say(f"  {problem}")
    _hints(report, settings)


def _show_proof(proof: Proof) -> None:
    say()
    say(f"  decided again  {proof.identical_percent:g} % of {proof.decisions} decisions identical, {proof.open} open")
    say(f"  ledger         {', '.join(f'{name} {total}' for name, total in proof.ledger_sums.items())} (0 wanted)")
    say(f"  rebuilt        {proof.rebuilds} projections, rows differ in {', '.join(proof.rebuilds_differing) or 'none'}")
    say(f"  log            sha256 {proof.log_sha256}")


def _hints(report: Report, settings: Settings) -> None:
    where = "" if str(settings.data) == ".worldbus" else f" --data-dir {shlex.quote(str(settings.data))}"
    remark("")
    remark("The data is still there. Try next:")
    there = {one.view for one in report.per_handler.values()}
    asked = [words for view, words in NEXT.items() if view in there]
    for words in (*asked, *([f"replay --entity {report.first_player}"] if report.first_player else []), "verify"):
        verb, _, rest = words.partition(" ")
        remark(f"  worldbus {verb}{where}{' ' if rest else ''}{rest}")
