from cellar import game
from chest import ChestFoundEmpty, ChestOpened, ChestOpenRequested

from worldbus.testing import given


def test_a_chest_is_emptied_once():
    opened = given(game.handler("chest"), ChestOpened(player="mira"), entity="oak")
    opened.when(ChestOpenRequested(player="tam")).then(ChestFoundEmpty(player="tam", finder="mira"))
