"""The process `gmqserver`: its command line, its configuration, where it listens, what it logs, and how it ends."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from broker_process import SERVER, START_TIMEOUT
from helpers_server import DATA, EXIT_TIMEOUT, Network, Server, environment, own_network, wait_until
from ports import free_port
from wire import Reply, Wire, b64, one_shot, unb64

MEBIBYTE = 1 << 20
ORIGINAL_USER = "gmqserver"
ORIGINAL_PASSWORD = "thisismyverysecureTCPserverpassword"
ORIGINAL_PORT = 48844
ANY_ADDRESS = "0.0.0.0"
ELSEWHERE = "192.0.2.1"
"""An address for documentation: no machine has it."""

MEMORY = {"storage": {"type": "memory"}}

NewServer = Callable[..., Server]


@pytest.fixture
def new_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewServer]:
    """Make servers in folders of their own; those that run are killed at the end of the test."""
    servers: list[Server] = []

    def make() -> Server:
        servers.append(Server(tmp_path_factory.mktemp("server")))
        return servers[-1]

    yield make
    for server in servers:
        server.kill()


@pytest.fixture
def start(new_server: NewServer) -> Callable[..., Server]:
    """Start a broker with a configuration."""

    def call(**config: Any) -> Server:
        server = new_server()
        server.start_with(config)
        return server

    return call


@pytest.fixture
def network() -> Iterator[Network]:
    """A network in which every port is free, where that can be had."""
    with own_network() as network:
        yield network


def gmqserver(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a `gmqserver` that ends by itself."""
    return subprocess.run(
        [SERVER, *arguments],
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=EXIT_TIMEOUT,
        check=False,
    )


def connect(server: Server) -> Wire:
    return Wire("127.0.0.1", server.port)


def read_to_end(connection: socket.socket) -> bytes:
    """What still comes; a reset is an end too."""
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except ConnectionResetError:
        pass
    return received


def refuses_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), START_TIMEOUT).close()
    except ConnectionRefusedError:
        return True
    return False


# The command line


def test_the_version_is_told() -> None:
    done = gmqserver("--version")
    assert done.returncode == 0, f"--version fails: {done.stderr}"
    assert re.fullmatch(r"gmqserver \d+\.\d+\.\d+\n", done.stdout), f"--version prints {done.stdout!r}"


def test_help_tells_the_exit_codes() -> None:
    done = gmqserver("--help")
    assert done.returncode == 0, f"--help fails: {done.stderr}"
    assert "exit codes: 0" in done.stdout, f"--help does not tell the exit codes:\n{done.stdout}"


def test_an_unknown_flag_is_refused() -> None:
    done = gmqserver("--nonsense")
    assert done.returncode == 2, f"exit code {done.returncode} for a flag that does not exist"
    assert "--nonsense" in done.stderr, f"the error does not name the flag: {done.stderr}"


def test_check_config_accepts_the_originals_file_and_starts_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    file = shutil.copy(DATA / "original_config.json", folder)
    done = subprocess.run(
        [SERVER, "--check-config", file], cwd=folder, env=environment(), capture_output=True, text=True, timeout=EXIT_TIMEOUT, check=False
    )
    assert done.returncode == 0, f"the original's file is refused: {done.stderr}"
    assert done.stdout == f"{file}: good\n", f"--check-config says {done.stdout!r}"
    assert [*tmp_path.iterdir()] == [folder], f"--check-config made files: {[*tmp_path.iterdir()]}"


@pytest.mark.parametrize("flag", ["--check-config", "-f"])
def test_the_originals_broken_file_is_refused_with_line_and_column(flag: str) -> None:
    done = gmqserver(flag, DATA / "original_broken_config.json")
    assert done.returncode == 2, f"exit code {done.returncode} for a file that is not JSON"
    assert "line 4, column 3" in done.stderr, f"the error does not say where the comma is missing: {done.stderr}"
    assert "original_broken_config.json" in done.stderr, f"the error does not name the file: {done.stderr}"


# Configurations that cannot be used


