"""The configuration: where it comes from, and what it means."""

import json
import os
from pathlib import Path
from socket import AddressFamily
from threading import Thread

import msgspec
import pytest
from refusals import config, problem, problems

from gmq import cgroup
from gmq.config import Config, ConfigError, load
from gmq.message import Limits
from gmq.protocol import line_limit

DATA = Path(__file__).parent.parent / "data"


def credentials(loaded: Config) -> tuple[str, str] | None:
    """The first user and its password; None without users."""
    users = loaded.users.read()
    return (users[0].name, users[0].passwords[0]) if users else None


def test_the_originals_example_is_accepted_as_it_is():
    loaded = load(DATA / "original_config.json", {})
    assert (loaded.listen.interface, loaded.listen.port, loaded.listen.family) == ("0.0.0.0", 48844, AddressFamily.AF_INET)
    assert credentials(loaded) == ("gmqserver", "thisismyverysecureTCPserverpassword")
    assert loaded.storage_type == "memory"
    assert (loaded.limits.queues, loaded.limits.message_size, loaded.limits.queue_messages) == (32, 4096, 4096)
    assert loaded.log.path == "../log/gmqserver.log"


def test_the_originals_broken_file_is_refused_with_line_and_column():
    with pytest.raises(ConfigError) as refused:
        load(DATA / "original_broken_config.json", {})
    assert str(refused.value) == f"{DATA / 'original_broken_config.json'}: line 4, column 3: not JSON: Expecting ',' delimiter"


def test_the_originals_broken_file_with_its_comma_is_refused_for_its_queue_type():
    text = (DATA / "original_broken_config.json").read_text().replace('"4567"', '"4567",')
    assert 'queue.queue_type is [""]; it must be 1, 2 or 3' in problems(text)


@pytest.mark.parametrize(
    ("original", "limit"),
    [("max_queue_number", "queues"), ("max_message_length", "message_size"), ("max_queue_capacity", "queue_messages")],
)
def test_an_original_limit_means_the_new_one_and_both_together_are_refused(original, limit):
    assert getattr(config({"queue": {original: 77}}).limits, limit) == 77
    both = {"queue": {original: 77}, "limits": {limit: 77}}
    assert problem(both) == f"queue.{original} and limits.{limit} set the same limit; keep one of them"


def test_an_original_limit_beside_a_null_is_no_conflict():
    assert config({"queue": {"max_queue_number": 7}, "limits": {"queues": None}}).limits.queues == 7


def test_without_a_file_the_defaults_hold(tmp_path, monkeypatch):
    monkeypatch.setattr("gmq.config.DEFAULT_FILE", tmp_path / "gmq.json")
    loaded = load(None, {})
    assert (loaded.listen.interface, loaded.listen.port, loaded.listen.family) == ("localhost", 4567, AddressFamily.AF_UNSPEC)
    assert credentials(loaded) is None
    assert loaded.limits == msgspec.structs.replace(Limits(), memory=int(cgroup.memory() * 0.7), buffered=loaded.limits.buffered)
    assert loaded.limits.buffered == max(4 * line_limit(1 << 20), int(cgroup.memory() * 0.1))
    assert (loaded.request_timeout, loaded.write_timeout, loaded.idle_timeout, loaded.drain_timeout) == (30, 60, None, 10)
    assert (loaded.log.path, loaded.log.level, loaded.log.format) == ("", "info", "auto")


def test_the_default_file_is_read_when_it_exists(tmp_path, monkeypatch):
    monkeypatch.setattr("gmq.config.DEFAULT_FILE", tmp_path / "gmq.json")
    (tmp_path / "gmq.json").write_text('{"network": {"port": 1}}')
    assert load(None, {}).listen.port == 1


def test_a_named_file_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no\.json: there is no such file"):
        load(tmp_path / "no.json", {})


def test_a_folder_is_refused_as_a_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, {})


