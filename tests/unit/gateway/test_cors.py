"""Origins as the operator may name them."""

from __future__ import annotations

import pytest

from bus.errors import BadSettings
from worldbus.gateway.cors import Cors


@pytest.mark.parametrize(
    ("named", "origin"),
    [
        ("https://play.example.com", "https://play.example.com"),
        ("HTTPS://Play.Example.com:443", "https://play.example.com"),
        ("http://localhost:80", "http://localhost"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("https://xn--mnchen-3ya.example", "https://xn--mnchen-3ya.example"),
        ("capacitor://localhost", "capacitor://localhost"),
    ],
)
def test_origins_are_kept_as_browsers_write_them(named: str, origin: str) -> None:
    assert Cors([named]).headers(origin)["Access-Control-Allow-Origin"] == origin


NO_SITES = ("*", "null", "", "https://", "play.example.com", "https://*.example.com", "https://münchen.example")
NO_ORIGINS = (
    "https://a.example/",
    "https://a.example/path",
    "https://u@a.example",
    "https://a.example b",
    "https://a.example:0",
    "https://a.example:65536",
)


@pytest.mark.parametrize("named", [*NO_SITES, *NO_ORIGINS])
def test_what_is_no_origin_is_refused_with_the_next_step(named: str) -> None:
    with pytest.raises(BadSettings, match="--cors: wanted one origin in full"):
        Cors([named])
