"""The shared checks of names, ranges and policies."""

import unicodedata
from math import inf, nan

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gmq.message import GmqError, QueuePolicy
from gmq.validate import check_name, check_policy, check_range, quote

any_text = st.text(st.characters(), max_size=300)  # lone surrogates included
text = any_text | st.text("\x00\x1f\x7f\x80\x9f\u202e\U000e0001\ud800.a ö", max_size=300)


def refusal(check, *arguments, **options):
    """The error text with which the check refuses; None where it accepts."""
    try:
        check(*arguments, **options)
    except GmqError as error:
        return error.text if error.code == "bad_request" else f"the code is {error.code}, and must be bad_request"
    return None


def is_a_name(name):
    """The rule as docs/protocol.md has it."""
    if any(unicodedata.category(char) in {"Cc", "Cs"} for char in name):
        return False
    return 1 <= len(name.encode()) <= 255 and name not in {".", ".."}


@given(text)
@example("\x85")
@example("a" * 255)
@example("a" * 256)
@example("ö" * 127 + "a")
@example("ö" * 128)
@example("...")
def test_a_name_is_accepted_exactly_when_the_rules_allow_it(name):
    assert (refusal(check_name, name) is None) == is_a_name(name), f"check_name decides wrongly on {name!r}"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", 'queue is "", 0 bytes of UTF-8; a queue\'s name has 1 to 255'),
        (".", 'queue is "."; a queue may not be named "." or ".."'),
        ("..", 'queue is ".."; a queue may not be named "." or ".."'),
        ("a\nb", 'queue is "a\\nb"; a queue\'s name has no control characters, such as U+000A'),
        ("\x9b1m", 'queue is "\\u009b1m"; a queue\'s name has no control characters, such as U+009B'),
        ("\ud800", 'queue is "\\ud800"; a queue\'s name is UTF-8, without lone surrogates'),
        ("ö" * 200, f'queue is "{"ö" * 60}...", 400 bytes of UTF-8; a queue\'s name has 1 to 255'),
    ],
)
def test_a_bad_name_is_refused_with_what_is_wrong_about_it(name, said):
    assert refusal(check_name, name) == said


def test_a_refused_name_is_called_by_the_field_it_came_in():
    assert str(refusal(check_name, "", "to")).startswith("to is"), "the error must name the field"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("priority", 12, 0, 9), "priority is 12; it may be 0 to 9"),
        (("lease", 700000, 0.001, 604800, "s"), "lease is 700000 s; it may be 0.001 to 604800 s"),
        (("lease", 0.0001, 0.001, 604800.0, "s"), "lease is 0.0001 s; it may be 0.001 to 604800 s"),
        (("wait", -1.5, 0, 60, "s"), "wait is -1.5 s; it may be 0 to 60 s"),
        (("delay", nan, 0, 60, "s"), "delay is nan s; it may be 0 to 60 s"),
        (("delay", inf, 0, 60, "s"), "delay is inf s; it may be 0 to 60 s"),
        (("delay", -inf, 0, 60, "s"), "delay is -inf s; it may be 0 to 60 s"),
        (("count", 10**5000, 1, 1000), "count is an integer of 16610 bits; it may be 1 to 1000"),
        (("delay", 1e300, 0, 60), "delay is 1e+300; it may be 0 to 60"),
    ],
)
def test_a_number_out_of_range_is_refused_with_value_and_range(arguments, said):
    assert refusal(check_range, *arguments) == said


@pytest.mark.parametrize("value", [0, 0.0, -0.0, -1, nan, inf, 604800.5])
def test_a_lower_bound_can_be_excluded(value):
    said = refusal(check_range, "ttl", value, 0, 604800, "s", above=True)
    assert said is not None, f"{value} is not above 0 and up to 604800, and was accepted"
    assert said.endswith("; it must be above 0, up to 604800 s"), said


def test_the_ttl_of_zero_is_refused_in_these_words():
    assert refusal(check_range, "ttl", 0.0, 0, 604800, "s", above=True) == "ttl is 0 s; it must be above 0, up to 604800 s"


@given(st.floats() | st.integers(), st.integers(-1000, 1000), st.integers(0, 1000), st.booleans())
def test_a_range_accepts_exactly_the_finite_numbers_within_it(value, low, width, above):
    accepted = refusal(check_range, "n", value, low, low + width, above=above) is None
    expected = low <= value <= low + width and not (above and value == low)
    assert accepted == expected, f"{value} in {low} to {low + width}, above={above}"


@pytest.mark.parametrize(
    "policy",
    [
        QueuePolicy(),
        QueuePolicy(max_messages=1, max_deliveries=1, dead_letter="d", ttl=0.001, lease=0.001, expires=1),
        QueuePolicy(max_messages=1000, max_deliveries=1_000_000, ttl=604800, lease=604800.0, expires=31536000),
    ],
)
def test_a_policy_within_its_ranges_is_accepted(policy):
    assert refusal(check_policy, policy, 1000) is None


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (QueuePolicy(max_messages=1001), "policy.max_messages is 1001; it may be 1 to 1000"),
        (QueuePolicy(max_messages=0), "policy.max_messages is 0; it may be 1 to 1000"),
        (QueuePolicy(max_deliveries=0), "policy.max_deliveries is 0; it may be 1 to 1000000"),
        (QueuePolicy(dead_letter=".."), 'policy.dead_letter is ".."; a queue may not be named "." or ".."'),
        (QueuePolicy(ttl=0), "policy.ttl is 0 s; it must be above 0, up to 604800 s"),
        (QueuePolicy(lease=0), "policy.lease is 0 s; it may be 0.001 to 604800 s"),
        (QueuePolicy(expires=0.5), "policy.expires is 0.5 s; it may be 1 to 31536000 s"),
    ],
)
def test_a_policy_out_of_range_is_refused_with_the_member_the_value_and_the_range(policy, said):
    assert refusal(check_policy, policy, 1000) == said


def test_a_refused_policy_is_called_by_its_place():
    assert str(refusal(check_policy, QueuePolicy(ttl=-1), 1, "policies[3]")).startswith("policies[3].ttl is -1 s")


@given(any_text)
def test_a_quoted_text_is_printable_and_short(value):
    quoted = quote(value)
    assert quoted.isprintable(), f"{value!r} is quoted with characters that a terminal may act on: {quoted!r}"
    assert len(quoted) <= 2 + 60 * 12 + 3, f"{value!r} is quoted at length"
