"""One ticker's time of speaking: how much it has told, and when it is to speak next. No I/O; nanoseconds of one monotonic clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from worldbus.ticker.plan import Plan

MS: Final = 1_000_000  # nanoseconds
EVERY_NS: Final = 250 * MS
"""Between two words in the long run: what is due or asked for meanwhile goes together. A few may follow each other at once."""
BURST: Final = 4


class Term:
    """From when a ticker begins to speak until it meets another one.

    `rest_ms` is how long it may be silent, `gap_ms` how much real time the world feels at most of a longer silence.
    """

    def __init__(self, plan: Plan, *, since_ns: int, now_ns: int, rest_ms: int, gap_ms: int) -> None:
        self._plan = plan
        self._rest_ns = rest_ms * MS
        self._gap_ms = gap_ms
        self._every_ns = min(EVERY_NS, self._rest_ns)
        self._since_ns = since_ns  # what came before is told
        self._sum_ms = 0  # told in this term
        self._sums: dict[int, int] = {}  # by the position of a word, the sum told with it
        self._offset_ms: int | None = None  # the clock's own count minus ours, learned from its answers
        self._silent = 0  # words in a row that the clock has not answered yet
        self._spoke_ns = now_ns
        self._full_ns = now_ns  # when the allowance for words that follow each other at once is whole again

    def passed_ms(self, now_ns: int) -> int:
        """Real milliseconds to be told now."""
        return min(max(0, now_ns - self._since_ns) // MS, self._gap_ms)

    def said(self, position: int, real_ms: int, now_ns: int) -> None:
        """Count the time that was told with the word at `position`, measured at `now_ns`."""
        self._since_ns += max((now_ns - self._since_ns) // MS, real_ms) * MS  # what is beyond the gap is forgotten
        self._sum_ms += real_ms
        self._sums[position] = self._sum_ms
        self._silent += 1
        self._spoke_ns = now_ns
        self._full_ns = max(self._full_ns, now_ns) + self._every_ns

    def heard_ms(self, now_ns: int) -> int | None:
        """The real time that the clock would have heard if it were told now; None before it has answered."""
        self._heed()
        return None if self._offset_ms is None else self._offset_ms + self._sum_ms + max(0, now_ns - self._since_ns) // MS

    def next_ns(self) -> int:
        """The moment to speak next: not before there is a millisecond to tell."""
        self._heed()
        wished = min(self._wished_ns(), self._since_ns + self._rest_ns)
        return max(wished, self._since_ns + MS, self._full_ns - (BURST - 1) * self._every_ns)

    def _wished_ns(self) -> int:
        plan = self._plan
        if self._silent or self._offset_ms is None:  # the clock is slow to answer: less and less often
            return self._spoke_ns + (self._every_ns << min(self._silent - 1, 16) if self._silent else 0)
        if plan.asked:
            return self._spoke_ns
        if not plan.rests:
            return self._spoke_ns + self._every_ns
        if plan.due is None:
            return self._since_ns + self._rest_ns
        return self._since_ns + (plan.due - self._offset_ms - self._sum_ms) * MS

    def _heed(self) -> None:
        """Take in what the clock has answered."""
        plan = self._plan
        answered = self._sums.get(plan.answered)
        if answered is None:
            return
        self._offset_ms = plan.heard_ms - answered
        if plan.answered == max(self._sums):
            self._silent = 0
        if len(self._sums) > 1:
            self._sums = {position: told for position, told in self._sums.items() if position >= plan.answered}
