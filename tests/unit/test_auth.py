"""Users, passwords, and the original client's tokens."""

import asyncio
import hashlib
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmq import passwords
from gmq.access import Access, Rule
from gmq.auth import REMEMBERED_FOR, Authenticator, User, reduce_token
from gmq.broker import Broker
from gmq.message import GmqError, Limits, QueuePolicy
from gmq.passwords import hash_password, is_hash
from gmq.protocol import decode_line
from gmq.server.counts import Counts
from gmq.server.dispatch import Checking, Dispatcher
from gmq.storage.memory import MemoryStorage

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


def one_user(password: str = "secret", **more: object) -> Authenticator:
    return Authenticator([User("gmq", (password,), **more)])


def checked(authenticator: Authenticator, user: str, password: str, address: str = "192.0.2.1") -> Access | None:
    """Ask, with whatever that takes."""
    return asyncio.run(authenticator.check(user, password, address))


@pytest.fixture
def no_delay(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Delays of failed attempts are noted, and not waited for."""
    delays: list[float] = []

    async def sleep(seconds: float) -> None:
        delays.append(seconds)

    monkeypatch.setattr("gmq.auth.asyncio.sleep", sleep)
    return delays


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("gmq", "pässword"),
        (token("gmq"), token("pässword")),
        (token("gmq").upper(), "pässword"),
        ("gmq", token("pässword")),
    ],
)
def test_the_right_credentials_are_accepted_plain_and_as_tokens_of_the_original(user: str, password: str) -> None:
    authenticator = one_user("pässword")
    assert authenticator.required, "there is a user, so one is required"
    access = authenticator.at_once(user, password)
    assert access is not None, f"{user} with {password} are right"
    assert access.name == "gmq"


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
def test_wrong_credentials_are_refused(no_delay: list[float], user: str, password: str) -> None:
    authenticator = one_user()
    assert authenticator.at_once(user, password) is None, f"{user!r} with {password!r} got in"
    assert checked(authenticator, user, password) is None, f"{user!r} with {password!r} got in"
    assert authenticator.failures == 1


def test_without_users_nobody_has_to_say_who_it_is() -> None:
    assert not Authenticator().required
    assert Authenticator(required=True).required, "a folder of users may be empty"


def test_a_hashed_password_is_checked_once_and_then_remembered() -> None:
    known = hash_password("secret")
    assert known != hash_password("secret"), "hashes are salted"
    authenticator = one_user(known)
    assert authenticator.at_once("gmq", "secret") is None, "hashing takes too long to be done at once"
    assert authenticator.at_once("gmq", known) is None, "the hash is not the password"
    assert checked(authenticator, "gmq", "secret") is not None
    assert authenticator.at_once("gmq", "secret") is not None, "the password is hashed each time"
    assert authenticator.at_once(token("gmq"), token("secret")) is not None, "a one-shot client's token is the same password"
    assert authenticator.at_once("gmq", "Secret") is None


def test_what_is_remembered_is_forgotten_in_time_and_on_reload(monkeypatch: pytest.MonkeyPatch) -> None:
    user = User("gmq", (hash_password("secret"),))
    authenticator = Authenticator([user])
    assert checked(authenticator, "gmq", "secret") is not None
    now = time.monotonic()
    monkeypatch.setattr("gmq.auth.monotonic", lambda: now + REMEMBERED_FOR + 1)
    assert authenticator.at_once("gmq", "secret") is None
    monkeypatch.undo()
    assert authenticator.at_once("gmq", "secret") is not None
    authenticator.reload([user])
    assert authenticator.at_once("gmq", "secret") is None


def test_failures_from_one_address_are_answered_later_and_later(no_delay: list[float]) -> None:
    authenticator = one_user()
    for _ in range(8):
        checked(authenticator, "gmq", "wrong")
    checked(authenticator, "gmq", "wrong", "192.0.2.2")
    assert no_delay == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 0.1]
    assert checked(authenticator, "gmq", "secret") is not None, "who is right is let in, whoever else is at that address"
    assert len(no_delay) == 9


def test_addresses_that_one_client_has_are_one_to_those_who_guess(no_delay: list[float]) -> None:
    authenticator = Authenticator([User("gmq", ("secret",))])
    for address in ("2001:db8::1", "2001:db8::2", "2001:db8::ffff:1", "2001:db8:0:1::1", "::ffff:192.0.2.1", "192.0.2.1"):
        assert checked(authenticator, "gmq", "wrong", address) is None
    assert no_delay == [0.1, 0.2, 0.4, 0.1, 0.1, 0.2], "a new address of the same network makes guessing no faster"


def test_a_user_who_is_gone_or_has_another_secret_is_revoked_and_others_keep_their_connections() -> None:
    hashed = hash_password("b")
    authenticator = Authenticator([User("a", ("a",)), User("b", (hashed,)), User("c", ("c",), rules=(Rule(("q",), ("publish",)),))])
    a, c = authenticator.at_once("a", "a"), authenticator.at_once("c", "c")
    b = checked(authenticator, "b", "b")
    authenticator.reload([User("b", ("other",)), User("c", ("c",), rules=(Rule(("r",), ("publish",)),))])
    assert a is not None
    assert b is not None
    assert c is not None
    assert (a.revoked, b.revoked, c.revoked) == (True, True, False)
    assert authenticator.at_once("a", "a") is None
    assert authenticator.at_once("b", "b") is None
    assert authenticator.at_once("c", "c") is c, "connections of one user share its rights"
    assert c.may("publish", "r")
    assert not c.may("publish", "q")


def test_tokens_and_certificates_name_users() -> None:
    authenticator = Authenticator([User("a", tokens=("t" * 16,))])
    access = authenticator.bearer("t" * 16)
    assert access is authenticator.named("a")
    assert access is not None
    assert authenticator.bearer("t" * 17) is None
    assert authenticator.at_once("a", "") is None, "who has no password has none, not an empty one"
    assert authenticator.at_once("a", "t" * 16) is None, "a token is no password"
    assert authenticator.named("b") is None
    assert authenticator.named(None) is None
    stranger = Authenticator([User("a", ("x",))], any_certificate=True).named("b")
    assert stranger is not None
    assert stranger.may("manage", "q")


def test_an_unknown_user_costs_as_much_as_a_known_one(monkeypatch: pytest.MonkeyPatch, no_delay: list[float]) -> None:
    hashed: list[str] = []
    authenticator = one_user(hash_password("secret"))
    monkeypatch.setattr("gmq.auth.verify", lambda known, _: hashed.append(known) or False)
    checked(authenticator, "gmq", "wrong")
    checked(authenticator, "nobody", "wrong")
    assert len(hashed) == 2, "the time tells which users there are"


def test_secrets_are_not_shown() -> None:
    assert "secret" not in repr(User("gmq", ("secret",), ("secret",)))


def test_clients_that_come_together_with_one_password_have_it_hashed_once(monkeypatch: pytest.MonkeyPatch, no_delay: list[float]) -> None:
    hashed: list[str] = []
    monkeypatch.setattr("gmq.auth.verify", lambda _, password: hashed.append(password) or password == "secret")
    authenticator = one_user(hash_password("secret"))

    async def attempts(password: str) -> list[Access | None]:
        return await asyncio.gather(*(authenticator.check("gmq", password, f"192.0.2.{number}") for number in range(200)))

    assert None not in asyncio.run(attempts("secret"))
    assert set(asyncio.run(attempts("wrong"))) == {None}
    assert hashed == ["secret", "wrong"], "each client has the password hashed, and those behind them wait"
    assert (authenticator.failures, no_delay) == (200, [0.1] * 200), "each failure is held back"


def test_a_look_at_a_password_that_began_before_a_reload_does_not_answer_for_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    authenticator = one_user(hash_password("old"))
    began, go_on = threading.Event(), threading.Event()
    verify = passwords.verify

    def slow(known: str, password: str) -> bool:
        began.set()
        go_on.wait(10)
        return verify(known, password)

    async def attempts() -> list[Access | None]:
        monkeypatch.setattr("gmq.auth.verify", slow)
        before = asyncio.ensure_future(authenticator.check("gmq", "new", "192.0.2.1"))
        await asyncio.to_thread(began.wait, 10)
        authenticator.reload([User("gmq", (hash_password("new"),))])
        after = asyncio.ensure_future(authenticator.check("gmq", "new", "192.0.2.1"))
        await asyncio.sleep(0)
        go_on.set()
        return await asyncio.gather(before, after)

    before, after = asyncio.run(attempts())
    assert (before, after is None) == (None, False)


def test_who_guesses_at_one_address_keeps_nobody_else_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gmq.auth.MOST_OF_SOURCE", 2)
    authenticator = one_user(hash_password("secret"))

    async def attempts() -> Access | None:
        guesses = [asyncio.ensure_future(authenticator.check("gmq", f"guess {number}", "192.0.2.1")) for number in range(3)]
        good = await authenticator.check("gmq", "secret", "192.0.2.2")
        with pytest.raises(GmqError, match="2 of them from this address") as refused:
            await guesses[2]
        assert refused.value.limit == "authentications"
        assert [await guess for guess in guesses[:2]] == [None, None]
        return good

    assert asyncio.run(attempts()) is not None


def test_a_hash_that_is_not_ascii_is_none() -> None:
    assert not is_hash(hash_password("secret")[:-1] + "ü"), "a comparison with it would raise"


def test_passwords_beyond_those_that_may_wait_are_turned_away_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gmq.auth.MOST_WAITING", 1)
    counts = Counts()

    async def attempts() -> list[bytes]:
        limits = Limits()
        storage = MemoryStorage(limits, lambda _: QueuePolicy())
        authenticator = one_user(hash_password("secret"))
        hellos = [decode_line(b'{"operation":"H","auth":{"user":"gmq","password":"wrong %d"}}' % number, 1000) for number in range(3)]
        dispatchers = [Dispatcher(Broker(storage, limits), authenticator, counts) for _ in hellos]
        checks = [dispatcher.serve(hello) for dispatcher, hello in zip(dispatchers, hellos, strict=True)]
        await asyncio.gather(*(check.future for check in checks if isinstance(check, Checking)))
        with pytest.raises(GmqError) as refused:
            await asyncio.gather(*(authenticator.check("gmq", f"wrong {number}", "192.0.2.1") for number in range(2)))
        assert (refused.value.code, refused.value.limit) == ("limit", "authentications")
        replies = [dispatcher.serve(hello) for dispatcher, hello in zip(dispatchers, hellos, strict=True)]
        await storage.close()
        return [reply for reply in replies if isinstance(reply, bytes)]

    replies = asyncio.run(attempts())
    assert len(replies) == 3
    assert all(b'"unauthorized"' in reply for reply in replies), "over TCP the limit is not told from a wrong password"
    assert counts.limits == {"authentications": 2}
