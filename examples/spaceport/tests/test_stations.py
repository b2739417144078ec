"""The table of stations: what a designer gets wrong is told with its file, line and key."""

from pathlib import Path

import pytest
from worldbus import errors

from spaceport import game
from spaceport.stations import load

TABLE = Path(game.content.folder) / "stations.toml"


@pytest.mark.parametrize(
    ("old", "new", "line", "key"),
    [
        ("inspection_minutes = 40", "inspection_minutes = 0", 3, "inspection_minutes"),
        ("inspection_minutes = 40", "inspection_minute = 40", 3, "inspection_minute"),
        ("berths = 3", 'berths = "3"', 6, "stations.meridian.berths"),
        ("berths = 1", "", 8, "stations.lantern-rock.berths"),
        ("duty_minor = 350", "duty = 350", 14, "tariffs.ore.duty"),
        ("inspected = true", "inspected = 1", 18, "tariffs.seedstock.inspected"),
        ("forbidden = true", "forbidden = true\ninspected = true", 20, "tariffs.sleepers"),
    ],
)
def test_a_typo_is_told_with_its_place(tmp_path: Path, old: str, new: str, line: int, key: str) -> None:
    text = TABLE.read_text()
    assert old in text
    (tmp_path / "stations.toml").write_text(text.replace(old, new, 1))

    with pytest.raises(errors.BadSettings) as refused:
        load(tmp_path / "stations.toml")
    assert str(refused.value).startswith(f"{tmp_path / 'stations.toml'}:{line}: {key}: ")
