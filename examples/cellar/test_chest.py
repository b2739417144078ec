from chest import ChestFoundEmpty, ChestOpened, ChestOpenRequested, chest

from worldbus.testing import given


def test_a_chest_is_emptied_once():
    given(chest, ChestOpened(player="mira")).when(ChestOpenRequested(player="tam")).then(ChestFoundEmpty(player="tam", finder="mira"))
