"""Makes the cluster have what a GmqServer asks for: one function, from what is there to what has to be done, again and again.

Nothing is remembered that the cluster does not know, but for when something was last tried: the operator may be killed at any moment,
and goes on where it was.
"""

import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import structlog
from msgspec import Struct

from gmq_operator.cache import SERVER, Cache, Key
from gmq_operator.claims import grown
from gmq_operator.cluster import Cluster, ClusterError, ConflictError, RefusedError
from gmq_operator.metrics import Metrics
from gmq_operator.observed import CLAIM, CONFIG_MAP, DEPLOYMENT, SECRET, Context, Kind, Object, Observed
from gmq_operator.ownership import PredecessorError, foreign, of_this_one
from gmq_operator.reports import post_events, warnings_of
from gmq_operator.resources import Child, default_user, default_user_name, desired, differs, emptied, prunable
from gmq_operator.spec import GmqServer, SpecError, parse
from gmq_operator.status import changed, compute, events, refused_switch
from gmq_operator.troubles import claim_goes, claim_waits, pods_wait, rolled_out, runs, trouble_age
from gmq_operator.turns import Turns

log = structlog.get_logger()

SECRET_PERIOD: Final = 590.0
"""Seconds between two attempts to create a generated user that may be there: the operator may not look. A little less than a resync."""
SECRET_PERIOD_IN_TROUBLE: Final = 10.0
"""The same while pods are not ready, which may be for want of that user."""
SOONEST_LOOK: Final = 5.0
LATEST_LOOK: Final = 60.0
"""Seconds until a server whose pods are in trouble is looked at again: what is told of them in Events is not watched."""


class Wait(NamedTuple):
    """Why a child is left as it is for now, as a sentence for the status, and the seconds until it is looked at again."""

    why: str
    seconds: float


PREDECESSOR: Final = Wait("What is left of a deleted GmqServer of this name has to go first.", 2.0)
TURN: Final = Wait(
    "A change that comes from the operator's upgrade waits: one server is restarted at a time, and another is not done.", 60.0
)
CLAIM_GOES: Final = Wait("Its pods are left alone: the claim is being deleted, and with a restart its messages would be gone.", 60.0)


class Made(Struct):
    """What came of the attempt to make the children as desired."""

    refused: dict[tuple[Kind, str], str] = {}
    waiting: dict[tuple[Kind, str], str] = {}
    again: float | None = None
    """Seconds until it should be looked at again."""

    def wait(self, kind: Kind, name: str, wait: Wait) -> None:
        self.waiting[kind, name] = wait.why
        self.again = _sooner(self.again, wait.seconds)


class UnfinishedError(Exception):
    """Not all of the children are as they should be; the status tells why, and it is tried again."""


