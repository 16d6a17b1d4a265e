"""Makes docs/configuration.md from the settings' own definitions: `python -m gmq.docs [--check] FILE`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct, inspect

from gmq.config import (
    ANONYMOUS_VARIABLE,
    DEFAULT_FILE,
    MYSQL_PASSWORD_VARIABLE,
    MYSQL_USER_VARIABLE,
    ORIGINAL_LIMITS,
    PASSWORD_VARIABLE,
    PORT_VARIABLE,
    USER_VARIABLE,
)
from gmq.document import Setting, settings_of, struct_of
from gmq.settings import ORIGINAL_STORAGE, Settings

EXAMPLE = """\
{
  "auth": {"user_file": "/run/secrets/gmq/user/username", "password_file": "/run/secrets/gmq/user/password"},
  "network": {"port": 4567, "interface": "", "request_timeout": 10},
  "storage": {"type": "filesystem", "path": "/var/lib/gmq"},
  "limits": {"queues": 100, "message_size": 65536, "queue_messages": 100000, "memory": 1073741824},
  "policies": [
    {"name": "orders", "pattern": "orders.*", "max_deliveries": 5, "dead_letter": "orders.dead", "lease": 60},
    {"name": "default", "pattern": "*", "ttl": 86400, "expires": 604800}
  ],
  "log": {"level": "info", "format": "json"}
}
"""

_INTRODUCTION = f"""\
# Configuration

<!-- Made by `make docs` from the definitions in broker/gmq/settings.py: change those, not this page. -->

`gmqserver -f FILE` reads its settings from a file. Without `-f` it reads `{DEFAULT_FILE}` when that exists. With no file at all the
defaults below hold: the broker listens on the loopback addresses only, on port 4567, needs no authentication, and keeps its queues in
`./gmq-data`.

The file is one JSON object in UTF-8, with a member for each of the sections below. Every section and nearly every setting may be left
out; null means the same as leaving it out. Relative paths are relative to the working directory of the broker.

A bad file stops the start, before anything is opened: unknown keys, keys that are there twice, values of a wrong type or out of their
range, and settings that contradict each other. The broker tells all of them at once, a line for each: the file, the setting, what it
found, and what is allowed. (Text that is not JSON is told alone, with its line and column.)

    gmq.json: limits.queues is 0; it must be an integer from 1 to 1000000
    gmq.json: log.levle is not a setting (did you mean level?); log may have the keys path, level, format

`gmqserver --check-config FILE` says whether a file is good, and starts nothing. It reads the environment and the files with secrets as a
start would.

## A complete example

```json
{EXAMPLE}```

With it clients authenticate. A message of `orders.new` that was handed out five times and came back goes to `orders.dead`. A message of
any queue but the `orders.*` ones is dropped when nobody took it for a day.

## Secrets and the environment

With a user and a password the broker asks every client for them.

- The user comes from `auth.user`, `auth.user_file` or the environment variable `{USER_VARIABLE}`.
- The password comes from `auth.password_file`, `auth.password` or the environment variable `{PASSWORD_VARIABLE}`. Prefer a file that
  only the broker can read, such as a mounted Secret: the environment of a process shows up in more places.

