"""Crowds of clients that mean harm, in short; `make abuse ARGS=load` goes on for longer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from abuse.attackers import ATTACKS
from abuse.load import CONFIG, Client, attackers, enough_files, level, prepare, settled
from abuse.soak import soaked
from broker_process import Broker

pytestmark = pytest.mark.alone

SECONDS = 2.0
"""Of each measurement."""
P99 = 0.05
SLACK = 64 << 20
"""Bytes by which the broker may be larger afterwards: what its allocator keeps for the next crowd."""


SHARE = 0.25
"""Of its rate alone, that the client keeps at least. `make abuse ARGS=load` asks for half; here attackers, client and broker may
have two processors between them, and each attack lasts for seconds, so this shows a client that is starved."""
ROUNDS = 3
"""How often the client's share is measured where it is too small: others use the machine as well."""


@pytest.mark.parametrize("kind", ATTACKS)
def test_a_client_that_behaves_is_served_beside_those_that_do_not(start_broker: Callable[..., Broker], kind: str) -> None:
    if (reason := enough_files()) is not None:
        pytest.skip(reason)
    broker = start_broker(dict(CONFIG))
    prepare(broker)
    client = Client(broker)
    client.work(0.5)
    for _ in range(ROUNDS):
        alone = client.work(SECONDS)
        before = level(broker)
        with attackers(kind, broker) as crowd:
            crowd.ready()
            beside = client.work(SECONDS)
            during = level(broker)
            done = crowd.stop()
        after = settled(broker, before, SLACK)
        told = f"alone {alone}; beside {kind} {beside} ({done}); before {before}, during {during}, after {after}"
        print(told)  # noqa: T201  # shown where it fails
        assert after.files <= before.files, told
        assert after.memory <= before.memory + SLACK, told
        if beside.rate >= alone.rate * SHARE and beside.p99 < P99:
            break
    assert beside.rate >= alone.rate * SHARE, told
    assert beside.p99 < P99, told


def test_a_broker_at_work_stays_as_it_is(start_broker: Callable[..., Broker]) -> None:
    """Half a minute of what `make abuse ARGS=soak` does for two hours."""
    broker = start_broker({"storage": {"type": "filesystem"}})
    assert not soaked(broker, 30)