def test_bytes_that_are_not_utf8_are_refused_with_their_place(tmp_path):
    (tmp_path / "gmq.json").write_bytes(b'{"log": "\xff"}')
    with pytest.raises(ConfigError, match="is not UTF-8: byte 9 is 0xff"):
        load(tmp_path / "gmq.json", {})


def test_a_byte_order_mark_is_ignored(tmp_path):
    (tmp_path / "gmq.json").write_bytes(b'\xef\xbb\xbf{"network": {"port": 5}}')
    assert load(tmp_path / "gmq.json", {}).listen.port == 5


def test_the_password_may_come_from_a_file_less_one_newline(tmp_path):
    file = tmp_path / "password"
    for content, password in ((b"pass w\xc3\xb6rd\n", "pass wörd"), (b"x\r\n", "x"), (b"x\n\n", "x\n"), (b" x ", " x ")):
        file.write_bytes(content)
        assert credentials(config({"auth": {"user": "bob", "password_file": str(file)}})) == ("bob", password)


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_an_empty_password_file_is_refused(tmp_path, content):
    file = tmp_path / "password"
    file.write_bytes(content)
    assert problem({"auth": {"user": "bob", "password_file": str(file)}}) == f'auth.password_file is "{file}"; that file is empty'


@pytest.mark.parametrize(
    ("file", "reason"), [("/nonexistent/x", "No such file or directory"), ("/", "Is a directory"), ("/a\x00b", "embedded null byte")]
)
def test_a_password_file_that_cannot_be_read_is_refused(file, reason):
    said = problem({"auth": {"user": "bob", "password_file": file}})
    assert said == f"auth.password_file is {json.dumps(file)}; that file cannot be read: {reason}"


def test_a_password_file_that_is_not_text_or_too_long_is_refused(tmp_path):
    file = tmp_path / "password"
    file.write_bytes(b"\xff")
    assert "that file is not UTF-8" in problem({"auth": {"user": "bob", "password_file": str(file)}})
    file.write_bytes(b"x" * 4097)
    assert "has more than 4096 bytes" in problem({"auth": {"user": "bob", "password_file": str(file)}})


def test_the_users_name_may_come_from_a_file_less_one_newline(tmp_path):
    (tmp_path / "username").write_text("bob\n")
    (tmp_path / "password").write_text("secret\n")
    files = {"user_file": str(tmp_path / "username"), "password_file": str(tmp_path / "password")}
    assert credentials(config({"auth": files})) == ("bob", "secret")
    assert credentials(config({"auth": {"user_file": files["user_file"]}}, {"GMQ_AUTH_PASSWORD": "x"})) == ("bob", "x")
    assert credentials(config({"auth": {"user": "eve", "password_file": files["password_file"]}})) == ("eve", "secret")


def test_a_pipe_is_read_once(tmp_path):
    pipe = tmp_path / "password"
    os.mkfifo(pipe)
    writer = Thread(target=pipe.write_text, args=("secret\n",), daemon=True)
    writer.start()
    loaded = config({"auth": {"user": "bob", "password_file": str(pipe)}})
    assert credentials(loaded) == ("bob", "secret")
    assert loaded.users.files() == [], "a pipe is followed"
    writer.join(10)


@pytest.mark.parametrize(("content", "reason"), [("", "is empty"), ("\n", "is empty"), (None, "cannot be read: No such file or directory")])
def test_a_file_that_has_no_name_of_a_user_is_refused(tmp_path, content, reason):
    file = tmp_path / "username"
    if content is not None:
        file.write_text(content)
    said = problem({"auth": {"user_file": str(file), "password": "x"}})
    assert said == f'auth.user_file is "{file}"; that file {reason}'


def test_a_name_in_a_file_that_another_user_has_is_refused(tmp_path):
    (tmp_path / "username").write_text("bob")
    auth = {"user_file": str(tmp_path / "username"), "password": "x"}
    assert (
        problem({"auth": auth, "users": [{"name": "bob", "password": "y"}]})
        == 'users[0].name is "bob", and so is another\'s; names are unique'
    )
    folder = tmp_path / "users"
    folder.mkdir()
    (folder / "bob").write_text("y")
    assert 'has "bob", and so has the configuration' in problem({"auth": {**auth, "users_directory": str(folder)}})