@pytest.mark.parametrize(
    ("config", "said"),
    [
        pytest.param({"limits": {"quues": 3}}, ["limits.quues", "did you mean queues?"], id="unknown-key"),
        pytest.param({"limit": {"queues": 3}}, ["limit ", "did you mean limits?"], id="unknown-section"),
        pytest.param({"limits": {"queues": 0}}, ["limits.queues is 0", "from 1 to 1000000"], id="out-of-range"),
        pytest.param({"limits": {"queues": "many"}}, ["limits.queues", '"many"', "integer"], id="wrong-type"),
        pytest.param({"network": {"port": "4567a"}}, ["network.port", '"4567a"', "0 to 65535"], id="bad-port"),
        pytest.param({"policies": [{"name": "a", "pattern": "*", "ttl": -1}]}, ["policies[0].ttl", "-1"], id="in-a-list"),
        pytest.param({"storage": {"path": "a"}, "filesystem": {"path": "b"}}, ["filesystem.path", "storage.path"], id="the-folder-twice"),
        pytest.param({"storage": {"segment_size": 4096}}, ["storage.segment_size is 4096", "from 1048576"], id="segments-too-small"),
        pytest.param({"storage": {"type": "mysql"}}, ["mysql.host", "is missing"], id="a-database-without-a-host"),
        pytest.param({"queue": {"queue_type": 2}}, ["mysql.host", "database.dsn"], id="queue-type-database-without-a-database"),
        pytest.param({"network": {"interface": ""}}, ["network.interface", "auth.anonymous"], id="all-addresses-without-authentication"),
        pytest.param({"network": {"interface": "::"}}, ["network.interface", "auth.anonymous"], id="all-ipv6-without-authentication"),
        pytest.param({"auth": {"user": "me"}}, ["auth.user", "no password"], id="user-without-password"),
        pytest.param(
            {"limits": {"queues": 3}, "queue": {"max_queue_number": 3}}, ["queue.max_queue_number", "limits.queues"], id="one-limit-twice"
        ),
    ],
)
@pytest.mark.parametrize("flag", ["-f", "--check-config"])
def test_a_bad_configuration_stops_the_start_and_names_the_setting(flag: str, config: Reply, said: list[str], tmp_path: Path) -> None:
    file = tmp_path / "gmq.json"
    file.write_text(json.dumps(config))
    done = gmqserver(flag, file)
    assert done.returncode == 2, f"exit code {done.returncode}: {done.stderr}"
    for part in (str(file), *said):
        assert part in done.stderr, f"the error does not say {part!r}: {done.stderr}"


def test_all_problems_of_a_configuration_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "gmq.json"
    file.write_text('{"limits": {"queues": 0, "keys": 0}, "log": {"level": "loud"}}')
    done = gmqserver("-f", file)
    for setting in ("limits.queues", "limits.keys", "log.level"):
        assert setting in done.stderr, f"the error about {setting} is missing: {done.stderr}"


@pytest.mark.parametrize("flag", ["-f", "--check-config"])
def test_a_file_that_is_not_there_is_an_error(flag: str, tmp_path: Path) -> None:
    done = gmqserver(flag, tmp_path / "nothing.json")
    assert done.returncode == 2, f"exit code {done.returncode} for a file that does not exist"
    assert f"{tmp_path / 'nothing.json'}: there is no such file" in done.stderr, f"the error says: {done.stderr}"


def test_a_log_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "gmq.json"
    file.write_text(json.dumps({"network": {"port": 0}, "log": {"path": str(tmp_path)}}))
    done = gmqserver("-f", file)
    assert done.returncode == 2, f"exit code {done.returncode} for a log that is a folder"
    assert "log.path" in done.stderr, f"the error does not name the setting: {done.stderr}"


# Where it listens


def test_it_listens_beyond_loopback_where_anonymous_use_is_allowed(start: Callable[..., Server]) -> None:
    server = start(network={"interface": ANY_ADDRESS}, auth={"anonymous": True})
    assert server.addresses == [f"{ANY_ADDRESS}:{server.port}"], f"it listens on {server.addresses}"
    with connect(server) as wire:
        assert wire.done("L", "orders")["payload"] == "0"


def test_it_listens_beyond_loopback_with_credentials_of_the_environment(new_server: NewServer) -> None:
    server = new_server()
    file = server.write({"network": {"interface": ANY_ADDRESS}})
    server.start("-f", file, variables={"GMQ_AUTH_USER": "me", "GMQ_AUTH_PASSWORD": "secret", "GMQ_PORT": "tcp://10.0.0.1:4567"})
    with connect(server) as wire:
        assert wire.refused("L", "orders")["code"] == "unauthorized", "the credentials of the environment are not asked for"
        wire.done("L", "orders", auth={"user": "me", "password": "secret"})


