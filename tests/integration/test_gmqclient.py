"""The command gmqclient, end to end: the original's flags and the subcommands, against a real broker."""

from __future__ import annotations

import array
import base64
import fcntl
import hashlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gmq.cli import client_dump
from gmq.client import BlockingClient, ConnectionFailed
from helpers_server import wait_until

GMQCLIENT = Path(sys.executable).parent / "gmqclient"

Run = Callable[..., subprocess.CompletedProcess[bytes]]
Start = Callable[..., subprocess.Popen[bytes]]


def environment(address: str, **more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "GMQ_SERVER": address, **more}


def gmqclient(address: str, *arguments: str, stdin: bytes = b"", **more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [GMQCLIENT, *arguments], input=stdin, capture_output=True, env=environment(address, **more), timeout=60, check=False
    )


@pytest.fixture
def client(shared_broker: Any) -> Run:
    """Run gmqclient against the broker that tests share."""

    def call(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return gmqclient(shared_broker.address, *arguments, stdin=stdin)

    return call


@pytest.fixture
def start() -> Iterator[Start]:
    """Start gmqclient against a broker, beside the test; what still runs at its end is killed."""
    processes: list[subprocess.Popen[bytes]] = []

    def call(broker: Any, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        processes.append(subprocess.Popen([GMQCLIENT, *arguments], env=environment(broker.address), **pipes))
        return processes[-1]

    yield call
    for process in processes:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()


# The original's flags


@pytest.mark.parametrize("style", ["-{} {}", "-{}={}", "--{} {}", "--{}={}"])
def test_the_originals_flags_publish_and_subscribe(shared_broker: Any, queue: str, style: str) -> None:
    def call(action: str, payload: str = "") -> subprocess.CompletedProcess[bytes]:
        flags = {"s": shared_broker.address, "q": queue, "a": action, "m": payload, "user": "me", "password": "secret"}
        arguments = [part for flag, value in flags.items() for part in style.format(flag, value).split(" ")]
        return gmqclient("unused:1", *arguments)

    done = call("P", "aGVsbG8=")
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["confirmation"] == "Y"
    assert json.loads(call("L").stdout)["payload"] == "1"
    assert json.loads(call("S").stdout)["payload"] == "aGVsbG8="
    assert json.loads(call("S").stdout)["payload"] == ""


def test_the_original_request_is_the_same_byte_for_byte() -> None:
    requests: list[bytes] = []
    reply = b'{"operation":"P","queue":"orders","payload":"","confirmation":"Y","error":null}'

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            requests.append(connection.recv(65536))
            connection.sendall(reply)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        done = gmqclient(address, "-s", address, "-q", "orders", "-a", "P", "-m", "aGVsbG8=", "-user", "gmqserver", "-password", "x")
        thread.join()
    nothing = hashlib.sha512(b"").hexdigest()
    assert requests == [
        b'{"operation":"P","queue":"orders","payload":"aGVsbG8=","confirmation":"","error":null,'
        b'"auth":{"user":"676d71736572766572%s","password":"78%s"}}' % (nothing.encode(), nothing.encode())
    ]
    assert (done.returncode, done.stdout) == (0, reply)


def test_the_original_mode_authenticates(start_broker: Callable[..., Any], queue: str) -> None:
    broker = start_broker({"auth": {"user": "me", "password": "secret"}})
    request = ("-s", broker.address, "-q", queue, "-a", "L")
    assert gmqclient("", *request, "-user", "me", "-password", "secret").returncode == 0
    refused = gmqclient("", *request, "-user", "me", "-password", "wrong")
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["code"] == "unauthorized"
    assert b"wrong or missing credentials" in refused.stderr
    assert gmqclient("", *request).returncode == 1


def test_the_original_mode_writes_the_reply_and_the_log_to_files(client: Run, shared_broker: Any, queue: str, tmp_path: Path) -> None:
    output, log = tmp_path / "out", tmp_path / "log"
    output.write_bytes(b"older and longer" * 100)
    request = ("-s", shared_broker.address, "-q", queue, "-o", str(output), "-l", str(log))
    done = client(*request, "-a", "L", "-p", "tcp4")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert json.loads(output.read_bytes())["payload"] == "0"
    refused = client(*request, "-a", "P", "-m", "not base64")
    assert (refused.returncode, refused.stderr) == (1, b"")
    assert json.loads(output.read_bytes())["confirmation"] == "N"
    assert "[GMQ Client]" in log.read_text()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["-q", "x"], b"-a is ''"),
        (["-a", "X", "-q", "x"], b"must be P (publish), S (subscribe) or L (length)"),
        (["-a", "L"], b"-q is missing"),
        (["-a", "L", "-q"], b"-q needs a value"),
        (["-x"], b"there is no flag -x"),
        (["-a", "L", "-q", "x", "-p", "udp"], b"it may be tcp, tcp4 or tcp6"),
        (["-a", "L", "-q", "x", "-user", "me"], b"both -user and -password"),
        (["-a", "L", "-q", "x", "-s", "a:b"], b"is no address"),
        (["-s", "a", "dump", "x"], b"a subcommand comes first"),
    ],
)
def test_wrong_flags_say_what_would_be_right(client: Run, arguments: list[str], text: bytes) -> None:
    done = client(*arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert text in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_the_original_mode_without_a_broker_fails(broker: Any) -> None:
    broker.stop()
    done = gmqclient("", "-s", broker.address, "-a", "L", "-q", "x")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"Connection refused" in done.stderr


# Subcommands


def test_publish_prints_the_id_and_subscribe_the_message(client: Run, queue: str) -> None:
    done = client("publish", queue, "hello", "--priority", "7", "--header", "a=b=c", "--header", "d=", "--key", "k", "--ttl", "60")
    assert done.returncode == 0
    assert client("length", queue).stdout == b"1\n"
    message = json.loads(client("peek", queue, "--json").stdout)
    assert message["id"] == int(done.stdout)
    assert (message["priority"], message["headers"], message["receipt"]) == (7, {"a": "b=c", "d": ""}, None)
    assert client("peek", queue).stdout == b"hello\n"
    done = client("subscribe", queue)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hello\n", b"")
    assert client("length", queue).stdout == b"0\n"


def test_publish_takes_every_byte_of_its_input(client: Run, queue: str, tmp_path: Path) -> None:
    data = bytes(range(256)) + b"\n"
    file = tmp_path / "payload"
    file.write_bytes(data)
    client("publish", queue, stdin=data)
    client("publish", queue, "-", stdin=data)
    client("publish", queue, "--file", str(file))
    client("publish", queue, "")
    assert client("subscribe", queue, "--raw", "--count", "3").stdout == data * 3
    assert client("subscribe", queue).stdout == b"\n"
    assert client("publish", queue, "x", "--file", str(file)).returncode == 2
    assert client("publish", queue, "--file", str(tmp_path / "none")).returncode == 1


def test_what_is_empty_ends_with_3(client: Run, queue: str) -> None:
    for arguments in (
        ("subscribe", queue),
        ("subscribe", queue, "--lease", "30"),
        ("subscribe", queue, "--wait", "0.05"),
        ("subscribe", queue, "--wait", "0.05", "--lease", "30"),
        ("peek", queue),
        ("dump", queue),
    ):
        done = client(*arguments)
        assert (done.returncode, done.stdout) == (3, b""), arguments


def test_subscribe_waits_for_a_message(shared_broker: Any, client: Run, queue: str, start: Start) -> None:
    waiting = [start(shared_broker, "subscribe", f"{queue}-none", queue, "--wait", "60", *lease) for lease in ([], ["--lease", "30"])]
    client("publish", queue, "x")
    client("publish", queue, "x")
    assert [process.communicate(timeout=60)[0] for process in waiting] == [b"x\n", b"x\n"]
    assert json.loads(client("info", queue, "--json").stdout)["totals"]["acknowledged"] == 1


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
@pytest.mark.parametrize("lease", [[], ["--lease", "30"]])
def test_subscribe_follows_until_it_is_interrupted(
    shared_broker: Any, client: Run, queue: str, lease: list[str], end: signal.Signals, start: Start
) -> None:
    following = start(shared_broker, "subscribe", queue, "--follow", *lease)
    assert following.stdout is not None
    for number in range(3):
        client("publish", queue, str(number))
        assert following.stdout.readline() == b"%d\n" % number
    following.send_signal(end)
    assert following.wait(60) == 130
    assert following.communicate()[1] == b""
    info = json.loads(client("info", queue, "--json").stdout)
    assert (info["ready"], info["leased"]) == (0, 0)


def test_subscribe_follows_over_a_restart_of_the_broker(broker: Any, queue: str, start: Start) -> None:
    following = start(broker, "subscribe", queue, "--follow", "--count", "2")
    gmqclient(broker.address, "publish", queue, "before")
    assert following.stdout is not None
    assert following.stdout.readline() == b"before\n"
    broker.stop()
    broker.start()
    gmqclient(broker.address, "publish", queue, "after")
    assert following.communicate(timeout=60)[0] == b"after\n"
    assert following.returncode == 0


def test_what_was_not_written_out_comes_back(shared_broker: Any, client: Run, queue: str, start: Start) -> None:
    """The output is a pipe that nobody reads: once it is full, the message under way is neither written nor acknowledged."""
    size = 1 << 19
    with BlockingClient(shared_broker.address) as publisher:
        for _ in range(3):
            publisher.publish(queue, bytes(size))
        stuck = start(shared_broker, "subscribe", queue, "--follow", "--lease", "30", "--raw")
        while publisher.info(queue).leased != 1:
            pass
        stuck.send_signal(signal.SIGINT)
        assert stuck.wait(60) == 130
        stuck.communicate()
        info = publisher.info(queue)
    assert (info.ready, info.leased, info.totals.acknowledged) == (3, 0, 0)


def test_an_interruption_that_comes_just_before_a_blocking_write_is_noticed(shared_broker: Any, queue: str) -> None:
    """Such a signal does not end the call. Nor does one that another thread takes, which can be arranged: the main thread does not."""
    program = """
import signal, sys, threading
from gmq.cli.gmqclient import main
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
sys.exit(main())
"""
    arguments = [sys.executable, "-c", program, "subscribe", queue, "--follow", "--lease", "30", "--raw"]
    with BlockingClient(shared_broker.address) as publisher:
        publisher.publish(queue, bytes(1 << 19))
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment(shared_broker.address)) as stuck:
            assert stuck.stdout is not None
            held = fcntl.fcntl(stuck.stdout, fcntl.F_GETPIPE_SZ)
            wait_until(lambda: waiting_bytes(stuck.stdout) == held, "the pipe is full")
            stuck.send_signal(signal.SIGINT)
            try:
                assert stuck.wait(20) == 130
            finally:
                stuck.kill()
        info = publisher.info(queue)
    assert (info.ready, info.leased, info.totals.acknowledged) == (1, 0, 0)


