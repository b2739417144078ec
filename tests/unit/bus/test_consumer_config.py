"""One comparison of consumers: it finds whatever says what is delivered, and nothing that does not."""

from __future__ import annotations

from typing import Any

import pytest

from bus.consumer_config import FIXED, SKIPS, config_of, differences, pull_config, repaired

WANTED = pull_config("player_3", ["evt.3.*.*.*.PlayerMoved"])
AS_THE_SERVER_TELLS = {
    **{name: value for name, value in WANTED.items() if name != "filter_subjects"},
    "filter_subject": "evt.3.*.*.*.PlayerMoved",
    "num_replicas": 3,
    "metadata": {"_nats.ver": "2.15.1"},
    "description": "somebody's note",
}

CHANGES: dict[str, Any] = {
    "ack_policy": "explicit",
    "ack_wait": 1,
    "backoff": [1_000_000_000],
    "deliver_policy": "new",
    "deliver_subject": "elsewhere",
    "filter_subjects": ["evt.3.*.*.*.PlayerMoved", "evt.4.>"],
    "headers_only": True,
    "inactive_threshold": 5_000_000_000,
    "max_ack_pending": 1,
    "max_batch": 1,
    "max_bytes": 1,
    "max_deliver": 3,
    "max_expires": 1,
    "max_waiting": 1,
    "mem_storage": True,
    "pause_until": "2099-01-01T00:00:00Z",
    "priority_groups": ["other"],
    "priority_policy": "overflow",
    "priority_timeout": 1,
    "rate_limit_bps": 1,
    "replay_policy": "original",
    "sample_freq": "100",
}


def test_what_the_server_tells_of_a_consumer_that_we_made_is_no_difference() -> None:
    assert differences(WANTED, AS_THE_SERVER_TELLS) == []
    assert differences(WANTED, {**AS_THE_SERVER_TELLS, "deliver_policy": "by_start_sequence", "opt_start_seq": 70}) == []


@pytest.mark.parametrize("field", sorted(CHANGES))
def test_a_changed_field_is_found_and_named(field: str) -> None:
    (found,) = differences(WANTED, {**AS_THE_SERVER_TELLS, field: CHANGES[field]})

    assert found.field == field.removesuffix("_subjects")
    assert str(found).startswith(f"{found.field}: wanted {found.wanted!r}, found ")


@pytest.mark.parametrize(
    "field", sorted(name for name, value in AS_THE_SERVER_TELLS.items() if name in CHANGES or name == "filter_subject")
)
def test_a_field_that_is_gone_is_found_where_its_default_is_another(field: str) -> None:
    left = {name: value for name, value in AS_THE_SERVER_TELLS.items() if name != field}

    defaults = {"deliver_policy", "max_deliver", "replay_policy", "ack_wait"}
    assert [one.field for one in differences(WANTED, left)] == ([] if field in defaults else [field.removesuffix("_subject")])


def test_the_whole_partition_does_as_well_and_nothing_wider_does() -> None:
    wider = ["evt.3.*.*.*.*"]
    assert differences(WANTED, {**AS_THE_SERVER_TELLS, "filter_subject": "evt.3.*.*.*.*"}, wider=wider) == []
    for wrong in ("evt.4.*.*.*.*", "evt.>", "", "evt.3.*.*.*.PlayerLeft"):
        (found,) = differences(WANTED, {**AS_THE_SERVER_TELLS, "filter_subject": wrong}, wider=wider)
        assert found.field == "filter"


def test_a_pause_that_is_over_is_none() -> None:
    config = {**AS_THE_SERVER_TELLS, "pause_until": "2020-01-01T00:00:00Z"}

    assert differences(WANTED, config_of({"config": config})) == []
    assert [one.field for one in differences(WANTED, config_of({"config": config, "paused": True}))] == ["pause_until"]


def test_a_repair_keeps_the_start_since_the_server_changes_none() -> None:
    begun = {**AS_THE_SERVER_TELLS, "deliver_policy": "by_start_sequence", "opt_start_seq": 70, "max_deliver": 1}

    mended = repaired(WANTED, begun)

    assert (mended["deliver_policy"], mended["opt_start_seq"], mended["max_deliver"]) == ("by_start_sequence", 70, -1)
    assert differences(WANTED, mended) == []


def test_what_may_have_skipped_is_among_what_is_compared() -> None:
    fields = {name.removesuffix("_subjects") for name in CHANGES}

    assert fields >= FIXED | SKIPS
