"""The hot path of the codec against the slow one: what it decodes at once is what the lines say one by one."""

from __future__ import annotations

import base64
import json
from itertools import accumulate

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gmq import plain, protocol
from gmq.message import Message, Taken
from gmq.plain import Run, Spread, Takes
from gmq.protocol import BadRequest, Publish
from meanings import meanings

LIMIT = 1 << 20

texts = st.one_of(
    st.binary(max_size=8).map(lambda payload: base64.b64encode(payload).decode()),
    st.sampled_from(
        ["", "QQ==", "QR==", "QUI=", "QUJ=", "QUJD", "QUJDREU=", "QUJDREV=", "QUJDRA==", "QUJDRB==", "QUJDREVG", "Q", "=", "A==="]
    ),
)
queues = st.sampled_from(["q", "q=", "r=", "}", "{", "}\\n", "payload", "receipt", "é"])
space = st.sampled_from(["", "", "", "", " ", "  ", "\n", "\t", "\r", "   \n", "\n\n"])


@st.composite
def objects(draw: st.DrawFn) -> str:
    """A line, or what should be one: white space anywhere, fields in any order."""
    kind = draw(st.sampled_from("PPPSSA"))
    if kind == "P":
        fields = [f'"queue":"{draw(queues)}"', f'"payload":"{draw(texts)}"']
    elif kind == "S":
        fields = [
            f'"queue":"{draw(queues)}"',
            *draw(st.sampled_from([[], [], ['"lease":1'], ['"lease":true'], ['"lease":1.0'], ['"tag":1']])),
        ]
    else:
        fields = [f'"receipt":"{draw(st.sampled_from(["", "1-2-x", "a", "}", "{"]))}"']
    fields.insert(draw(st.sampled_from([0, 0, 0, 1])), f'"operation":"{kind}"')
    text = "{" + ",".join(field + draw(space) for field in fields) + "}"
    return draw(st.sampled_from(["", "", "", " "])) + text + draw(space)


ends = st.sampled_from(["\n", "\n", "\n", "\n", "", "\r\n", "\n\n", " \n"])
chunks = st.one_of(
    st.lists(st.tuples(objects(), ends), min_size=1, max_size=6).map(lambda parts: "".join(text + end for text, end in parts) + "\n"),
    st.tuples(objects(), st.integers(1, 5)).map(lambda repeated: (repeated[0] + "\n") * repeated[1]),
    st.lists(texts, min_size=1, max_size=6).map(
        lambda some: "".join(f'{{"operation":"P","queue":"q","payload":"{text}"}}\n' for text in some)
    ),
)


spaced = st.one_of(st.just(""), st.just(""), space)
publishes = st.builds(
    '{{"operation":"P"{},"queue":"{}"{},"payload":"{}"}}{}\n'.format,
    spaced, st.sampled_from(["a", "b", "cc", "ddd", "e="]), spaced, st.sampled_from(["QUI=", "QUI=", "QUM=", "QUJ=", "QUJD"]), spaced,
)  # fmt: skip
turned = st.builds(
    '{{"operation":"P","payload":"{}","queue":"{}"}}\n'.format, st.sampled_from(["QUI=", "QUJ=", "QUJD"]), st.sampled_from(["a", "b="])
)
spreads = st.lists(st.one_of(publishes, publishes, turned), min_size=2, max_size=6).map("".join)


TO = '{"operation":"P","queue":"%s","payload":"%s"}'
WHOLE = '{"operation":"P","queue":"q","payload":"%s"}\n'


@settings(max_examples=1500, deadline=None)
@example(chunk='{"operation":"A","receipt":"a"}{"operation":"A","receipt":"b"}\n\n')
@example(chunk='{"operation":"S","queue":"q"}{"operation":"S","queue":"r"}\n{"operation":"S",\n"queue":"q"}\n')
@example(
    chunk="".join(WHOLE % text for text in ["QUJDRA==", "QUJDQUJ=", "QUJDQUJ=", "QUJDQUJ="])
    + '{"operation":"P","queue":"q",\n\n\n\n"payload":"QQ=="}\n'
)
@given(chunk=chunks)
def test_many_lines_at_once_mean_what_they_mean_one_by_one(chunk: str) -> None:
    data = chunk.encode()
    found = plain.decode(data)
    lines = [protocol.decode_line(line, LIMIT) for line in data.split(b"\n") if line and not line.isspace()]
    if found is not None:
        assert meanings(list(found)) == meanings(list(lines))
    items, _ = protocol.decode_lines(data, LIMIT)
    assert meanings(list(items)) == meanings(list(lines))


