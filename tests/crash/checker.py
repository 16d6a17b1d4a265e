"""Holds what clients were told against what a queue promises.

Each operation happened at some instant between its request and its reply, or did not happen at all when it is in doubt. A fault is
what no choice of these instants explains.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import combinations, pairwise
from math import inf

from crash.history import DOUBT, History, Op, Sight

TELLS_MOST = 12
"""Faults that are told in full."""
STORY_MOST = 40
"""Lines of one message's story."""

Key = tuple[int, float]
"""What a queue orders by: the priority, highest first, and the id."""
LAST: Key = (99, inf)


@dataclass(frozen=True)
class Rules:
    """What is asked of a storage. Times are in seconds."""

    ordered: bool = True
    """Whether takes that run side by side keep the order strictly, and find all that is ready."""
    early: float = 0.02
    """How much sooner than promised something may seem to come: two clocks, read in milliseconds."""
    late: float = 0.25
    """How much later than promised a delay, a lease or a time to live may be over."""


@dataclass(frozen=True)
class Fault:
    """A promise that was broken."""

    kind: str
    name: str
    text: str
    story: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}: {self.text}\n{self.story}"


@dataclass(eq=False)
class Tale:
    """All that is known of one message."""

    name: str
    attempts: list[tuple[Op, int]] = field(default_factory=list)
    """Publishes, each with the message's place in it."""
    sights: list[tuple[Op, Sight]] = field(default_factory=list)
    acknowledged: list[Op] = field(default_factory=list)
    doubted: float = -inf
    """Until when an acknowledgement that is in doubt may have happened."""

    @property
    def queue(self) -> str:
        return self.attempts[0][0].queue

    @property
    def answered(self) -> list[tuple[Op, int]]:
        return [(op, place) for op, place in self.attempts if op.done]

    @property
    def id(self) -> int:
        """Its first id, as far as that is known: 0 if not."""
        for op, place in self.answered:
            return op.ids[place]
        return next((sight.id for _, sight in self.sights if sight.queue == self.queue and sight.id and sight.dead is None), 0)

    @property
    def key(self) -> Key:
        return (-self.attempts[0][0].priority, self.id)

    @property
    def deliveries(self) -> list[tuple[Op, Sight]]:
        return [(op, sight) for op, sight in self.sights if op.kind == "S"]

    @property
    def proven(self) -> bool:
        """Whether the broker had it: it said so, or it, or one of the same batch, came out."""
        return bool(self.answered) or bool(self.sights)


@dataclass
class Lease:
    """A delivery under a lease, and what was asked with its receipt."""

    tale: Tale
    op: Op
    sight: Sight
    settles: list[Op] = field(default_factory=list)


