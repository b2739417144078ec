"""The edge that tells the world how much real time went by: when something is due, when somebody asks, and seldom otherwise.

    the clock's own events ──▶ Plan (when is something due?) ──▶ Term (when to speak) ──▶ RealTimePassed, under a fence
    sig.<world>.clock ◀── the present moment, four times a second: for who draws it, and a sign of life for tickers that stand by

As many tickers as like may run; one of them speaks (docs/adr/0090).
"""

from worldbus.ticker.begin import EDGE, start_clock
from worldbus.ticker.tick import REST_S, SILENT_S, SPEAKS, WAITS, tick

__all__ = ["EDGE", "REST_S", "SILENT_S", "SPEAKS", "WAITS", "start_clock", "tick"]