def test_a_port_in_use_is_an_error_that_names_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        file = tmp_path / "gmq.json"
        file.write_text(json.dumps({"network": {"interface": "127.0.0.1", "port": port}}))
        done = gmqserver("-f", file)
    assert done.returncode == 1, f"exit code {done.returncode}: {done.stderr}"
    assert f"port {port} of 127.0.0.1 is in use" in done.stderr, f"the error says: {done.stderr}"
    assert "Traceback" not in done.stderr, f"a traceback in the place of an error: {done.stderr}"


def test_a_second_broker_on_the_same_port_ends_and_the_first_goes_on(start: Callable[..., Server]) -> None:
    first = start()
    done = gmqserver("-f", first.write({"network": {"port": first.port}}, "second.json"))
    assert done.returncode == 1, f"exit code {done.returncode}: {done.stderr}"
    with connect(first) as wire:
        wire.done("L", "orders")


def test_an_address_of_another_machine_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "gmq.json"
    file.write_text(json.dumps({"network": {"interface": ELSEWHERE, "port": 0}, "auth": {"anonymous": True}}))
    done = gmqserver("-f", file)
    assert done.returncode == 1, f"exit code {done.returncode}: {done.stderr}"
    assert ELSEWHERE in done.stderr, f"the error does not name the address: {done.stderr}"
    assert "network.interface" in done.stderr, f"the error does not name the setting: {done.stderr}"


def test_it_listens_on_ipv6(start: Callable[..., Server]) -> None:
    server = start(network={"interface": "::1"})
    assert server.addresses == [f"[::1]:{server.port}"], f"it listens on {server.addresses}"
    with Wire("::1", server.port) as wire:
        wire.done("L", "orders")
    assert refuses_connections(server.port), "asked for ::1, it listens on 127.0.0.1 too"


def test_localhost_is_both_loopback_addresses_with_one_port(start: Callable[..., Server]) -> None:
    server = start(network={"interface": "localhost"})
    assert server.port != 0, f"it says that it listens on {server.addresses}"
    assert server.addresses == [f"127.0.0.1:{server.port}", f"[::1]:{server.port}"], f"it listens on {server.addresses}"
    for host in ("127.0.0.1", "::1"):
        with Wire(host, server.port) as wire:
            wire.publish("orders", host.encode())
    with connect(server) as wire:
        assert wire.drain("orders") == [b"127.0.0.1", b"::1"], "the two addresses do not serve the same queues"


@pytest.mark.parametrize(("protocol", "address"), [("tcp4", "127.0.0.1:"), ("tcp6", "[::1]:")])
def test_the_protocol_chooses_the_family(start: Callable[..., Server], protocol: str, address: str) -> None:
    server = start(network={"interface": "localhost", "protocol": protocol})
    assert server.addresses == [f"{address}{server.port}"], f"with {protocol} it listens on {server.addresses}"


def test_it_starts_again_on_the_port_that_it_had(start: Callable[..., Server], new_server: NewServer) -> None:
    server = start()
    with connect(server) as wire:
        wire.done("L", "orders")
        server.signal()
        assert server.ended()[0] == 0, "the first broker did not end well"
        successor = new_server()
        successor.start_with({"network": {"port": server.port}})
    with connect(successor) as wire:
        wire.done("L", "orders")


def test_the_first_reply_comes_soon_after_the_start(new_server: NewServer) -> None:
    server = new_server()
    port = free_port()
    file = server.write({"network": {"port": port}})
    began = time.monotonic()
    server.launch("-f", file)
    wait_until(lambda: not refuses_connections(port), "connections are accepted")
    with Wire("127.0.0.1", port) as wire:
        wire.done("L", "orders")
    assert time.monotonic() - began < 10, f"the first reply took {time.monotonic() - began:.1f} s"


# The storage


def test_without_a_configured_storage_messages_are_kept_in_a_folder_of_the_working_directory(new_server: NewServer) -> None:
    server = new_server()
    file = server.write({})
    for number, expected in enumerate([[], [b"0"], [b"0", b"1"]]):
        server.start("-f", file)
        with connect(server) as wire:
            kept = [unb64(message["payload"]) for message in wire.done("K", "orders", count=10)["messages"]]
            assert kept == expected, f"after {number} restarts the queue holds {kept}"
            wire.publish("orders", b"%d" % number)
        server.signal()
        assert server.ended()[0] == 0, f"it did not end well:\n{server.errors.read_text()}"
        events = [record["event"] for record in server.records()]
        assert not any("lost" in event for event in events), f"it says that messages are lost: {events}"
    assert (server.folder / "gmq-data").is_dir(), f"there is no gmq-data: {[*server.folder.iterdir()]}"


