"""Each broken promise is told with the journal of whoever said the event, its place in the log, and the faults at that time."""

from __future__ import annotations

from bench.chaos.checks import log as checks
from bench.chaos.evidence import report
from bench.chaos.history import History, Outcome
from tests.chaos.doctored import Scribe, renumbered, told


def test_a_lost_event_is_told_with_its_journal_and_the_fault_before_it() -> None:
    scribe = Scribe()
    for number in range(1, 4):
        scribe.move("a", f"z{number}", number=number)
    lost = next(name for name, claim in scribe.claims.items() if claim.number == 2)
    scribe.claims[lost] = told(scribe.claims[lost], Outcome("maybe", code="UNKNOWN", at_s=11.0), Outcome("ok", 2, at_s=12.0))
    history = History(renumbered([event for event in scribe.events if event.id != lost]), scribe.claims)

    said = report(checks.check(history), history, [(3.0, "kill nats"), (10.5, "lose acknowledgements")])

    first = said.split("\n\n")[0].split("\n")
    assert first[0].startswith(f"L1: {lost} was acknowledged at 2")
    assert f"event {lost}, number 2 of lane a, stands at []; its writer was told:" in first[1]
    assert first[2:5] == [
        "    11.000 s maybe UNKNOWN",
        "      0.500 s before: lose acknowledgements",
        "    12.000 s ok at 2",
    ]
    assert any(line.startswith("  log 2: w.game.a.PlayerMoved") for line in first)


def test_an_answer_is_told_with_its_input() -> None:
    scribe = Scribe()
    scribe.answer(scribe.move("a", "z"))
    history = scribe.history

    (said,) = report(checks.contiguous(History([])) or [checks.Violation("H1", "walker/w/a at 2: answers 1")], history, []).split("\n\n")

    assert "  log 2: w.walker.a.PlayerLeftZone" in said
    assert "answers 1 (1 of 2), because of" in said
