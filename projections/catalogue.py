"""Every projection that worldbus runs."""

from __future__ import annotations

from projections.clock import clock
from projections.lanes import lanes
from projections.players import players
from projections.projection import Projection
from projections.state import state
from projections.weather import weather

PROJECTIONS: tuple[Projection, ...] = (clock, lanes, players, state, weather)
