"""The file of tokens: what it grants, and every fault of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.errors import BadSettings
from worldbus.gateway.grants import PREFIX, Grant, Tokens, digest, mint, read
from worldbus.gateway.problem import Problem

HASH = digest("x")
VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists, max_leaves=5)
TABLES = st.dictionaries(
    st.sampled_from(["sha256", "worlds", "says", "hears", "burst", "audience"]),
    st.just(HASH) | st.lists(st.text(max_size=3)) | st.floats() | st.booleans(),
)


def test_a_token_is_found_by_its_hash_alone(tmp_path: Path) -> None:
    token, hashed = mint()
    path = tmp_path / "tokens.toml"
    path.write_text(f'[unreal]\nsha256 = "{hashed}"\nworlds = ["main"]\n')
    tokens = Tokens(path, frozenset())

    assert token.startswith(PREFIX)
    assert token not in path.read_text()
    assert tokens.find(f"Bearer {token}") == tokens.find(f"bearer  {token}") == Grant(name="unreal", sha256=hashed, worlds=("main",))


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Bearer x", f"Bearer {HASH}", "Basic x", "Bearer \udcff"])
def test_anything_else_is_nobody(tmp_path: Path, header: str | None) -> None:
    _, hashed = mint()
    path = tmp_path / "tokens.toml"
    path.write_text(f'[unreal]\nsha256 = "{hashed}"\nworlds = ["main"]\n')
    with pytest.raises(Problem) as problem:
        Tokens(path, frozenset()).find(header)
    assert problem.value.status == 401


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "sha256 must be"),
        ({"sha256": "x"}, "sha256 must be"),
        ({"sha256": HASH.upper(), "worlds": ["a"]}, "sha256 must be"),
        ({"sha256": HASH}, "worlds is missing"),
        ({"sha256": HASH, "worlds": "a"}, "worlds must be a list"),
        ({"sha256": HASH, "worlds": ["a.b"]}, "worlds must be a list"),
        ({"sha256": HASH, "worlds": ["a"], "says": ["weather"]}, "only worldbus itself"),
        ({"sha256": HASH, "worlds": ["a"], "says": ["payments-provider"]}, "only worldbus itself"),
        ({"sha256": HASH, "worlds": ["a"], "says": ["*"]}, "only worldbus itself"),
        ({"sha256": HASH, "worlds": ["a"], "burst": 0}, "burst must be a number"),
        ({"sha256": HASH, "worlds": ["a"], "burst": True}, "burst must be a number"),
        ({"sha256": HASH, "worlds": ["a"], "max_body": 1.5}, "max_body must be a number"),
        ({"sha256": HASH, "worlds": ["a"], "hears": 1}, "hears must be"),
        ({"sha256": HASH, "worlds": ["a"], "token": "x"}, "no such key 'token'"),
    ],
)
def test_a_fault_is_named(table: dict[str, object], words: str) -> None:
    with pytest.raises(BadSettings, match=words):
        read({"unreal": table}, frozenset({"weather"}))


def test_all_faults_are_named_at_once_and_a_token_belongs_to_one() -> None:
    with pytest.raises(BadSettings) as error:
        read({"a": {"sha256": HASH, "worlds": ["w"]}, "b": {"sha256": HASH, "worlds": ["w"]}, "c": {}}, frozenset())
    assert len(error.value.facts["problems"]) == 4  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=8), VALUES | TABLES))
def test_no_file_does_more_than_be_refused(tables: dict[str, object]) -> None:
    try:
        grants = read(tables, frozenset({"weather"}))
    except BadSettings:
        return
    assert all(grant.worlds and "weather" not in grant.says for grant in grants)