def test_credentials_may_come_from_the_environment():
    environ = {"GMQ_AUTH_USER": "bob", "GMQ_AUTH_PASSWORD": "x"}
    assert credentials(config({}, environ)) == ("bob", "x")
    assert credentials(config({"auth": {"user": "eve"}}, {"GMQ_AUTH_PASSWORD": "x"})) == ("eve", "x")


def test_other_variables_are_ignored():
    environ = {"GMQ_PORT": "tcp://10.0.0.1:4567", "GMQ_SERVICE_HOST": "10.0.0.1", "GMQ_AUTH": "x", "GMQ_LIMITS_QUEUES": "1"}
    assert config({}, environ).listen == config().listen


@pytest.mark.parametrize(
    ("auth", "environ", "said"),
    [
        ({"user": "a", "password": "b"}, {"GMQ_AUTH_USER": "a"}, "auth.user and GMQ_AUTH_USER set the same user"),
        ({"user": "a", "user_file": "c", "password": "b"}, {}, "auth.user and auth.user_file set the same user"),
        ({"user_file": "c", "password": "b"}, {"GMQ_AUTH_USER": "a"}, "auth.user_file and GMQ_AUTH_USER set the same user"),
        ({"user_file": "c"}, {}, "auth.user_file is set, but no password"),
        ({"user": "a", "password": "b"}, {"GMQ_AUTH_PASSWORD": "b"}, "auth.password and GMQ_AUTH_PASSWORD set the same password"),
        ({"user": "a", "password": "b", "password_file": "c"}, {}, "auth.password and auth.password_file set the same password"),
        ({"user": "a", "password_file": "c"}, {"GMQ_AUTH_PASSWORD": "b"}, "auth.password_file and GMQ_AUTH_PASSWORD set the same password"),
        ({"user": "a"}, {}, "auth.user is set, but no password"),
        ({}, {"GMQ_AUTH_USER": "a"}, "GMQ_AUTH_USER is set, but no password"),
        ({"password": "b"}, {}, "auth.password is set, but no user"),
        ({"user": "", "password": "b"}, {"GMQ_AUTH_USER": ""}, "auth.password is set, but no user"),
        ({}, {"GMQ_AUTH_PASSWORD": "b"}, "GMQ_AUTH_PASSWORD is set, but no user"),
        ({}, {"GMQ_AUTH_USER": "a", "GMQ_AUTH_PASSWORD": "\udcff"}, "GMQ_AUTH_PASSWORD is not UTF-8"),
    ],
)
def test_credentials_set_twice_or_by_half_are_refused(auth, environ, said):
    ways_out = {
        "set the same user": "; keep one of them",
        "set the same password": "; keep one of them",
        "is set, but no password": ": set auth.password_file, auth.password or GMQ_AUTH_PASSWORD too",
        "is set, but no user": ": set auth.user, auth.user_file or GMQ_AUTH_USER too",
    }
    way_out = next((out for what, out in ways_out.items() if said.endswith(what)), "")
    assert problem({"auth": auth}, environ) == said + way_out


@pytest.mark.parametrize("environ", [{}, {"GMQ_AUTH_USER": "", "GMQ_AUTH_PASSWORD": ""}])
def test_an_empty_user_with_an_empty_password_means_no_authentication(environ):
    assert credentials(config({"auth": {"user": "", "password": ""}}, environ)) is None


@pytest.mark.parametrize(
    "document",
    [
        {"auth": {"user": 1, "password": ["s3cret"]}},
        {"auth": {"user": "a", "password": 53}},
        {"auth": "s3cret"},
        {"auth": ["a", "s3cret"]},
        {"database": {"dsn": ["user:s3cret@tcp(db)/gmq"]}},
        {"database": "user:s3cret@tcp(db)/gmq"},
        {"auth": {"user": "a", "pass": "s3cret"}},
        {"auth": {"user": "a", "password": "s3cret", "password_file": "x"}},
    ],
)
def test_error_texts_never_show_a_secret(document):
    said = "\n".join(problems(document))
    assert "s3cret" not in said, f"the secret is in the error text: {said}"
    assert "53" not in said, f"the secret is in the error text: {said}"


