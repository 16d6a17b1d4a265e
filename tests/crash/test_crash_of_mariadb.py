"""A database that is killed at random moments under load costs nothing that the broker acknowledged."""

from __future__ import annotations

from pathlib import Path

import pytest

import mariadb
from crash import mixes
from crash.harness import Plan
from crash.on_mariadb import on_killed_mariadb
from crash.traffic import Mix

KILLS = 5


@pytest.mark.timeout(240)
@pytest.mark.skipif(mariadb.MISSING is not None, reason=str(mariadb.MISSING))
@pytest.mark.parametrize(("seed", "mix"), [(31, mixes.LEASES), (32, mixes.ALL)], ids=["leases", "all"])
def test_nothing_is_lost_or_invented_or_delivered_twice_when_the_database_is_killed(tmp_path: Path, seed: int, mix: Mix) -> None:
    plan = Plan(mix, seed, KILLS, load=(0.2, 1.0))
    report = on_killed_mariadb(plan, tmp_path)
    assert not report.faults, f"{plan.replay('mariadb')}\n{report.told()}"
    assert report.figures["kills"] == KILLS, f"{plan}: there were {report}"
    assert report.figures["delivered"] > 100, f"{plan}: hardly anything came out: {report}"
