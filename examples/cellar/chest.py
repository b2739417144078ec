"""A chest, emptied once: events in, events out."""

from gen.cellar.chest.v1.chest_pb2 import ChestFoundEmpty, ChestOpened, ChestOpenRequested

from worldbus import Handler


def decide(event, finder):  # pure: an event and a state in, events out
    if finder:
        return [ChestFoundEmpty(player=event.data.player, finder=finder)]
    return [ChestOpened(player=event.data.player)]


def evolve(finder, event):  # the state is the fold of the handler's own events
    return event.data.player if isinstance(event.data, ChestOpened) else finder


chest = Handler(
    name="chest", listens_to=(ChestOpenRequested,), emits=(ChestOpened, ChestFoundEmpty),
    initial=lambda entity: "", decide=decide, evolve=evolve,
)  # fmt: skip