def test_a_printed_configuration_does_not_show_its_password():
    loaded = config({"auth": {"user": "a", "password": "s3cret"}})
    assert "s3cret" not in f"{loaded!r} {loaded}", "a logged configuration would show the password"


@pytest.mark.parametrize("document", [{"storage": {"type": "memory"}}, {"queue": {"queue_type": 1}}])
def test_messages_are_kept_in_memory_where_that_is_asked_for(document):
    assert config(document).storage_type == "memory"


@pytest.mark.parametrize(
    ("document", "folder"),
    [
        ({}, "gmq-data"),
        ({"storage": {}}, "gmq-data"),
        ({"storage": {"path": "/var/lib/gmq"}}, "/var/lib/gmq"),
        ({"storage": {"type": "filesystem", "path": "data"}}, "data"),
        ({"queue": {"queue_type": 3}}, "gmq-data"),
        ({"queue": {"queue_type": 3}, "filesystem": {"path": "../fs/"}}, "../fs"),
        ({"queue": {"queue_type": 3}, "filesystem": {"path": ""}}, "gmq-data"),
        ({"queue": {"queue_type": 3}, "storage": {"path": "data"}, "filesystem": {"path": ""}}, "data"),
        ({"storage": {"type": "filesystem"}, "filesystem": {"path": "fs"}}, "fs"),
    ],
)
def test_messages_are_kept_in_a_folder(document, folder):
    loaded = config(document)
    assert (loaded.storage_type, loaded.storage_path) == ("filesystem", Path(folder))
    assert (loaded.segment_size, loaded.checkpoint_size) == (16 << 20, 128 << 20)


def test_the_sizes_of_the_journal_may_be_set():
    loaded = config({"storage": {"segment_size": 1 << 20, "checkpoint_size": 64 << 30}})
    assert (loaded.segment_size, loaded.checkpoint_size) == (1 << 20, 64 << 30)


def test_the_folder_of_another_storage_is_no_error_so_that_switching_needs_one_change():
    loaded = config({"storage": {"type": "memory", "path": "data", "segment_size": 1 << 20, "checkpoint_size": 1 << 20}})
    assert loaded.storage_type == "memory"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"storage": {"type": "files"}}, 'storage.type is "files"; it must be "memory", "mysql" or "filesystem"'),
        ({"storage": {"path": ""}}, 'storage.path is ""; it must be a string of 1 to 4095 characters'),
        ({"storage": {"path": "a\0b"}}, 'storage.path is "a\\u0000b"; a path has no NUL in it'),
        ({"filesystem": {"path": "a\0b"}}, 'filesystem.path is "a\\u0000b"; a path has no NUL in it'),
        (
            {"storage": {"path": "a"}, "filesystem": {"path": "b"}},
            "filesystem.path and storage.path set the same folder; keep one of them",
        ),
        (
            {"storage": {"segment_size": (1 << 20) - 1}},
            "storage.segment_size is 1048575; it must be an integer from 1048576 to 1073741824 bytes",
        ),
        (
            {"storage": {"checkpoint_size": (64 << 30) + 1}},
            "storage.checkpoint_size is 68719476737; it must be an integer from 1048576 to 68719476736 bytes",
        ),
        (
            {"queue": {"queue_type": 1}, "storage": {"type": "memory"}},
            "queue.queue_type and storage.type both select the storage; keep one of them",
        ),
    ],
)
def test_a_storage_that_cannot_be_used_is_refused(document, said):
    assert problem(document) == said


def test_messages_may_take_most_of_the_memory_unless_the_limit_is_set(monkeypatch):
    monkeypatch.setattr("gmq.cgroup.memory", lambda: 1000)
    assert config().limits.memory == 700
    assert config({"limits": {"memory": 5000}}).limits.memory == 5000
