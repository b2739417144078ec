"""The file that names engines: every key reaches what it is for, and a pool starts only on the machines it belongs on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bus.errors import BadSettings
from inference.engines.grammar import GrammarEngine
from inference.engines.timed import TimedEngine
from inference.engines.vllm import VllmEngine
from inference.grammar import Grammar
from inference.pools import load, pool_of

GRAMMAR = '[rules]\norigin = ["The bell."]\n'


def test_every_setting_of_the_timed_engine_reaches_it(tmp_path: Path) -> None:
    (tmp_path / "bell.toml").write_text(GRAMMAR)
    table = {"engine": "timed", "first": 0.5, "per_token": 0.25, "slots": 3, "model": "m", "default": "bell", "grammars": str(tmp_path)}

    settings, engine = pool_of("gold", {**table, "pool": "p", "prompt_nano_usd": 2})

    assert isinstance(engine, TimedEngine)
    assert (engine.pace.first, engine.pace.per_token, engine.slots, engine.model, engine.default) == (0.5, 0.25, 3, "m", "bell")
    assert set(engine.grammars) == {"bell"}
    assert (settings.pool_name, settings.prompt_nano_usd) == ("p", 2)


def test_a_folder_of_grammars_reaches_the_grammar_engine(tmp_path: Path) -> None:
    (tmp_path / "bell.toml").write_text(GRAMMAR)
    _, engine = pool_of("bronze", {"engine": "grammar", "grammars": str(tmp_path), "default": "bell", "slots": 2})

    assert isinstance(engine, GrammarEngine)
    assert (engine.default, engine.slots, set(engine.grammars)) == ("bell", 2, {"bell"})


@pytest.mark.parametrize("name", ["grammar", "timed"])
def test_an_engine_of_grammars_speaks_by_those_of_the_world_if_the_file_names_no_others(name: str) -> None:
    bell = {"bell": Grammar.of("bell", {"origin": ["The bell."]})}
    _, engine = pool_of("bronze", {"engine": name}, grammars=bell)

    assert isinstance(engine, (GrammarEngine, TimedEngine))
    assert engine.grammars == bell
    _, silent = pool_of("bronze", {"engine": name})
    assert silent is not None
    assert silent.abilities.grammars == frozenset(), "no game's lines are spoken in another"


def test_devices_are_pinned_under_either_name() -> None:
    for key in ("devices", "cuda_visible_devices"):
        _, engine = pool_of("gold", {"engine": "vllm", "model": "m", key: "1"})
        assert isinstance(engine, VllmEngine)
        assert engine.settings.devices == "1"


def test_a_pool_starts_only_where_it_belongs() -> None:
    table = {"engine": "timed", "node_label": "gpu=a10g"}

    assert pool_of("gold", table, labels={"gpu": "a10g", "zone": "b"})[1] is not None
    for labels, found in (({}, "none"), ({"gpu": "h200"}, "gpu=h200"), ({"gpu": ""}, "gpu=")):
        with pytest.raises(BadSettings, match=f"wanted a machine labelled gpu=a10g, found the labels {found}.*WORLDBUS_NODE_LABELS"):
            pool_of("gold", table, labels=labels)


@pytest.mark.parametrize(
    ("table", "word"),
    [
        ({"engine": "abacus"}, "wanted an engine of"),
        ({"slots": 3}, "found slots but no engine"),
        ({"engine": "timed", "colour": 1}, "colour"),
        ({"engine": "timed", "cuda_visible_devices": "0"}, "for engine vllm alone"),
        ({"engine": "vllm", "model": "m", "devices": "0", "cuda_visible_devices": "1"}, "mean the same"),
        ({"engine": "timed", "node_label": "a10g"}, "node_label must be like"),
        ({"engine": "timed", "grammars": "/nowhere/at/all"}, "wanted grammars"),
        ({"engine": "timed", "per_token": 0}, "a step above 0"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_next_step(table: dict[str, Any], word: str) -> None:
    with pytest.raises(BadSettings, match=word):
        pool_of("gold", table)


def test_a_file_with_another_table_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tiers.toml"
    file.write_text("[platinum]\nengine = 'timed'\n")
    with pytest.raises(BadSettings, match="wanted tables named gold, silver, bronze, found platinum"):
        load(file)
    assert load(None) == {}