def test_the_originals_configuration_may_ask_for_files(new_server: NewServer) -> None:
    server = new_server()
    server.start_with({"queue": {"queue_type": 3}, "filesystem": {"path": "../fs/"}})
    with connect(server) as wire:
        wire.publish("orders", b"x")
    assert (server.folder.parent / "fs").is_dir(), "filesystem.path is not where the files are"


def test_a_folder_that_cannot_be_had_stops_the_start(new_server: NewServer) -> None:
    server = new_server()
    (server.folder / "file").touch()
    server.launch("-f", server.write({"storage": {"path": "file"}}))
    code, _ = server.ended()
    said = server.errors.read_text()
    assert code == 1, f"exit code {code}: {said}"
    assert "gmqserver: " in said, f"no error for people: {said}"
    assert "file" in said, f"the error does not name the folder: {said}"
    assert "Traceback" not in said, f"a traceback in the place of an error: {said}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_broker_that_waits_for_the_folder_of_another_can_be_stopped(new_server: NewServer, number: signal.Signals) -> None:
    first, second = new_server(), new_server()
    folder = {"storage": {"path": str(first.folder / "data")}}
    first.start_with(folder)
    port = free_port()
    second.launch("-f", second.write({**folder, "network": {"port": port}}))
    wait_until(lambda: not refuses_connections(port), "the second broker is at its start")
    code, took = second.ended(second.signal(number))
    assert code in {0, 1}, f"exit code {code}:\n{second.errors.read_text()}"
    assert took < 5, f"it took {took:.1f} s to end"
    assert "Traceback" not in second.errors.read_text(), f"a traceback:\n{second.errors.read_text()}"
    assert not any(record["event"] == "listening" for record in second.records()), "two brokers serve one folder"
    with connect(first) as wire:
        wire.publish("orders", b"the first goes on")


def test_a_broker_takes_over_the_folder_of_one_that_ends(new_server: NewServer) -> None:
    first, second = new_server(), new_server()
    folder = {"storage": {"path": str(first.folder / "data")}}
    first.start_with(folder)
    with connect(first) as wire:
        wire.publish("orders", b"of the first")
    port = free_port()
    second.launch("-f", second.write({**folder, "network": {"port": port}}))
    wait_until(lambda: not refuses_connections(port), "the second broker is at its start")
    first.signal()
    assert first.ended()[0] == 0
    with Wire("127.0.0.1", port) as wire:
        assert wire.take("orders") == b"of the first", "the second does not have the messages of the first"


# Looking at the files


def test_verify_finds_the_files_of_a_broker_good_and_those_of_a_damaged_one_bad(new_server: NewServer) -> None:
    server = new_server()
    server.start_with({"storage": {"path": "data"}})
    with connect(server) as wire:
        for number in range(100):
            wire.publish("orders", b"a message that is looked for %d" % number)
    server.kill()
    folder = server.folder / "data"
    done = gmqserver("journal", "verify", folder)
    assert done.returncode == 0, f"good files are called bad:\n{done.stdout}{done.stderr}"
    damaged = 0
    for file in folder.rglob("*"):
        data = file.read_bytes() if file.is_file() else b""
        at = data.find(b"looked for 50")
        if at >= 0:
            file.write_bytes(data[:at] + b"L" + data[at + 1 :])
            damaged += 1
    assert damaged, "no file has the messages"
    done = gmqserver("journal", "verify", folder)
    assert done.returncode == 1, f"a changed byte is not found:\n{done.stdout}{done.stderr}"
    assert done.stdout, "nothing is said about the damage"


def test_inspect_shows_a_file_and_stops_where_it_is_told_to(new_server: NewServer) -> None:
    server = new_server()
    server.start_with({"storage": {"path": "data"}})
    with connect(server) as wire:
        for _ in range(100):
            wire.publish("orders", b"x")
    server.kill()
    files = [file for file in (server.folder / "data").rglob("*") if file.is_file() and b"orders" in file.read_bytes()]
    assert files, "no file names the queue"
    whole = gmqserver("journal", "inspect", files[0])
    assert whole.returncode == 0, f"inspect fails: {whole.stderr}"
    assert "orders" in whole.stdout, f"inspect does not name the queue:\n{whole.stdout}"
    part = gmqserver("journal", "inspect", "--limit", "2", files[0])
    assert part.stdout.splitlines() == whole.stdout.splitlines()[:2], f"--limit 2 prints:\n{part.stdout}"
    piped = subprocess.run(
        ["bash", "-c", f"set -o pipefail; '{SERVER}' journal inspect '{files[0]}' | head -n 1"],
        capture_output=True,
        text=True,
        timeout=EXIT_TIMEOUT,
        check=False,
    )
    assert (piped.returncode, piped.stderr) == (0, ""), f"a reader that has enough is an error: {piped.stderr}"


