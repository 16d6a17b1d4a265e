"""How brokers get at their database: TLS, credentials, the original's data source name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mariadb
from broker_process import Broker
from certificates import Authority
from helpers_server import wait_until
from mariadb import PASSWORD, USER, MariaDb, SharedMariaDb, section
from ports import free_port
from wire import Wire

Start = Callable[..., Broker]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secure_mariadb(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    """A server that takes TLS connections only, and asks nobody but some users for a certificate."""
    certificate, key = authority.sign("server", MariaDb.host)
    options = [f"--ssl-ca={authority.file}", f"--ssl-cert={certificate}", f"--ssl-key={key}"]
    with mariadb.running(tmp_path_factory.mktemp("secure"), *options) as server:
        yield server


def works(broker: Broker) -> bool:
    with Wire(broker.host, broker.port) as wire:
        wire.publish("orders", b"x")
        return wire.take("orders") == b"x"


def reason(broker: Broker) -> str:
    """Why the broker's database does not serve."""
    with Wire(broker.host, broker.port) as wire:
        reply = wire.refused("P", "orders", payload="")
    assert reply["code"] == "unavailable"
    return str(reply["error"])


def test_tls_checks_the_servers_certificate_and_its_name(
    secure_mariadb: MariaDb, authority: Authority, tmp_path: Path, start_broker: Start
) -> None:
    database = secure_mariadb.create()
    secure_mariadb.sql(f"ALTER USER '{USER}'@'%' REQUIRE SSL")
    assert works(start_broker(section(secure_mariadb.port, database, tls={"ca": str(authority.file)})))
    assert works(start_broker(section(secure_mariadb.port, database, tls={"verify": "none"})))
    assert "denied" in reason(start_broker(section(secure_mariadb.port, database))), "that user must use TLS"
    assert "certificate" in reason(start_broker(section(secure_mariadb.port, database, tls={}))), "nobody knows this authority"
    stranger = Authority(tmp_path / "stranger", "another authority")
    assert "certificate" in reason(start_broker(section(secure_mariadb.port, database, tls={"ca": str(stranger.file)})))
    by_name = section(secure_mariadb.port, database, host="localhost", tls={"ca": str(authority.file)})
    assert "localhost" in reason(start_broker(by_name)), "the certificate is for an address, not for this name"
    by_name["mysql"]["tls"]["verify"] = "ca"
    assert works(start_broker(by_name))


def test_the_broker_shows_its_own_certificate(secure_mariadb: MariaDb, authority: Authority, start_broker: Start) -> None:
    database = secure_mariadb.create()
    secure_mariadb.sql(f"CREATE USER strict@'%' IDENTIFIED BY 'x' REQUIRE X509; GRANT ALL ON {database}.* TO strict@'%'")
    certificate, key = authority.sign("broker")
    access = {"user": "strict", "password": "x"}
    tls = {"ca": str(authority.file)}
    assert "denied" in reason(start_broker(section(secure_mariadb.port, database, **access, tls=tls)))
    with_certificate = {**tls, "certificate": str(certificate), "key": str(key)}
    assert works(start_broker(section(secure_mariadb.port, database, **access, tls=with_certificate)))


def test_a_changed_password_file_is_taken_up_without_a_restart(shared_mariadb: SharedMariaDb, tmp_path: Path, start_broker: Start) -> None:
    database = shared_mariadb.create()
    name = f"u{database[4:]}"
    shared_mariadb.sql(f"CREATE USER {name}@'%' IDENTIFIED BY 'old'; GRANT ALL ON {database}.* TO {name}@'%'")
    user_file, password_file = tmp_path / "user", tmp_path / "password"
    user_file.write_text(name + "\n")
    password_file.write_text("old")
    files: dict[str, Any] = {"user": None, "user_file": str(user_file), "password": None, "password_file": str(password_file)}
    broker = start_broker(section(shared_mariadb.port, database, **files))
    assert works(broker)
    shared_mariadb.sql(f"ALTER USER {name}@'%' IDENTIFIED BY 'new'")
    ids = shared_mariadb.sql(f"SELECT id FROM information_schema.processlist WHERE user = '{name}'")
    shared_mariadb.sql("; ".join(f"KILL {number}" for (number,) in ids))
    assert "denied" in reason(broker), "the password is wrong now"
    password_file.write_text("new\n")

    def serves() -> bool:
        with Wire(broker.host, broker.port) as wire:
            return wire.ask("P", "orders", payload="")["confirmation"] == "Y"

    wait_until(serves, "the broker takes up the new password")
    log = broker.log.read_text()
    assert "'old'" not in log
    assert "'new'" not in log


def test_a_server_on_this_machine_can_be_reached_through_its_socket(secure_mariadb: MariaDb, start_broker: Start) -> None:
    database = secure_mariadb.create()
    secure_mariadb.sql(f"CREATE USER local@localhost IDENTIFIED BY 'x'; GRANT ALL ON {database}.* TO local@localhost")
    access = {"host": secure_mariadb.socket, "user": "local", "password": "x"}
    assert works(start_broker(section(0, database, **access)))


def test_the_originals_configuration_with_its_data_source_name_works(shared_mariadb: SharedMariaDb, start_broker: Start) -> None:
    database = shared_mariadb.create()
    dsn = f"{USER}:{PASSWORD}@tcp({shared_mariadb.host}:{free_port()},{shared_mariadb.host}:{shared_mariadb.port})/{database}"
    broker = start_broker({"queue": {"queue_type": 2}, "database": {"vendor": "mysql", "dsn": f"{dsn}?charset=utf8mb4&timeout=2s"}})
    assert works(broker)
    assert PASSWORD not in broker.log.read_text()
    assert shared_mariadb.sql("SELECT name FROM gmq_queue", database) == [["orders"]]
