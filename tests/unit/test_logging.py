"""Log lines are JSON objects off a terminal, carry what was bound, and include what libraries say."""

from __future__ import annotations

import io
import json
import logging

import pytest
import structlog

from worldbus.logging import configure


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_off_a_terminal_a_line_is_one_json_object() -> None:
    out = io.StringIO()
    configure(stream=out)

    structlog.get_logger().info("event_handled", position=7, text="two\nlines")

    (line,) = _lines(out)
    assert ("event_handled", "info", 7, "two\nlines") == (line["event"], line["level"], line["position"], line["text"])
    assert str(line["timestamp"]).endswith("Z")


def test_on_a_terminal_a_line_is_for_people() -> None:
    out = _Terminal()
    configure(stream=out)

    structlog.get_logger().info("event_handled", position=7)

    with pytest.raises(json.JSONDecodeError):
        _lines(out)
    assert "event_handled" in out.getvalue()


def test_json_can_be_asked_for_on_a_terminal() -> None:
    out = _Terminal()
    configure("json", stream=out)

    structlog.get_logger().info("event_handled")

    assert [line["event"] for line in _lines(out)] == ["event_handled"]


def test_what_is_bound_once_is_on_every_line_beneath() -> None:
    out = io.StringIO()
    configure(stream=out)

    with structlog.contextvars.bound_contextvars(event_id="e1", handler="weather"):
        structlog.get_logger().info("event_decided")
        logging.getLogger("some.library").warning("slow %s", "disk")
    structlog.get_logger().info("idle")

    decided, library, idle = _lines(out)
    assert ("e1", "weather") == (decided["event_id"], decided["handler"])
    assert ("e1", "slow disk", "some.library") == (library["event_id"], library["event"], library["logger"])
    assert "event_id" not in idle


def test_the_level_is_a_threshold_and_libraries_chatter_stays_out() -> None:
    out = io.StringIO()
    configure(level="info", stream=out)

    structlog.get_logger().debug("too_fine")
    logging.getLogger("some.library").info("too chatty")
    structlog.get_logger().warning("kept")

    assert [line["event"] for line in _lines(out)] == ["kept"]


@pytest.mark.parametrize("format", ["json", "console"])
def test_an_exception_is_shown_without_local_variables(format: str) -> None:
    """They hold addresses with passwords, and players' words."""
    out = io.StringIO()
    configure(format, stream=out)

    try:
        password = "tell" + "nobody"
        raise ValueError(f"wrong password of {len(password)} letters")
    except ValueError:
        structlog.get_logger().exception("login_failed")
        logging.getLogger("some.library").exception("login_failed")

    assert out.getvalue().count("wrong password of 10 letters") == 2
    assert "tellnobody" not in out.getvalue()


def test_an_exception_in_json_is_structured() -> None:
    out = io.StringIO()
    configure(stream=out)

    try:
        raise ValueError("no such zone")
    except ValueError:
        structlog.get_logger().exception("failed")

    (line,) = _lines(out)
    assert isinstance(line["exception"], list)
    assert ("ValueError", "no such zone") == (line["exception"][0]["exc_type"], line["exception"][0]["exc_value"])
