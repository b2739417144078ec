"""The line between the kernel and the extras, as the tests know it: which modules need what."""

from __future__ import annotations

from collections.abc import Mapping

from worldbus.extras import BROUGHT, EXTRAS

OF_EXTRAS = sorted({module for modules in EXTRAS.values() for module in modules})
NEED: dict[str, str] = {
    "inference.engines.openai": "inference",
    "projections.knowledge.embedders.bert": "knowledge",
    "projections.knowledge.embedders.endpoint": "knowledge",
    "projections.knowledge.embedders.hashing": "knowledge",
    "projections.knowledge.embedders.minilm": "knowledge",
    "projections.knowledge.minds": "knowledge",
    "projections.knowledge.recall": "knowledge",
    "worldbus.demo": "knowledge",
    "worldbus.edges.lore": "knowledge",
    "worldbus.edges.payments": "gateway",
    "worldbus.edges.recall": "knowledge",
    "worldbus.edges.release_feed": "gateway",
    "worldbus.evaluation": "knowledge",
    "worldbus.gateway": "gateway",
    "worldbus.knowledge": "knowledge",
    "worldbus.lore_check": "knowledge",
    "worldbus.pytest_plugin": "testing",
    "worldbus.testing.drawing": "testing",
    "worldbus.testing.handler_laws": "testing",
    "worldbus.testing.projection_laws": "testing",
    "worlds.duskmarket.bots.concurrent": "knowledge",
}
"""Modules that no kernel can import, and those below them, each with an extra without which that is so."""
IMPORT_ALL = """
import importlib, json, pkgutil, sys
failed = {}
for package in json.loads(sys.argv[1]):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + ".", onerror=lambda name: None):
        if "worldbus.template" in module.name or module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            failed[module.name] = error.name
print(json.dumps(failed))
"""


def assert_known(failed: Mapping[str, str]) -> None:
    """Hold what `IMPORT_ALL` printed where no extra is installed to `NEED`: no module more and none less, and none for another reason."""
    assert {name: lacks for name, lacks in failed.items() if not any(f"{name}.".startswith(f"{one}.") for one in NEED)} == {}
    assert {one for one in NEED if not any(f"{name}.".startswith(f"{one}.") for name in failed)} == set(), "a line too many"
    assert {name: lacks for name, lacks in failed.items() if lacks.partition(".")[0] not in {*OF_EXTRAS, *BROUGHT}} == {}
