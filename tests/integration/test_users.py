"""Users in files that change while the broker runs, hashed passwords, and attempts that fail."""

from __future__ import annotations

import base64
import http.client
import json
import os
import pty
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from broker_process import SERVER, Broker
from gmq.server.watch import stamp
from helpers_server import environment, wait_until
from http_client import request
from wire import Wire, b64, one_shot

Start = Callable[..., Broker]


def mount(folder: Path, files: dict[str, str]) -> None:
    """Files as Kubernetes mounts a Secret: names that lead through a symbolic link, which is swapped."""
    folder.mkdir(exist_ok=True)
    version = folder / f"..{len(list(folder.iterdir()))}"
    version.mkdir()
    for name, text in files.items():
        (version / name).write_text(text)
    link = folder / "..new"
    link.symlink_to(version.name)
    link.rename(folder / "..data")
    for old in folder.iterdir():
        if old.name not in files and not old.name.startswith("."):
            old.unlink()
    for name in files:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")


def hashed(password: str) -> str:
    done = subprocess.run([SERVER, "hash-password"], input=f"{password}\n", capture_output=True, text=True, check=True, env=environment())
    return done.stdout.strip()


def login(broker: Broker, user: str, password: str) -> Wire:
    wire = Wire(broker.host, broker.port)
    wire.done("H", auth={"user": user, "password": password})
    return wire


def rule(right: str) -> str:
    return json.dumps({"password": "pw", "allow": [{"queues": ["orders"], "rights": [right]}]})


def test_changes_of_the_folder_hold_for_open_connections(start_broker: Start, tmp_path: Path) -> None:
    folder = tmp_path / "users"
    mount(folder, {"shop": rule("publish"), "gone": "pw", "root": "pw\n"})
    broker = start_broker({"auth": {"users_directory": str(folder)}})
    with login(broker, "shop", "pw") as shop, login(broker, "gone", "pw") as gone, login(broker, "root", "pw") as root:
        shop.publish("orders", b"x")
        assert shop.refused("S", "orders")["code"] == "forbidden"
        gone.send("S", "empty", wait=60)
        mount(folder, {"shop": rule("subscribe"), "root": "pw", "new": "pw"})
        wait_until(lambda: shop.ask("P", "orders", payload="").get("code") == "forbidden", "the new rules hold on an open connection")
        assert shop.take("orders") == b"x"
        assert gone.read()["code"] == "unauthorized", "a take that waits ends with the refusal"
        assert gone.ended(), "the connection of a user who is gone is ended"
        assert root.done("L", "orders")
        login(broker, "new", "pw").close()
        with Wire(broker.host, broker.port) as wire:
            assert wire.refused("H", auth={"user": "gone", "password": "pw"})["code"] == "unauthorized"
    mount(folder, {"shop": "{", "root": "pw"})
    wait_until(lambda: "the changed users cannot be used" in broker.log.read_text(), "the broker tells of the bad file")
    login(broker, "new", "pw").close()


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def is_let_in(broker: Broker, user: str, password: str) -> bool:
    with Wire(broker.host, broker.port) as wire:
        return wire.ask("H", auth={"user": user, "password": password})["confirmation"] == "Y"


def test_takes_that_wait_end_when_their_user_may_not_take_any_more(start_broker: Start, tmp_path: Path) -> None:
    folder = tmp_path / "users"
    users = {"gone": "pw", "shop": rule("subscribe"), "other": rule("subscribe")}
    mount(folder, users)
    broker = start_broker({"auth": {"users_directory": str(folder)}, "ops": {"enabled": True, "port": 0, "interface": "127.0.0.1"}})
    path = "/v1/queues/orders/take?wait=60"
    with (
        login(broker, "shop", "pw") as shop, login(broker, "other", "pw") as other, ThreadPoolExecutor(2) as threads,
        closing(http.client.HTTPConnection(broker.http, timeout=20)) as viewer,
    ):  # fmt: skip
        viewer.request("GET", "/events", headers=basic("gone", "pw"))
        events = viewer.getresponse()
        assert events.readline() == b"retry: 1000\n"
        over_http = [threads.submit(request, broker.http, "POST", path, headers=basic(user, "pw")) for user in ("gone", "shop")]
        shop.send("S", "orders", wait=60)
        shop.send("S", "orders", wait=60, tag="t")
        other.send("S", "orders", wait=60)
        wait_until(lambda: b"gmq_waiting_consumers 5.0" in request(broker.ops, "GET", "/metrics").body, "five takes wait")
        mount(folder, {"shop": rule("publish"), "other": users["other"]})
        gone, refused = (one.result(20) for one in over_http)
        assert (gone.status, gone.json["code"]) == (401, "unauthorized")
        assert gone.headers["WWW-Authenticate"].startswith("Basic")
        assert (refused.status, refused.json["code"]) == (403, "forbidden")
        assert {shop.read()["code"], shop.read()["code"]} == {"forbidden"}
        while events.readline():
            pass
        shop.publish("orders", b"x")
        assert other.read()["payload"] == b64(b"x"), "a take of a user whose rules are the same goes on"