@settings(max_examples=1500, deadline=None)
@example(chunk=TO % ("a", "QUI=") + TO % ("bb", "QUI=") + "\n\n")
@example(chunk=TO % ("a", "QUI=") + "\n" + TO % ("b", "QUJ=") + "\n" + TO % ("a", "QUI=") + "\n")
@example(chunk=TO % ("é", "QUI=") + "\n" + TO % ("b", "QUI=") + "\n")
@example(chunk=TO % ("a", "QUI=") + "\n" + '{"operation":"P","payload":"QUJ=","queue":"b="}\n' + TO % ("a", "QUI=") + "\n")
@example(chunk=TO % ("a", "QUJD") + "\n" + '{"operation":"P","queue":"b",\n"payload":"QUJD"}' + TO % ("a", "QUJD") + "\n")
@given(chunk=spreads)
def test_publishes_to_several_queues_mean_what_they_mean_one_by_one(chunk: str) -> None:
    data = chunk.encode()
    lines = [protocol.decode_line(line, LIMIT) for line in data.split(b"\n") if line and not line.isspace()]
    found = plain.decode(data)
    if found is not None:
        assert meanings(list(found)) == meanings(list(lines))
    run = plain.decode_run(data)
    if isinstance(run, Spread) and run.ends:
        assert list(run.ends) == list(accumulate(len(line) for line in data.splitlines(keepends=True)))
    items, _ = protocol.decode_lines(data, LIMIT)
    assert meanings(list(items)) == meanings(list(lines))


def test_publishes_to_several_queues_are_decoded_at_once() -> None:
    for texts in (("QUJD", "QUJD", "QUJD"), ("QUI=", "QUM=", "QUI="), ("QQ==", "Qg==", "QQ=="), ("QUJD", "QUI=", "QQ==")):
        lines = [TO % (queue, text) + "\n" for queue, text in zip(("a", "bb", "é"), texts, strict=True)]
        run = plain.decode_run("".join(lines).encode())
        assert isinstance(run, Spread)
        assert meanings([run]) == [("P", queue, base64.b64decode(text)) for queue, text in zip(("a", "bb", "é"), texts, strict=True)]
        assert run.size == sum(map(len, run.payloads))


def test_plain_lines_are_decoded_at_once() -> None:
    for text in ("QUJD", "QUI=", "QQ==", ""):
        runs = plain.decode((WHOLE % text).encode() * 3)
        assert runs is not None
        assert [len(run) for run in runs] == [3]
    mixed = "".join(WHOLE % text for text in ("QUJD", "QUI=", "QQ==", "")).encode()
    runs = plain.decode(mixed)
    assert runs is not None
    assert meanings(list(runs)) == [("P", "q", b"ABC"), ("P", "q", b"AB"), ("P", "q", b"A"), ("P", "q", b"")]


def test_a_refused_line_does_not_spoil_its_neighbours() -> None:
    data = ((WHOLE % "QUJD") + "nonsense\n" + (WHOLE % "QUI=")).encode()
    items, is_plain = protocol.decode_lines(data, LIMIT)
    assert [type(item) for item in items] == [Publish, BadRequest, Publish]
    assert not is_plain


@given(counts=st.lists(st.integers(1, 700), min_size=1, max_size=6))
def test_runs_are_not_longer_than_one_call_may_be(counts: list[int]) -> None:
    data = "".join(f'{{"operation":"S","queue":"{number % 2}"}}\n' * count for number, count in enumerate(counts)).encode()
    runs: list[Run] | None = plain.decode(data)
    assert runs is not None
    assert all(len(run) <= 1000 for run in runs)
    assert sum(map(len, runs)) == sum(counts)


@given(payloads=st.lists(st.binary(max_size=5), min_size=1, max_size=8))
def test_each_take_of_a_run_has_a_reply_of_its_own(payloads: list[bytes]) -> None:
    entries = [Message(number, payload, 5) if number % 2 else payload for number, payload in enumerate(payloads)]
    total = len(payloads) + 3
    for taken, lease in ((Taken("q", entries), None), (Taken("q", [Message(1, p, 5) for p in payloads], (), ["r"] * len(payloads)), 5.0)):
        replies = [json.loads(line) for line in plain.take_replies(Takes("q", lease, total), taken, total).splitlines()]
        assert [reply["count"] for reply in replies] == [1] * len(payloads) + [0] * 3
        got = [reply["messages"][0]["payload"] if lease else reply["payload"] for reply in replies[: len(payloads)]]
        assert [base64.b64decode(payload) for payload in got] == payloads
