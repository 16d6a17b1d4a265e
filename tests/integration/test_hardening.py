"""What the broker needs of the machine it runs on, and what it keeps to itself."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from broker_process import SERVER
from certificates import Authority
from gmq.auth import Authenticator
from gmq.config import parse
from gmq.protocol import decode_line
from helpers_server import Server, environment, wait_until
from http_client import request
from mariadb import SharedMariaDb, section
from wire import Wire

STRANGER = 54_321
"""A user that is in no passwd file."""
FOR_ALL = stat.S_IRWXO
READ_ONLY = """
mount --make-rprivate / && mount --bind "$0" "$0" || exit 97
awk '{ print $5 }' /proc/self/mountinfo | while read -r point; do
    [ "$point" = "$0" ] || mount -o remount,bind,ro "$point" || exit 97
done
umask 0
exec "$@"
"""
"""Runs a command where nothing but one folder can be written to, and where what it makes is open to the world unless it says otherwise."""
AS_STRANGER = [
    "setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", "--no-new-privs", "--inh-caps=-all",
    "--bounding-set=-all", "--",
]  # fmt: skip


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may look into: those of pytest are the test's own."""
    folder = Path(tempfile.mkdtemp(prefix="gmq-hardening-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def server(open_folder: Path) -> Iterator[Server]:
    server = Server(open_folder)
    yield server
    server.kill()


def why_not(data: Path) -> str | None:
    """Why this machine cannot run the broker as a stranger on a disk that is read-only; None where it can."""
    if os.getuid() != 0:
        return "only root may run the broker as another user"
    if not (shutil.which("setpriv") and shutil.which("unshare")):
        return "setpriv and unshare (util-linux) are not installed"
    for command, problem in (
        (["unshare", "--mount", "sh", "-c", READ_ONLY, data, "true"], "this machine lets nobody make its disks read-only"),
        ([*AS_STRANGER, SERVER, "--version"], "another user may not read this Python"),
    ):
        if subprocess.run(command, capture_output=True, check=False, timeout=60).returncode != 0:
            return problem
    return None


def use(server: Server) -> None:
    """Enough for a checkpoint, which makes files of queues."""
    with Wire("127.0.0.1", server.port) as wire:
        for number in range(60):
            wire.publish(f"q{number % 3}", b"x" * (64 << 10))
        assert len(wire.lease("q0", count=3)) == 3
    assert request(server.http, "POST", "/v1/queues/http/messages", b"x").status == 201
    assert request(server.http, "GET", "/metrics").status == 200
    files = server.folder / "data" / "gmq" / "queues"
    wait_until(lambda: list(files.glob("*.queue")), "queues get files of their own")


def test_it_runs_as_any_user_and_writes_nowhere_but_into_its_data(server: Server) -> None:
    data = server.folder / "data"
    data.mkdir()
    if problem := why_not(data):
        pytest.skip(problem)
    os.chown(data, STRANGER, STRANGER)
    storage = {"path": "data/gmq", "segment_size": 1 << 20, "checkpoint_size": 1 << 20}
    file = server.write({"storage": storage})
    file.chmod(0o644)
    server.before = ["unshare", "--mount", "sh", "-c", READ_ONLY, data, *AS_STRANGER]
    for _ in range(2):  # made, and opened again
        server.start("-f", file, variables={"HOME": "/nonexistent", "TMPDIR": "/nonexistent"})
        assert server.process is not None
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines())
        assert set(status["Uid"].split()) == {str(STRANGER)}
        assert int(status["CapEff"], 16) == 0, "the broker has rights beyond those of any user"
        use(server)
        server.signal(signal.SIGTERM)
        assert server.ended()[0] == 0, server.errors.read_text()
    assert {record["level"] for record in server.records()} == {"info"}, server.errors.read_text()
    assert {path.name for path in server.folder.iterdir()} == {"data", "gmq.json"}
    made = [path for path in data.rglob("*") if path.stat().st_uid == STRANGER]
    assert len(made) > 5
    assert [path for path in made if path.stat().st_mode & FOR_ALL] == [], "others may do something with what the broker wrote"


def test_what_it_makes_is_nothing_to_the_world_whatever_the_umask(server: Server) -> None:
    server.before = ["sh", "-c", 'umask 0; exec "$0" "$@"']
    server.log = server.folder / "logs" / "of" / "gmq.log"
    storage = {"path": "data/gmq", "segment_size": 1 << 20, "checkpoint_size": 1 << 20}
    server.start_with({"storage": storage, "log": {"path": "logs/of/gmq.log"}})
    use(server)
    modes = {
        path: stat.S_IMODE(path.stat().st_mode)
        for name in ("data", "logs")
        for path in (server.folder / name, *(server.folder / name).rglob("*"))
    }
    for path, mode in modes.items():
        assert mode == (0o750 if path.is_dir() else 0o640), f"{path.relative_to(server.folder)} has the mode {mode:o}"
    assert {path.suffix for path in modes} >= {".journal", ".queue", ".log"}


# Secrets


PASSWORD = "the-clients'-s3cret-\u00fc"
MISTYPED = "the-clients'-s3krit"
OF_DATABASE = "the-database's-s3cret"
SECRETS = (PASSWORD, MISTYPED, OF_DATABASE)
AUTH = {"user": "bob", "password": PASSWORD}


def forms(secret: str) -> set[bytes]:
    """How a secret may be written."""
    plain = secret.encode()
    token = plain + bytes.fromhex("cf83e1357eefb8bd")  # how the original client's begins
    together = base64.b64encode(b"bob:" + plain)
    return {
        plain, json.dumps(secret)[1:-1].encode(), repr(secret)[1:-1].encode(), quote(secret).encode(), base64.b64encode(plain)[:-4],
        together[:-4],
        plain.hex().encode(), token.hex().encode(), token.hex().upper().encode(), plain.decode("latin-1").encode(),
    }  # fmt: skip


class Setup(NamedTuple):
    """A configuration whose secrets are in files, and what makes its database let the broker in no more."""

    config: dict[str, Any]
    lock_out: Callable[[], None] | None = None


@pytest.fixture(params=["filesystem", "mysql with files", "mysql with a data source name"])
def setup(request: pytest.FixtureRequest, server: Server) -> Setup:
    files = {"auth": server.folder / "auth-password", "mysql": server.folder / "mysql-password"}
    files["auth"].write_text(PASSWORD + "\n")
    files["mysql"].write_text(OF_DATABASE)
    auth = {"user": "bob", "password_file": str(files["auth"])}
    config: dict[str, Any] = {"auth": auth, "log": {"level": "debug"}, "ops": {"enabled": True, "port": 0}}
    if request.param == "filesystem":
        return Setup({**config, "storage": {"type": "filesystem"}})
    shared: SharedMariaDb = request.getfixturevalue("shared_mariadb")
    database = shared.create()
    user = f"h{database[4:]}"
    shared.sql(f"CREATE USER {user}@'%' IDENTIFIED BY \"{OF_DATABASE}\"; GRANT ALL ON {database}.* TO {user}@'%'")
    storage = section(shared.port, database, user=user, password=None, password_file=str(files["mysql"]))
    if request.param != "mysql with files":
        dsn = f"{user}:{OF_DATABASE}@tcp({shared.host}:{shared.port})/{database}"
        storage = {"storage": {"type": "mysql"}, "database": {"vendor": "mysql", "dsn": dsn}}

    def lock_out() -> None:
        shared.sql(f"ALTER USER {user}@'%' IDENTIFIED BY 'another'")
        ids = shared.sql(f"SELECT id FROM information_schema.processlist WHERE user = '{user}'")
        shared.sql("; ".join(f"KILL {number}" for (number,) in ids))

    return Setup({**config, **storage}, lock_out)


def test_no_secret_is_told_by_anything(server: Server, setup: Setup) -> None:
    server.start("-f", server.write(setup.config), variables={"PYTHONFAULTHANDLER": "1", "PYTHONASYNCIODEBUG": "1"})
    assert server.process is not None
    told = [*over_tcp(server), *over_http(server, "/metrics"), of_the_console(server)]
    what_is_not_http(server)
    ops = next(record["ops"][0] for record in server.records() if "ops" in record)
    told.append(request(ops, "GET", "/metrics").body)
    if setup.lock_out is not None:
        setup.lock_out()
        told += without_its_database(server)
    process = Path(f"/proc/{server.process.pid}")
    told += [(process / name).read_bytes() for name in ("cmdline", "environ", "comm")]
    server.process.send_signal(signal.SIGABRT)
    assert server.process.wait(20) == -signal.SIGABRT
    trace = server.errors.read_bytes()
    assert b"Fatal Python error: Aborted" in trace, "the broker did not crash as it should"
    told.append(trace)
    for secret in SECRETS:
        for form in forms(secret):
            for text in told:
                assert form not in text, f"{secret} is told: {text[max(0, text.index(form) - 200) :][:500]!r}"


def over_tcp(server: Server) -> list[bytes]:
    """What is said to clients that are known, unknown, and wrong about how to say who they are."""
    told = []
    with Wire("127.0.0.1", server.port) as wire:
        auth: Any
        for auth in (
            {"user": "bob", "password": MISTYPED}, {"user": PASSWORD, "password": "bob"}, {"user": "bob", "password": [PASSWORD]},
            PASSWORD, [PASSWORD],
            {"user": {"x": PASSWORD}}, {"pass": PASSWORD}, {**AUTH, "more": PASSWORD},
        ):  # fmt: skip
            for operation, queue, fields in (("H", None, {}), ("P", "q", {"payload": "?"}), ("I", "q", {"x": 1})):
                told.append(json.dumps(wire.ask(operation, queue, auth=auth, **fields), ensure_ascii=False).encode())
        for line in (f'{{"operation":"H","auth":{{"user":"bob","password":"{PASSWORD}"', f"H bob {PASSWORD}"):
            wire.socket.sendall(line.encode() + b"\n")
            told.append(json.dumps(wire.read(), ensure_ascii=False).encode())
        told.append(json.dumps(wire.done("H", auth=AUTH), ensure_ascii=False).encode())
        wire.publish("q", b"x")
        told += [json.dumps(wire.done(operation, "q"), ensure_ascii=False).encode() for operation in ("I", "K", "S")]
    return told


def over_http(server: Server, *more: str) -> list[bytes]:
    """What is said over HTTP. The requests go side by side, as the answers to wrong credentials are held back."""
    sent: list[tuple[str, str, str | None, str]] = []
    for password in (PASSWORD, MISTYPED):
        basic = base64.b64encode(f"bob:{password}".encode()).decode()
        for value in (f"Basic {basic}", f"Basic {basic[:-3]}", f"Bearer {basic}", f"Basic bob:{quote(password)}"):
            sent += [("GET", path, None, value) for path in ("/v1", "/v1/queues/nothing", "/docs", "/", *more)]
            sent.append(("POST", "/v1/queues/q/messages", json.dumps({"password": 1}), value))
        sent.append(("GET", "/v1?user=bob", None, f"Basic {basic}"))

    def say(one: tuple[str, str, str | None, str]) -> bytes:
        method, path, body, value = one
        reply = request(server.http, method, path, body, {"Authorization": value})
        return reply.body + str(reply.headers).encode()

    with ThreadPoolExecutor(len(sent)) as together:
        return list(together.map(say, sent))


def what_is_not_http(server: Server) -> None:
    """Send a password where it cannot be read; the reply may repeat to the client what it sent, the log may not."""
    basic = base64.b64encode(f"bob:{PASSWORD}".encode())
    host, _, port = server.http.rpartition(":")
    for fields in (b"Authorization: Basic %b\0" % basic, b"Authorization Basic %b" % basic, b"Authorization: Basic %b\r\nHost : x" % basic):
        with socket.create_connection((host, int(port)), 20) as connection:
            connection.sendall(b"GET /v1 HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % fields)
            line = connection.makefile("rb").readline()
        assert line.split()[1] == b"400", f"{fields!r} was answered {line!r}"


def of_the_console(server: Server) -> bytes:
    """The first event of the console's stream."""
    connection = http.client.HTTPConnection(server.http, timeout=20)
    basic = base64.b64encode(f"bob:{PASSWORD}".encode()).decode()
    connection.request("GET", "/events?queue=q", headers={"Authorization": f"Basic {basic}"})
    with connection.getresponse() as response:
        line = next(line for line in response if line.startswith(b"data: "))
    connection.close()
    return line


def without_its_database(server: Server) -> list[bytes]:
    """What is said when the database lets the broker in no more."""
    with Wire("127.0.0.1", server.port) as wire:
        wire.done("H", auth=AUTH)

        def refusal() -> str | None:
            reply = wire.ask("P", "q", payload="")
            return reply["error"] if reply.get("code") == "unavailable" and "denied" in reply["error"] else None

        error = wait_until(refusal, "the database lets the broker in no more")
    return [error.encode(), request(server.http, "GET", "/readyz").body]


def test_a_crash_names_no_secret_that_it_had_in_hand(tmp_path: Path) -> None:
    program = f"""
import logging, structlog
from gmq import log
log.configure("", "debug", FORMAT)
def hold(password):
    auth = {{"password": password}}
    return auth["missing"]
def crash():
    hold({PASSWORD!r})
for logger in (structlog.get_logger(), logging.getLogger("asyncio")):
    try:
        crash()
    except KeyError:
        logger.exception("it failed")
crash()
"""
    for style in ("json", "console"):
        file = tmp_path / f"crash-{style}.py"
        file.write_text(
            program.replace("FORMAT", repr(style)).replace(f"hold({PASSWORD!r})", f"hold(open({str(tmp_path / 'password')!r}).read())")
        )
        (tmp_path / "password").write_text(PASSWORD)
        done = subprocess.run([SERVER.parent / "python", file], capture_output=True, check=False, timeout=60)
        assert done.stderr.count(b"KeyError") >= 3, done.stderr
        assert b"s3cret" not in done.stderr, done.stderr


def test_what_holds_a_secret_does_not_show_it() -> None:
    dsn = f"gmq:{OF_DATABASE}@tcp(db)/gmq"
    document = {"auth": AUTH, "storage": {"type": "mysql"}, "database": {"vendor": "mysql", "dsn": dsn}}
    config = parse(json.dumps(document), {}, "gmq.json")
    request = decode_line(json.dumps({"operation": "H", "auth": AUTH}).encode(), 1000)
    users = config.users.read()
    for holder in (config, config.database, config.users, config.users.login, request, Authenticator(users), *users):
        assert "s3cret" not in f"{holder!r} {holder}"


def test_the_hardened_example_is_good(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "hardening.md").read_text()
    example = page.split("<!-- hardened -->\n```json\n")[1].split("```")[0]
    certificate, key = Authority(tmp_path / "ca").sign("broker")
    (tmp_path / "password").write_text(PASSWORD)
    for written, real in (("gmq-tls/tls.crt", certificate), ("gmq-tls/tls.key", key), ("gmq/password", tmp_path / "password")):
        assert example.count(f"/run/secrets/{written}") == 1
        example = example.replace(f"/run/secrets/{written}", str(real))
    (tmp_path / "gmq.json").write_text(example)
    done = subprocess.run(
        [SERVER, "--check-config", tmp_path / "gmq.json"], capture_output=True, text=True, check=False, timeout=60, env=environment()
    )
    assert done.returncode == 0, done.stderr
