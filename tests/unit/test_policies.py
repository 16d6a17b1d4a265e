"""Policies of queues by the patterns of their names."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import config, problem, refusal

from gmq.message import GmqError, Limits, QueuePolicy
from gmq.validate import check_policy


def policy(**members):
    return {"name": "p", "pattern": "*", **members}


def test_the_first_pattern_that_matches_decides():
    policies = [
        {"name": "a", "pattern": "orders.*", "max_messages": 1},
        {"name": "b", "pattern": "[ab]?", "lease": 2},
        {"name": "c", "pattern": "*.eu", "ttl": 3},
    ]
    loaded = config({"policies": policies})
    assert loaded.policy_for("orders.eu") == QueuePolicy(max_messages=1)
    assert loaded.policy_for("a1") == QueuePolicy(lease=2)
    assert loaded.policy_for("x.eu") == QueuePolicy(ttl=3)
    for name in ("Orders.eu1", "orders", "c1", "a", "", "x.eu\n"):
        assert loaded.policy_for(name) == QueuePolicy(), f"no pattern matches {name!r}"


def test_a_dead_letter_queue_has_no_dead_letters_of_its_own_and_keeps_the_rest():
    loaded = config({"policies": [policy(max_deliveries=5, dead_letter="dead", ttl=1, lease=2, expires=3, max_messages=4)]})
    assert loaded.policy_for("x") == QueuePolicy(max_messages=4, max_deliveries=5, dead_letter="dead", ttl=1, lease=2, expires=3)
    assert loaded.policy_for("dead") == QueuePolicy(max_messages=4, ttl=1, lease=2, expires=3), (
        "dead letters must not go round, nor be dropped"
    )


def test_policies_of_many_names_are_remembered_within_bounds():
    loaded = config({"policies": [policy(ttl=1)]})
    for number in range(20_000):
        assert loaded.policy_for(f"q{number}") is loaded.policy_for("q"), "the same policy, not a copy for every queue"
    assert loaded.policies.of.cache_info().currsize <= 10_000, (
        "names of queues come from clients: what is remembered of them must be bounded"
    )


def test_names_of_policies_are_unique():
    said = problem({"policies": [policy(), {"name": "q", "pattern": "*"}, policy()]})
    assert said == 'policies[2].name is "p", and so is policies[0].name; names are unique'


@pytest.mark.parametrize(
    ("limits", "path"),
    [({"limits": {"queue_messages": 5}}, "limits.queue_messages"), ({"queue": {"max_queue_capacity": 5}}, "queue.max_queue_capacity")],
)
def test_a_policy_above_the_brokers_limit_is_refused_with_both_names(limits, path):
    assert config({**limits, "policies": [policy(max_messages=5)]}).policy_for("x").max_messages == 5
    assert (
        problem({**limits, "policies": [policy(max_messages=6)]}) == f"policies[0].max_messages is 6; it may be 1 to 5, the limit of {path}"
    )


def test_a_dead_letter_queue_must_have_a_good_name():
    assert problem({"policies": [policy(dead_letter="..")]}) == 'policies[0].dead_letter is ".."; a queue may not be named "." or ".."'


numbers = st.sampled_from([-1, 0, 1, 0.5, 0.0009, 0.001, 604800, 604800.5, 31536000, 31536001, 1_000_000, 1_000_001, 2**70]) | st.floats(
    0, 1e8
)


@given(st.sampled_from(["max_messages", "max_deliveries", "ttl", "lease", "expires"]), numbers)
def test_the_configuration_and_the_wire_agree_on_the_ranges_of_policies(member, value):
    if member.startswith("max_") and not isinstance(value, int):
        value = int(value)
    try:
        check_policy(QueuePolicy(**{member: value}), Limits().queue_messages)
        good_on_the_wire = True
    except GmqError:
        good_on_the_wire = False
    good_in_the_file = not refusal(json.dumps({"policies": [policy(**{member: value})]}))
    assert good_in_the_file == good_on_the_wire, f"{member} = {value}: in the file {good_in_the_file}, on the wire {good_on_the_wire}"


@given(st.text("*?[]!-^&|~.ab\\", max_size=30), st.text("ab.*[]", min_size=1, max_size=20))
def test_any_pattern_works(pattern, name):
    loaded = config({"policies": [{"name": "p", "pattern": f"a{pattern}", "ttl": 1}]})
    assert loaded.policy_for(name) in {QueuePolicy(), QueuePolicy(ttl=1)} if name else True


def test_a_pattern_of_many_stars_is_matched_quickly():
    loaded = config({"policies": [{"name": "p", "pattern": "*a" * 100 + "b"}]})
    assert loaded.policy_for("a" * 255) == QueuePolicy()