@pytest.mark.parametrize("way", ["inspect", "verify"])
def test_what_is_not_gmqs_is_not_looked_at(way: str, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("nothing of GMQ's")
    for path in (tmp_path / "nothing", tmp_path):
        done = gmqserver("journal", way, path)
        assert done.returncode == 2, f"exit code {done.returncode} for {path}:\n{done.stdout}{done.stderr}"
        assert done.stderr.startswith("gmqserver: "), f"the error for {path} is {done.stderr!r}"
        assert "Traceback" not in done.stderr, f"a traceback in the place of an error: {done.stderr}"


@pytest.mark.parametrize(
    "arguments",
    [
        ("journal",),
        ("journal", "mend", "."),
        ("journal", "inspect"),
        ("journal", "verify"),
        ("journal", "inspect", "--limit", "0", "file"),
        ("-f", "gmq.json", "journal", "verify", "."),
        ("jurnal",),
    ],
)
def test_a_command_that_makes_no_sense_is_refused(arguments: Sequence[str]) -> None:
    done = gmqserver(*arguments)
    assert done.returncode == 2, f"exit code {done.returncode}: {done.stderr}"
    assert done.stderr.startswith("usage: "), f"the error does not show the usage: {done.stderr}"


# The original's configuration


def token(value: str) -> str:
    """What the original client sends for a value."""
    return (value.encode() + hashlib.sha512().digest()).hex()


def originals_server(server: Server, *, own_port: bool) -> Server:
    """Start with the original's file as it is (on another port only where its own may be taken)."""
    text = (DATA / "original_config.json").read_text()
    file = server.folder / "gmq.json"
    file.write_text(text if own_port else text.replace(f'"{ORIGINAL_PORT}"', '"0"'))
    server.log = server.folder.parent / "log" / "gmqserver.log"
    server.start("-f", file)
    return server


def test_the_originals_configuration_is_used_as_it_is(network: Network, new_server: NewServer) -> None:
    server = network.run(lambda: originals_server(new_server(), own_port=network.private))
    assert server.addresses == [f"{ANY_ADDRESS}:{ORIGINAL_PORT if network.private else server.port}"], f"it listens on {server.addresses}"
    auth = {"user": ORIGINAL_USER, "password": ORIGINAL_PASSWORD}
    with network.run(lambda: Wire("127.0.0.2", server.port)) as wire:  # any address of this machine
        wire.done("H", auth=auth)
        wire.publish("orders", b"x" * 4096)
        assert wire.refused("P", "orders", payload=b64(b"x" * 4097))["code"] == "too_large", "max_message_length does not count"
        for number in range(1, 32):
            wire.publish(f"orders-{number}", b"")
        assert wire.refused("P", "one-more", payload="")["code"] == "limit", "max_queue_number does not count"
    assert server.errors.read_text() == "", "with log.path something goes to standard error"


@pytest.mark.parametrize(
    ("user", "password", "accepted"),
    [
        pytest.param(ORIGINAL_USER, ORIGINAL_PASSWORD, True, id="plain"),
        pytest.param(token(ORIGINAL_USER), token(ORIGINAL_PASSWORD), True, id="tokens"),
        pytest.param(token(ORIGINAL_USER).upper(), token(ORIGINAL_PASSWORD).upper(), True, id="tokens-in-upper-case"),
        pytest.param(ORIGINAL_USER, token(ORIGINAL_PASSWORD), True, id="mixed"),
        pytest.param(ORIGINAL_USER, ORIGINAL_PASSWORD.upper(), False, id="wrong-case"),
        pytest.param(ORIGINAL_USER, "", False, id="no-password"),
        pytest.param("", "", False, id="nothing"),
        pytest.param("root", ORIGINAL_PASSWORD, False, id="wrong-user"),
        pytest.param(token(ORIGINAL_USER), token("wrong"), False, id="token-of-a-wrong-password"),
        pytest.param(token(ORIGINAL_USER), token(ORIGINAL_PASSWORD)[:-1], False, id="cut-token"),
        pytest.param(ORIGINAL_PASSWORD, ORIGINAL_USER, False, id="swapped"),
    ],
)
def test_the_original_client_is_let_in_with_the_right_words_only(
    original: Server,
    user: str,
    password: str,
    accepted: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    auth = {"user": user, "password": password}
    request = {"operation": "L", "queue": "orders", "payload": "", "confirmation": "", "error": None, "auth": auth}
    reply = json.loads(one_shot("127.0.0.1", original.port, json.dumps(request).encode()))
    if accepted:
        assert (reply["confirmation"], reply["payload"]) == ("Y", "0"), f"the right words are refused: {reply}"
    else:
        assert (reply["confirmation"], reply.get("code")) == ("N", "unauthorized"), f"wrong words are not refused: {reply}"
    with connect(original) as wire:
        hello = wire.ask("H", auth=auth)
        assert hello["confirmation"] == ("Y" if accepted else "N"), f"hello and the request are not judged alike: {hello}"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A broker with the original's configuration, on another port."""
    server = originals_server(Server(tmp_path_factory.mktemp("original")), own_port=False)
    yield server
    server.kill()


def test_no_words_at_all_are_refused(original: Server) -> None:
    with connect(original) as wire:
        for operation, fields in {"H": {}, "P": {"queue": "orders", "payload": ""}, "S": {"queue": "orders"}, "Q": {}}.items():
            reply = wire.refused(operation, **fields)
            assert reply["code"] == "unauthorized", f"{operation} without authentication: {reply}"


# What it logs


def test_logs_are_json_lines_on_standard_error(start: Callable[..., Server]) -> None:
    server = start(storage={"type": "memory"})
    with connect(server) as wire:
        wire.refused("X")
    server.signal()
    assert server.ended()[0] == 0
    lines = server.errors.read_text().splitlines()
    records = [json.loads(line) for line in lines]
    for record in records:
        assert {"timestamp", "level", "event"} <= record.keys(), f"a log line without its three first members: {record}"
    events = [record["event"] for record in records]
    assert events[:2] == ["listening for HTTP", "listening"], f"the log begins with {events[:2]}"
    assert events[-1] == "stopped", f"the log ends with {events[-1]!r}"
    assert any("lost when the broker stops" in event for event in events), f"no word about messages in memory: {events}"


def test_logs_on_a_terminal_are_for_people(new_server: NewServer) -> None:
    server = new_server()
    ours, theirs = pty.openpty()
    try:
        with os.fdopen(theirs, "wb") as terminal:
            server.process = subprocess.Popen(
                [SERVER, "-f", server.write(MEMORY)], cwd=server.folder, env=environment(TERM="xterm"), stdin=terminal, stderr=terminal
            )
        printed = b""

        def read() -> bool:
            nonlocal printed
            if select.select([ours], [], [], 0.05)[0]:
                printed += os.read(ours, 65536)
            return b"lost when the broker stops" in printed

        wait_until(read, "the broker logs on the terminal")
        server.signal()
        assert server.ended()[0] == 0
    finally:
        os.close(ours)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in printed.decode().splitlines()]
    assert "listening" in lines[1], f"the second line on a terminal is {lines[1]!r}"
    assert not any(line.startswith("{") for line in lines), f"JSON on a terminal: {lines}"
    assert "addresses=" in lines[1], f"a line on a terminal does not tell its values: {lines[1]!r}"


def test_secrets_are_not_logged(start: Callable[..., Server]) -> None:
    server = start(auth={"user": "me", "password": "topsecret"}, log={"level": "debug"}, database={"dsn": "gmq:dsnsecret@(db:3306)/gmq"})
    with connect(server) as wire:
        wire.refused("H", auth={"user": "me", "password": "nearlysecret"})
        wire.done("H", auth={"user": "me", "password": "topsecret"})
    server.signal()
    assert server.ended()[0] == 0
    assert "secret" not in server.errors.read_text(), f"a secret is in the log:\n{server.errors.read_text()}"


# How it ends


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_at_a_signal_what_waits_and_what_was_received_is_answered(start: Callable[..., Server], number: signal.Signals) -> None:
    server = start()
    with connect(server) as idle, connect(server) as wire:
        idle.done("L", "orders")
        wire.send("S", "empty", wait=60)
        wire.send("P", "orders", payload=b64(b"behind the wait"))
        wire.send("L", "orders")
        assert wire.ask("L", "orders", tag="received")["tag"] == "received", "a tagged request is held back by one that waits"
        sent = server.signal(number)
        waited = wire.read()
        assert (waited["operation"], waited["confirmation"], waited["count"]) == ("S", "Y", 0), f"the consumer that waits gets {waited}"
        published, length = wire.read(), wire.read()
        assert (published["operation"], published["confirmation"]) == ("P", "Y"), f"the publish behind it gets {published}"
        assert (length["operation"], length["payload"]) == ("L", "1"), f"the request behind that gets {length}"
        assert wire.ended(), "more comes after the last reply"
        assert idle.ended(), "a connection without requests gets something"
    code, took = server.ended(sent)
    assert code == 0, f"exit code {code} after {number.name}:\n{server.errors.read_text()}"
    assert took < 2, f"the broker took {took:.2f} s to end"
    assert refuses_connections(server.port), "something still listens"


def test_a_tagged_consumer_that_waits_is_answered_at_the_end(start: Callable[..., Server]) -> None:
    server = start()
    with connect(server) as wire:
        for tag in range(3):
            wire.send("S", "empty", wait=60, tag=tag, lease=30)
        wire.done("L", "orders")
        server.signal()
        replies = [wire.read() for _ in range(3)]
        assert sorted(reply["tag"] for reply in replies) == [0, 1, 2], f"not each of them was answered: {replies}"
        assert all(reply["messages"] == [] for reply in replies), f"not every answer is empty: {replies}"
        assert wire.ended(), "more comes after the last reply"
    assert server.ended()[0] == 0


def test_clients_that_never_close_do_not_hold_up_the_end(start: Callable[..., Server]) -> None:
    server = start()
    with connect(server) as wire, socket.create_connection(("127.0.0.1", server.port)):
        wire.done("L", "orders")
        sent = server.signal()
        code, took = server.ended(sent)
    assert code == 0, f"exit code {code}"
    assert took < 2, f"with clients that do not close their connections the broker took {took:.2f} s to end"


@pytest.mark.parametrize("begin", [b"", b'{"operation":"P"', b'\n{"operation":"P"'], ids=["nothing", "one-shot", "lines"])
def test_a_request_that_is_not_complete_does_not_hold_up_the_end(start: Callable[..., Server], begin: bytes) -> None:
    server = start()
    with socket.create_connection(("127.0.0.1", server.port), START_TIMEOUT) as connection, connect(server) as wire:
        connection.sendall(begin)
        wire.done("L", "orders")
        sent = server.signal()
        assert read_to_end(connection) == b"", "half a request was answered"
        code, took = server.ended(sent)
    assert code == 0, f"exit code {code}"
    assert took < 2, f"the broker took {took:.2f} s to end"


class SlowReader:
    """A client that asked for some 28 MiB of replies, more than the system keeps on their way, and has read one byte of them."""

    def __init__(self, port: int) -> None:
        with Wire("127.0.0.1", port) as wire:
            for _ in range(7):
                wire.publish("large", bytes(MEBIBYTE))
        self.socket = socket.create_connection(("127.0.0.1", port), START_TIMEOUT)
        self.socket.sendall(b"\n" + b'{"operation":"K","queue":"large","count":7}\n' * 3)
        self.received = self.socket.recv(1)

    def __enter__(self) -> SlowReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def test_a_client_that_does_not_read_delays_the_end_by_no_more_than_the_drain_timeout(start: Callable[..., Server]) -> None:
    server = start(network={"drain_timeout": 1.5})
    with SlowReader(server.port):
        sent = server.signal()
        wait_until(lambda: refuses_connections(server.port), "new connections are refused while the broker drains")
        assert server.process is not None
        assert server.process.poll() is None, "the broker did not wait for a client that still has replies to read"
        code, took = server.ended(sent)
    assert code == 0, f"exit code {code}:\n{server.errors.read_text()}"
    assert 1.4 < took < 4, f"with a drain_timeout of 1.5 s the broker took {took:.2f} s to end"
    closed = [record for record in server.records() if record["event"].startswith("connection closed before its client took all replies")]
    assert len(closed) == 1, f"the log does not tell of the client that lost replies: {server.records()}"


def test_a_client_that_reads_on_gets_all_its_replies_before_the_end(start: Callable[..., Server]) -> None:
    server = start(network={"drain_timeout": 60})
    with SlowReader(server.port) as slow:
        server.signal()
        wait_until(lambda: refuses_connections(server.port), "new connections are refused while the broker drains")
        lines = (slow.received + read_to_end(slow.socket)).splitlines()
    assert [json.loads(line)["count"] for line in lines] == [7, 7, 7], f"{len(lines)} replies came in the place of 3"
    code, took = server.ended(time.monotonic())
    assert code == 0, f"exit code {code}"
    assert took < 5, f"the last client was gone, and the broker took {took:.2f} s more to end"


def test_a_second_signal_does_no_harm(start: Callable[..., Server]) -> None:
    server = start(network={"drain_timeout": 1})
    with SlowReader(server.port):
        server.signal()
        wait_until(lambda: refuses_connections(server.port), "the broker drains")
        server.signal(signal.SIGINT)
        server.signal(signal.SIGTERM)
        code, _ = server.ended()
    assert code == 0, f"exit code {code} after several signals"
    assert "Traceback" not in server.errors.read_text(), f"an error in the log:\n{server.errors.read_text()}"


# Limits of connections


def test_a_connection_too_many_is_told_so_and_the_others_go_on(start: Callable[..., Server]) -> None:
    server = start(limits={"connections": 2})
    with connect(server) as first, connect(server) as second:
        first.publish("orders", b"one")
        second.done("L", "orders")
        for sent in (b"", b'{"operation":"L","queue":"orders"}', b'\n{"operation":"L","queue":"orders"}\n'):
            reply = json.loads(one_shot("127.0.0.1", server.port, sent))
            assert (reply["confirmation"], reply["code"]) == ("N", "limit"), f"the third connection gets {reply}"
            assert "2" in reply["error"], f"the error does not tell the limit: {reply['error']}"
        assert first.take("orders") == b"one", "the first connection is disturbed"
        second.done("L", "orders")
        first.close()

        def third_is_served() -> bool:
            with connect(server) as third:
                return bool(third.ask("L", "orders")["confirmation"] == "Y")

        wait_until(third_is_served, "a connection is let in when another has left")
        second.done("L", "orders")


def test_connections_that_are_turned_away_do_not_count(start: Callable[..., Server]) -> None:
    server = start(limits={"connections": 1})
    with connect(server) as only:
        only.done("L", "orders")
        crowd = [socket.create_connection(("127.0.0.1", server.port), START_TIMEOUT) for _ in range(20)]
        for one in crowd:
            assert b'"limit"' in read_to_end(one), "a connection too many is closed without a word"
        only.close()

        def next_is_served() -> bool:
            with connect(server) as client:
                return bool(client.ask("L", "orders")["confirmation"] == "Y")

        wait_until(next_is_served, "the next connection is let in, though those that were turned away are still open")
        for one in crowd:
            one.close()


# Requests that are not completed


def test_a_request_that_is_not_completed_in_time_closes_its_connection(start: Callable[..., Server]) -> None:
    timeout = 0.7
    server = start(network={"request_timeout": timeout})
    with connect(server) as idle, connect(server) as silent_in_lines, connect(server) as waiting:
        idle.done("L", "orders")
        waiting.send("S", "empty", wait=3 * timeout)
        began = time.monotonic()
        stuck: dict[str, socket.socket] = {}
        for name, sent in {
            "one that sends nothing": b"",
            "one that sends blanks": b"  ",
            "half a one-shot request": b'{"operation":"P","queue":"orders"',
            "half a line": b'\n{"operation":"P","queue":"orders"',
            "half a line behind a whole one": b'\n{"operation":"L","queue":"orders"}\n{"operation":"P"',
        }.items():
            stuck[name] = socket.create_connection(("127.0.0.1", server.port), START_TIMEOUT)
            stuck[name].sendall(sent)
        for name, connection in stuck.items():
            with connection:
                received = read_to_end(connection)
            took = time.monotonic() - began
            assert 0.9 * timeout < took < timeout + 5, f"{name} was closed after {took:.2f} s; the timeout is {timeout} s"
            assert received.count(b"\n") == name.count("whole"), f"{name} got {received!r}"
        idle.done("L", "orders")
        silent_in_lines.done("L", "orders")
        assert waiting.read()["count"] == 0, "a consumer that waits for longer than the timeout was not left in peace"


def test_a_request_that_comes_byte_by_byte_is_closed_too(start: Callable[..., Server]) -> None:
    timeout = 0.5
    server = start(network={"request_timeout": timeout})
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), START_TIMEOUT) as connection:
        connection.sendall(b'\n{"operation":"P","queue":"orders","payload":"')
        connection.settimeout(0.02)

        def closed() -> bool:
            try:
                connection.sendall(b"A")
                return connection.recv(1) == b""
            except TimeoutError:
                return False
            except OSError:
                return True

        wait_until(closed, "a connection that sends a byte now and then is closed")
    took = time.monotonic() - began
    assert took > 0.9 * timeout, f"the connection was closed after {took:.2f} s; the timeout is {timeout} s"