def test_a_swapped_secret_with_the_user_and_the_password_is_taken_up(start_broker: Start, tmp_path: Path) -> None:
    secret = tmp_path / "user"
    mount(secret, {"username": "default_user_a", "password": "old\n"})
    files = {"user_file": str(secret / "username"), "password_file": str(secret / "password")}
    broker = start_broker({"auth": files})
    with login(broker, "default_user_a", "old") as one:
        one.publish("orders", b"x")
        mount(secret, {"username": "default_user_a", "password": "new\n"})
        wait_until(lambda: is_let_in(broker, "default_user_a", "new"), "the new password lets in")
        assert one.ended(), "a connection that was authenticated with the old password is ended"
    assert not is_let_in(broker, "default_user_a", "old")
    assert request(broker.http, "GET", "/v1/queues", headers=basic("default_user_a", "old")).status == 401
    assert request(broker.http, "GET", "/v1/queues", headers=basic("default_user_a", "new")).json["total"] == 1
    with login(broker, "default_user_a", "new") as one:
        mount(secret, {"username": "default_user_b", "password": hashed("new")})
        wait_until(lambda: is_let_in(broker, "default_user_b", "new"), "the new user is let in")
        assert one.ended(), "a connection of the user of before is ended"
    assert not is_let_in(broker, "default_user_a", "new")


def test_a_swapped_secret_that_cannot_be_used_changes_nothing(start_broker: Start, tmp_path: Path) -> None:
    secret = tmp_path / "user"
    mount(secret, {"username": "gmq", "password": "right"})
    broker = start_broker({"auth": {"user_file": str(secret / "username"), "password_file": str(secret / "password")}})
    with login(broker, "gmq", "right") as one:
        mount(secret, {"username": "gmq", "password": ""})
        wait_until(lambda: "the changed users cannot be used" in broker.log.read_text(), "the broker tells of the empty file")
        assert "that file is empty" in broker.log.read_text()
        assert one.done("L", "orders")
        assert is_let_in(broker, "gmq", "right")
        mount(secret, {"username": "gmq", "password": "right"})
        wait_until(lambda: "changed users are known" in broker.log.read_text(), "the broker tells that the files are good again")
        assert one.done("L", "orders"), "a connection whose user and password are what they were goes on"