def test_an_interruption_that_python_drops_is_noticed(shared_broker: Any, queue: str) -> None:
    """A KeyboardInterrupt that is raised in a destructor goes nowhere. Here one comes there, just when a message has arrived."""
    program = """
import signal, sys
from gmq.cli.gmqclient import main
from gmq.client import Message
from gmq.client.blocking import LoopThread
class Dropped:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
run = LoopThread.run
def run_and_drop(thread, coroutine):
    result = run(thread, coroutine)
    if isinstance(result, Message):
        Dropped()
    return result
LoopThread.run = run_and_drop
sys.exit(main())
"""
    arguments = [sys.executable, "-c", program, "subscribe", queue, "--follow", "--lease", "30", "--raw"]
    with BlockingClient(shared_broker.address) as publisher:
        publisher.publish(queue, "x")
        done = subprocess.run(arguments, capture_output=True, env=environment(shared_broker.address), timeout=20, check=False)
        info = publisher.info(queue)
    assert b"Exception ignored" in done.stderr, "it was not dropped, so this test shows nothing"
    assert (done.returncode, done.stdout) == (130, b"")
    assert (info.ready, info.leased, info.totals.acknowledged) == (1, 0, 0)


def waiting_bytes(pipe: Any) -> int:
    """How many bytes a pipe holds."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def test_a_reader_that_leaves_ends_subscribe_quietly(shared_broker: Any, client: Run, queue: str, start: Start) -> None:
    with BlockingClient(shared_broker.address) as publisher:
        publisher.publish_many(queue, [bytes(1 << 10)] * 1000)
    piped = start(shared_broker, "subscribe", queue, "--lease", "30", "--count", "1000")
    assert piped.stdout is not None
    assert piped.stdout.read(1)
    piped.stdout.close()
    assert piped.stderr is not None
    assert piped.stderr.read() == b""
    assert piped.wait(60) == 0
    info = json.loads(client("info", queue, "--json").stdout)
    assert info["leased"] == 0
    assert info["ready"] + info["totals"]["acknowledged"] == 1000


def test_subscribe_tells_all_of_a_message(client: Run, queue: str) -> None:
    client("publish", queue, "x", "--header", "a=b")
    message = json.loads(client("subscribe", queue, "--json").stdout)
    assert (message["payload"], message["queue"], message["headers"]) == ("eA==", queue, {"a": "b"})
    assert message["id"] > 0


def test_queues_are_listed_as_a_table_or_as_lines(client: Run, queue: str) -> None:
    client("publish", queue, "12345")
    lines = [line.split() for line in client("queues").stdout.decode().splitlines()]
    assert lines[0] == ["QUEUE", "READY", "DELAYED", "LEASED", "BYTES"]
    assert [queue, "1", "0", "0", "5"] in lines
    found = [json.loads(line) for line in client("queues", "--json").stdout.splitlines()]
    assert {"queue": queue, "ready": 1, "delayed": 0, "leased": 0, "bytes": 5} in found
    shown = client("info", queue).stdout.decode()
    assert "ready           1\n" in shown
    assert "since the broker started:\n  published     1\n" in shown


def test_messages_are_moved_and_removed(client: Run, queue: str) -> None:
    for number in range(3):
        client("publish", queue, str(number))
    assert client("move", queue, "--to", f"{queue}-2", "--count", "2").stdout == b"2\n"
    assert client("clear", queue, "--yes").stdout == b"1\n"
    assert client("delete", f"{queue}-2", "--yes").stdout == b"2\n"
    gone = client("delete", f"{queue}-2", "--yes")
    assert (gone.returncode, gone.stdout) == (1, b"")


def test_what_removes_asks_a_person_and_refuses_without_one(client: Run, shared_broker: Any, queue: str, start: Start) -> None:
    client("publish", queue, "x")
    refused = client("clear", queue, stdin=b"y\n")
    assert refused.returncode == 2
    assert b"--yes" in refused.stderr
    for answer, code in ((b"n\n", 1), (b"\n", 1), (b"y\n", 0)):
        keyboard, terminal = pty.openpty()
        try:
            asked = start(shared_broker, "clear", queue, stdin=terminal)
            os.write(keyboard, answer)
            output, talk = asked.communicate(timeout=60)
        finally:
            os.close(keyboard)
            os.close(terminal)
        assert (asked.returncode, output) == (code, b"" if code else b"1\n")
        assert talk.startswith(f"Remove every message of {queue}".encode())


def test_a_policy_is_shown_and_set(client: Run, queue: str) -> None:
    client("publish", queue, "x")
    assert client("policy", queue).stdout == b"{}\n"
    assert json.loads(client("policy", queue, '{"max_messages":1,"lease":5}').stdout) == {"max_messages": 1, "lease": 5}
    full = client("publish", queue, "y")
    assert (full.returncode, full.stdout) == (1, b"")
    assert client("policy", queue, "{").returncode == 2
    assert client("policy", queue, '{"lease":"x"}').returncode == 2


def test_a_misspelled_policy_is_refused_and_leaves_the_old_one(client: Run, queue: str) -> None:
    client("publish", queue, "x")
    client("policy", queue, '{"max_deliveries":5}')
    misspelled = client("policy", queue, '{"max_delivery":3}')
    assert misspelled.returncode == 2
    assert b"max_delivery" in misspelled.stderr
    assert json.loads(client("policy", queue).stdout) == {"max_deliveries": 5}, "a misspelled policy replaced the good one by nothing"


# load and dump


def lines(*objects: Any) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in objects)


def test_dump_and_load_move_a_queue_between_brokers(client: Run, start_broker: Callable[..., Any], queue: str) -> None:
    texts = [f"{number} grün {'x' * (number % 7)}" for number in range(1000)]
    headed = [{"text": "with a header", "headers": {"a": "b"}, "priority": 9}]
    done = client("load", "--queue", queue, "-", "--batch", "70", stdin=lines(*headed, *({"text": text} for text in texts)))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"gmqclient: published 1001 messages\n")
    dumped = client("dump", queue)
    assert (dumped.returncode, dumped.stderr) == (0, f"gmqclient: took out 1001 messages of {queue}\n".encode())
    assert client("length", queue).stdout == b"0\n"
    other = start_broker()
    assert gmqclient(other.address, "load", "-", stdin=dumped.stdout).returncode == 0
    with BlockingClient(other.address) as receiver:
        first, *rest = receiver.take_many(queue, count=1000) + receiver.take_many(queue, count=1000)
    assert (first.text, first.headers, first.priority) == ("with a header", {"a": "b"}, 9)
    assert [message.text for message in rest] == texts


def test_load_publishes_each_line_as_it_says(client: Run, queue: str, tmp_path: Path) -> None:
    file = tmp_path / "messages"
    file.write_bytes(
        lines(
            {"payload": base64.b64encode(bytes(range(256))).decode()},
            {"text": "", "key": "k"},
            {"text": "", "key": "k"},
            {"text": "late", "delay": 60, "ttl": 90},
            {"text": "elsewhere", "queue": f"{queue}-2"},
        )
        + b"\n  \n"
        + b'{"text":"last, without a newline"}'
    )
    done = client("load", str(file), "--queue", queue)
    assert (done.returncode, done.stderr) == (0, b"gmqclient: published 6 messages\n")
    assert client("subscribe", queue, "--raw", "--count", "9").stdout == bytes(range(256)) + b"last, without a newline"
    assert client("subscribe", f"{queue}-2").stdout == b"elsewhere\n"
    assert json.loads(client("info", queue, "--json").stdout)["delayed"] == 1
    assert b"1 delayed and 0 leased ones stay" in client("dump", queue).stderr


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ({"text": "x", "priority": 12}, b"priority is 12; it may be 0 to 9"),
        ({"text": "x", "prioritty": 1}, b"prioritty"),
        ({"text": "x", "payload": "eA=="}, b"either payload or text"),
        ({}, b"either payload or text"),
        ({"payload": "not base64"}, b"base64"),
        ({"text": "x" * (1 << 20) + "x"}, b"payload is 1048577 bytes"),
        ({"text": "x", "ttl": 5, "delay": 5}, b"ttl is 5 s and delay is 5 s"),
        ({"text": "x", "key": ""}, b"a key has 0 bytes"),
        ({"text": "x", "queue": ".."}, b"queue"),
        ([], b"object"),
    ],
)
def test_load_stops_at_a_bad_line(client: Run, queue: str, line: Any, text: bytes) -> None:
    done = client("load", "--queue", queue, "-", stdin=lines({"text": "1"}, {"text": "2"}, line, {"text": "4"}))
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"gmqclient: line 3: ")
    assert text in done.stderr
    assert done.stderr.endswith(b"; published 2 messages before it\n")
    assert client("subscribe", queue, "--count", "9").stdout == b"1\n2\n"


def test_load_stops_where_the_broker_refuses(client: Run, queue: str) -> None:
    client("publish", queue, "0")
    client("policy", queue, '{"max_messages":11}')
    done = client("load", "--queue", queue, "-", "--batch", "5", stdin=lines(*({"text": str(number)} for number in range(12))))
    assert done.returncode == 1
    assert done.stderr.startswith(b"gmqclient: lines 11 to 12: ")
    assert done.stderr.endswith(b"; published 10 messages\n")


def test_load_needs_a_queue_and_a_file(client: Run, tmp_path: Path) -> None:
    assert b"names no queue" in client("load", "-", stdin=b'{"text":""}').stderr
    assert b"cannot read" in client("load", str(tmp_path / "none")).stderr
    assert client("load", "-", "--batch", "1001").returncode == 2


def test_load_shows_its_progress_to_a_person(shared_broker: Any, queue: str, tmp_path: Path, start: Start) -> None:
    file = tmp_path / "messages"
    file.write_bytes(lines(*({"text": str(number)} for number in range(2000))))
    screen, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    loading = start(shared_broker, "load", "--queue", queue, str(file), stderr=terminal)
    os.close(terminal)
    shown = b""
    try:
        while part := os.read(screen, 4096):
            shown += part
    except OSError:
        pass  # that is how a terminal ends
    os.close(screen)
    assert loading.wait(60) == 0
    assert b"100%" in shown
    assert b"published 2000 messages" in shown


def test_an_interrupted_dump_loses_nothing(shared_broker: Any, client: Run, queue: str, start: Start) -> None:
    with BlockingClient(shared_broker.address) as publisher:
        for _ in range(5):
            publisher.publish_many(queue, [f"{number:0500}" for number in range(1000)])
        dumping = start(shared_broker, "dump", queue)
        assert dumping.stdout is not None
        output = dumping.stdout.readline()
        dumping.send_signal(signal.SIGINT)
        output += dumping.stdout.read()
        assert dumping.wait(60) == 130
        dumping.communicate()
        info = publisher.info(queue)
    assert info.leased == 0
    assert info.totals.acknowledged + info.ready == 5000
    assert output.count(b"\n") >= info.totals.acknowledged
    for line in output.splitlines():
        json.loads(line)


# Access, errors, help


def test_a_dump_whose_broker_goes_says_how_much_it_took_out(
    broker: Any, queue: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write_and_stop(_: bytes) -> None:
        broker.kill()

    monkeypatch.setattr(client_dump, "write", write_and_stop)
    with BlockingClient(broker.address, request_timeout=0.3) as dumping:
        dumping.publish_many(queue, ["1", "2", "3"])
        with pytest.raises(ConnectionFailed):
            client_dump.dump(dumping, Namespace(queue=queue, lease=30.0))
    assert f"took out 3 messages of {queue}\n" in capsys.readouterr().err


def test_credentials_come_from_options_a_file_or_the_environment(start_broker: Callable[..., Any], queue: str, tmp_path: Path) -> None:
    address = start_broker({"auth": {"user": "me", "password": "secret"}}).address
    file = tmp_path / "password"
    file.write_text("secret\n")
    assert gmqclient(address, "length", queue, "--user", "me", "--password", "secret").stdout == b"0\n"
    assert gmqclient(address, "length", queue, "--user", "me", "--password-file", str(file)).stdout == b"0\n"
    assert gmqclient(address, "length", queue, GMQ_USER="me", GMQ_PASSWORD="secret").stdout == b"0\n"
    assert gmqclient(address, "load", "-", GMQ_USER="me", GMQ_PASSWORD="secret").returncode == 0
    assert gmqclient(f"gmq://me:secret@{address}", "length", queue).stdout == b"0\n"
    beside = gmqclient(f"gmq://other:wrong@{address}", "length", queue, "--user", "me", "--password", "secret")
    assert beside.stdout == b"0\n", "the user of the command line does not come before that of the URI"
    wrong = gmqclient(address, "length", queue, GMQ_USER="me", GMQ_PASSWORD="wrong")
    assert wrong.returncode == 1
    assert b"wrong or missing credentials" in wrong.stderr
    assert gmqclient(address, "length", queue, "--user", "me").returncode == 2
    assert gmqclient(address, "length", queue, "--user", "me", "--password-file", str(tmp_path / "none")).returncode == 1


def test_an_error_is_one_line_that_says_what_is_wrong(broker: Any, queue: str) -> None:
    for arguments, text, code in (
        (("info", queue), b"no queue", 1),
        (("publish", queue, "x", "--priority", "12"), b"priority is 12; it may be 0 to 9", 1),
        (("length", queue, "-s", "a:b"), b"is no address", 2),
        (("length", queue, "-s", "a..b"), b"is no address", 2),
        (("-s", "a..b", "-q", queue, "-a", "L"), b"is no address", 2),
        (("length",), b"QUEUE", 2),
        (("length", queue, "--count", "1"), b"--count", 2),
        (("subscribe", queue, "--lease", "0"), b"--lease", 2),
        (("publish", queue, "x", "--ttl", "nan"), b"--ttl", 2),
        (("publish", queue, "x", "--header", "a"), b"NAME=VALUE", 2),
        (("frobnicate",), b"frobnicate", 2),
    ):
        done = gmqclient(broker.address, *arguments)
        assert (done.returncode, done.stdout) == (code, b""), arguments
        assert text in done.stderr, arguments
        assert done.stderr.count(b"\n") == 1, done.stderr
    broker.stop()
    done = gmqclient(broker.address, "length", queue)
    assert (done.returncode, done.stderr) == (1, f"gmqclient: cannot connect to {broker.address}: connection refused\n".encode())


def test_what_is_not_utf8_is_refused_in_one_line_and_not_shown(shared_broker: Any, queue: str) -> None:
    odd = os.fsdecode(b"secret\xff")
    for arguments, more, name in (
        (("length", odd), {}, b"QUEUE"),
        (("subscribe", queue, odd), {}, b"QUEUE"),
        (("publish", queue, "x", "--key", odd), {}, b"--key"),
        (("publish", queue, "x", "--header", f"a={odd}"), {}, b"--header"),
        (("move", queue, "--to", odd), {}, b"--to"),
        (("policy", queue, odd), {}, b"JSON"),
        (("load", "-", "--queue", odd), {}, b"--queue"),
        (("length", queue, "-s", odd), {}, b"-s"),
        (("length", queue), {"GMQ_USER": odd, "GMQ_PASSWORD": "x"}, b"--user"),
        (("length", queue), {"GMQ_USER": "me", "GMQ_PASSWORD": odd}, b"--password"),
    ):
        done = gmqclient(shared_broker.address, *arguments, **more)
        assert (done.returncode, done.stdout) == (2, b""), (arguments, done.stderr)
        assert name in done.stderr, arguments
        assert b"is not UTF-8" in done.stderr, arguments
        assert b"secret" not in done.stderr, arguments


def test_a_disk_that_is_full_or_broken_is_told_in_one_line(shared_broker: Any, client: Run, queue: str, start: Start) -> None:
    client("publish", queue, "kept")
    with Path("/dev/full").open("wb") as full:
        for arguments in (("subscribe", queue, "--lease", "30"), ("-s", shared_broker.address, "-q", queue, "-a", "L")):
            process = start(shared_broker, *arguments, stdout=full)
            assert process.communicate()[1] == b"gmqclient: cannot write to standard output: No space left on device\n"
            assert process.returncode == 1
    assert client("length", queue).stdout == b"1\n", "what could not be written out did not come back"
    unreadable = client("load", "/proc/self/mem", "--queue", queue)
    assert unreadable.returncode == 1
    assert unreadable.stderr == b"gmqclient: cannot read on: Input/output error; published 0 messages before it\n"


def test_a_standard_stream_that_is_closed_is_not_mistaken_for_another(shared_broker: Any, client: Run, queue: str) -> None:
    def closed(how: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = ["sh", "-c", f'exec "$@" {how}', "sh", GMQCLIENT, *arguments]
        return subprocess.run(command, capture_output=True, env=environment(shared_broker.address), timeout=60, check=False)

    client("publish", queue, "x")
    silent = closed("2>&-", "dump", queue)
    assert silent.returncode == 0
    assert [json.loads(line)["queue"] for line in silent.stdout.splitlines()] == [queue], "talk got into the data"
    for how, name in (("<&-", b"input"), (">&-", b"output")):
        refused = closed(how, "publish", queue)
        assert refused.returncode == 2
        assert refused.stderr.startswith(b"gmqclient: standard %s is closed" % name)
    assert closed("<&-", "length", queue).stdout == b"0\n"


def test_help_and_version(client: Run) -> None:
    shown = client("--help")
    assert shown.returncode == 0
    for part in (b"examples:", b"exit codes:", b"GMQ_SERVER", b"-a P|S|L", b"subscribe"):
        assert part in shown.stdout
    assert client("--version").stdout.startswith(b"gmqclient ")
    assert client("load", "--help").returncode == 0
    nothing = client()
    assert (nothing.returncode, nothing.stdout) == (2, b"")
    assert b"SUBCOMMAND" in nothing.stderr


@pytest.mark.parametrize(
    ("arguments", "unneeded"),
    [(["--help"], "asyncio"), (["-a", "L", "-q", "x", "-s", "127.0.0.1:1"], "asyncio"), (["length", "x", "-s", "127.0.0.1:1"], "tqdm")],
)
def test_what_a_call_does_not_need_is_not_imported(arguments: list[str], unneeded: str) -> None:
    program = f"import sys; from gmq.cli.gmqclient import main\ntry: main()\nfinally: assert {unneeded!r} not in sys.modules, 'imported'"
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, timeout=60, check=False)
    assert b"imported" not in done.stderr