@dataclass
class Report:
    """What was checked, in figures, and what was wrong."""

    faults: list[Fault]
    figures: dict[str, int]

    def __str__(self) -> str:
        return ", ".join(f"{count} {what}" for what, count in self.figures.items())

    def told(self) -> str:
        kinds = Counter(fault.kind for fault in self.faults)
        head = f"{len(self.faults)} faults ({', '.join(f'{count} {kind}' for kind, count in kinds.items())}) among {self}"
        shown: list[Fault] = []
        for kind in kinds:  # some of each kind
            shown += [fault for fault in self.faults if fault.kind == kind][: max(1, TELLS_MOST // len(kinds))]
        return "\n".join([head, *map(str, shown)])


def check(history: History, rules: Rules | None = None) -> Report:
    """Find every fault of a history that ends with all queues drained."""
    return _Checker(history, rules or Rules()).run()


class _Checker:
    def __init__(self, history: History, rules: Rules) -> None:
        self.history = history
        self.rules = rules
        self.tales: dict[str, Tale] = {}
        self.leases: dict[str, Lease] = {}
        self.faults: list[Fault] = []
        self.figures: Counter[str] = Counter()
        self.heads: dict[tuple[int, str], Key] = {}  # of takes: the first message that surely was in a queue and was left
        self.reach: dict[str, set[str]] = {}
        self.clears: dict[str, list[Op]] = defaultdict(list)
        self.end = max((op.sent for op in history.ops), default=0.0)

    def run(self) -> Report:
        self.gather()
        for tale in self.tales.values():
            self.check_publishes(tale)
            self.check_identity(tale)
            self.check_places(tale)
            self.check_hidden(tale)
            self.check_times(tale)
            self.check_deliveries(tale)
            self.check_clears(tale)
        for lease in self.leases.values():
            self.check_receipt(lease)
        self.check_ids()
        self.check_order()
        self.check_lost()
        self.check_policies()
        self.check_counts()
        kinds = ("published", "delivered", "acknowledged", "in doubt", "refused", "not kept", "explained by doubt")
        return Report(
            self.faults, {"requests": len(self.history.ops), "kills": len(self.history.ends)} | {kind: self.figures[kind] for kind in kinds}
        )

    def fault(self, kind: str, tale: Tale | None, text: str, *ops: Op) -> None:
        start = self.history.start
        if tale is None:
            self.faults.append(Fault(kind, "-", text, "\n".join(f"    {op.told(start)}" for op in ops)))
        else:
            self.faults.append(Fault(kind, tale.name, text, self.story(tale)))

    def story(self, tale: Tale) -> str:
        """Every operation that had to do with a message, and the kills between."""
        start = self.history.start
        lines = [(op.sent, f"{op.told(start)}{f' id={op.ids[place]}' if op.done else ''}") for op, place in tale.attempts]
        for op, sight in tale.sights:
            seen = f"{sight.queue}#{sight.id} deliveries={sight.deliveries} receipt={sight.receipt} dead={sight.dead}"
            lines.append((op.sent, f"{op.told(start)}: {seen}"))
            settles = self.leases[sight.receipt].settles if sight.receipt in self.leases else []
            lines += [(settle.sent, settle.told(start) + (" STALE" if sight.receipt in settle.stale else "")) for settle in settles]
        first = min((at for at, _ in lines), default=0.0)
        last = max((op.ended for op, _ in [*tale.attempts, *tale.sights] if op.ended != inf), default=first)
        queues = {tale.queue} | {sight.queue for _, sight in tale.sights}
        clears = [op for queue in queues for op in self.clears[queue] if op.ended >= first and op.sent <= last]
        lines += [(op.sent, f"{op.told(start)}: {op.counted}") for op in clears]
        lines += [(at, f"{at - start:9.3f} end of life {number}") for number, at in enumerate(self.history.ends) if first <= at <= last + 1]
        told = [line for _, line in sorted(lines)]
        if len(told) > STORY_MOST:
            told = [*told[: STORY_MOST // 2], f"... {len(told) - STORY_MOST} more ...", *told[-STORY_MOST // 2 :]]
        return "\n".join(f"    {line}" for line in told)

    # What is known

    def gather(self) -> None:
        moves: set[tuple[str, str]] = {(queue, to) for queue, (to, _) in self.history.dead_letters.items()}
        for op in self.history.ops:
            self.figures["in doubt"] += op.outcome == DOUBT
            for place, name in enumerate(op.names):
                self.tales.setdefault(name, Tale(name)).attempts.append((op, place))
            if op.kind in "CD" and op.possible:
                self.clears[op.queue].append(op)
            elif op.kind == "M" and op.possible:
                moves |= self.ways(op)
        self.reach = closure(moves)
        for op in self.history.ops:
            for sight in op.got:
                self.gather_sight(op, sight)
        for op in self.history.ops:
            for receipt in op.receipts if op.possible else ():
                self.gather_settle(op, receipt)

    def ways(self, move: Op) -> set[tuple[str, str]]:
        """From where to where a move brings messages."""
        if move.to is not None:
            return {(move.queue, move.to)}
        return {(move.queue, origin) for origin, (to, _) in self.history.dead_letters.items() if to == move.queue}

    def gather_sight(self, op: Op, sight: Sight) -> None:
        tale = None if sight.name is None else self.tales.get(sight.name)
        if tale is None:
            self.fault("invented", None, f"{sight.queue}#{sight.id} is a message that nobody sent: {sight.name or sight.found!r}", op)
            return
        tale.sights.append((op, sight))
        self.figures["delivered"] += op.kind == "S"
        if sight.receipt is not None:
            if sight.receipt in self.leases:
                self.fault("receipt", tale, f"the receipt {sight.receipt} was given twice")
            self.leases[sight.receipt] = Lease(tale, op, sight)

    def gather_settle(self, op: Op, receipt: str) -> None:
        lease = self.leases.get(receipt)
        if lease is None:
            return
        lease.settles.append(op)
        if op.kind == "A" and receipt not in op.stale:
            if op.done:
                lease.tale.acknowledged.append(op)
                self.figures["acknowledged"] += 1
            else:
                lease.tale.doubted = max(lease.tale.doubted, op.ended)

    # One message

    def check_publishes(self, tale: Tale) -> None:
        if not any(op.possible for op, _ in tale.attempts):
            self.figures["refused"] += 1
            if tale.sights:
                self.fault("invented", tale, "its publish was refused, and it came out")
        self.figures["published"] += bool(tale.answered)
        if len({op.ids[place] for op, place in tale.answered}) > 1:
            self.fault("key", tale, "repeats of its key answered different ids")

    def check_identity(self, tale: Tale) -> None:
        """What comes out is what went in."""
        if not tale.attempts:
            return
        first = tale.attempts[0][0]
        last = max(op.ended for op, _ in tale.attempts)
        margin = 0.1
        for _, sight in tale.sights:
            if sight.headers is not None and sight.headers != first.headers:
                self.fault("changed", tale, f"it has the headers {sight.headers}, not {first.headers}")
            if sight.priority is not None and sight.priority != first.priority:
                self.fault("changed", tale, f"it has priority {sight.priority}, not {first.priority}")
            if sight.published is not None:
                at = sight.published - self.history.unix
                if not first.sent - margin <= at <= last + margin:
                    self.fault("changed", tale, f"it says that it was published at {at - self.history.start:.3f}")

    def check_places(self, tale: Tale) -> None:
        """It is in one place at a time, under one id there, and gets to others only by moves and as a dead letter."""
        home, ways = tale.queue, self.reach.get(tale.queue, set())
        known = tale.id
        seen: list[tuple[str, int]] = []
        for _, sight in sorted(tale.sights, key=lambda item: item[0].ended):
            if sight.queue != home and sight.queue not in ways:
                self.fault("invented", tale, f"it came out of {sight.queue}, where nothing could bring it")
            elif sight.queue == home and sight.id and known and sight.id != known and home not in ways:
                self.fault("twice", tale, f"it is stored under two ids: {known} and {sight.id}")
            if sight.id and (not seen or seen[-1] != (sight.queue, sight.id)):
                seen.append((sight.queue, sight.id))
        if len(set(seen)) < len(seen):
            self.fault("twice", tale, f"it was in several places at a time: {seen}")
        for _, sight in tale.sights:
            self.check_dead(tale, sight)

    def check_dead(self, tale: Tale, sight: Sight) -> None:
        if sight.dead is None:
            return
        origin = sight.dead["queue"]
        to, most = self.history.dead_letters.get(origin, ("", 0))
        expected = {"queue": origin, "reason": "max_deliveries", "deliveries": most}
        if {name: sight.dead.get(name) for name in expected} != expected or sight.queue not in {to, *self.reach.get(to, ())}:
            self.fault("dead letter", tale, f"it is in {sight.queue} and says that it comes from {sight.dead}; {origin} has {to!r}, {most}")
        ids = {seen.id for _, seen in tale.sights if seen.queue == origin and seen.id} | ({tale.id} if tale.queue == origin else set())
        if sight.dead.get("id") not in ids - {0} and origin not in self.reach.get(origin, ()) and ids - {0}:
            self.fault("dead letter", tale, f"it says that its id was {sight.dead.get('id')} in {origin}; it was {ids}")

    def returns(self, op: Op, sight: Sight) -> float:
        """The earliest instant at which a message can come out again after a delivery."""
        if op.lease is None:
            return inf
        earliest = op.sent + op.lease
        for settle in self.leases[sight.receipt].settles if sight.receipt in self.leases else ():
            if sight.receipt in settle.stale:
                continue
            if settle.kind == "A":
                if settle.done:
                    return inf
                continue
            buried = (sight.deliveries or 0) >= self.history.dead_letters.get(sight.queue, ("", inf))[1]  # a dead letter has no delay
            then = settle.sent + ((0.0 if buried else settle.delay) if settle.kind == "N" else settle.lease or 0.0)
            earliest = then if settle.done else min(earliest, then)
            if settle.kind == "N" and settle.done:
                break
        return earliest

    def check_hidden(self, tale: Tale) -> None:
        """Who has taken it has it alone: for good, or until the lease is over or given up."""
        early = self.rules.early
        deliveries = [(op, sight, self.returns(op, sight)) for op, sight in tale.deliveries]
        for (op, _, back), (op2, _, back2) in combinations(deliveries, 2):
            if op.sent <= op2.ended and op2.ended >= back - early:
                continue
            if op2.sent <= op.ended and op.ended >= back2 - early:
                continue
            kind = "twice" if (back if op.ended <= op2.ended else back2) == inf else "hidden"
            self.fault(kind, tale, "it was delivered again, after it was gone" if kind == "twice" else "it was delivered to two at a time")
            return
        for op, sight in tale.sights:
            if op.kind == "K" and any(taken.ended < op.sent and op.ended < back - early for taken, _, back in deliveries):
                self.fault("hidden", tale, f"it was seen in {sight.queue} while somebody had it, or after it was gone")
                return
        if len(tale.acknowledged) > 1:
            self.fault("twice", tale, "it was acknowledged twice")

    def check_times(self, tale: Tale) -> None:
        """Delays and times to live."""
        delay = min((op.delay for op, _ in tale.attempts), default=0.0)
        first, last = tale.attempts[0][0], max(op.ended for op, _ in tale.attempts)
        for op, sight in tale.sights:
            if delay and op.ended < first.sent + delay - self.rules.early:
                self.fault("early", tale, f"it came out {first.sent + delay - op.ended:.3f} s before its delay of {delay:g} s was over")
            immortal = tale.queue in self.history.dead_letters and (sight.queue, sight.id) != (tale.queue, tale.id)  # as dead letters are
            if first.ttl is not None and not immortal and op.sent > last + first.ttl + self.rules.late:
                self.fault("late", tale, f"it came out {op.sent - last - first.ttl:.3f} s after its time to live of {first.ttl:g} s")

    def check_deliveries(self, tale: Tale) -> None:
        """They are counted, and bounded where a policy says so."""
        places: dict[tuple[str, int], list[tuple[int, Op]]] = defaultdict(list)
        for op, sight in tale.deliveries:
            if sight.deliveries is not None and op.lease is not None:
                places[sight.queue, sight.id].append((sight.deliveries, op))
        for (queue, _), deliveries in places.items():
            deliveries.sort(key=lambda item: item[0])
            for (number, op), (number2, op2) in pairwise(deliveries):
                if number == number2 or op2.ended < op.sent:
                    self.fault("count", tale, f"deliveries in {queue} are counted as {[number for number, _ in deliveries]}")
            most = self.history.dead_letters.get(queue, ("", inf))[1]
            if deliveries[-1][0] > most:
                self.fault("count", tale, f"it was delivered {deliveries[-1][0]} times in {queue}, which allows {most}")
            if deliveries[0][0] < 1:
                self.fault("count", tale, f"a delivery in {queue} counts as number {deliveries[0][0]}")

    def check_clears(self, tale: Tale) -> None:
        """What was there before a clear is gone after it."""
        for op, place in tale.answered[:1]:
            for clear in self.clears[op.queue]:
                for seen, sight in tale.sights:
                    same = sight.queue == op.queue and sight.id in {0, op.ids[place]}
                    if clear.done and op.ended < clear.sent and clear.ended < seen.sent and same:
                        self.fault("cleared", tale, f"it came out after {clear.queue} was cleared")
                        return

    # One receipt

    def check_receipt(self, lease: Lease) -> None:
        """It is good until the lease is over, and not after."""
        op, receipt = lease.op, lease.sight.receipt or ""
        earliest, latest = op.sent + (op.lease or 0.0), op.ended + (op.lease or 0.0)
        gone: Op | None = None  # what surely ended the lease
        doubt = False
        cleared = min((clear.sent for clear in self.clears[lease.sight.queue]), default=inf)
        for settle in lease.settles:
            if receipt in settle.stale:
                if gone is None and not doubt and settle.ended < min(earliest - self.rules.early, cleared):
                    self.fault(
                        "receipt",
                        lease.tale,
                        f"the receipt {receipt} was refused {earliest - settle.ended:.3f} s before the end of its lease",
                    )
                continue
            if settle.done and gone is not None:
                self.fault("receipt", lease.tale, f"the receipt {receipt} was good after it was settled")
            elif settle.done and settle.sent > latest + self.rules.late:
                self.fault("receipt", lease.tale, f"the receipt {receipt} was good {settle.sent - latest:.3f} s after the end of its lease")
            if settle.kind == "E":
                length = settle.lease or 0.0
                earliest = settle.sent + length if settle.done else min(earliest, settle.sent + length)
                latest = settle.ended + length if settle.done else max(latest, settle.ended + length)
            elif settle.done:
                gone = settle
            else:
                doubt = True

    # Ids

    def check_ids(self) -> None:
        """Within a queue they grow, and each means one message for ever."""
        owners: dict[tuple[str, int], Tale] = {}
        known: dict[str, list[tuple[float, int]]] = defaultdict(list)
        for tale in self.tales.values():
            places = [(op.queue, op.ids[place], op.ended) for op, place in tale.answered]
            places += [(sight.queue, sight.id, op.ended) for op, sight in tale.sights if sight.id]
            for queue, number, by in places:
                known[queue].append((by, number))
                other = owners.setdefault((queue, number), tale)
                if other is not tale:
                    self.fault("id", tale, f"{queue}#{number} is the id of {other.name} too:\n{self.story(other)}")
        publishes: dict[str, list[tuple[Op, list[int]]]] = defaultdict(list)
        for op in self.history.ops:
            if op.kind == "P" and op.possible and all(self.tales[name].attempts[0][0] is op for name in op.names):
                tales = [self.tales[name] for name in op.names]
                ids = list(op.ids) if op.done else [tale.id for tale in tales if len(tale.attempts) == 1]  # else another attempt's
                publishes[op.queue].append((op, [number for number in ids if number]))
        for queue, ops in publishes.items():
            self.check_growth(queue, ops, sorted(known[queue]))
            self.check_publishers(queue, ops)

    def check_growth(self, queue: str, ops: list[tuple[Op, list[int]]], known: list[tuple[float, int]]) -> None:
        highest = place = 0
        for op, ids in ops:
            while place < len(known) and known[place][0] < op.sent:
                highest = max(highest, known[place][1])
                place += 1
            if ids and ids[0] <= highest:
                self.fault("id", self.tales[op.names[0]], f"its id {ids[0]} is not above {highest}, which {queue} had given before")

    def check_publishers(self, queue: str, ops: list[tuple[Op, list[int]]]) -> None:
        """Messages of one connection are in the order in which it sent them."""
        last: dict[str, int] = {}
        for op, ids in ops:
            for number in ids:
                if number <= last.get(op.connection, 0):
                    self.fault(
                        "order",
                        self.tales[op.names[0]],
                        f"its id {number} in {queue} is not above that of what {op.connection} sent before",
                    )
                    break
                last[op.connection] = number

    # Order

    def check_order(self) -> None:
        """The first message comes first."""
        takes: dict[str, list[Op]] = defaultdict(list)
        hazards: dict[str, float] = {}  # since when messages may have been hidden by a take that is in doubt
        for op in self.history.ops:
            if op.kind == "S" and op.possible:
                for queue in op.queues:
                    takes[queue].append(op)
                    if op.lease is not None and not op.done:
                        hazards.setdefault(queue, op.sent)
        self.check_replies(op for op in self.history.ops if op.kind == "S")
        if self.rules.ordered:
            waiting: dict[str, list[tuple[float, float, Key, Tale]]] = defaultdict(list)
            for tale in self.tales.values():
                if (span := self.surely_ready(tale, hazards)) is not None:
                    waiting[tale.queue].append((*span, tale.key, tale))
            for queue, ops in takes.items():
                self.check_heads(queue, ops, sorted(waiting[queue], key=lambda item: item[0]))

    def check_replies(self, takes: Iterable[Op]) -> None:
        """Messages of one reply, and of one who takes alone, are in order."""
        drained: dict[str, Key] = {}
        for op in takes:
            keys = [(-sight.priority, sight.id) for sight in op.got if sight.priority is not None]
            if any(key > key2 for key, key2 in pairwise(keys)):
                self.fault("order", None, f"one reply has messages in the order (priority, id) {[(-key[0], key[1]) for key in keys]}", op)
            if op.quiet and keys:
                if keys[0] < drained.get(op.queue, (-99, 0)):
                    self.fault(
                        "order", self.tales.get(op.got[0].name or ""), f"it came after {drained[op.queue]}, with nobody else about", op
                    )
                drained[op.queue] = keys[-1]

    def surely_ready(self, tale: Tale, hazards: dict[str, float]) -> tuple[float, float] | None:
        """Since when and until when it was ready beyond any doubt, before its first delivery."""
        if len(tale.attempts) != 1 or not tale.answered or not tale.deliveries:
            return None
        publish = tale.attempts[0][0]
        op, sight = min(tale.deliveries, key=lambda item: item[0].ended)
        if sight.queue != publish.queue or sight.id not in {0, tale.id} or sight.dead is not None:
            return None
        if sight.deliveries is None:
            if hazards.get(tale.queue, inf) < op.ended:
                return None
        elif sight.deliveries != (op.lease is not None):
            return None
        since = publish.ended + (publish.delay + self.rules.late if publish.delay else 0.0)
        until = op.sent if publish.ttl is None else min(op.sent, publish.sent + publish.ttl - self.rules.early)
        return (since, until) if since < until else None

    def check_heads(self, queue: str, takes: list[Op], waiting: list[tuple[float, float, Key, Tale]]) -> None:
        """No take passes over a message that was ready all the time."""
        heap: list[tuple[Key, int, float, Tale]] = []
        place = 0
        for op in takes:
            while place < len(waiting) and waiting[place][0] < op.sent:
                _, until, key, tale = waiting[place]
                heappush(heap, (key, place, until, tale))
                place += 1
            head = self.head(heap, op)
            if head is None:
                continue
            key, tale = head
            if not op.done:
                self.heads[op.number, queue] = key
            elif key < self.reached(queue, op):
                got = ", ".join(f"{sight.name} ({sight.queue}#{sight.id})" for sight in op.got[-3:]) or "nothing"
                self.fault("passed over", tale, f"it was ready, and this take got {got}:\n    {op.told(self.history.start)}")

    def head(self, heap: list[tuple[Key, int, float, Tale]], op: Op) -> tuple[Key, Tale] | None:
        """The first message that was ready from before a take until after it."""
        aside = []
        found = None
        while heap:
            item = heappop(heap)
            if item[2] <= op.sent:
                continue  # and it is so for every later take
            aside.append(item)
            if item[2] > op.ended:
                found = item
                break
        for item in aside:
            heappush(heap, item)
        return None if found is None else (found[0], found[3])

    def reached(self, queue: str, op: Op) -> Key:
        """How far into a queue a take got: beyond its end when it took less than it might."""
        if op.got and op.queues.index(op.got[0].queue) < op.queues.index(queue):
            return (-99, 0)
        if len(op.got) < op.count or op.got[0].queue != queue:
            return LAST
        last = op.got[-1]
        tale = self.tales.get(last.name or "")
        if last.priority is None:  # a bare take tells neither priority nor id
            moved = tale is None or tale.queue != queue or not tale.answered or queue in self.reach.get(queue, ())
            return (-99, 0) if moved or tale is None else tale.key
        return (-last.priority, last.id)

    # What is missing

    def check_lost(self) -> None:
        """Each message that the broker had came out, or somebody else may have had it removed."""
        proven = {
            id(op) for tale in self.tales.values() if tale.proven for op, _ in tale.attempts if op.possible and len(tale.attempts) == 1
        }
        missing: list[Tale] = []
        for tale in self.tales.values():
            possible = [op for op, _ in tale.attempts if op.possible]
            if not possible:
                continue
            if not tale.proven and not any(id(op) in proven for op in possible):
                self.figures["not kept"] += 1
                continue
            gone = tale.acknowledged or any(op.lease is None for op, _ in tale.deliveries)
            gone = gone or tale.doubted > max((op.sent for op, _ in tale.sights), default=0.0)
            expired = possible[0].ttl is not None and possible[0].sent + possible[0].ttl < self.end
            if not gone and not expired:
                missing.append(tale)
        removers = [op for op in self.history.ops if self.removes(op)]
        for tale in unmatched(missing, {tale.name: [op for op in removers if self.may_have_removed(op, tale)] for tale in missing}):
            where = (
                "it" if tale.answered else "it (of a publish that is in doubt, but whose other messages came out, or that was seen itself)"
            )
            self.fault("lost", tale, f"{where} never came out, and no request that is in doubt, and no clear, explains that")
        self.figures["explained by doubt"] = len(missing) - sum(fault.kind == "lost" for fault in self.faults)

    def removes(self, op: Op) -> bool:
        return (op.kind in "CD" and op.possible) or (op.kind == "S" and op.lease is None and op.outcome == DOUBT)

    def may_have_removed(self, op: Op, tale: Tale) -> bool:
        publish = min(tale.attempts, key=lambda item: item[0].sent)[0]
        ready = publish.sent + (min(attempt.delay for attempt, _ in tale.attempts) - self.rules.early if op.kind == "S" else 0.0)
        evidence = max((seen.sent for seen, _ in tale.sights), default=0.0)
        if op.ended < max(ready, evidence) or not {tale.queue, *self.reach.get(tale.queue, ())} & set(op.queues):
            return False
        if op.kind == "S" and any(op.ended < self.returns(taken, sight) - self.rules.early for taken, sight in tale.deliveries):
            return False
        return (
            op.kind != "S"
            or not tale.id
            or tale.queue in self.reach.get(tale.queue, ())
            or tale.key < self.heads.get((op.number, tale.queue), LAST)
        )

    # Policies and counts

    def check_policies(self) -> None:
        """A policy that was set stays, until another one is."""
        set_by: dict[str, list[Op]] = defaultdict(list)
        for op in self.history.ops:
            if op.kind == "Y" and op.possible:
                set_by[op.queue].append(op)
        for op in self.history.ops:
            if op.kind != "I" or not op.done or op.queue not in set_by:
                continue
            least = max((one.version for one in set_by[op.queue] if one.done and one.ended < op.sent), default=0)
            most = max((one.version for one in set_by[op.queue] if one.sent < op.ended), default=0)
            if not least <= op.version <= most:
                self.fault("policy", None, f"{op.queue} has version {op.version} of its policy; it was set to {least} to {most}", op)

    def check_counts(self) -> None:
        """What a quiet broker says that it holds is what comes out of it."""
        held: Op | None = None
        drained: Counter[str] = Counter()
        for op in [op for op in self.history.ops if op.quiet]:
            if op.kind == "S":
                drained[op.queue] += len(op.got)
            elif op.kind == "Q" and held is None:
                held = op
            elif op.kind == "Q" and held is not None:
                self.compare_counts(held, drained, op)
                held, drained = op, Counter()

    def compare_counts(self, held: Op, drained: Counter[str], after: Op) -> None:
        for queue in sorted({*held.counts, *drained}):
            ready, delayed, leased = held.counts.get(queue, (0, 0, 0))
            if (ready, delayed, leased) != (drained[queue], 0, 0):
                text = f"{queue} said it held {ready} ready, {delayed} delayed, {leased} leased messages, and {drained[queue]} came out"
                self.fault("count", None, text, held)
        for queue, counts in after.counts.items():
            if any(counts):
                self.fault("count", None, f"{queue} was drained, and then said that it held {counts} (ready, delayed, leased)", after)


def closure(edges: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Where one can get from each node."""
    reach: dict[str, set[str]] = defaultdict(set)
    for one, other in edges:
        reach[one].add(other)
    changed = True
    while changed:
        changed = False
        for node in list(reach):
            more = {further for target in reach[node] for further in reach.get(target, ())} - reach[node]
            reach[node] |= more
            changed = changed or bool(more)
    return dict(reach)


def unmatched(tales: list[Tale], removers: dict[str, list[Op]]) -> Iterator[Tale]:
    """The messages for which there is no remover left when each removes no more than it may."""
    removed: dict[int, list[Tale]] = defaultdict(list)

    def place(tale: Tale, tried: set[int]) -> bool:
        for op in removers[tale.name]:
            if op.number in tried:
                continue
            tried.add(op.number)
            taken = removed[op.number]
            if len(taken) < capacity(op):
                taken.append(tale)
                return True
            for index, other in enumerate(taken):
                if place(other, tried):
                    taken[index] = tale
                    return True
        return False

    for tale in tales:
        if not place(tale, set()):
            yield tale


def capacity(op: Op) -> float:
    """How many messages an operation may have removed."""
    if op.kind in "CD":
        return op.counted if op.done else inf
    return op.count
