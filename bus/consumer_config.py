"""The wanted configuration of a durable consumer, and the differences of the one that the server has.

`CONSUMER.CREATE` of a name that exists is an update, so whoever may make a consumer may rewrite ours: let it pass over events (a narrower
filter, a limit of deliveries), hand out bodies without their payload, or stand still. One comparison serves members at work and whoever
checks them from outside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

NANOS: Final = 1_000_000_000
GROUP: Final = "member"

_DEFAULTS: Final[Mapping[str, Any]] = {
    "ack_policy": "none",
    "ack_wait": 30 * NANOS,
    "backoff": [],
    "deliver_group": "",
    "deliver_policy": "all",
    "deliver_subject": "",
    "filter": [],
    "headers_only": False,
    "inactive_threshold": 0,
    "max_ack_pending": 1000,
    "max_batch": 0,
    "max_bytes": 0,
    "max_deliver": -1,
    "max_expires": 0,
    "max_waiting": 512,
    "mem_storage": False,
    "pause_until": "",
    "priority_groups": [],
    "priority_policy": "none",
    "priority_timeout": 0,
    "rate_limit_bps": 0,
    "replay_policy": "instant",
    "sample_freq": "",
}
"""Fields that say which events a consumer delivers, when, and how long it stays: with the value that a missing one has."""

FIXED: Final = frozenset({"ack_policy", "deliver_policy", "deliver_subject", "max_waiting", "mem_storage", "replay_policy"})
"""The fields that the server changes in no consumer that exists (measured on 2.15.1)."""

SKIPS: Final = frozenset({"ack_policy", "deliver_policy", "filter", "headers_only", "max_deliver", "mem_storage"})
"""The fields by which a consumer may have passed over events, or handed them out without their bodies."""

_STARTS: Final = frozenset({"all", "by_start_sequence"})  # where it began is judged by its floor, against our own record


def pull_config(
    name: str, filters: Sequence[str], *, pinned: bool = True, ack_wait: float = 30.0, pin_timeout: float = 2.0, ack_policy: str = "all"
) -> dict[str, Any]:
    """A durable pull consumer that reads the log from its start; `ack_wait` and `pin_timeout` are seconds."""
    config: dict[str, Any] = {
        "name": name,
        "durable_name": name,
        "deliver_policy": "all",
        "ack_policy": ack_policy,
        "ack_wait": int(ack_wait * NANOS),
        "max_deliver": -1,
        "max_ack_pending": -1,
        "max_waiting": 64,
        "filter_subjects": list(filters),
        "replay_policy": "instant",
    }
    if pinned:
        config |= {"priority_policy": "pinned_client", "priority_groups": [GROUP], "priority_timeout": int(pin_timeout * NANOS)}
    return config


class Difference(NamedTuple):
    """One field of a consumer that is not as it has to be."""

    field: str
    wanted: Any
    found: Any

    def __str__(self) -> str:
        return f"{self.field}: wanted {self.wanted!r}, found {self.found!r}"


def differences(wanted: Mapping[str, Any], found: Mapping[str, Any], *, wider: Sequence[str] = ()) -> list[Difference]:
    """Every field in which a consumer's configuration, as the server tells it, is not what the code wants.

    `wider` are filters that do as well: they let more through, which the reader passes over, and another release may need it.
    """
    one, other = _known(wanted), _known(found)
    if wider and other["filter"] == sorted(wider):
        other["filter"] = one["filter"]
    if {one["deliver_policy"], other["deliver_policy"]} <= _STARTS:
        other["deliver_policy"] = one["deliver_policy"]
    return [Difference(name, one[name], other[name]) for name in _DEFAULTS if one[name] != other[name]]


def repaired(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration that makes of a consumer which is there what is wanted, where the server allows that."""
    start = {name: found[name] for name in ("deliver_policy", "opt_start_seq") if name in found}
    return {**{name: value for name, value in wanted.items() if name != "opt_start_seq"}, **start}


def config_of(info: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration in the server's information about a consumer; a pause that is over is none."""
    config = dict(info["config"])
    if not info.get("paused"):
        config.pop("pause_until", None)
    return config


def _known(config: Mapping[str, Any]) -> dict[str, Any]:
    filters = config.get("filter_subjects") or [one for one in [config.get("filter_subject")] if one]
    known = {name: config.get(name) or default for name, default in _DEFAULTS.items()}
    return known | {"filter": sorted(filters)}
