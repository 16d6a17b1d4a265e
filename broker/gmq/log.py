"""What the broker writes about itself: lines of JSON for machines, or readable ones on a terminal."""

import logging
import os
import sys
from pathlib import Path

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from gmq.config import ConfigError
from gmq.folder import FILE_MODE, make_folder
from gmq.validate import LONGEST_PATH, quote

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_HANDLER = "gmq"
_FIRST_KEYS = ("timestamp", "level", "event")


def configure(path: str, level: str, format: str) -> None:  # noqa: A002  # named as the setting is
    """Send what structlog and the standard library's loggers get to the file, or to standard error for an empty path.

    `level` and `format` are the values of `log.level` and `log.format`. May be called again: the last call counts.

    Raises:
        ConfigError: the file cannot be written.
    """
    handler = _file_handler(path) if path else logging.StreamHandler(sys.stderr)
    terminal = not path and sys.stderr.isatty()
    shared: list[Processor] = [structlog.stdlib.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]
    console = format == "console" or (format == "auto" and terminal)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(_console_processors(colors=terminal and not os.environ.get("NO_COLOR")) if console else _json_processors()),
            ],
        )
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *names: logging.getLogger(*(names or ("gmq",))),
    )
    _install(handler, LEVELS[level])


def _file_handler(path: str) -> logging.Handler:
    try:
        make_folder(Path(path).parent)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE))  # the handler would leave it to the umask
        return logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"log.path is {quote(path, LONGEST_PATH)}; it cannot be written: {reason}") from error


def _install(handler: logging.Handler, level: int) -> None:
    root = logging.getLogger()
    for former in [other for other in root.handlers if other.name == _HANDLER]:
        root.removeHandler(former)
        former.close()
    handler.name = _HANDLER
    root.addHandler(handler)
    root.setLevel(level)


def _json_processors() -> list[Processor]:
    return [
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
        _first_keys_first,
        structlog.processors.JSONRenderer(),
    ]


def _console_processors(*, colors: bool) -> list[Processor]:
    # Tracebacks as Python writes them: the default depends on which packages happen to be installed.
    return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)]


def _first_keys_first(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {**{key: event[key] for key in _FIRST_KEYS if key in event}, **event}
