"""Which queues have series of their own, and counters that never go down whatever becomes of the queues."""

from __future__ import annotations

from operator import add, sub

from gmq.message import Measure, Totals

Values = tuple[int, ...]
"""The members of a Totals, in their order."""

NONE: Values = (0,) * len(Totals.__struct_fields__)


def values_of(totals: Totals) -> Values:
    """The members, in their order."""
    return (totals.published, totals.delivered, totals.acknowledged, totals.expired, totals.dead_lettered, totals.dropped)


class Named:
    """A queue with series of its own. `before` is what earlier queues of this name had, `shown` what was shown last."""

    __slots__ = ("before", "label", "round", "shown", "totals")

    def __init__(self, name: str, totals: Totals) -> None:
        self.label = f'queue="{escaped(name)}"'
        self.totals = totals
        self.before = NONE
        self.shown = NONE
        self.round = 0


class Roster:
    """Up to `most` queues have series of their own, those that were met first; the others are shown together, as the rest.

    Prometheus takes a counter that goes down for one that began anew, and what it says then for new. So the rest goes on counting for
    queues that are gone: it shows what they did and nobody saw under their own name. A queue of the rest that gets its own series, as
    there is room again, leaves there what it did so far. And what is taken back (a delivery to a client that was gone) is not counted
    twice: the counter stands until it is reached again.

    A round is `begin`, `name` for each queue, and `end`; it may be given up before its end.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._named: dict[str, Named] = {}
        self._round = 0
        self._others: set[str] = set()  # queues of the rest
        self._others_before: set[str] = set()  # in the last round that was ended
        self._sum = NONE  # of the rest, in this round
        self._left = NONE  # what queues that got their own series left in the rest
        self._own = NONE  # what queues that are gone had shown under their own names
        self._shown = NONE  # of the rest

    def begin(self, departed: Totals) -> None:
        """`departed` is what happened in queues that are gone: to be read before the queues are, as one that goes meanwhile is in neither
        then, and comes back the next time.
        """
        self._round += 1
        self._others = set()
        self._sum = values_of(departed)

    def name(self, measure: Measure) -> Named | None:
        """The series of a queue; None where it is one of the rest."""
        totals = measure.totals
        named = self._named.get(measure.queue)
        if named is None:
            if len(self._named) >= self._most:
                self._others.add(measure.queue)
                self._sum = plus(self._sum, values_of(totals))
                return None
            if measure.queue in self._others_before:
                self._left = plus(self._left, values_of(totals))
            named = self._named[measure.queue] = Named(measure.queue, totals)
        elif named.totals is not totals:  # a new queue of an old name
            last = values_of(named.totals)
            named.before = plus(named.before, last)
            self._own = plus(self._own, last)
            named.totals = totals
        named.round = self._round
        shown = values_of(totals)
        if named.before is not NONE:
            shown = plus(shown, named.before)
        if shown != named.shown:
            named.shown = tuple(map(max, shown, named.shown))
        return named

    def end(self) -> tuple[Values, int]:
        """What the rest has, and of how many queues that are there."""
        for name in [name for name, named in self._named.items() if named.round != self._round]:
            gone = self._named.pop(name)
            self._own = tuple(map(sub, plus(self._own, gone.shown), gone.before))
        rest = tuple(map(sub, plus(self._sum, self._left), self._own))
        self._shown = tuple(map(max, rest, self._shown))
        self._others_before = self._others
        return self._shown, len(self._others)


def plus(one: Values, other: Values) -> Values:
    return tuple(map(add, one, other))


def escaped(value: str) -> str:
    """The value of a label, as both formats write it."""
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
