"""TLS: to the broker's two listeners, with clients that are known by their certificates, and certificates that change."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gmq.tls
from broker_process import Broker
from certificates import Authority
from gmq.client import BlockingClient, ConnectionFailed, Tls
from gmq.tls import ServerTls, TlsError
from helpers_server import environment, wait_until

CLIENT = Path(sys.executable).parent / "gmqclient"
Start = Callable[..., Broker]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


def mounted(folder: Path, files: tuple[Path, Path]) -> dict[str, str]:
    """Certificate and key as Kubernetes mounts a Secret: names that lead through a symbolic link, which is swapped."""
    folder.mkdir(exist_ok=True)
    version = folder / f"..{len(list(folder.iterdir()))}"
    version.mkdir()
    for name, file in zip(("tls.crt", "tls.key"), files, strict=True):
        (version / name).write_bytes(file.read_bytes())
    link = folder / "..new"
    link.symlink_to(version.name)
    link.rename(folder / "..data")
    for name in ("tls.crt", "tls.key"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    return {"certificate": str(folder / "tls.crt"), "key": str(folder / "tls.key")}


def served_certificate(broker: Broker, authority: Authority) -> bytes:
    """The certificate that a new connection gets."""
    with (
        socket.create_connection((broker.host, broker.port), 20) as plain,
        ssl.create_default_context(cafile=str(authority.file)).wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        return secure.getpeercert(binary_form=True) or b""


def test_clients_speak_tls_and_check_who_the_broker_is(start_broker: Start, authority: Authority, tmp_path: Path) -> None:
    broker = start_broker({"tls": mounted(tmp_path / "tls", authority.sign("broker", "127.0.0.1")), "storage": {"type": "memory"}})
    with BlockingClient(broker.address, tls=Tls(ca=authority.file)) as client:
        client.publish("orders", "hello")
        taken = client.take("orders", lease=5)
        assert taken is not None
        assert taken.text == "hello"
    stranger = Authority(tmp_path / "stranger", "stranger")
    for tls, why in (
        (True, "not trusted"),
        (Tls(ca=stranger.file), "not trusted"),
        (Tls(ca=authority.file, server_name="other.example"), "not trusted"),
        (Tls(ca=tmp_path / "missing"), "no such file"),
    ):
        with pytest.raises(ConnectionFailed, match=why):
            BlockingClient(broker.address, tls=tls).__enter__()
    with BlockingClient(broker.address, tls=Tls(verify=False)) as client:
        assert client.length("orders") == 0


def test_gmqclient_speaks_tls(start_broker: Start, authority: Authority, tmp_path: Path) -> None:
    broker = start_broker({"tls": mounted(tmp_path / "tls", authority.sign("broker", "127.0.0.1"))})

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        variables = environment(GMQ_SERVER=broker.address)
        return subprocess.run([CLIENT, *arguments], check=False, capture_output=True, text=True, timeout=60, env=variables)

    assert run("publish", "orders", "hello", "--ca", authority.file).stdout == "1\n"
    assert run("subscribe", "orders", "--ca", authority.file).stdout == "hello\n"
    assert run("length", "orders", "--tls-insecure").stdout == "0\n"
    said = run("length", "orders", "--tls")
    assert (said.returncode, "certificate is not trusted" in said.stderr) == (1, True), said
    assert "TLS" in run("publish", "--help").stdout


def test_http_is_served_over_tls_and_not_in_the_clear(start_broker: Start, authority: Authority, tmp_path: Path) -> None:
    broker = start_broker({"tls": mounted(tmp_path / "tls", authority.sign("broker", "127.0.0.1"))})
    context = ssl.create_default_context(cafile=str(authority.file))
    connection = http.client.HTTPSConnection(broker.http, context=context, timeout=20)
    connection.request("GET", "/readyz")
    assert connection.getresponse().read() == b'{"status": "ready"}'
    connection.close()
    plain = http.client.HTTPConnection(broker.http, timeout=20)
    plain.request("GET", "/readyz")
    with pytest.raises((OSError, http.client.HTTPException)):
        plain.getresponse()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")  # it is here to be refused
def test_old_protocols_are_refused(start_broker: Start, authority: Authority, tmp_path: Path) -> None:
    broker = start_broker({"tls": mounted(tmp_path / "tls", authority.sign("broker", "127.0.0.1"))})
    for version, good in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = version
        context.maximum_version = version
        with socket.create_connection((broker.host, broker.port), 20) as plain:
            try:
                context.wrap_socket(plain).close()
                spoken = True
            except (ssl.SSLError, ConnectionError):
                spoken = False
        assert spoken is good, f"{version.name} is {'spoken' if spoken else 'refused'}"


def test_a_changed_certificate_is_taken_up_while_connections_stay(start_broker: Start, authority: Authority, tmp_path: Path) -> None:
    broker = start_broker({"tls": mounted(tmp_path / "tls", authority.sign("broker", "127.0.0.1"))})
    first = served_certificate(broker, authority)
    with BlockingClient(broker.address, tls=Tls(ca=authority.file)) as client:
        client.publish("orders", "before")
        # A key that does not belong to the certificate is not taken up, and spoils nothing.
        certificate, _ = authority.sign("broker", "127.0.0.1")
        wrong = certificate.read_bytes()
        _, key = authority.sign("other", "127.0.0.1")
        (tmp_path / "wrong.pem").write_bytes(wrong)
        mounted(tmp_path / "tls", (tmp_path / "wrong.pem", key))
        wait_until(lambda: "cannot be used; the last one stays" in broker.log.read_text(), "the broker tells of the bad certificate")
        assert served_certificate(broker, authority) == first
        mounted(tmp_path / "tls", authority.sign("broker", "127.0.0.1"))
        wait_until(lambda: served_certificate(broker, authority) != first, "the new certificate is served")
        assert client.length("orders") == 1, "the old connection lives on"
        assert "connection was lost" not in broker.log.read_text()


def test_a_client_is_known_by_its_certificate(start_broker: Start, authority: Authority, tmp_path: Path) -> None:
    clients = Authority(tmp_path / "clients", "clients")
    tls: dict[str, Any] = mounted(tmp_path / "tls", authority.sign("broker", "127.0.0.1"))
    broker = start_broker({"tls": {**tls, "client_ca": str(clients.file)}, "auth": {"user": "a", "password": "b"}})
    certificate, key = clients.sign("alice")
    known = Tls(ca=authority.file, certificate=certificate, key=key)
    with BlockingClient(broker.address, tls=known) as client:
        assert client.publish("orders", "hello") == 1, "no password is needed beside the certificate"
    other, other_key = authority.sign("mallory")
    strangers: dict[str, Tls | bool] = {
        "one without TLS": False,
        "a client's certificate": Tls(ca=authority.file),
        "the authority of the client's certificate": Tls(ca=authority.file, certificate=other, key=other_key),
    }
    for what, stranger in strangers.items():
        with pytest.raises(ConnectionFailed, match=what):
            BlockingClient(broker.address, user="a", password="b", tls=stranger).__enter__()
    context = ssl.create_default_context(cafile=str(authority.file))
    context.load_cert_chain(certificate, key)
    connection = http.client.HTTPSConnection(broker.http, context=context, timeout=20)
    connection.request("GET", "/nothing")
    assert connection.getresponse().status == 404, "HTTP asks for no password either"
    connection.close()


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_that_is_no_longer_accepted_cannot_resume_its_session(
    start_broker: Start, authority: Authority, tmp_path: Path, newest: ssl.TLSVersion
) -> None:
    accepted = tmp_path / "accepted.pem"
    accepted.write_bytes(authority.file.read_bytes())
    broker = start_broker({"tls": {**mounted(tmp_path / "tls", authority.sign("broker", "127.0.0.1")), "client_ca": str(accepted)}})
    context = ssl.create_default_context(cafile=str(authority.file))
    context.maximum_version = newest
    context.load_cert_chain(*authority.sign("alice"))

    def ask(session: ssl.SSLSession | None = None) -> tuple[bytes, ssl.SSLSession | None]:
        """A reply, which is empty to whom the broker does not accept, and the session."""
        try:
            with (
                socket.create_connection((broker.host, broker.port), 20) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as secure,
            ):
                secure.sendall(b'\n{"operation":"L","queue":"orders"}\n')
                return secure.recv(4096), secure.session
        except (ssl.SSLError, ConnectionError):
            return b"", None

    said, session = ask()
    assert bool(said) is (newest is ssl.TLSVersion.TLSv1_3), "with clients' certificates TLS 1.3 alone is spoken"
    accepted.write_bytes(Authority(tmp_path / "other", "other").file.read_bytes())
    wait_until(lambda: "a changed certificate is in use" in broker.log.read_text(), "the broker takes up the other authority")
    assert ask(session)[0] == b"", "an old session let in a client whose certificate is no longer accepted"
    assert ask()[0] == b""


def test_the_end_of_a_tls_connection_loses_no_request(start_broker: Start, authority: Authority, tmp_path: Path) -> None:
    broker = start_broker({"tls": mounted(tmp_path / "tls", authority.sign("broker", "127.0.0.1"))})
    context = ssl.create_default_context(cafile=str(authority.file))
    with (
        socket.create_connection((broker.host, broker.port), 20) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        secure.sendall(b'{"operation":"P","queue":"orders","payload":"aGVsbG8="}')
        assert b'"confirmation":"Y"' in b"".join(iter(lambda: secure.recv(4096), b"")), "a one-shot request is answered, and closed"
    with BlockingClient(broker.address, tls=Tls(ca=authority.file)) as client:
        assert client.length("orders") == 1


def test_clients_that_do_not_answer_the_end_of_their_tls_connection_do_not_hold_up_the_brokers(
    start_broker: Start, authority: Authority, tmp_path: Path
) -> None:
    files = mounted(tmp_path / "tls", authority.sign("broker", "127.0.0.1"))
    broker = start_broker({"tls": files, "storage": {"type": "memory"}, "network": {"drain_timeout": 60}})
    context = ssl.create_default_context(cafile=str(authority.file))
    with (
        socket.create_connection((broker.host, broker.port), 20) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as idle,
    ):
        idle.sendall(b'\n{"operation":"L","queue":"orders"}\n')
        assert b'"confirmation":"Y"' in idle.recv(4096)
        assert broker.stop(10) == 0
        assert b"connection closed before its client took all replies" not in broker.log.read_bytes()


def test_a_client_whose_handshake_ends_while_the_broker_drains_does_not_hold_up_the_end(
    start_broker: Start, authority: Authority, tmp_path: Path
) -> None:
    files = mounted(tmp_path / "tls", authority.sign("broker", "127.0.0.1"))
    broker = start_broker({"tls": files, "storage": {"type": "memory"}, "network": {"drain_timeout": 60}})
    assert broker.process is not None
    context = ssl.create_default_context(cafile=str(authority.file))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    late = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with (
        socket.create_connection((broker.host, broker.port), 20) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as busy,
        socket.create_connection((broker.host, broker.port), 20) as shaking,
    ):
        large = b'{"operation":"P","queue":"large","payload":"%b"}\n' % (b"AAAA" * 300_000)
        busy.sendall(b"\n" + large * 4 + b'{"operation":"K","queue":"large","count":4}\n' * 8)  # more than the system keeps on its way
        received = b""
        while received.count(b"\n") < 5:
            received += busy.recv(1 << 16)
        with pytest.raises(ssl.SSLWantReadError):
            late.do_handshake()
        shaking.sendall(outgoing.read())
        incoming.write(shaking.recv(1 << 16))
        broker.process.terminate()
        wait_until(lambda: b'"draining"' in broker.log.read_bytes(), "the broker drains")
        late.do_handshake()
        shaking.sendall(outgoing.read())
        received += b"".join(iter(lambda: busy.recv(1 << 20), b""))
        assert received.count(b"\n") == 12, "a client that reads on gets all its replies"
        assert broker.process.wait(10) == 0


@pytest.mark.parametrize(
    ("tls", "said"),
    [
        ({"key": "k"}, "tls.key is set, but no tls.certificate"),
        ({"client_ca": "k"}, "tls.client_ca is set, but no tls.certificate"),
        ({"certificate": "/missing.pem"}, 'tls.certificate is "/missing.pem"; it cannot be read: No such file or directory'),
        ({"certificate": os.devnull}, 'tls.certificate is "/dev/null"; it is no certificate in PEM with its key'),
    ],
)
def test_files_that_cannot_be_used_are_named_before_the_start(tmp_path: Path, tls: dict[str, str], said: str) -> None:
    file = tmp_path / "gmq.json"
    file.write_text(json.dumps({"tls": tls}))
    server = Path(sys.executable).parent / "gmqserver"
    checked = subprocess.run([server, "--check-config", file], check=False, capture_output=True, text=True, timeout=60, env=environment())
    assert checked.returncode == 2
    assert said in checked.stderr


@pytest.mark.parametrize("gone", ["key", "ca"])
def test_a_file_that_goes_while_it_is_read_is_told_as_one_that_is_missing(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    """Any other error would end the watching of the files."""
    certificate, key = authority.sign("broker", "127.0.0.1")
    files = ServerTls(str(certificate), str(key), str(authority.file))
    going = {"key": key, "ca": authority.file}[gone]
    look = gmq.tls._readable

    def look_and_lose(setting: str, file: str) -> None:
        look(setting, file)
        if file == str(going):
            going.unlink()

    monkeypatch.setattr(gmq.tls, "_readable", look_and_lose)
    with pytest.raises(TlsError, match=r"^tls\..* cannot be read: No such file or directory"):
        files.context()
