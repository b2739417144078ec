"""Every value that Postgres has can be read: as Python's own, or as Postgres writes it. No value ends a reader's query."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import date, datetime
from typing import Any

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.errors import Rejected
from projections.query import query
from worldbus.cli.sql import as_csv, as_json_text, as_table
from worldbus.testing.servers import as_reader

EXACT = {  # what is asked: how JSON shows it
    "'10000-01-01T00:00:00Z'::timestamptz": "10000-01-01 00:00:00+00",
    "'0044-03-15 12:00:00+00 BC'::timestamptz": "0044-03-15 12:00:00+00 BC",
    "'infinity'::timestamptz": "infinity",
    "'-infinity'::timestamp": "-infinity",
    "'9999-12-31 23:59:59.999999+00'::timestamptz": "9999-12-31T23:59:59.999999+00:00",
    "'0001-01-01 00:00:00+00'::timestamptz": "0001-01-01T00:00:00+00:00",
    "'0001-01-01 00:00:00+00'::timestamptz - interval '1 microsecond'": "0001-12-31 23:59:59.999999+00 BC",
    "'1970-01-01'::timestamp": "1970-01-01T00:00:00",
    "'infinity'::date": "infinity",
    "'4713-01-01 BC'::date": "4713-01-01 BC",
    "'2026-11-30'::date": "2026-11-30",
    "'24:00'::time": "24:00:00",
    "'24:00+15:59'::timetz": "24:00:00+15:59",
    "interval '-178000000 years'": "-178000000 years",
    "interval '1 day 02:03:04.000005'": "1 day 02:03:04.000005",
    "'NaN'::numeric": "NaN",
    "'-Infinity'::numeric": "-Infinity",
    "'1e40'::numeric": "1" + 40 * "0",
    "1e-20::numeric": "0.00000000000000000001",
    "'NaN'::float8": "nan",
    "0.1::real": 0.1,
    "'12.34'::money": "$12.34",
    "b'101'": "101",
    "int4range(1, 9)": "[1,9)",
    "'{[1,3),[5,7)}'::int4multirange": "{[1,3),[5,7)}",
    "ROW(1, 'a', NULL, '24:00'::time)": "(1,a,,24:00:00)",
    "ARRAY['infinity'::timestamptz, NULL, '2026-11-30 12:00Z'::timestamptz]": ["infinity", None, "2026-11-30T12:00:00+00:00"],
    "ARRAY['4713-01-01 BC'::date, '2026-11-30'::date]": ["4713-01-01 BC", "2026-11-30"],
    "ARRAY[[1, 2], [3, 4]]": [[1, 2], [3, 4]],
    "ARRAY['24:00'::time]": "{24:00:00}",
    "ARRAY[int4range(1, 9)]": '{"[1,9)"}',
    "ARRAY[ROW(1, 'a')]": '{"(1,a)"}',
    "'r'::\"char\"": "r",
    "'pg_class'::regclass": "pg_class",
    "'192.168.0.0/16'::cidr": "192.168.0.0/16",
    "'(1,2),(3,4)'::box": "(3,4),(1,2)",
    "NULL::tsrange": None,
}


@pytest.fixture
def reader(fresh_database: str) -> str:
    return as_reader(fresh_database)


async def test_what_python_has_no_value_for_is_postgres_own_text(reader: str) -> None:
    answer = await query(reader, "SELECT " + ", ".join(f"{asked} AS c{number}" for number, asked in enumerate(EXACT)))

    shown = list(json.loads(as_json_text(answer))[0].values())
    assert dict(zip(EXACT, shown, strict=True)) == EXACT
    assert as_csv(answer).splitlines()[0].startswith("c0,")
    assert "infinity" in as_table(answer)


async def test_a_row_of_a_view_and_types_that_people_made_are_text(fresh_database: str, reader: str) -> None:
    owner = await asyncpg.connect(fresh_database)
    await owner.execute(
        "CREATE TYPE world.mood AS ENUM ('grim', 'glad'); CREATE TYPE world.pair AS (a mood, at timestamptz);"
        "CREATE DOMAIN world.score AS int CHECK (value > 0); GRANT USAGE ON TYPE world.mood, world.pair, world.score TO worldbus_reader"
        .replace("a mood", "a world.mood")
    )  # fmt: skip
    await owner.close()
    asked = "SELECT c AS whole, 'grim'::mood AS mood, ROW('glad', 'infinity')::pair AS pair, 5::score AS score FROM checkpoint AS c"

    ((whole, *others),) = (await query(reader, asked)).rows

    assert whole.startswith("(0,")
    assert others == ["grim", "(glad,infinity)", 5]


async def test_columns_keep_their_names_and_order(reader: str) -> None:
    asked = "SELECT 1 AS x, '24:00'::time AS x, 3, 'infinity'::date AS \"odd name\" UNION ALL SELECT 2, '01:00', 4, '2026-01-01'"

    answer = await query(reader, f"{asked} ORDER BY 3 DESC")

    assert answer.columns == ("x", "x", "?column?", "odd name")
    assert answer.rows == [(2, "01:00:00", 4, date(2026, 1, 1)), (1, "24:00:00", 3, "infinity")]


# -- any value of any type ---------------------------------------------------------------------------------------------------------

HOUR_US = 3_600_000_000


def _moment(micros: int) -> str:
    return f"('1970-01-01Z'::timestamptz + {micros // HOUR_US} * interval '1 hour' + {micros % HOUR_US} * interval '1 microsecond')"


def _zoned(hour: int, offset: int) -> str:
    sign = "-" if offset < 0 else "+"
    return f"'{hour}:00{sign}{abs(offset) // 60:02}:{abs(offset) % 60:02}'::timetz"


def _interval(months: int, days: int, micros: int) -> str:
    return f"make_interval(months => {months}, days => {days}) + {micros} * interval '1 microsecond'"


_INT4 = st.integers(-(2**31), 2**31 - 1)
_INT8 = st.integers(-(2**63), 2**63 - 1)
_MOMENTS = st.integers(-210_866_803_200_000_000, 9_224_318_015_999_999_999).map(_moment)  # 4714 BC to 294276
_JSON = st.recursive(st.none() | st.booleans() | _INT8, lambda inner: st.lists(inner, max_size=3), max_leaves=5)
_LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0'\\")
ODD = (
    *("'infinity'::timestamptz", "'-infinity'::date", "'infinity'::interval", "'24:00'::time", "NULL", "'NaN'::numeric"),
    *("'a & b'::tsquery", "'a b'::tsvector", "'(1,2)'::point", "'<(1,2),3>'::circle", "'08:00:2b:01:02:03'::macaddr", "'1/2'::pg_lsn"),
    *("'$.a'::jsonpath", "'1 2'::int2vector", "'{}'::int[]", "'[2:3]={1,2}'::int[]", "'<a/>'::xml", "'[1,2,3]'::vector", "B''"),
    *("'pg_proc'::regclass", "'ab'::char(5)", "txid_current_snapshot()", "ROW()", "ROW(NULL)", "'{}'::json", "'1'::xid"),
    *("(SELECT c FROM checkpoint c)", "'english'::regconfig", "'r'::\"char\""),
)
TYPES: dict[str, st.SearchStrategy[str]] = {
    "timestamptz": _MOMENTS,
    "tstzrange": _MOMENTS.map(lambda moment: f"tstzrange(NULL, {moment})"),
    "date": st.integers(-2_440_588, 2_145_042_541).map(lambda n: f"('1970-01-01'::date + {n})"),
    "time": st.integers(0, 86_399_999_999).map(lambda n: f"('00:00'::time + {n} * interval '1 microsecond')"),
    "timetz": st.builds(_zoned, st.integers(0, 24), st.integers(-959, 959)),
    "interval": st.builds(_interval, _INT4, _INT4, st.integers(-(2**53), 2**53)),
    "numeric": st.decimals(allow_nan=False, places=20).map(lambda n: f"'{n:f}'::numeric"),
    "long numeric": st.integers(0, 131_000).map(lambda n: f"1e{n}::numeric"),
    "float8": st.floats().map(lambda x: f"'{x!r}'::float8"),
    "float4": st.floats(width=32).map(lambda x: f"'{x!r}'::float4"),
    "int8": _INT8.map(lambda n: f"'{n}'::int8"),
    "money": _INT4.map(lambda n: f"({n}::numeric / 100)::money"),
    "bytea": st.binary(max_size=20).map(lambda raw: f"'\\x{raw.hex()}'::bytea"),
    "text": st.text(_LETTERS, max_size=20).map(lambda text: f"'{text}'::text"),
    "bit": st.text("01", min_size=1, max_size=70).map(lambda bits: f"b'{bits}'"),
    "inet": st.ip_addresses().map(lambda address: f"'{address}'::inet"),
    "uuid": st.uuids().map(lambda one: f"'{one}'::uuid"),
    "jsonb": _JSON.map(lambda value: f"'{json.dumps(value)}'::jsonb"),
    "odd": st.sampled_from(ODD),
}
EXPRESSIONS = st.sampled_from(sorted(TYPES)).flatmap(TYPES.__getitem__)


@pytest.fixture
async def owner(fresh_database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(fresh_database)
    yield connection
    await connection.close()


def test_any_value_of_any_type_is_read_and_printed(reader: str) -> None:
    """Alone, in an array, in an array of arrays, in a row, as a column that is mostly null."""
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(reader))

        @settings(max_examples=120)
        @given(EXPRESSIONS)
        def law(expression: str) -> None:
            runner.run(_read_and_print(connection, reader, expression))

        law()
        runner.run(connection.close())


async def _read_and_print(connection: asyncpg.Connection, reader: str, expression: str) -> None:
    forms = (expression, f"ARRAY[{expression}]", f"ARRAY[ARRAY[{expression}], ARRAY[NULL]]", f"ROW({expression}, 1)")
    for form in forms:
        try:
            wanted = await connection.fetchval(f"SELECT ({form})::text")
        except asyncpg.PostgresError:  # no value: out of range, or no array of such
            with pytest.raises(Rejected):
                await query(reader, f"SELECT {form} AS v")
            continue
        answer = await query(reader, f"SELECT {form} AS v UNION ALL SELECT NULL")

        (value,), (nothing,) = answer.rows
        assert nothing is None
        for printed in (as_table(answer), as_csv(answer), as_json_text(answer)):
            assert printed
        json.loads(as_json_text(answer))
        if isinstance(value, (datetime, date)):
            assert await connection.fetchval(f"SELECT ({form}) = '{value.isoformat()}'"), (form, value)
        elif isinstance(value, str) and not _quoted_otherwise(form):
            assert value == wanted, form


def _quoted_otherwise(form: str) -> bool:
    """char(n) as text loses its blanks, as SQL wants it; Postgres' text of JSON is JSON."""
    return "::char(" in form


async def test_what_is_no_value_is_refused_with_a_reason(reader: str) -> None:
    with pytest.raises(Rejected, match="trigger"):
        await query(reader, "SELECT NULL::trigger")


def test_values_are_no_python_objects_in_print(reader: str) -> None:
    """A range or a bit string shown as Python shows its objects tells a reader nothing."""
    answer: Any = asyncio.run(query(reader, "SELECT int4range(1, 2) AS r, b'1' AS b, '(1,2)'::point AS p"))

    assert json.loads(as_json_text(answer)) == [{"r": "[1,2)", "b": "1", "p": "(1,2)"}]
