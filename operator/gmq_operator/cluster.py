"""The API server, as far as the operator needs it. Every request runs in one of a few threads and ends within a time limit."""

import asyncio
import re
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import quote

import msgspec
import urllib3
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config

from gmq_operator.metrics import Metrics
from gmq_operator.observed import Kind, Object
from gmq_operator.resources import MANAGER
from gmq_operator.trust import context_of

CONNECT_TIMEOUT: Final = 5.0
READ_TIMEOUT: Final = 20.0
THREADS: Final = 8
PAGE: Final = 500
"""Objects that a list asks for at once: the API server and the operator need memory for no more."""

DEEPEST: Final = 500
"""Levels of JSON that are left of an answer that cannot be read: more than any spec that is not refused."""
_NESTING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{\]}]')
"""What begins or ends objects and lists, and strings, in which the same means nothing."""

APPLY: Final = "application/apply-patch+yaml"
_JSON: Final = "application/json"


class ClusterError(Exception):
    """The API server was not reached, or did not do what it was asked for. The text is for people."""


class UnreachableError(ClusterError):
    """No answer, or one that says to come again: nothing is known of the request but that it may be tried again."""


class RefusedError(ClusterError):
    """The API server answered with an error.

    `status` is that of HTTP, `reason` Kubernetes' word for it, such as Invalid or Forbidden.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class ConflictError(RefusedError):
    """The object is not as it was when the request was made, or is there already: look again."""


class Listing(NamedTuple):
    """Objects, and the resource version of the whole list: none is there that was made later."""

    items: list[Object]
    version: str


class Cluster(Protocol):
    """What the operator asks of a cluster. All of it raises ClusterError."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """The object; None where there is none."""

    async def list(self, kind: Kind, namespace: str | None, *, labels: str = "", fields: str = "") -> Listing:
        """Every object that the selectors select, of one namespace or, with None, of all."""

    async def apply(self, kind: Kind, desired: Object, *, subresource: str = "") -> Object:
        """Apply an object server-side, as the one manager of its fields; the result is the object as it is now."""

    async def create(self, kind: Kind, body: Object, *, dry_run: bool = False) -> None:
        """Create an object, or with `dry_run` find out whether the API server would.

        Raises:
            ConflictError: there is one of that name, and nothing else is wrong.
        """

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> None:
        """Delete the object with that uid; its own children go after it. One that is not there is no error."""

    async def served(self, kinds: Sequence[Kind]) -> frozenset[Kind]:
        """Those of the kinds that the cluster has."""


def connect() -> ApiClient:
    """A client with what the pod has for it, or what a kubeconfig says.

    Raises:
        ClusterError: there is neither.
    """
    configuration = Configuration()
    try:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]  # the package has no types there
    except ConfigException:
        try:
            load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]  # as above
        except (ConfigException, OSError) as error:
            raise ClusterError(f"This is no pod with a service account, and no kubeconfig can be used: {error}") from error
    client = ApiClient(connection(configuration))
    client.rest_client.pool_manager.connection_pool_kw["ssl_context"] = context_of(configuration)
    return client


def connection(configuration: Configuration) -> Configuration:
    """A configuration with what is the same for every cluster."""
    configuration.retries = urllib3.Retry(0, redirect=0)  # whoever asks tries again, with a backoff
    configuration.connection_pool_maxsize = THREADS
    return configuration


class KubernetesCluster:
    """A cluster behind the `kubernetes` package's client."""

    def __init__(self, client: ApiClient, metrics: Metrics) -> None:
        self._client = client
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="api")

    def close(self) -> None:
        """Begin no more requests. Those under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        try:
            return await self._request("get", "GET", path(kind, namespace, name))
        except RefusedError as error:
            if error.status != 404:
                raise
            return None

    async def list(self, kind: Kind, namespace: str | None, *, labels: str = "", fields: str = "") -> Listing:
        query = {"limit": str(PAGE), "labelSelector": labels, "fieldSelector": fields}
        items: list[Object] = []
        while True:
            page = await self._request("list", "GET", path(kind, namespace), query=query)
            # Items of a list do not say what they are.
            items += [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in page.get("items") or ()]
            query["continue"] = page["metadata"].get("continue", "")
            if not query["continue"]:
                return Listing(items, page["metadata"].get("resourceVersion", ""))

    async def apply(self, kind: Kind, desired: Object, *, subresource: str = "") -> Object:
        metadata = desired["metadata"]
        where = path(kind, metadata["namespace"], metadata["name"], subresource)
        return await self._request("apply", "PATCH", where, query={"fieldManager": MANAGER, "force": "true"}, body=desired, content=APPLY)

    async def create(self, kind: Kind, body: Object, *, dry_run: bool = False) -> None:
        query = {"fieldManager": MANAGER, "dryRun": "All" if dry_run else ""}
        await self._request("create", "POST", path(kind, body["metadata"]["namespace"]), query=query, body=body)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> None:
        options = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        try:
            await self._request("delete", "DELETE", path(kind, namespace, name), body=options)
        except RefusedError as error:
            if error.status != 404:
                raise

    async def served(self, kinds: Sequence[Kind]) -> frozenset[Kind]:
        found: set[Kind] = set()
        for group, version in {(kind.group, kind.version): None for kind in kinds}:
            names = await self._names(group, version)
            found.update(kind for kind in kinds if (kind.group, kind.version) == (group, version) and kind.plural in names)
        return frozenset(found)

    async def _names(self, group: str, version: str) -> set[str]:
        try:
            answer = await self._request("discover", "GET", _root(group, version))
        except RefusedError as error:
            if error.status == 404:
                return set()
            raise
        return {resource["name"] for resource in answer.get("resources") or ()}

    async def _request(
        self,
        verb: str,
        method: str,
        where: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content: str = _JSON,
    ) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        try:
            answer = await loop.run_in_executor(self._threads, self._call, method, where, query or {}, body, content)
        except ClusterError as error:
            self._metrics.api_requests.labels(verb, str(error.status) if isinstance(error, RefusedError) else "unreachable").inc()
            raise
        self._metrics.api_requests.labels(verb, "ok").inc()
        return answer

    def _call(self, method: str, where: str, query: Mapping[str, str], body: Object | None, content: str) -> dict[str, Any]:
        """One request, in a thread."""
        headers = {"Accept": _JSON, "Content-Type": content, "User-Agent": MANAGER}
        try:
            _, url, sent, _, _ = self._client.param_serialize(
                method,
                where,
                query_params=[(key, value) for key, value in query.items() if value],
                header_params=headers,
                auth_settings=["BearerToken"],
            )
            # The client encodes JSON by itself, and lets bytes of other types through.
            data = body if body is None or content == _JSON else msgspec.json.encode(body)
            response = self._client.call_api(method, url, sent, data, _request_timeout=(CONNECT_TIMEOUT, READ_TIMEOUT))
            answer: bytes = response.read()  # type: ignore[no-untyped-call]  # as above
        except urllib3.exceptions.MaxRetryError as error:
            raise UnreachableError(f"The API server cannot be reached: {error.reason}") from error
        except (urllib3.exceptions.HTTPError, ApiException, ssl.SSLError, OSError) as error:
            raise UnreachableError(f"The API server cannot be reached: {error}") from error
        if not 200 <= response.status < 300:
            raise refusal(response.status, answer)
        try:
            result = _decoded(answer)
        except ValueError as error:
            raise UnreachableError(f"The API server's answer to {method} {where} is no JSON") from error
        return result if isinstance(result, dict) else {}


def _decoded(answer: bytes) -> Any:
    """The answer, without what in it is nested more deeply than can be read: one such object must not hide the others of a list."""
    try:
        return msgspec.json.decode(answer)
    except RecursionError:
        return msgspec.json.decode(_cut(answer))


def _cut(text: bytes) -> bytes:
    """The JSON with null in the place of what is nested too deeply."""
    kept: list[bytes] = []
    depth = at = 0
    for token in _NESTING.finditer(text):
        if token[0] in {b"[", b"{"}:
            depth += 1
            if depth == DEEPEST + 1:
                kept.append(text[at : token.start()])
        elif token[0] in {b"]", b"}"}:
            if depth == DEEPEST + 1:
                kept.append(b"null")
                at = token.end()
            depth -= 1
    return b"".join([*kept, text[at:]])


_REFUSALS = ("webhook", "failed to create typed patch object", "failed to convert new object")
"""What is in messages of the status 500 that are no trouble of the API server's own."""


