"""The database that a configuration names: data source names, hosts, credentials."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gmq.config import ConfigError, parse
from gmq.database import Database, Host, Tls, parse_dsn


def test_a_data_source_name_of_the_original() -> None:
    database = parse_dsn("gmq:qm3ssageM3@(docker:3306)/gmq")
    assert (database.hosts, database.name, database.user, database.password) == ((Host("docker", 3306),), "gmq", "gmq", "qm3ssageM3")
    assert database.tls is None


@pytest.mark.parametrize(
    ("dsn", "hosts"),
    [
        ("u:p@tcp(db)/gmq", [Host("db", 3306)]),
        ("u:p@tcp(db-1:1,db-2:2)/gmq", [Host("db-1", 1), Host("db-2", 2)]),
        ("u:p@tcp([::1]:3307)/gmq", [Host("::1", 3307)]),
        ("u:p@tcp/gmq", [Host("127.0.0.1", 3306)]),
        ("u:p@/gmq", [Host("127.0.0.1", 3306)]),
        ("/gmq", [Host("127.0.0.1", 3306)]),
        ("u@unix(/run/mysqld/mysqld.sock)/gmq", [Host("/run/mysqld/mysqld.sock", 0)]),
    ],
)
def test_addresses(dsn: str, hosts: list[Host]) -> None:
    assert list(parse_dsn(dsn).hosts) == hosts


@pytest.mark.parametrize("password", ["p@ss", "p/a/s@s(", ":", "ü'\"\\", "a:b", "tcp(x:1)/y"])
def test_a_password_may_contain_what_separates(password: str) -> None:
    database = parse_dsn(f"user:{password}@tcp(db:1)/gmq?tls=true")
    assert (database.user, database.password, database.name) == ("user", password, "gmq")
    assert database.hosts == (Host("db", 1),)


def test_parameters() -> None:
    database = parse_dsn("u:p@tcp(db)/gmq?charset=utf8mb4&parseTime=true&tls=skip-verify&timeout=1m1.5s&readTimeout=500ms&loc=US%2FPacific")
    assert (database.tls, database.connect_timeout, database.statement_timeout) == (Tls(verify="none"), 61.5, 0.5)
    for yes, no in (("true", "false"), ("TRUE", "FALSE"), ("True", "False"), ("1", "0")):  # as Go's driver reads them
        assert parse_dsn(f"/gmq?tls={yes}").tls == Tls()
        assert parse_dsn(f"/gmq?tls={no}").tls is None


@pytest.mark.parametrize(("written", "name"), [("a+b", "a+b"), ("a%2Fb", "a/b"), ("a%20b", "a b"), ("50%", "50%")])
def test_a_databases_name_has_its_percent_escapes_read_and_keeps_its_plus(written: str, name: str) -> None:
    assert parse_dsn(f"u:p@tcp(db)/{written}").name == name, "the broker would use another database than Go's driver"


@pytest.mark.parametrize(
    "dsn",
    [
        "", "gmq", "secret:secret@tcp(db:3306)", "secret:secret@tcp(db:3306)/", "u:secret@udp(db)/gmq", "u:secret@tcp(db:0)/gmq",
        "u:secret@tcp(db:70000)/gmq", "u:secret@tcp(a b)/gmq", "u:secret@tcp(db)/gmq?timeout=secret", "u:secret@tcp(db)/gmq?sql_mode=ANSI",
        "u:secret@tcp(db)/gmq?tls=secret", "u:secret@tcp(db:3306/gmq", "u:secret@tcp(db,)/gmq",
    ],
)  # fmt: skip
def test_a_bad_data_source_name_is_refused_without_showing_it(dsn: str) -> None:
    with pytest.raises(ValueError, match=r"^(has|names) ") as refused:
        parse_dsn(dsn)
    assert "secret" not in str(refused.value)


def database_of(config: dict[str, object], **environ: str) -> Database:
    found = parse(json.dumps(config), environ, "gmq.json").database
    assert found is not None
    return found


def problems_of(config: dict[str, object], **environ: str) -> str:
    with pytest.raises(ConfigError) as refused:
        parse(json.dumps(config), environ, "gmq.json")
    return str(refused.value)


TYPE = {"storage": {"type": "mysql"}}


def test_the_section_mysql(tmp_path: Path) -> None:
    (tmp_path / "user").write_text("someone\n")
    mysql = {"hosts": ["db-1", "[::1]:3307"], "user_file": str(tmp_path / "user"), "password": "p", "tls": {"verify": "ca"}, "pool_size": 4}
    database = database_of({**TYPE, "mysql": mysql})
    assert database.hosts == (Host("db-1", 3306), Host("::1", 3307))
    assert database.credentials() == ("someone", "p")
    (tmp_path / "user").write_text("another")
    assert database.credentials() == ("another", "p"), "files are read each time"
    assert (database.tls, database.pool_size, database.name) == (Tls(verify="ca"), 4, "gmq")


def test_tls_is_used_when_its_section_is_there() -> None:
    assert database_of({**TYPE, "mysql": {"host": "db", "tls": {}}}).tls == Tls()
    assert database_of({**TYPE, "mysql": {"host": "db"}}).tls is None


def test_credentials_from_the_environment() -> None:
    variables = {"GMQ_MYSQL_USER": "someone", "GMQ_MYSQL_PASSWORD": "p"}
    assert database_of({**TYPE, "mysql": {"host": "db"}}, **variables).credentials() == ("someone", "p")
    assert database_of({"queue": {"queue_type": 2}, "database": {"dsn": "tcp(db)/gmq"}}, **variables).credentials() == ("someone", "p")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "mysql.host is missing"),
        ({"mysql": {"host": "a", "hosts": ["b"]}}, "mysql.host and mysql.hosts both"),
        ({"mysql": {"hosts": ["a"], "port": 1}}, "mysql.port is the port of mysql.host"),
        ({"mysql": {"hosts": ["a", "b c"]}}, "mysql.hosts[1] has a host"),
        ({"mysql": {"host": "a"}, "database": {"dsn": "/gmq"}}, "database.dsn and the section mysql both"),
        ({"mysql": {"host": "a", "password": "p", "password_file": "f"}}, "mysql.password and mysql.password_file set the same password"),
        (
            {"mysql": {"host": "a", "password_file": "/nowhere/secret"}},
            'mysql.password_file is "/nowhere/secret"; that file cannot be read',
        ),
        ({"mysql": {"host": "a", "database": ""}}, "mysql.database is empty"),
        ({"mysql": {"host": "a", "tls": {"key": "k"}}}, "mysql.tls.key is set"),
        ({"mysql": {"host": "a", "tls": {"verify": "maybe"}}}, 'mysql.tls.verify is "maybe"'),
        ({"database": {"vendor": "postgres", "dsn": "/gmq"}}, 'database.vendor is "postgres"'),
        ({"database": {"dsn": "secret"}}, "database.dsn has no slash"),
    ],
)
def test_bad_configurations_are_refused_with_their_path(config: dict[str, object], said: str) -> None:
    assert f"gmq.json: {said}" in problems_of({**TYPE, **config})


def test_no_password_is_ever_shown() -> None:
    database = database_of({**TYPE, "mysql": {"host": "db", "user": "u", "password": "hunter2"}})
    assert "hunter2" not in repr(database)
    assert "hunter2" not in problems_of({**TYPE, "mysql": {"host": "a b", "password": "hunter2"}})


def test_a_database_has_no_effect_with_another_storage() -> None:
    assert parse('{"storage": {"type": "memory"}, "mysql": {"host": "db"}}', {}, "gmq.json").database is None
    assert parse('{"storage": {"type": "memory"}, "database": {"dsn": "nonsense"}}', {}, "gmq.json").database is None
