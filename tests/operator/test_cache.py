"""The cache: by owner, and of two versions the newer one, in whichever order they come."""

from __future__ import annotations

from typing import Any

from gmq_operator.cache import REMEMBERED_DELETIONS, SERVER, Cache, Key
from gmq_operator.observed import CONFIG_MAP, DEPLOYMENT, POD

ORDERS = Key("shop", "orders")
BILLS = Key("shop", "bills")


def item(name: str, version: int, *, owner: str = "", instance: str = "", namespace: str = "shop", **rest: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": namespace, "resourceVersion": str(version), "uid": f"{name}-1"}
    if owner:
        metadata["ownerReferences"] = [{"apiVersion": "gmq.io/v1beta1", "kind": "GmqServer", "name": owner, "controller": True}]
    if instance:
        metadata["labels"] = {"app.kubernetes.io/instance": instance}
    return {"metadata": metadata, **rest}


def test_objects_are_found_by_their_server() -> None:
    cache = Cache()
    assert cache.put(SERVER, item("orders", 1)) == {ORDERS}
    assert cache.put(DEPLOYMENT, item("orders", 2, owner="orders")) == {ORDERS}
    assert cache.put(CONFIG_MAP, item("orders-config", 3, instance="orders")) == {ORDERS}
    assert cache.put(POD, item("orders-x", 4, instance="orders")) == {ORDERS}
    assert cache.put(CONFIG_MAP, item("another", 5)) == set()
    assert cache.servers() == [ORDERS]
    assert set(cache.children(ORDERS)) == {(DEPLOYMENT, "orders"), (CONFIG_MAP, "orders-config")}
    assert [pod["metadata"]["name"] for pod in cache.pods(ORDERS)] == ["orders-x"]
    assert cache.server(BILLS) is None
    assert not cache.children(BILLS)


def test_an_owner_counts_for_more_than_a_label() -> None:
    cache = Cache()
    assert cache.put(DEPLOYMENT, item("orders", 1, owner="orders", instance="bills")) == {ORDERS}


def test_an_object_that_changes_hands_concerns_both() -> None:
    cache = Cache()
    cache.put(CONFIG_MAP, item("c", 1, instance="orders"))
    assert cache.put(CONFIG_MAP, item("c", 2, instance="bills")) == {ORDERS, BILLS}
    assert not cache.children(ORDERS)
    assert cache.put(CONFIG_MAP, item("c", 3)) == {BILLS}
    assert len(cache) == 0


def test_news_that_are_older_than_what_is_known_change_nothing() -> None:
    cache = Cache()
    cache.put(DEPLOYMENT, item("orders", 10, owner="orders", spec=1))
    assert cache.put(DEPLOYMENT, item("orders", 9, owner="orders", spec=2)) == set()
    assert cache.put(DEPLOYMENT, item("orders", 10, owner="orders", spec=3)) == set()
    assert cache.drop(DEPLOYMENT, item("orders", 9, owner="orders")) == set()
    assert cache.children(ORDERS)[DEPLOYMENT, "orders"]["spec"] == 1


def test_versions_are_compared_as_numbers() -> None:
    cache = Cache()
    cache.put(DEPLOYMENT, item("orders", 9, owner="orders"))
    assert cache.put(DEPLOYMENT, item("orders", 10, owner="orders")) == {ORDERS}


def test_an_answer_to_a_write_that_comes_after_the_news_of_the_deletion_brings_nothing_back() -> None:
    cache = Cache()
    cache.put(DEPLOYMENT, item("orders", 10, owner="orders"))
    assert cache.drop(DEPLOYMENT, item("orders", 12, owner="orders")) == {ORDERS}
    assert cache.put(DEPLOYMENT, item("orders", 11, owner="orders")) == set()
    assert not cache.children(ORDERS)
    assert cache.put(DEPLOYMENT, item("orders", 13, owner="orders")) == {ORDERS}, "one that was made anew is not taken up"


def test_deletions_are_not_remembered_for_ever() -> None:
    cache = Cache()
    for number in range(2 * REMEMBERED_DELETIONS):
        cache.drop(DEPLOYMENT, item(f"d-{number}", number + 1, owner="orders"))
    assert cache.put(DEPLOYMENT, item("d-0", 1, owner="orders")) == {ORDERS}
    assert cache.put(DEPLOYMENT, item(f"d-{2 * REMEMBERED_DELETIONS - 1}", 1, owner="orders")) == set()


def test_a_list_tells_what_is_gone_and_what_is_new() -> None:
    cache = Cache()
    cache.put(SERVER, item("orders", 1))
    cache.put(SERVER, item("bills", 2))
    assert cache.replace(SERVER, None, [item("bills", 2), item("new", 5)], "6") == {ORDERS, Key("shop", "new")}
    assert set(cache.servers()) == {BILLS, Key("shop", "new")}


def test_a_list_does_not_take_away_what_was_made_after_it() -> None:
    cache = Cache()
    cache.put(SERVER, item("orders", 7))
    assert cache.replace(SERVER, None, [], "6") == set()
    assert cache.servers() == [ORDERS]


def test_a_list_of_one_namespace_or_kind_leaves_the_others_alone() -> None:
    cache = Cache()
    cache.put(SERVER, item("orders", 1))
    cache.put(SERVER, item("orders", 1, namespace="elsewhere"))
    cache.put(DEPLOYMENT, item("orders", 1, owner="orders"))
    assert cache.replace(SERVER, "shop", [], "9") == {ORDERS}
    assert cache.servers() == [Key("elsewhere", "orders")]
    assert cache.children(ORDERS)


def test_only_the_operators_own_managed_fields_are_kept() -> None:
    cache = Cache()
    given = item("orders", 1, owner="orders")
    given["metadata"]["managedFields"] = [{"manager": "kubectl"}, {"manager": "gmq-operator"}]
    cache.put(DEPLOYMENT, given)
    assert cache.children(ORDERS)[DEPLOYMENT, "orders"]["metadata"]["managedFields"] == [{"manager": "gmq-operator"}]
    assert len(given["metadata"]["managedFields"]) == 2, "what the watch told was changed"
