"""Users, passwords, and the original client's tokens."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmq.auth import Authenticator, reduce_token

DIGEST_OF_NOTHING = hashlib.sha512(b"").hexdigest()


def token(value, digest=DIGEST_OF_NOTHING):
    """What the original client sends: Go's sha512.New().Sum(value), in hexadecimal."""
    return (value if isinstance(value, bytes) else value.encode()).hex() + digest


@given(st.text(st.characters(codec="utf-8"), max_size=40), st.randoms())
def test_a_token_reduces_to_its_value_in_any_case_of_letters(value, random):
    written = "".join(random.choice((char.lower(), char.upper())) for char in token(value))
    assert reduce_token(written) == value, f"the token {written} stands for {value!r}"


def test_the_token_of_the_original_client_reduces_to_its_value():
    start, end = "676d71736572766572cf83e1357eefb8bd", "af927da3e"
    sent = "676d71736572766572" + DIGEST_OF_NOTHING
    assert sent.startswith(start), "the digest of nothing is not what the original client appends"
    assert sent.endswith(end), "the digest of nothing is not what the original client appends"
    assert reduce_token(sent) == "gmqserver"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "secret",
        "676d71",
        DIGEST_OF_NOTHING[:-1],
        DIGEST_OF_NOTHING[1:],
        token("value", hashlib.sha512(b"x").hexdigest()),
        token("value") + "00",
        "a" + DIGEST_OF_NOTHING,
        "zz" + DIGEST_OF_NOTHING,
        "67 6d" + DIGEST_OF_NOTHING,
        " " + token("value"),
        token("value") + "\n",
        token(b"\xff\xfe"),
        "\u0661\u0661" + DIGEST_OF_NOTHING,
        "\ud800" * 2 + DIGEST_OF_NOTHING,
    ],
)
def test_a_value_that_is_no_token_stays_as_it_is(value):
    assert reduce_token(value) == value, "only hex(UTF-8 + SHA-512 of nothing) is a token"


@given(st.text(max_size=300))
def test_any_text_reduces_without_an_error(value):
    assert isinstance(reduce_token(value), str)


@pytest.mark.parametrize("user", ["gmq", token("gmq"), token("gmq").upper()])
@pytest.mark.parametrize("password", ["pässword", token("pässword")])
def test_the_right_credentials_are_accepted_plain_and_as_tokens(user, password):
    authenticator = Authenticator(("gmq", "pässword"))
    assert authenticator.required, "credentials are configured, so they are required"
    assert authenticator.accepts(user, password), f"{user} with {password} are the configured credentials"


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("gmq", "wrong"),
        ("wrong", "secret"),
        ("secret", "gmq"),
        ("", ""),
        ("gmq", ""),
        ("", "secret"),
        ("gmq", "secret "),
        ("GMQ", "secret"),
        (token("gmq"), token("wrong")),
        (token(token("gmq")), "secret"),
        ("gmq", "\ud800"),
    ],
)
def test_wrong_credentials_are_refused(user, password):
    assert not Authenticator(("gmq", "secret")).accepts(user, password), f"{user!r} with {password!r} got in"


def test_without_credentials_everybody_is_let_in():
    authenticator = Authenticator(None)
    assert not authenticator.required, "nothing is configured, so nothing is required"
    assert authenticator.accepts("", ""), "a client without credentials was refused"
    assert authenticator.accepts(token("any"), token("thing")), (
        "the original client always sends tokens; without authentication they are ignored"
    )


def test_both_user_and_password_are_compared_in_constant_time(monkeypatch):
    compared = []

    def compare(left, right):
        compared.append((left, right))
        return left == right

    monkeypatch.setattr("gmq.auth.hmac.compare_digest", compare)
    Authenticator(("gmq", "secret")).accepts("wrong", "wrong")
    assert compared == [(b"wrong", b"gmq"), (b"wrong", b"secret")], "a wrong user must not save the comparison of the password"
