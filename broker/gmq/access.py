"""What a user may do with which queues. Pure: nothing is read here."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, get_args

from msgspec import Struct

from gmq.message import GmqError

Right = Literal["publish", "subscribe", "inspect", "manage"]
RIGHTS: tuple[Right, ...] = get_args(Right)
REMEMBERED = 10_000
"""Queues for which the decisions about one user are remembered."""


class Rule(Struct, frozen=True):
    """Rights on the queues whose names match one of the shell-style patterns, which are case-sensitive."""

    queues: tuple[str, ...] = ("*",)
    rights: tuple[Right, ...] = RIGHTS


EVERYTHING = (Rule(),)


class Access:
    """One user's rights, shared by all connections of that user.

    It is `replace`d when the rules change and `revoke`d when the user is gone or has another secret, for connections that are open too;
    what was begun before and goes on has to `follow` that. Decisions are made once for each queue.
    """

    __slots__ = ("_decided", "_followers", "_matchers", "name", "revoked", "rules")

    def __init__(self, name: str, rules: Sequence[Rule] = EVERYTHING) -> None:
        self.name = name
        self.revoked = False
        self._followers: set[Callable[[], None]] = set()
        self._set(rules)

    def replace(self, rules: Sequence[Rule]) -> None:
        """Other rules hold from now on."""
        if self.rules != effective(rules):
            self._set(rules)
            self._tell()

    def _set(self, rules: Sequence[Rule]) -> None:
        self.rules = effective(rules)
        self._matchers = [(re.compile("|".join(map(fnmatch.translate, rule.queues))).match, frozenset(rule.rights)) for rule in self.rules]
        self._decided: dict[str, frozenset[str]] = {}

    def revoke(self) -> None:
        """Nothing is allowed any more: the user has to say again who it is."""
        self.revoked = True
        self._tell()

    def follow(self, changed: Callable[[], None]) -> None:
        """Call this whenever the user may do something else than before, until `forget`."""
        self._followers.add(changed)

    def forget(self, changed: Callable[[], None]) -> None:
        """Call this no more."""
        self._followers.discard(changed)

    def _tell(self) -> None:
        for changed in list(self._followers):
            changed()

    def rights(self, queue: str) -> frozenset[str]:
        """What the user may do with a queue."""
        rights = self._decided.get(queue)
        if rights is None:
            if len(self._decided) >= REMEMBERED:
                self._decided.clear()
            rights = frozenset[str]().union(*(rights for matches, rights in self._matchers if matches(queue)))
            self._decided[queue] = rights
        return rights

    def may(self, right: Right, queue: str) -> bool:
        """Whether the user may do this with a queue."""
        return not self.revoked and right in self.rights(queue)

    def may_somewhere(self, right: Right) -> bool:
        """Whether there may be a queue with which the user may do this."""
        return not self.revoked and any(right in rule.rights for rule in self.rules)

    def may_everywhere(self, right: Right) -> bool:
        """Whether the user may do this with every queue, by a rule for all of them."""
        return not self.revoked and any(right in rule.rights and "*" in rule.queues for rule in self.rules)

    def check(self, right: Right, queues: Iterable[str]) -> None:
        """Refuse what is not allowed.

        Raises:
            GmqError: `forbidden`, or `unauthorized` where the user is not one any more.
        """
        self.check_live()
        for queue in queues:
            if right not in self.rights(queue):
                raise GmqError(
                    "forbidden",
                    f"{self.name!r} may not {VERBS[right]} {queue!r}; a rule for that queue with the right {right} would allow it",
                )

    def check_somewhere(self, right: Right) -> None:
        """Refuse what is not allowed with any queue; raises as `check` does."""
        self.check_live()
        if not self.may_somewhere(right):
            raise GmqError("forbidden", f"{self.name!r} may not {VERBS[right]} any queue; a rule with the right {right} would allow it")

    def check_live(self) -> None:
        """Refuse a user that is not one any more; raises `unauthorized`."""
        if self.revoked:
            raise GmqError("unauthorized", f"{self.name!r} is not known any more, or has another secret; authenticate again")


VERBS: dict[str, str] = {"publish": "publish to", "subscribe": "take from", "inspect": "look at", "manage": "manage"}
"""How a refusal says what was not allowed."""


def effective(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """Rules without those for no queues: an expression of no patterns would match every name."""
    return tuple(rule for rule in rules if rule.queues)
