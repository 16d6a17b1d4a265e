"""Users from the configuration, from the files that it names, and from a folder that has a file for each."""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path

from msgspec import Struct

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
    """A user's file cannot be used; the text has a line for each problem, which names the file or its setting."""


class Login(Struct, frozen=True):
    """The user of `auth`; each half is here or in a file, and the other of the two is empty."""

    user: str = ""
    user_file: str = ""
    password: str = ""
    password_file: str = ""

    def __repr__(self) -> str:
        return "Login()"  # never a secret


class UserSources(Struct, frozen=True):
    """Where users come from: the section `auth`, the list `users` with the rules of each, and a folder (empty without).

    It is true where there are such places, even if a folder has nobody in it yet.
    """

    login: Login | None = None
    listed: tuple[tuple[UserSetting, tuple[Rule, ...]], ...] = ()
    folder: str = ""

    def __bool__(self) -> bool:
        return bool(self.login or self.listed or self.folder)

    def __repr__(self) -> str:
        return f"UserSources(folder={self.folder!r})"  # never a secret

    def files(self) -> list[str]:
        """The files that say who the users are; those of the folder that are there now, and the folder."""
        of_login = [] if self.login is None else [self.login.user_file, self.login.password_file]
        of_list = [file for one, _ in self.listed for file in (one.password_file, one.token_file)]
        return [*(file for file in (*of_login, *of_list) if file), *(files_of(self.folder) if self.folder else ())]

    def read(self) -> tuple[User, ...]:
        """The users, as their files are now.

        Raises:
            UsersError: a file cannot be used.
        """
        reading = Reading()
        users = self.find(reading)
        if reading.problems:
            raise UsersError("\n".join(reading.problems))
        return users

    def find(self, reading: Reading) -> tuple[User, ...]:
        """The users; what is wrong with their files is told to `reading`."""
        users: dict[str, User] = {}
        if self.login is not None:
            name = self.login.user or read_secret("auth.user_file", self.login.user_file, reading)
            password = self.login.password or read_secret("auth.password_file", self.login.password_file, reading)
            users[name] = _user(name, password, "", EVERYTHING)
        for at, (one, rules) in enumerate(self.listed):
            path = f"users[{at}]"
            if one.name in users:
                reading.problem(f"{path}.name", f"is {quote(one.name)}, and so is another's; names are unique")
            password = _either(path, "password", one.password, one.password_file, reading)
            token = _either(path, "token", one.token, one.token_file, reading)
            if token and len(token) < SHORTEST_TOKEN:
                reading.problem(f"{path}.token", f"has {len(token)} characters; it must have at least {SHORTEST_TOKEN}")
            users[one.name] = _user(one.name, password, token, rules)
        try:
            others = in_folder(self.folder) if self.folder else ()
        except UsersError as error:
            reading.problem("auth.users_directory", f"is {quote(self.folder, LONGEST_PATH)}; {error}")
            others = ()
        for user in others:
            if user.name in users:
                reading.problem("auth.users_directory", f"has {quote(user.name)}, and so has the configuration; names are unique")
        return (*users.values(), *others)


def listed(settings: Sequence[UserSetting], given: Container[str]) -> tuple[tuple[UserSetting, tuple[Rule, ...]], ...]:
    """The users of the list with the rules of each; `given` tells which members the configuration sets."""
    return tuple((one, _rules(one, f"users[{at}].allow" in given)) for at, one in enumerate(settings))


def _either(path: str, name: str, value: str, file: str, reading: Reading) -> str:
    """A secret, from the configuration or from its file."""
    if not file:
        return value
    place = f"{path}.{name}_file"
    if value:
        reading.problem(place, f"and {path}.{name} set the same secret; keep one of them")
    return read_secret(place, file, reading)


def read_secret(place: str, file: str, reading: Reading) -> str:
    """The text of a file, less one newline at its end; `place` is the setting that names it. Empty where it cannot be used."""
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
        raise UsersError("there is no such folder")
    files = files_of(folder)[1:]
    if len(files) > MOST_USERS:
        raise UsersError(f"that folder has {len(files)} users; it may have up to {MOST_USERS}")
    users: list[User] = []
    problems: list[str] = []
    for file in files:
        try:
            users.append(_from_file(Path(file)))
        except ValueError as error:
            shown = file if file.isprintable() else quote(file, LONGEST_PATH)
            problems += [f"{shown}: {line}" for line in str(error).splitlines()]
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
    except ValueError as error:  # a NUL in the file's name
        raise ValueError(f"cannot be read: {error}") from error
    if len(data) > most:
        raise ValueError(f"has more than {most} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:  # whose text would tell a part of a secret
        raise ValueError("is not UTF-8") from None
