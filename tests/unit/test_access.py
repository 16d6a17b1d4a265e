"""What a user may do with which queues."""

from __future__ import annotations

import pytest

from gmq.access import RIGHTS, Access, Rule
from gmq.message import GmqError


def test_a_user_has_the_rights_that_any_rule_gives() -> None:
    access = Access("shop", [Rule(("orders.*", "x[ab]"), ("publish",)), Rule(("orders.new",), ("subscribe",))])
    assert access.rights("orders.new") == {"publish", "subscribe"}
    assert access.rights("orders.") == {"publish"}
    assert access.rights("xb") == {"publish"}
    assert access.rights("Orders.new") == access.rights("xc") == access.rights("my-orders.new") == frozenset()


@pytest.mark.parametrize("queue", ["", "a", "a\nb", "ä/..", "*"])
def test_a_user_without_rules_of_its_own_may_do_everything(queue: str) -> None:
    assert Access("root").rights(queue) == set(RIGHTS)
    assert Access("nobody", []).rights(queue) == frozenset()


def test_a_rule_for_no_queues_gives_nothing() -> None:
    access = Access("shop", [Rule((), ("manage",)), Rule(("orders",), ("publish",))])
    assert access.rights("orders") == {"publish"}, "no pattern matches, so none matches everything"
    assert access.rights("other") == frozenset()
    assert not access.may_somewhere("manage"), "there is no queue that such a rule is for"


def test_what_is_not_allowed_is_refused_with_the_right_that_is_missing() -> None:
    access = Access("shop", [Rule(("orders",), ("publish",))])
    access.check("publish", ["orders"])
    with pytest.raises(GmqError, match=r"'shop' may not take from 'orders'.*right subscribe") as refused:
        access.check("subscribe", ["orders"])
    assert refused.value.code == "forbidden"
    with pytest.raises(GmqError):
        access.check("publish", ["orders", "other"])
    with pytest.raises(GmqError):
        access.check_somewhere("subscribe")
    access.check_somewhere("publish")


def test_everywhere_means_a_rule_for_all_queues() -> None:
    assert Access("a", [Rule(rights=("inspect",))]).may_everywhere("inspect")
    assert not Access("a", [Rule(("?*",), ("inspect",))]).may_everywhere("inspect")
    assert not Access("a", [Rule(rights=("publish",))]).may_everywhere("inspect")


def test_other_rules_hold_at_once_and_a_revoked_user_may_nothing() -> None:
    access = Access("shop", [Rule(("orders",), ("publish",))])
    assert access.may("publish", "orders")
    access.replace([Rule(("orders",), ("subscribe",))])
    assert not access.may("publish", "orders")
    assert access.may("subscribe", "orders")
    access.revoke()
    assert not access.may("subscribe", "orders")
    assert not access.may_somewhere("subscribe")
    with pytest.raises(GmqError) as refused:
        access.check("subscribe", ["orders"])
    assert refused.value.code == "unauthorized"


def test_whoever_follows_is_told_of_other_rules_and_of_the_end() -> None:
    access = Access("shop", [Rule(("orders",), ("publish",))])
    told: list[bool] = []

    def changed() -> None:
        told.append(access.may("publish", "orders"))

    access.follow(changed)
    access.replace([Rule(("orders",), ("publish",))])
    assert told == [], "the same rules are no change"
    access.replace([Rule(("orders",), ("subscribe",))])
    access.revoke()
    assert told == [False, False]
    access.forget(changed)
    access.replace([])
    assert told == [False, False]
