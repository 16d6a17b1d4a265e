"""The users, taken up again when their files change."""

from __future__ import annotations

import asyncio

import structlog

from gmq.server.hub import Hub
from gmq.server.watch import Watch
from gmq.users import UsersError, UserSources

log = structlog.get_logger()


class Roll:
    """Keeps the users that the hub's authenticator knows as their files have them."""

    def __init__(self, sources: UserSources, hub: Hub) -> None:
        """Read the files.

        Raises:
            UsersError: one of them cannot be used.
        """
        self._sources = sources
        self._hub = hub
        self.watch = Watch(sources.files, self._changed)  # before they are read: what changes meanwhile is seen as a change
        hub.authenticator.reload(sources.read())

    async def _changed(self) -> None:
        try:
            users = await asyncio.to_thread(self._sources.read)
        except UsersError as error:  # a file may be half written
            log.error("the changed users cannot be used; the last ones stay", reason=str(error))  # noqa: TRY400  # it says all
            return
        self._hub.authenticator.reload(users)
        self._hub.expel()
        log.info("changed users are known", users=len(users))
