"""The watch, with the real kopf and an API server that is a few answers over HTTP."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes.config.kube_config
import pytest
from aiohttp import web

from gmq_operator.cache import SERVER
from gmq_operator.cli import read_deep_answers
from gmq_operator.handlers import Watch
from gmq_operator.observed import CONFIG_MAP, Kind
from gmq_operator.settings import Settings

PATIENCE = 30.0
KINDS = {"/api/v1": [CONFIG_MAP], "/apis/gmq.io/v1beta1": [SERVER]}


class ApiServer:
    """Lists what it has, and streams what a test puts into `news`; `asked` has the lists and watches of each kind."""

    def __init__(self) -> None:
        self.items: dict[str, list[dict[str, Any]]] = {"configmaps": [], "gmqservers": []}
        self.news: dict[str, asyncio.Queue[dict[str, Any] | None]] = {plural: asyncio.Queue() for plural in self.items}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.writes: list[str] = []
        self.paths: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        if request.method != "GET":
            self.writes.append(f"{request.method} {request.path}")
        if request.path == "/api":
            return web.json_response({"versions": ["v1"]})
        if request.path == "/apis":
            version = {"groupVersion": "gmq.io/v1beta1", "version": "v1beta1"}
            return web.json_response({"groups": [{"name": "gmq.io", "versions": [version], "preferredVersion": version}]})
        if request.path in KINDS:
            return web.json_response({"resources": [described(kind) for kind in KINDS[request.path]] + extras(request.path)})
        plural = request.path.rpartition("/")[2]
        if plural not in self.items:
            return web.json_response({}, status=404)
        query = dict(request.query)
        self.asked.append(("watch" if "watch" in query else "list", plural, query))
        if "watch" not in query:
            listing = self.text({"metadata": {"resourceVersion": "10"}, "items": self.items[plural]})
            return web.Response(text=listing, content_type="application/json")
        stream = web.StreamResponse()
        await stream.prepare(request)
        while (event := await self.news[plural].get()) is not None:
            await stream.write(self.text(event).encode() + b"\n")
        return stream

    def text(self, value: object) -> str:
        return json.dumps(value)


def described(kind: Kind) -> dict[str, Any]:
    names = {"name": kind.plural, "kind": kind.kind, "singularName": kind.kind.lower()}
    return {**names, "namespaced": True, "verbs": ["list", "watch", "patch"]}


def extras(path: str) -> list[dict[str, Any]]:
    """What kopf waits for before it begins."""
    namespaces = {"name": "namespaces", "kind": "Namespace", "singularName": "namespace", "namespaced": False, "verbs": ["list", "watch"]}
    return [namespaces] if path == "/api/v1" else []


class Heard:
    """What the watch told."""

    def __init__(self) -> None:
        self.events: list[tuple[Kind, str | None, str]] = []
        self.asked: list[Kind] = []

    def event(self, kind: Kind, change: str | None, item: Any) -> None:
        self.events.append((kind, change, item["metadata"]["name"]))

    def ask(self, kind: Kind) -> None:
        self.asked.append(kind)


async def until(condition: Callable[[], object], what: Callable[[], object]) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110  # what a test waits for happens in another thread
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"it does not come to that: {what()}") from None


def play(
    scenario: Callable[[ApiServer, Watch, Heard], Awaitable[None]],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    namespaces: tuple[str, ...] = (),
    prepare: Callable[[ApiServer], None] = lambda _: None,
) -> None:
    async def all_of_it() -> None:
        server, heard = ApiServer(), Heard()
        prepare(server)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", server.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        monkeypatch.setattr(kubernetes.config.kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", kubeconfig(folder, runner.addresses[0][1]))
        watch = Watch(Settings(image="gmq", namespaces=namespaces), [SERVER, CONFIG_MAP], heard.event, heard.ask)
        watch.start()
        try:
            await scenario(server, watch, heard)
        finally:
            begun = asyncio.get_running_loop().time()
            await watch.stop()
            took = asyncio.get_running_loop().time() - begun
            for news in server.news.values():
                news.put_nowait(None)
            await runner.cleanup()
        assert await watch.ended() is None
        assert took < 5, "the watch does not end when it is told to"
        assert not server.writes, "kopf writes to the cluster"

    asyncio.run(all_of_it())


def kubeconfig(folder: Path, port: int) -> str:
    parts = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    file = folder / "kubeconfig"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "c", **parts}))
    return str(file)


def item(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": str(version)}}


def test_what_is_there_and_what_happens_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(server: ApiServer, _: Watch, heard: Heard) -> None:
        await until(lambda: (SERVER, None, "orders") in heard.events, lambda: heard.events)
        for change in ("MODIFIED", "DELETED"):
            server.news["gmqservers"].put_nowait({"type": change, "object": item("orders", 11)})
            await until(lambda change=change: (SERVER, change, "orders") in heard.events, lambda: heard.events)  # type: ignore[misc]  # a lambda
        server.news["configmaps"].put_nowait({"type": "ADDED", "object": item("c", 12)})
        await until(lambda: (CONFIG_MAP, "ADDED", "c") in heard.events, lambda: heard.events)

    play(scenario, tmp_path, monkeypatch, prepare=lambda server: server.items["gmqservers"].append(item("orders", 5)))


def test_children_are_selected_by_label_and_gmqservers_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(server: ApiServer, _: Watch, heard: Heard) -> None:
        await until(lambda: sum(how == "watch" for how, _, _ in server.asked) == 2, lambda: server.asked)
        for _, plural, query in server.asked:
            wanted = None if plural == "gmqservers" else "app.kubernetes.io/managed-by=gmq-operator"
            assert query.get("labelSelector") == wanted

    play(scenario, tmp_path, monkeypatch)


def test_nothing_but_what_is_watched_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(server: ApiServer, _: Watch, heard: Heard) -> None:
        await until(lambda: sum(how == "watch" for how, _, _ in server.asked) == 2, lambda: server.asked)
        known = {"/api", "/apis", *KINDS}
        assert {path for path in server.paths if path not in known} == {
            "/api/v1/namespaces/shop/configmaps",
            "/apis/gmq.io/v1beta1/namespaces/shop/gmqservers",
        }, "rights would be needed for more than is said"

    play(scenario, tmp_path, monkeypatch, namespaces=("shop",))


def test_it_says_when_a_kind_is_about_to_be_listed_and_watched_also_where_there_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(server: ApiServer, _: Watch, heard: Heard) -> None:
        await until(lambda: heard.asked.count(CONFIG_MAP) >= 2 and heard.asked.count(SERVER) >= 2, lambda: heard.asked)
        before = heard.asked.count(CONFIG_MAP)
        gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}
        server.news["configmaps"].put_nowait(gone)
        await until(lambda: heard.asked.count(CONFIG_MAP) >= before + 2, lambda: (heard.asked, server.asked))
        lists = [plural for how, plural, _ in server.asked if how == "list"]
        assert lists.count("configmaps") == 2
        assert not heard.events

    play(scenario, tmp_path, monkeypatch)


@pytest.fixture
def deep_answers() -> Iterator[None]:
    limit, stack = sys.getrecursionlimit(), threading.stack_size()
    read_deep_answers()
    yield
    sys.setrecursionlimit(limit)
    threading.stack_size(stack)


@pytest.mark.usefixtures("deep_answers")
def test_objects_that_are_nested_as_deeply_as_an_api_server_takes_end_no_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that somebody made in a namespace of theirs would keep the operator from all the others."""
    monkeypatch.setattr(ApiServer, "text", lambda _, value: json.dumps(value).replace('"deep"', "[" * 9_990 + "]" * 9_990))
    deep = {**item("deep", 5), "spec": {"config": {"lists": "deep"}}}

    async def scenario(server: ApiServer, _: Watch, heard: Heard) -> None:
        await until(lambda: (SERVER, None, "listed") in heard.events, lambda: heard.events)
        server.news["gmqservers"].put_nowait({"type": "MODIFIED", "object": {**deep, **item("told", 11)}})
        await until(lambda: (SERVER, "MODIFIED", "told") in heard.events, lambda: heard.events)

    play(scenario, tmp_path, monkeypatch, prepare=lambda server: server.items["gmqservers"].append({**deep, **item("listed", 5)}))