def refusal(status: int, answer: bytes) -> ClusterError:
    """The error that an answer means."""
    try:
        said = msgspec.json.decode(answer)
    except ValueError:
        said = {"message": answer[:300].decode(errors="replace")}
    if not isinstance(said, dict):
        said = {}
    reason = str(said.get("reason") or "")
    message = str(said.get("message") or "") or f"HTTP status {status}"
    # 401: credentials that are being renewed; 410: a list that took too long to read. Somebody has to see that a webhook cannot be reached,
    # and that an object does not fit its kind, which 500 says as well.
    if status in {401, 410, 429} or (status >= 500 and not any(cause in message for cause in _REFUSALS)):
        return UnreachableError(f"The API server cannot serve now: {message}")
    return (ConflictError if status == 409 else RefusedError)(status, reason, message)


def path(kind: Kind, namespace: str | None, name: str = "", subresource: str = "") -> str:
    """The path of an object or, without a name, of a list."""
    parts = [_root(kind.group, kind.version), *(["namespaces", quote(namespace, safe="")] if namespace else []), kind.plural]
    return "/".join([*parts, *(quote(part, safe="") for part in (name, subresource) if part)])


def _root(group: str, version: str) -> str:
    return f"/apis/{group}/{version}" if group else f"/api/{version}"
