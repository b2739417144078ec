"""Settings say everything that is wrong at once, and keep secrets to themselves."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import BadSettings
from worldbus.settings import MAX_PARTITIONS, Settings


def _problems(environ: dict[str, str], **overrides: object) -> tuple[str, ...]:
    with pytest.raises(BadSettings) as caught:
        Settings.read(environ, **overrides)
    problems = caught.value.facts["problems"]
    assert isinstance(problems, tuple)
    return problems


def test_nothing_given_means_embedded_and_strict() -> None:
    assert Settings(data=Path(".worldbus"), durability="strict", partitions=None, world="main") == Settings.read({})
    assert Settings.read({}).embedded_nats
    assert Settings.read({}).embedded_postgres


def test_an_option_wins_over_the_environment_and_none_does_not() -> None:
    environ = {"WORLDBUS_WORLD": "from-env", "WORLDBUS_PARTITIONS": "4"}

    settings = Settings.read(environ, world="from-option", partitions=None)

    assert ("from-option", 4) == (settings.world, settings.partitions)


def test_empty_means_not_given() -> None:
    assert Settings.read({}) == Settings.read({"WORLDBUS_NATS_URL": "", "WORLDBUS_DURABILITY": ""})


def test_all_problems_are_reported_together() -> None:
    problems = _problems(
        {"WORLDBUS_DURABILITY": "maybe", "WORLDBUS_PARTITIONS": "0", "WORLDBUS_NATS_URL": "localhost", "WORLDBUS_WORLD": "a.b"}
    )

    assert ["WORLDBUS_NATS_URL", "WORLDBUS_DURABILITY", "WORLDBUS_WORLD", "WORLDBUS_PARTITIONS"] == [
        text.partition(":")[0] for text in problems
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NATS_URL", "http://host:4222"),
        ("NATS_URL", "nats://"),
        ("NATS_URL", "nats://host:port"),
        ("NATS_URL", "nats://good:4222,bad"),
        ("NATS_URL", "nats://[::1"),
        ("NATS_MONITOR_URL", "host:8222"),
        ("POSTGRES_DSN", "mysql://host/db"),
        ("POSTGRES_DSN", "host=localhost dbname=x"),
        ("PARTITIONS", str(MAX_PARTITIONS + 1)),
        ("PARTITIONS", "-1"),
        ("PARTITIONS", "8.0"),
        ("PARTITIONS", "٨"),
        ("WORLD", "w" * 65),
        ("WORLD", "w*"),
        ("LOG", "xml"),
        ("LOG_LEVEL", "INFO"),
        ("DURABILITY", "Strict"),
        ("DATA", "a\0b"),
        ("WEBSOCKET", "8443"),
        ("WEBSOCKET", "127.0.0.1:0"),
        ("WEBSOCKET", "127.0.0.1:65536"),
        ("WEBSOCKET", "127.0.0.1:٨"),
        ("WEBSOCKET", "0.0.0.0:8443"),
    ],
)
def test_a_wrong_value_is_refused_by_the_variables_name(name: str, value: str) -> None:
    problems = _problems({f"WORLDBUS_{name}": value})

    assert [f"WORLDBUS_{name}"] == [text.partition(":")[0] for text in problems]


@pytest.mark.parametrize(
    ("given_together", "word"),
    [
        ({"WORLDBUS_NATS_URL": "nats://h:1", "WORLDBUS_NATS_SERVER": "/bin/x"}, "nats_server"),
        ({"WORLDBUS_NATS_MONITOR_URL": "http://h:1"}, "nats_monitor_url"),
        ({"WORLDBUS_NATS_URL": "nats://h:1", "WORLDBUS_WEBSOCKET": "127.0.0.1:8443"}, "websocket"),
        ({"WORLDBUS_READER_DSN": "postgresql://r@/db"}, "reader_dsn"),
    ],
)
def test_values_that_contradict_each_other_are_refused(given_together: dict[str, str], word: str) -> None:
    assert _problems(given_together)[0].startswith(word)


def test_a_misspelt_variable_is_not_silently_ignored() -> None:
    assert ("WORLDBUS_DURABLITY: no such setting; did you mean WORLDBUS_DURABILITY?",) == _problems({"WORLDBUS_DURABLITY": "relaxed"})


def test_the_platforms_own_variables_are_left_alone() -> None:
    kubernetes = {
        "WORLDBUS_SERVICE_HOST": "10.0.0.1",
        "WORLDBUS_PORT": "tcp://10.0.0.1:4222",
        "WORLDBUS_PORT_4222_TCP": "tcp://10.0.0.1:4222",
    }

    assert Settings.read({}) == Settings.read(kubernetes)


def test_an_unknown_option_is_a_problem() -> None:
    assert ("no setting is called 'colour'",) == _problems({}, colour="red")


def test_a_wrong_option_is_named_as_the_option() -> None:
    assert _problems({}, log_level="loud")[0].startswith("--log-level: wanted debug")


SECRET = st.text("abcdefghijklmnopqrstuvwxyz0123456789%-._~").map(lambda text: f"Zq7~{text}")


@given(SECRET)
def test_no_representation_shows_a_password(secret: str) -> None:
    settings = Settings(
        nats_url=f"nats://user:{secret}@one:4222,nats://{secret}@two:4222",
        postgres_dsn=f"postgresql://worldbus:{secret}@database:5432/db",
        reader_dsn=f"postgresql://database/db?user=r&password={secret}",
    )

    assert secret not in repr(settings)
    assert secret not in str(settings)
    assert "database:5432" in repr(settings)


@given(SECRET)
def test_no_problem_shows_a_password(secret: str) -> None:
    problems = _problems({"WORLDBUS_POSTGRES_DSN": f"mysql://u:{secret}@host/db", "WORLDBUS_NATS_URL": f"http://u:{secret}@host"})

    assert secret not in " ".join(problems)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().world = "other"  # type: ignore[misc]


def test_labels_of_a_machine_are_read_as_words_or_as_kubernetes_writes_them(tmp_path: Path) -> None:
    file = tmp_path / "labels"
    file.write_text('gpu="a10g"\nzone="b"\n')

    for raw in ("gpu=a10g,zone=b", str(file)):
        assert Settings.read({"WORLDBUS_NODE_LABELS": raw}).node_labels == {"gpu": "a10g", "zone": "b"}
    assert _problems({"WORLDBUS_NODE_LABELS": "gpu=a10g,zone"}) == (
        "WORLDBUS_NODE_LABELS: wanted labels like gpu=a10g,zone=b, found 'zone'",
    )
    assert "file of such lines" in _problems({"WORLDBUS_NODE_LABELS": str(tmp_path / "none")})[0]