The files are followed: a changed one takes effect while the broker runs, see [security](security.md#changes).

Set each of them in one place: two are an error, none outranks the other. A user without a password, or the reverse, is an error too. An
empty string counts as not set: an empty user with an empty password means no authentication.

The user and the password for the database of the storage `mysql` may come from `{MYSQL_USER_VARIABLE}` and
`{MYSQL_PASSWORD_VARIABLE}` in the same way. The files `mysql.user_file` and `mysql.password_file` are read again for each new connection.

`{PORT_VARIABLE}` is the port for HTTP, whatever `http.port` says: platforms that choose a port say it there.

All other environment variables that begin with `GMQ_` are ignored: Kubernetes makes some for a service of that name, such as
`GMQ_PORT=tcp://10.0.0.1:4567`.

Listening beyond loopback without authentication is refused, unless `auth.anonymous` or the environment variable
`{ANONYMOUS_VARIABLE}` is `true`; only one of them may be set. Without a section `http` HTTP is served on
loopback, and where its port is taken the broker says so and serves TCP alone; a listener that is asked for and cannot be had stops
the start.

Errors and logs never show a password or a data source name.

## Files of the original GMQ

A configuration file of the original GMQ, the program in Go, is accepted as it is. Its settings mean:
"""

_EXIT_CODES = """\
## Exit codes

| code | `gmqserver` | `gmqserver --check-config FILE` |
|---|---|---|
| 0 | stopped after SIGTERM or SIGINT: what was under way was finished | the file is good |
| 1 | could not start, for example because the port is taken, or failed | |
| 2 | the configuration or the command line is bad; standard error says where and why | the file is bad; standard error says where and why |
"""


def render() -> str:
    """The page, as Markdown."""
    sections = [_section(setting) for setting in settings_of(Settings)]
    return "\n".join([_INTRODUCTION, _original_names(), "## Settings\n", *sections, _EXIT_CODES])


def _original_names() -> str:
    names = [(f"`queue.{original}`", f"`limits.{name}`") for name, original in ORIGINAL_LIMITS.items()]
    types = ", ".join(f"{number} `{name}`" for number, name in ORIGINAL_STORAGE.items())
    rows = [
        *names,
        ("`queue.queue_type`", f"`storage.type`: {types}; one that this version does not have is refused"),
        ('`network.port` `""`', "port 4884"),
        ('`network.interface` `""`', "all addresses; without a user this needs `auth.anonymous`"),
        ("`filesystem.path`", "`storage.path`"),
        ("`database.dsn`", "the section `mysql`, with the hosts, credentials, TLS and timeouts of a Go data source name"),
    ]
    table = ["| original | here |", "|---|---|", *(f"| {original} | {here} |" for original, here in rows)]
    return "\n".join([*table, "", "What is set under both names is an error.", ""])


def _section(setting: Setting) -> str:
    kind, is_list = _struct_of(setting.type)
    shape = " A list of objects:" if is_list else ""
    head = ["| setting | type | default | range | meaning |", "|---|---|---|---|---|"]
    table = table_rows(setting.name + ("[]" if is_list else ""), kind)
    return "\n".join([f"### `{setting.name}`", "", f"{kind.__doc__}{shape}", "", *head, *table, ""])


def table_rows(section: str, kind: type[Struct], whole: Sequence[type[Struct]] = ()) -> list[str]:
    """The members of a section as rows of a table: member, type, default, range and meaning.

    The members of objects in it have rows too, but for objects of the kinds in `whole`.
    """
    found: list[str] = []
    for member in settings_of(kind):
        found.append(table_row(section, member))
        inner = struct_of(member.type)
        if inner is not None and inner not in whole:
            found += table_rows(f"{section}.{member.key}", inner, whole)
        elif isinstance(member.type, inspect.VarTupleType) and isinstance(member.type.item_type, inspect.StructType):
            found += table_rows(f"{section}.{member.key}[]", member.type.item_type.cls, whole)
    return found


def _struct_of(kind: inspect.Type) -> tuple[type[Struct], bool]:
    match kind:
        case inspect.StructType(cls=cls):
            return cls, False
        case inspect.VarTupleType(item_type=inspect.StructType(cls=cls)):
            return cls, True
    raise TypeError(f"a section cannot be of the type {kind}")


def table_row(section: str, setting: Setting) -> str:
    """One member as a row of such a table."""
    default = setting.default if " " in setting.default else f"`{setting.default}`"  # with blanks it is prose
    if not setting.default:
        default = "required" if setting.required else "not set"
    cells = [f"`{section}.{setting.key}`", setting.kind, default, setting.range, setting.description]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def keep(file: Path, text: str, *, check: bool, stale: str) -> bool:
    """Write a file that is made from definitions, or with `check` compare it; False, and `stale` on standard error, where it differs."""
    if not check:
        file.write_text(text, encoding="utf-8")
    elif not file.exists() or file.read_text(encoding="utf-8") != text:
        sys.stderr.write(f"{file} {stale}\n")
        return False
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or check the one that is there; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m gmq.docs", description="Makes docs/configuration.md from the settings' definitions.")
    parser.add_argument("file", type=Path, metavar="FILE", help="the page")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when the page is not what would be written")
    options = parser.parse_args(arguments)
    return 0 if keep(options.file, render(), check=options.check, stale="is not what the settings' definitions say: run `make docs`") else 1


if __name__ == "__main__":
    sys.exit(main())
