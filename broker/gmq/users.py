"""Users from the configuration, from the files that it names, and from a folder that has a file for each."""

from __future__ import annotations

from collections.abc import Sequence
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


class Source(Struct, frozen=True):
    """A name or a secret: its `value`, or the file that has it, which the setting `place` names. Both are empty where there is none."""

    value: str = ""
    file: str = ""
    place: str = ""

    def __repr__(self) -> str:
        return f"Source(place={self.place!r})"  # never a secret

    def read(self, reading: Reading) -> str:
        """What it is now; empty, and told to `reading`, where its file cannot be used."""
        return read_secret(self.place, self.file, reading) if self.file else self.value


def source(place: str, value: str, file: str, reading: Reading) -> Source:
    """Where a text comes from. What is no regular file (a pipe, say) is read here, once."""
    path = Path(file)
    if file and path.exists() and not path.is_file():
        return Source(read_secret(place, file, reading))
    return Source(value, file, place)


class UserSource(Struct, frozen=True):
    """A user of the configuration; `place` is the setting that names it."""

    place: str
    name: Source
    password: Source
    token: Source = Source()
    rules: tuple[Rule, ...] = EVERYTHING

    def find(self, reading: Reading) -> User:
        """The user as its files are now; what is wrong with them is told to `reading`."""
        token = self.token.read(reading)
        if token and len(token) < SHORTEST_TOKEN:
            reading.problem(f"{self.place}.token", f"has {len(token)} characters; it must have at least {SHORTEST_TOKEN}")
        return _user(self.name.read(reading), self.password.read(reading), token, self.rules)


class UserSources(Struct, frozen=True):
    """Where users come from: the section `auth`, the list `users`, and a folder (empty without).

    It is true where there are such places, even if a folder has nobody in it yet.
    """

    login: UserSource | None = None
    listed: tuple[UserSource, ...] = ()
    folder: str = ""

    def __bool__(self) -> bool:
        return bool(self.login or self.listed or self.folder)

    @property
    def _configured(self) -> tuple[UserSource, ...]:
        return self.listed if self.login is None else (self.login, *self.listed)

    def files(self) -> list[str]:
        """The files that say who the users are; those of the folder that are there now, and the folder."""
        named = [source.file for one in self._configured for source in (one.name, one.password, one.token) if source.file]
        return [*named, *(files_of(self.folder) if self.folder else ())]

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
        for one in self._configured:
            user = one.find(reading)
            if user.name in users:
                reading.problem(f"{one.place}.name", f"is {quote(user.name)}, and so is another's; names are unique")
            users[user.name] = user
        try:
            others = in_folder(self.folder) if self.folder else ()
        except UsersError as error:
            others = ()
            for line in str(error).splitlines():
                reading.problem("auth.users_directory", f"is {quote(self.folder, LONGEST_PATH)}; {line}")
        for user in others:
            if user.name in users:
                reading.problem("auth.users_directory", f"has {quote(user.name)}, and so has the configuration; names are unique")
        return (*users.values(), *others)


def listed(settings: Sequence[UserSetting], reading: Reading) -> tuple[UserSource, ...]:
    """The users of the list `users`."""
    found: list[UserSource] = []
    for at, one in enumerate(settings):
        path = f"users[{at}]"
        for name, value, file in (("password", one.password, one.password_file), ("token", one.token, one.token_file)):
            if value and file:
                reading.problem(f"{path}.{name}_file", f"and {path}.{name} set the same secret; keep one of them")
        password = source(f"{path}.password_file", one.password, one.password_file, reading)
        token = source(f"{path}.token_file", one.token, one.token_file, reading)
        found.append(UserSource(path, Source(one.name), password, token, _rules(one, f"{path}.allow" in reading.given)))
    return tuple(found)


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
