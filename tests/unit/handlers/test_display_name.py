"""Names to be shown: honest ones of all scripts pass, and nothing invisible does."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.display_name import MAX_GRAPHEMES, BadName, shown
from projections.skeletons import skeleton

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
HONEST = (
    *("Mira", "O\u2019Brien", "Zo\u00eb", "Jos\u00e9-Mar\u00eda", "\u0141ukasz", "\u00de\u00f3rr", "Nguy\u1ec5n", "\u0130lkay", "<b>"),
    *(
        "\u041c\u0438\u0440\u0430",
        "\u0395\u03bb\u03ad\u03bd\u03b7",
        "\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd",
        "\u0645\u062d\u0645\u062f",
    ),
    *(
        "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627",
        "\u0905\u0928\u093f\u0932",
        "\u0915\u094d\u200d\u0937",
        "\u0e01\u0e32\u0e19\u0e15\u0e4c",
    ),
    *("\u674e\u96f7", "\u3055\u304f\u3089", "\ubc15\uc9c0\ubbfc", "\u10db\u10d0\u10e0\u10d8", "\u0531\u0576\u056b", "\U00013000"),
    *(
        "\u0f04\u0f62\u0fa1\u0f7c\u0f0b\u0f62\u0f97\u0f7a",
        "\U0001f600",
        FAMILY,
        "\u2764\ufe0f Mira",
        "\U0001f1e9\U0001f1ea",
        "x" * MAX_GRAPHEMES,
    ),
)
HOSTILE = (
    *("", " ", "\u00a0", "\u3000 ", "\u200b", "\u2060", "\ufeff", "\u00ad", "\u034f", "\u3164", "\uffa0", "\u115f", "\u2800", "\U0001d159"),
    *(
        "M\nira",
        "M\rira",
        "Mira\x1b[2J",
        "\a",
        "\x7f",
        "\x85x",
        "\0",
        "a\u2028b",
        "a\u2029b",
        "\ufffc",
        "\ufffd",
        "\ue000",
        "\u0378",
        "\ufdd0",
    ),
    *("\u202eMira", "\u202dMira", "\u2066Mira\u2069", "Mi\u200fra", "\u061cMira", "Mi\u200bra", "M\u200dira", "Mi\u200cra", "M\ufe0fira"),
    *(
        "\U0001f3f4\U000e0067\U000e007f",
        "Mira\U000e0041",
        "\U0001f600\u200d",
        "\u200d\U0001f600",
        "\u0301abc",
        "x" + "\u0300" * 9,
        "\ud800",
    ),
)


@pytest.mark.parametrize("name", HONEST, ids=ascii)
def test_honest_names_of_all_scripts_are_shown_as_they_are(name: str) -> None:
    assert shown(name) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_what_cannot_be_seen_is_refused_with_a_reason(name: str) -> None:
    with pytest.raises(BadName) as error:
        shown(name)

    assert (error.value.code, len(str(error.value)) > 20, str(error.value).isascii()) == ("BAD_NAME", True, True)


@pytest.mark.parametrize("name", ["x" * (MAX_GRAPHEMES + 1), FAMILY * 52, "x" * 100_000])
def test_names_have_a_length(name: str) -> None:
    with pytest.raises(BadName) as error:
        shown(name)

    assert error.value.code == "TOO_LONG"


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("  Mira \u00a0 Vane ", "Mira Vane"),
        ("e\u0301", "\u00e9"),
        ("\uff2d\uff49\uff52\uff41", "Mira"),
        ("\u210bello", "Hello"),
        ("\ufb01", "fi"),
        (f" {FAMILY}  \U0001f600 \u2764\ufe0f ", f"{FAMILY} \U0001f600 \u2764\ufe0f"),
    ],
)
def test_names_are_kept_in_one_form(given_name: str, name: str) -> None:
    assert shown(given_name) == name


@given(st.text(max_size=80))
def test_whatever_is_shown_stays_as_it_is_and_has_nothing_invisible(text: str) -> None:
    try:
        name = shown(text)
    except BadName:
        return
    assert shown(name) == name
    assert name == name.strip()
    assert not any(unicodedata.category(one) in ("Cc", "Cs", "Co", "Cn", "Zl", "Zp") or one in "\u202e\u2066\u200b" for one in name)


def test_names_that_look_alike_have_one_skeleton() -> None:
    mira = ("Mira", "mira", "MIRA", "\u041cira", "Mir\u0430", "M\u00edra", "Mlra", "M1ra", "rnira", "\uff2dira", "M ira")
    assert len({skeleton(name) for name in mira}) == 1
    assert len({skeleton(name) for name in ("Mira", "Tam", "Ida", "Mara", "\u674e", "\U0001f600")}) == 6
