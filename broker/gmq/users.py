"""Users from the configuration, and from a folder that has a file for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gmq.access import EVERYTHING, Rule
from gmq.auth import User
from gmq.document import DocumentError, Object, Reading, decode
from gmq.settings import Secrets, UserSetting
from gmq.validate import LONGEST_PATH, quote

LONGEST_FILE = 64 << 10
"""Bytes of a file with a user's secrets and rules."""
LONGEST_SECRET = 4096
SHORTEST_TOKEN = 16
MOST_USERS = 10_000


class UsersError(Exception):
    """A user's file cannot be used; the text has a line for each problem, which names the file."""


def configured(settings: Sequence[UserSetting], reading: Reading) -> tuple[User, ...]:
    """The users in the configuration, with the secrets that their files have."""
    if not reading.sound("users"):
        return ()
    users: dict[str, User] = {}
    for at, one in enumerate(settings):
        path = f"users[{at}]"
        if one.name in users:
            reading.problem(f"{path}.name", f"is {quote(one.name)}, and so is another's; names are unique")
        password = _either(path, "password", one.password, one.password_file, reading)
        token = _either(path, "token", one.token, one.token_file, reading)
        if token and len(token) < SHORTEST_TOKEN:
            reading.problem(f"{path}.token", f"has {len(token)} characters; it must have at least {SHORTEST_TOKEN}")
        users[one.name] = _user(one.name, password, token, _rules(one, f"{path}.allow" in reading.given))
    return tuple(users.values())


def _either(path: str, name: str, value: str, file: str, reading: Reading) -> str:
    """A secret, from the configuration or from its file."""
    if not file:
        return value
    place = f"{path}.{name}_file"
    if value:
        reading.problem(place, f"and {path}.{name} set the same secret; keep one of them")
    try:
        secret = read_text(Path(file), LONGEST_SECRET).removesuffix("\n").removesuffix("\r")
    except ValueError as error:
        reading.problem(place, f"is {quote(file, LONGEST_PATH)}; that file {error}")
        return ""
    if not secret:
        reading.problem(place, f"is {quote(file, LONGEST_PATH)}; that file is empty")
    return secret


def _rules(secrets: Secrets, given: bool) -> tuple[Rule, ...]:  # noqa: FBT001  # whether there is a list of rules
    return tuple(Rule(rule.queues, rule.rights) for rule in secrets.allow) if given else EVERYTHING


def _user(name: str, password: str, token: str, rules: tuple[Rule, ...]) -> User:
    return User(name, (password,) if password else (), (token,) if token else (), rules)


def files_of(folder: str) -> list[str]:
    """The files of a folder that are users: those that are not hidden, as the links of a mounted Secret are; the folder itself first."""
    try:
        names = sorted(path.name for path in Path(folder).iterdir() if not path.name.startswith("."))
    except OSError:
        names = []
    return [folder, *(str(Path(folder) / name) for name in names)]


def in_folder(folder: str) -> tuple[User, ...]:
    """The users of a folder; the name of each is its file's.

    A file has a password (or its hash) on a line of its own, or a JSON object with `password`, `token` and `allow`.

    Raises:
        UsersError: the folder or one of the files cannot be used.
    """
    if not Path(folder).is_dir():
        raise UsersError(f"{folder}: there is no such folder")
    files = files_of(folder)[1:]
    if len(files) > MOST_USERS:
        raise UsersError(f"{folder}: has {len(files)} users; it may have up to {MOST_USERS}")
    users: list[User] = []
    problems: list[str] = []
    for file in files:
        try:
            users.append(_from_file(Path(file)))
        except ValueError as error:
            problems += [f"{file}: {line}" for line in str(error).splitlines()]
    if problems:
        raise UsersError("\n".join(problems))
    return tuple(users)


def _from_file(file: Path) -> User:
    text = read_text(file, LONGEST_FILE)
    if not text.lstrip().startswith("{"):
        password = text.removesuffix("\n").removesuffix("\r")
        if not password or "\n" in password:
            raise ValueError("must have a password, or its hash, on one line; or a JSON object")
        return _user(file.name, password, "", EVERYTHING)
    try:
        document = decode(text)
    except DocumentError as error:
        raise ValueError(str(error)) from error
    reading = Reading()
    secrets = reading.struct(Secrets, document if isinstance(document, Object) else Object([]))
    if secrets is not None and secrets.token and len(secrets.token) < SHORTEST_TOKEN:
        reading.problem("token", f"has {len(secrets.token)} characters; it must have at least {SHORTEST_TOKEN}")
    if reading.problems or secrets is None:
        raise ValueError("\n".join(str(problem) for problem in reading.problems))
    return _user(file.name, secrets.password, secrets.token, _rules(secrets, "allow" in reading.given))


def read_text(file: Path, most: int) -> str:
    """A file's text.

    Raises:
        ValueError: it cannot be read, has more than `most` bytes, or is not UTF-8; the text goes on after the file's name.
    """
    try:
        with file.open("rb") as stream:
            data = stream.read(most + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if len(data) > most:
        raise ValueError(f"has more than {most} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}") from error
