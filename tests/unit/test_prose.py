"""First lines of docstrings are verb or noun phrases, in every package that is said to be so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.prose import CLEAN, OTHERS, ROOT, findings, offenders, opener

FILE = Path("some.py")


@pytest.mark.parametrize("package", CLEAN)
def test_a_clean_package_stays_clean(package: str) -> None:
    assert [str(one) for one in offenders(package)] == []


def test_every_package_is_either_clean_or_named_as_not_yet() -> None:
    folders = (path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("."))
    packages = {folder.name for folder in folders if next(folder.rglob("*.py"), None)}

    assert packages == {name.partition("/")[0] for name in (*CLEAN, *OTHERS)}
    assert not set(CLEAN) & set(OTHERS)


@pytest.mark.parametrize(
    "text",
    [
        "What is known.",
        "Whether it is so.",
        "Who's next?",
        "It has ended.",
        "Its name.",
        "As above, later.",
        "Nothing, yet.",
        "\n    These are gone.\n",
    ],
)
def test_a_clause_is_found(text: str) -> None:
    (found,) = findings(f'def it():\n    """{text}"""\n', FILE)

    assert found.line == 2


@pytest.mark.parametrize(
    "text",
    ["The next one.", "Return whether it is so.", "True if it is so.", "Asset of a player.", "Each one.", "`what` it holds.", "12 digits."],
)
def test_a_verb_or_a_noun_phrase_is_none(text: str) -> None:
    assert list(findings(f'"""{text}"""\n', FILE)) == []


def test_modules_classes_and_functions_are_looked_at() -> None:
    source = '"""What."""\nclass A:\n    """Who."""\n    async def b(self):\n        """How."""\n        def c():\n            """Why."""\n'

    assert [one.first_line for one in findings(source, FILE)] == ["What.", "Who.", "How.", "Why."]


def test_names_that_are_assigned_to_are_looked_at() -> None:
    attributes = 'class B:\n    c: int\n    """Who."""\n    def d(self):\n        self.e = 1\n        """Why."""\n'
    source = f'A = 1\n"""How."""\n{attributes}f()\n"""What."""\n'

    assert [one.first_line for one in findings(source, FILE)] == ["How.", "Who.", "Why."]


def test_the_message_names_place_and_word() -> None:
    (found,) = findings('"""What there is."""\n', FILE)

    assert str(found) == "some.py:1: wanted a verb or a noun phrase, found 'What' first: \"What there is.\""


def test_marks_and_short_forms_do_not_hide_an_opener() -> None:
    assert [opener(text) for text in ("It's so", "“quoted”", "Nothing: yet", "")] == ["it", "“quoted”", "nothing", ""]
