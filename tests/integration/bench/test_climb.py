"""The capacity report's climb on a server of its own: what it counts is what was played."""

from __future__ import annotations

from bench.capacity.bus import Step, best, climb


async def test_a_climb_of_two_steps_measures_both() -> None:
    """Whether a limit breaks is up to the machine: then the climb may end with the first step, or go down to one in between."""
    steps = await climb(4.0, durability="relaxed", first=6, most=9)
    first = steps[0]

    assert first.players == 6
    assert {step.players for step in steps} <= set(range(6, 10))
    assert all(step.published > 0 and step.recorded > step.published for step in steps), "the world says nothing to its players"
    assert all(0 < step.effect_p50 <= step.effect_p99 for step in steps), "no bot was answered"
    assert all(step.tables_p99 > 0 and step.ack_p99 > 0 for step in steps)
    assert {"nats-server", "bots"} <= set(first.cpu)


def _step(players: int, effect_p99: float) -> Step:
    return Step(
        players=players,
        seconds=6.0,
        published=10.0,
        recorded=40.0,
        ack_p99=5.0,
        effect_p50=5.0,
        effect_p99=effect_p99,
        tables_p99=50.0,
        late_p99=1.0,
        behind=0,
        cpu={},
    )


def test_the_best_is_the_most_players_below_every_limit_and_what_broke_is_the_next() -> None:
    top, broke = best([_step(20, 10.0), _step(30, 20.0), _step(45, 900.0), _step(37, 300.0), _step(33, 240.0)])

    assert top is not None
    assert (top.players, broke) == (33, "37 players: publish to effect p99 300 ms, limit 250")
    assert best([_step(20, 300.0)]) == (None, "20 players: publish to effect p99 300 ms, limit 250")
    assert best([_step(20, 30.0)])[1].startswith("no limit was broken")