def test_a_file_that_may_be_read_at_last_counts_as_changed(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("right")
    password.chmod(0o000)
    before = stamp([str(password)])

    def allowed() -> bool:
        password.chmod(0o400)
        return stamp([str(password)]) != before

    wait_until(allowed, "a file that the broker was not allowed to read is looked at when it is")


def test_changed_files_of_the_list_are_taken_up(start_broker: Start, tmp_path: Path) -> None:
    token, password = tmp_path / "token", tmp_path / "password"
    token.write_text("a-token-of-the-past")
    password.write_text("same")
    listed = {"name": "shop", "token_file": str(token), "password_file": str(password), "allow": [{"queues": ["a"], "rights": ["inspect"]}]}
    broker = start_broker({"users": [listed, {"name": "root", "password": "root"}]})

    def status(secret: str, queue: str = "a") -> int:
        return request(broker.http, "GET", f"/v1/queues/{queue}/messages", headers={"Authorization": f"Bearer {secret}"}).status

    with login(broker, "shop", "same") as shop, login(broker, "root", "root") as root:
        assert status("a-token-of-the-past") == 200
        token.write_text("a-token-of-today")
        wait_until(lambda: status("a-token-of-today") == 200, "the new token lets in")
        assert status("a-token-of-the-past") == 401
        assert status("a-token-of-today", "b") == 403, "the rules of the list still hold"
        assert shop.ended(), "who has another secret has to say again who it is"
        assert root.done("L", "a"), "another user's connection goes on"


def test_a_hashed_password_lets_in_over_every_way(start_broker: Start, tmp_path: Path) -> None:
    mount(tmp_path / "users", {"shop": hashed("pässword")})
    broker = start_broker({"auth": {"users_directory": str(tmp_path / "users")}})
    with login(broker, "shop", "pässword") as wire:
        assert wire.publish("orders", b"x") == 1
        # What follows a request whose password is being hashed waits for it, in its order.
        wire.send("P", "orders", payload="", auth={"user": "shop", "password": "pässword"})
        wire.send("L", "orders")
        assert wire.read()["id"] == 2
        assert wire.read()["payload"] == "2"
    sent = json.dumps({"operation": "L", "queue": "orders", "auth": {"user": "shop", "password": "pässword"}}).encode()
    assert json.loads(one_shot(broker.host, broker.port, sent))["payload"] == "2"
    assert request(broker.http, "GET", "/v1/queues", headers=basic("shop", "pässword")).json["total"] == 1


def test_one_shot_clients_do_not_pay_for_the_hash_each_time(start_broker: Start, tmp_path: Path) -> None:
    mount(tmp_path / "users", {"shop": hashed("secret")})
    broker = start_broker({"auth": {"users_directory": str(tmp_path / "users")}})
    sent = b'{"operation":"L","queue":"orders","auth":{"user":"shop","password":"secret"}}'
    times: list[float] = []
    for _ in range(30):
        began = time.perf_counter()
        assert b'"Y"' in one_shot(broker.host, broker.port, sent)
        times.append(time.perf_counter() - began)
    assert sorted(times[1:])[14] < times[0] / 2, f"each of them is hashed: {times}"


def test_attempts_that_fail_are_answered_late_and_counted_and_told_without_the_secret(start_broker: Start, tmp_path: Path) -> None:
    config = {"users": [{"name": "shop", "password": "right"}], "ops": {"enabled": True, "port": 0, "interface": "127.0.0.1"}}
    broker = start_broker(config)
    began = time.monotonic()
    for _ in range(3):
        with Wire(broker.host, broker.port) as wire:
            assert wire.refused("H", auth={"user": "shop", "password": "topsecret"})["code"] == "unauthorized"
            assert wire.refused("L", "orders")["code"] == "unauthorized"
    assert time.monotonic() - began >= 0.7, "attempts that fail are not slowed"
    with login(broker, "shop", "right") as wire:
        assert wire.done("L", "orders")
    log = broker.log.read_text()
    assert "authentication failed" in log
    assert "topsecret" not in log
    assert "gmq_authentication_failures_total 3.0" in request(broker.ops, "GET", "/metrics").body.decode()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"shop": ""}, "shop: must have a password, or its hash, on one line; or a JSON object"),
        ({"shop": "a\nb"}, "shop: must have a password, or its hash, on one line; or a JSON object"),
        ({"shop": '{"passwort": "x"}'}, "shop: passwort is not a setting (did you mean password?)"),
        ({"shop": '{"allow": [{"rights": ["read"]}]}'}, "shop: allow[0].rights is"),
        ({"shop": '{"token": "short"}'}, "shop: token has 5 characters; it must have at least 16"),
    ],
)
def test_files_that_cannot_be_used_are_named_before_the_start(tmp_path: Path, files: dict[str, str], said: str) -> None:
    mount(tmp_path / "users", files)
    file = tmp_path / "gmq.json"
    file.write_text(json.dumps({"auth": {"users_directory": str(tmp_path / "users")}}))
    checked = subprocess.run([SERVER, "--check-config", file], check=False, capture_output=True, text=True, timeout=60, env=environment())
    assert checked.returncode == 2
    assert said in checked.stderr


def test_hash_password_says_what_it_needs() -> None:
    done = subprocess.run([SERVER, "hash-password"], input="", capture_output=True, text=True, check=False, env=environment())
    assert (done.returncode, done.stdout) == (1, "")
    assert "the password is empty" in done.stderr
    odd = subprocess.run([SERVER, "hash-password"], input=b"secret\xff\n", capture_output=True, check=False, env=environment())
    assert (odd.returncode, odd.stdout, odd.stderr) == (1, b"", b"gmqserver: the password is not UTF-8\n")
    assert hashed("secret").startswith("$argon2id$")


def test_hash_password_asks_a_person_who_may_think_better_of_it() -> None:
    keyboard, terminal = pty.openpty()
    try:
        command = [SERVER, "hash-password"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=terminal, stdout=pipe, stderr=pipe, env=environment(), start_new_session=True) as asked:
            assert asked.stderr is not None
            talk = b""
            while b"password: " not in talk and (more := os.read(asked.stderr.fileno(), 1000)):
                talk += more
            os.write(keyboard, b"\x04")
            output, talk = asked.communicate(timeout=60)
    finally:
        os.close(keyboard)
        os.close(terminal)
    assert (asked.returncode, output, talk) == (1, b"", b"\ngmqserver: no password was given\n")
