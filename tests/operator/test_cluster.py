"""The requests to the API server, as they go over HTTP, and what its answers are taken for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from kubernetes.client import ApiClient, Configuration

from gmq_operator import cluster as module
from gmq_operator.cache import SERVER
from gmq_operator.cluster import ClusterError, ConflictError, KubernetesCluster, RefusedError, UnreachableError, connection
from gmq_operator.metrics import Metrics
from gmq_operator.observed import CHILDREN, CONFIG_MAP, DEPLOYMENT, DISRUPTION_BUDGET, SECRET, SERVICE
from gmq_operator.spec import SpecError, parse

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """An API server that notes what it is asked, and answers as a test wants."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], str, Any]] = []
        self.answers: list[Any] = []
        self.metrics = Metrics()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        kind = request.headers.get("Content-Type", "")
        self.asked.append((request.method, request.path, dict(request.query), kind, json.loads(body) if body else None))
        answer = self.answers.pop(0) if self.answers else {}
        if callable(answer):
            result: web.StreamResponse = await answer(request)
            return result
        status, said = answer if isinstance(answer, tuple) else (200, answer)
        return web.Response(status=status, body=said) if isinstance(said, bytes) else web.json_response(said, status=status)


def play(scenario: Callable[[Server, KubernetesCluster], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        server = Server()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", server.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        configuration = Configuration()
        configuration.host = f"http://127.0.0.1:{runner.addresses[0][1]}"
        configuration.api_key["BearerToken"] = "Bearer secret"
        cluster = KubernetesCluster(ApiClient(connection(configuration)), server.metrics)
        try:
            await scenario(server, cluster)
        finally:
            cluster.close()
            await runner.cleanup()

    asyncio.run(all_of_it())


def named(name: str, **rest: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop", **rest}}


def failure(status: int, reason: str, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": status}


def test_children_are_applied_server_side_as_the_one_manager() -> None:
    async def scenario(server: Server, cluster: KubernetesCluster) -> None:
        server.answers = [named("orders", resourceVersion="7")]
        wanted = {"apiVersion": "apps/v1", "kind": "Deployment", **named("orders")}
        assert (await cluster.apply(DEPLOYMENT, wanted))["metadata"]["resourceVersion"] == "7"
        method, path, query, content, body = server.asked[0]
        assert (method, path) == ("PATCH", "/apis/apps/v1/namespaces/shop/deployments/orders")
        assert query == {"fieldManager": "gmq-operator", "force": "true"}
        assert content == "application/apply-patch+yaml"
        assert body == wanted

    play(scenario)


def test_a_status_is_applied_to_its_subresource() -> None:
    async def scenario(server: Server, cluster: KubernetesCluster) -> None:
        await cluster.apply(SERVER, {**named("orders"), "status": {}}, subresource="status")
        assert server.asked[0][1] == "/apis/gmq.io/v1beta1/namespaces/shop/gmqservers/orders/status"

    play(scenario)


def test_objects_are_created_got_and_deleted() -> None:
    async def scenario(server: Server, cluster: KubernetesCluster) -> None:
        server.answers = [(201, named("s")), named("c"), failure(404, "NotFound", "no such"), {}, failure(404, "NotFound", "no such")]
        await cluster.create(SECRET, named("s"))
        assert await cluster.get(CONFIG_MAP, "shop", "c") == named("c")
        assert await cluster.get(CONFIG_MAP, "shop", "c") is None
        await cluster.delete(SERVICE, "shop", "s", uid="1")
        await cluster.delete(SERVICE, "shop", "s", uid="1")
        assert [(method, path) for method, path, _, _, _ in server.asked] == [
            ("POST", "/api/v1/namespaces/shop/secrets"),
            ("GET", "/api/v1/namespaces/shop/configmaps/c"),
            ("GET", "/api/v1/namespaces/shop/configmaps/c"),
            ("DELETE", "/api/v1/namespaces/shop/services/s"),
            ("DELETE", "/api/v1/namespaces/shop/services/s"),
        ]
        assert server.asked[0][4] == named("s")
        assert server.asked[3][4]["preconditions"] == {"uid": "1"}, "another object of that name could be deleted"

    play(scenario)


def test_a_dry_run_creates_nothing() -> None:
    async def scenario(server: Server, cluster: KubernetesCluster) -> None:
        server.answers = [failure(409, "AlreadyExists", "there is one")]
        with pytest.raises(ConflictError):
            await cluster.create(SECRET, named("s"), dry_run=True)
        assert server.asked[0][2]["dryRun"] == "All"

    play(scenario)


def test_long_lists_are_read_page_by_page() -> None:
    async def scenario(server: Server, cluster: KubernetesCluster) -> None:
        server.answers = [
            {"metadata": {"resourceVersion": "9", "continue": "more"}, "items": [named("a")]},
            {"metadata": {"resourceVersion": "9"}, "items": [named("b")]},
        ]
        items, version = await cluster.list(DEPLOYMENT, None, labels="a=b")
        assert [(one["kind"], one["apiVersion"], one["metadata"]["name"]) for one in items] == [
            ("Deployment", "apps/v1", "a"),
            ("Deployment", "apps/v1", "b"),
        ]
        assert version == "9"
        assert server.asked[0][1] == "/apis/apps/v1/deployments"
        assert server.asked[0][2] == {"limit": "500", "labelSelector": "a=b"}
        assert server.asked[1][2]["continue"] == "more"

    play(scenario)


def test_one_object_that_is_nested_deeply_does_not_hide_the_others_of_a_list() -> None:
    async def scenario(server: Server, cluster: KubernetesCluster) -> None:
        deep = named("deep", labels={"text": '[[{"\\'}, resourceVersion="6")
        items = [{**deep, "spec": {"config": {"lists": "deep"}}}, named("orders", resourceVersion="7")]
        listing = json.dumps({"metadata": {"resourceVersion": "8"}, "items": items}).replace(
            '"deep"}}}', "[" * 20_000 + "]" * 20_000 + "}}}"
        )
        server.answers = [(200, listing.encode())]
        found = (await cluster.list(SERVER, None)).items
        assert [item["metadata"]["name"] for item in found] == ["deep", "orders"]
        assert found[0]["metadata"]["labels"] == deep["metadata"]["labels"]
        with pytest.raises(SpecError, match="levels deep"):
            parse({**found[0], "metadata": {**found[0]["metadata"], "uid": "u", "generation": 1}})

    play(scenario)


def test_a_list_whose_next_page_is_too_old_is_begun_anew() -> None:
    async def scenario(server: Server, cluster: KubernetesCluster) -> None:
        server.answers = [
            {"metadata": {"resourceVersion": "9", "continue": "more"}, "items": [named("a")]},
            failure(410, "Expired", "the continue parameter is too old"),
        ]
        with pytest.raises(UnreachableError):
            await cluster.list(DEPLOYMENT, "shop")

    play(scenario)


def test_kinds_that_the_cluster_lacks_are_found_out() -> None:
    async def scenario(server: Server, cluster: KubernetesCluster) -> None:
        async def answer(request: web.Request) -> web.Response:
            known = {"/api/v1": ["configmaps", "services", "persistentvolumeclaims"], "/apis/apps/v1": ["deployments", "deployments/scale"]}
            if request.path not in known:
                return web.json_response(failure(404, "NotFound", "no")[1], status=404)
            return web.json_response({"resources": [{"name": name} for name in known[request.path]]})

        server.answers = [answer] * 10
        served = await cluster.served(CHILDREN)
        assert DEPLOYMENT in served
        assert CONFIG_MAP in served
        assert DISRUPTION_BUDGET not in served
        assert len(served) == 4

    play(scenario)


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (failure(409, "AlreadyExists", "there is one"), ConflictError, "there is one"),
        (failure(403, "Forbidden", "the quota is used up"), RefusedError, "the quota is used up"),
        (failure(422, "Invalid", "spec.x: wrong"), RefusedError, "spec.x: wrong"),
        (failure(500, "InternalError", "failed calling webhook x: refused"), RefusedError, "webhook x"),
        (failure(500, "", 'failed to create typed patch object: .env[name="A"].value: expected string'), RefusedError, "expected string"),
        (
            failure(500, "", "failed to create typed patch object (shop/orders; v1, Kind=X): .a: field not declared"),
            RefusedError,
            "declared",
        ),
        (failure(500, "", "failed to convert new object to proper version: quantities must match"), RefusedError, "quantities"),
        (failure(500, "", "failed to convert new object (shop/a; v1, Kind=X) to proper version: cannot convert"), RefusedError, "convert"),
        (failure(500, "InternalError", "etcdserver: leader changed"), UnreachableError, "leader changed"),
        (failure(503, "ServiceUnavailable", "starting"), UnreachableError, "starting"),
        (failure(429, "TooManyRequests", "slow down"), UnreachableError, "slow down"),
        (failure(401, "Unauthorized", "Unauthorized"), UnreachableError, "Unauthorized"),
        ((502, b"<html>bad gateway</html>"), UnreachableError, "bad gateway"),
        ((200, b"no json"), UnreachableError, "no JSON"),
        ((404, b"[]"), RefusedError, "404"),
    ],
    ids=str,
)
def test_answers_are_told_apart(answer: Any, error: type[ClusterError], says: str) -> None:
    async def scenario(server: Server, cluster: KubernetesCluster) -> None:
        server.answers = [answer]
        with pytest.raises(error, match=says) as caught:
            await cluster.apply(CONFIG_MAP, named("c"))
        assert type(caught.value) is error
        counted = [
            sample.labels["result"]
            for family in server.metrics.registry.collect()
            for sample in family.samples
            if sample.name == "gmq_operator_api_requests_total"
        ]
        assert counted == ["unreachable" if error is UnreachableError else str(answer[0])]

    play(scenario)


def test_a_server_that_hangs_up_or_is_not_there_cannot_be_reached() -> None:
    async def hang_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    async def scenario(server: Server, cluster: KubernetesCluster) -> None:
        server.answers = [hang_up]
        with pytest.raises(UnreachableError):
            await cluster.get(CONFIG_MAP, "shop", "c")

    play(scenario)

    async def alone() -> None:
        configuration = Configuration()
        configuration.host = "http://127.0.0.1:1"
        with pytest.raises(UnreachableError, match="cannot be reached"):
            await KubernetesCluster(ApiClient(connection(configuration)), Metrics()).get(CONFIG_MAP, "shop", "c")

    asyncio.run(alone())


def test_a_server_that_does_not_answer_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_TIMEOUT", 0.2)

    async def scenario(server: Server, cluster: KubernetesCluster) -> None:
        async def never(_: web.Request) -> web.Response:
            await asyncio.sleep(3600)
            return web.Response()

        server.answers = [never]
        with pytest.raises(UnreachableError):
            await cluster.get(CONFIG_MAP, "shop", "c")

    play(scenario)


def test_names_are_no_paths() -> None:
    assert module.path(CONFIG_MAP, "shop", "../secrets") == "/api/v1/namespaces/shop/configmaps/..%2Fsecrets"
