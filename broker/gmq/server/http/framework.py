"""What the framework says of requests that it could not read or serve, as the broker's log has it."""

from __future__ import annotations

from typing import Any

import structlog
from aiohttp.http_exceptions import HttpProcessingError

log = structlog.get_logger()


class FrameworkLog:
    """In the place of the framework's logger, which would write what a client sent, its password perhaps, with a trace for each request.

    Clients that send what is not HTTP are no failures of the broker, and must not fill its log: they are told at the level debug.
    """

    def debug(self, text: str, *values: object, exc_info: object = None) -> None:
        """Something that happens, such as a client that went away."""
        log.debug(text % values, reason=type(exc_info).__name__ if isinstance(exc_info, BaseException) else None)

    def exception(self, text: str, *values: object, exc_info: Any = None) -> None:
        """A request that could not be read, or that failed in the framework."""
        if isinstance(exc_info, HttpProcessingError):
            log.debug("a request is not HTTP", peer=values[0] if values else None, status=exc_info.code, reason=type(exc_info).__name__)
        else:
            log.error(text % values, exc_info=exc_info)

    error = warning = exception
