"""A broker that is ended at random moments under load keeps what it promised."""

from __future__ import annotations

from pathlib import Path

import pytest

from crash import mixes
from crash.harness import FILESYSTEM, KilledBroker, Plan, StoppedBroker, run
from crash.traffic import Mix

KILLS = 30
STOPS = 8


def named(mix: Mix) -> str:
    return mix.name


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("seed", "mix"), list(enumerate(mixes.MIXES.values(), 1)), ids=mixes.MIXES)
def test_nothing_is_lost_or_invented_or_delivered_twice_when_the_broker_is_killed(tmp_path: Path, seed: int, mix: Mix) -> None:
    plan = Plan(mix, seed, KILLS)
    report = run(plan, KilledBroker(tmp_path, FILESYSTEM))
    assert not report.faults, f"{plan.replay()}\n{report.told()}"
    assert report.figures["kills"] >= KILLS, f"{plan}: there were {report}"
    assert min(report.figures["delivered"], report.figures["in doubt"]) > KILLS, f"{plan}: hardly anything was under way: {report}"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("mix", [mixes.PLAIN, mixes.ALL], ids=named)
def test_nothing_is_lost_or_delivered_twice_when_the_broker_is_stopped_and_started(tmp_path: Path, mix: Mix) -> None:
    plan = Plan(mix, 11, STOPS)
    report = run(plan, StoppedBroker(tmp_path, FILESYSTEM))
    assert not report.faults, f"{plan}, by SIGTERM\n{report.told()}"


@pytest.mark.parametrize("mix", [mixes.ALL], ids=named)
def test_the_storage_in_memory_keeps_its_promises_while_it_runs(tmp_path: Path, mix: Mix) -> None:
    plan = Plan(mix, 21, 0, load=(0.5, 0.5))
    report = run(plan, KilledBroker(tmp_path, {"type": "memory"}))
    assert not report.faults, f"{plan}, in memory\n{report.told()}"
    assert report.figures["delivered"] > 100, f"{plan}: hardly anything came out: {report}"
