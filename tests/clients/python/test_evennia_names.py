"""The part of the Evennia adapter that needs no Evennia: names become tokens, words of models stay words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worldbus_client.rules import check_token
from worldbus_evennia.names import shown, slug


@given(st.text())
def test_every_name_becomes_a_token(name: str) -> None:
    assert check_token(slug(name), "name") == slug(name)


@given(st.text())
def test_what_a_model_says_is_no_format_and_no_call(words: str) -> None:
    """Evennia formats what it shows to a room with the names of who is in it, after it looked for inline functions."""
    formatted = shown(words).format_map({})

    assert formatted.replace("||", "|").replace("$$", "$") == words.replace("||", "|").replace("$$", "$")
    assert shown(words).count("$") == 2 * words.count("$")
