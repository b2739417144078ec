"""The log as it is there, for whoever only reads: nothing is made and nothing is written down."""

from __future__ import annotations

from dataclasses import replace

from bus.answers import Answers
from bus.connection import Connection
from bus.errors import NoLog
from bus.log import PARTITIONS, Log, LogConfig, partitions_of, refuse_another, refuse_other_layout, stream_info


async def open_existing(connection: Connection, config: LogConfig | None = None) -> Log:
    """The log. Raises `NoLog` when there never was one, `LogDamaged` when it was lost, `Misuse` when it is laid out differently.

    Snapshots that were lost are missed by nobody who reads, and so is what was written down there about the log.
    """
    config = config or LogConfig()
    found, snapshots = await stream_info(connection, config.name), await stream_info(connection, config.snapshots)
    answers = Answers(connection)
    await answers.open()
    log = Log(connection, config, answers)
    try:
        refuse_another(log, await log.marked() if snapshots is not None else "", found)
        if found is None:
            raise NoLog(f"wanted the stream {config.name}, found none: the first `worldbus up`, `run` or `publish` on this server makes it")
        log.config = replace(config, partitions=config.partitions or partitions_of(found) or PARTITIONS)
        refuse_other_layout(log.config.stream(), found["config"])
    except BaseException:
        await log.aclose()
        raise
    return log