class Reconciler:
    """Reconciles any GmqServer. `context` may be set anew when the cluster begins to serve a kind."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        context: Context,
        metrics: Metrics,
        wake: Callable[[Key], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.context = context
        self._cluster = cluster
        self._cache = cache
        self._metrics = metrics
        self._clock = clock
        self._turns = Turns(clock, wake)
        self._tried: dict[Key, tuple[str, float]] = {}
        """When the generated user was last tried to be created, and the uid of the server."""

    async def __call__(self, key: Key) -> float | None:
        """Reconcile one; the seconds until it should be looked at again though nothing happens.

        Raises:
            UnfinishedError: the API server refused a part.
            ClusterError: it could not be asked.
        """
        begun = self._clock()
        result = "error"
        try:
            result, again = await self._reconcile(key)
        except UnfinishedError:
            result = "refused"
            raise
        finally:
            self._metrics.reconciled(result, self._clock() - begun)
        return again

    async def _reconcile(self, key: Key) -> tuple[str, float | None]:
        body = self._cache.server(key)
        if body is None or "deletionTimestamp" in body["metadata"]:
            # Its children go by themselves, and none must be made while they do.
            self._turns.give_back(key)
            self._tried.pop(key, None)
            return "deleted", None
        try:
            server: GmqServer | SpecError = parse(body)
        except SpecError as error:
            server = error
        made = Made()
        result = "invalid"
        if isinstance(server, GmqServer):
            result = self._held(key, server, body)
            if result == "ok":
                made = await self._make(key, server, body)
        observed = await self._observe(key, server, body, made)
        await self._report(server, observed)
        if made.refused:
            raise UnfinishedError("; ".join(f"{kind.kind} {name}: {text}" for (kind, name), text in made.refused.items()))
        return result, None if result == "invalid" else _sooner(made.again, _next_look(observed))

    def _children(self, key: Key, body: Object) -> dict[tuple[Kind, str], Object]:
        """By kind and name, as last seen."""
        return of_this_one(body, self._cache.children(key))

    def _held(self, key: Key, server: GmqServer, body: Object) -> str:
        """Why the children are left as they are; ok where they are not."""
        if server.spec.paused:
            return "paused"
        seen = Observed(body=body, children=self._children(key, body))
        return "ok" if refused_switch(server, seen) is None else "invalid"

    async def _make(self, key: Key, server: GmqServer, body: Object) -> Made:
        """Create, apply and delete until the children are as desired."""
        made = Made()
        await self._make_user(key, server, made)
        children = self._children(key, body)
        for wanted in desired(server, self.context):
            kind = _kind(wanted, self.context)
            name = wanted["metadata"]["name"]
            if kind == DEPLOYMENT and any(of == CONFIG_MAP for of, _ in made.refused):
                continue  # pods would start with the old configuration, and take it for the new one
            try:
                if (wait := await self._make_child(key, server, body, kind, wanted, children.get((kind, name)))) is not None:
                    made.wait(kind, name, wait)
            except PredecessorError:
                made.wait(kind, name, PREDECESSOR)
                self._tried.pop(key, None)  # the user that is there may be the predecessor's, and about to go as well
            except ConflictError:
                raise
            except RefusedError as error:
                made.refused[kind, name] = str(error)
        await self._prune(key, server, body, made)
        return made

    async def _make_user(self, key: Key, server: GmqServer, made: Made) -> None:
        """Create the generated user unless it is there, which only the attempt shows: the operator may not read Secrets."""
        if server.spec.auth.mode != "Generated":
            return
        now = self._clock()
        period = SECRET_PERIOD_IN_TROUBLE if pods_wait(self._cache.pods(key)) else SECRET_PERIOD
        uid, tried = self._tried.get(key, ("", 0.0))
        if uid == server.uid and now - tried < period:
            return
        try:
            await self._cluster.create(SECRET, default_user(server, secrets.token_urlsafe(24)))
            log.info("created", key=str(key), kind=SECRET.kind, name=default_user_name(server))
        except ConflictError:
            pass  # it is there
        except RefusedError as error:
            made.refused[SECRET, default_user_name(server)] = str(error)
            return
        self._tried[key] = server.uid, now

    async def _make_child(self, key: Key, server: GmqServer, body: Object, kind: Kind, wanted: Child, live: Object | None) -> Wait | None:
        """Make one child as it is desired; the result is why it has to wait."""
        name = wanted["metadata"]["name"]
        if live is None:
            live = await self._cluster.get(kind, server.namespace, name)  # what is not labelled as the operator's is not watched
        if live is not None:
            if (why := foreign(server, live)) is not None:
                raise RefusedError(409, "AlreadyExists", why)
            if "deletionTimestamp" in live["metadata"]:
                return None  # its end is an event
            if kind == CLAIM:
                wanted = grown(wanted, live)
            if not differs(wanted, live):
                self._cache.put(kind, live)
                if kind == DEPLOYMENT and rolled_out(live):
                    self._turns.give_back(key)
                return None
            if kind == DEPLOYMENT and (wait := self._wait_to_restart(key, body, wanted, live)) is not None:
                log.info("waiting", key=str(key), kind=kind.kind, name=name, reason=wait.why)
                return wait
        made = await self._apply(kind, wanted, live)
        self._cache.put(kind, made)
        log.info("applied" if live is not None else "created", key=str(key), kind=kind.kind, name=name)
        return None

    async def _apply(self, kind: Kind, wanted: Child, live: Object | None) -> Object:
        """Apply a child; a Deployment by way of an emptied one where what server-side apply leaves behind is in its way."""
        try:
            return await self._cluster.apply(kind, wanted)
        except RefusedError as error:
            if kind != DEPLOYMENT or live is None or error.reason != "Invalid" or not await self._valid(kind, wanted):
                raise
        await self._cluster.apply(kind, emptied(wanted, live))
        return await self._cluster.apply(kind, wanted)

    async def _valid(self, kind: Kind, wanted: Child) -> bool:
        """Whether the API server would take an object if there were none of its name yet."""
        try:
            await self._cluster.create(kind, wanted, dry_run=True)
        except ConflictError:
            return True  # whether the name is taken is looked at last
        except RefusedError:
            return False
        return True

    def _wait_to_restart(self, key: Key, body: Object, wanted: Child, live: Object) -> Wait | None:
        """Why a Deployment whose pods run is not changed now.

        Without a change of the spec it is the operator that changed, and servers take turns. A claim that somebody deleted is there as long
        as a pod uses it; to scale to 0 is the way to let it go.
        """
        if not runs(live):
            return None
        if wanted["spec"]["replicas"] and claim_goes(self._children(key, body)):
            return CLAIM_GOES
        asked = (body.get("status") or {}).get("observedGeneration") != body["metadata"].get("generation")
        return None if asked or self._turns.take(key) else TURN

    async def _prune(self, key: Key, server: GmqServer, body: Object, made: Made) -> None:
        children = self._children(key, body)
        for kind, name in prunable(server, self.context, children):
            live = children[kind, name]
            if "deletionTimestamp" in live["metadata"]:
                continue
            try:
                await self._cluster.delete(kind, server.namespace, name, uid=live["metadata"]["uid"])
            except ConflictError:
                continue  # another one by now: the watch tells
            except RefusedError as error:
                made.refused[kind, name] = str(error)
            else:
                log.info("deleted", key=str(key), kind=kind.kind, name=name)

    async def _observe(self, key: Key, server: GmqServer | SpecError, body: Object, made: Made) -> Observed:
        children, pods = self._children(key, body), self._cache.pods(key)
        if isinstance(server, GmqServer) and server.spec.storage.type != "filesystem":
            # A claim that was left behind, which nothing uses: nobody waits for its volume.
            children = {place: child for place, child in children.items() if place[0] != CLAIM}
        warnings = await warnings_of(self._cluster, pods, children)
        return Observed(body=body, children=children, pods=pods, warnings=warnings, refused=made.refused, waiting=made.waiting)

    async def _report(self, server: GmqServer | SpecError, observed: Observed) -> None:
        """Write the status where it changed, and tell in Events what happened."""
        body = observed.body
        old: Mapping[str, Any] = body.get("status") or {}
        status = compute(server, self.context, observed, datetime.now(UTC))
        if not changed(old, status):
            return
        metadata = body["metadata"]
        written = {
            "apiVersion": SERVER.api_version,
            "kind": SERVER.kind,
            # With the uid: what is told of this one must not be written to another one that was created under its name.
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
            "status": status,
        }
        try:
            made = await self._cluster.apply(SERVER, written, subresource="status")
        except RefusedError as error:
            if error.status != 404:
                raise
            return  # deleted in the meantime
        self._cache.put(SERVER, made)
        try:
            await post_events(self._cluster, body, events(old, status))
        except ClusterError as error:
            log.warning("an Event could not be posted", key=f"{metadata['namespace']}/{metadata['name']}", reason=str(error))


def _kind(wanted: Child, context: Context) -> Kind:
    return next(kind for kind in context.served if (kind.api_version, kind.kind) == (wanted["apiVersion"], wanted["kind"]))


def _next_look(observed: Observed) -> float | None:
    """Seconds until something may have to be told of pods or a claim in trouble; the longer it lasts the later."""
    if not pods_wait(observed.pods) and not claim_waits(observed.children):
        return None
    return min(LATEST_LOOK, max(SOONEST_LOOK, trouble_age(observed.body, datetime.now(UTC)) / 4))


def _sooner(one: float | None, other: float | None) -> float | None:
    return min((value for value in (one, other) if value is not None), default=None)
