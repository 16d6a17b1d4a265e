"""The work queue: each key once, one worker for each, later and later while it fails. Time is the event loop's, and costs none."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from hypothesis import given
from hypothesis import strategies as st
from looptime import run

from gmq_operator.workqueue import FIRST_BACKOFF, LONGEST_BACKOFF, SETTLING, WorkQueue, backoff

WORKERS = 3
END = 3600.0


def now() -> float:
    return asyncio.get_running_loop().time()


class Worker:
    """Work that notes when it was done, and does what a test wants."""

    def __init__(self, do: Callable[[str], Awaitable[float | None]] | None = None) -> None:
        self.begun: list[tuple[str, float]] = []
        self.failures: list[tuple[str, str, int, float]] = []
        self.running: Counter[str] = Counter()
        self.most_running = 0
        self.doubled = False
        self._do = do
        self.queue: WorkQueue[str] = WorkQueue(self.work, self.failed, workers=WORKERS, random_share=lambda: 0.0)

    async def work(self, key: str) -> float | None:
        self.begun.append((key, now()))
        self.running[key] += 1
        self.doubled |= self.running[key] > 1
        self.most_running = max(self.most_running, self.running.total())
        try:
            return await self._do(key) if self._do is not None else None
        finally:
            self.running[key] -= 1

    def failed(self, key: str, error: Exception, failures: int, again: float) -> None:
        self.failures.append((key, str(error), failures, again))

    def times(self, key: str) -> list[float]:
        return [when for which, when in self.begun if which == key]


def scenario(play: Callable[[Worker], Awaitable[None]], do: Callable[[str], Awaitable[float | None]] | None = None) -> Worker:
    """Play with a queue that runs; the worker tells what came of it."""
    made: list[Worker] = []

    async def all_of_it() -> None:
        worker = Worker(do)
        made.append(worker)
        worker.queue.start()
        await play(worker)
        await worker.queue.stop()

    run(all_of_it)
    return made[0]


def test_a_key_that_is_added_often_is_worked_on_once() -> None:
    async def play(worker: Worker) -> None:
        for _ in range(100):
            worker.queue.add("a")
        await asyncio.sleep(END)

    assert len(scenario(play).begun) == 1


def test_a_key_is_worked_on_soon() -> None:
    async def play(worker: Worker) -> None:
        begun = now()
        worker.queue.add("a")
        await asyncio.sleep(END)
        assert worker.times("a")[0] - begun < 2 * SETTLING

    scenario(play)


def test_keys_that_are_added_before_the_start_are_worked_on_after_it() -> None:
    async def all_of_it() -> None:
        worker = Worker()
        worker.queue.add("a")
        await asyncio.sleep(END)
        assert not worker.begun
        worker.queue.start()
        await asyncio.sleep(END)
        assert len(worker.begun) == 1
        await worker.queue.stop()

    run(all_of_it)


def test_a_key_that_is_added_while_it_is_worked_on_is_worked_on_once_more_afterwards() -> None:
    async def slow(_: str) -> None:
        await asyncio.sleep(10)

    async def play(worker: Worker) -> None:
        worker.queue.add("a")
        await asyncio.sleep(5)
        for _ in range(3):
            worker.queue.add("a")
        await asyncio.sleep(END)

    worker = scenario(play, slow)
    first, second = worker.times("a")
    assert second - first >= 10, "the second worker did not wait for the first"
    assert not worker.doubled


def test_different_keys_are_worked_on_at_a_time_by_no_more_than_the_workers() -> None:
    async def slow(_: str) -> None:
        await asyncio.sleep(10)

    async def play(worker: Worker) -> None:
        for number in range(2 * WORKERS):
            worker.queue.add(str(number))
        await asyncio.sleep(5)
        assert worker.running.total() == WORKERS
        assert worker.queue.depth == 2 * WORKERS
        await asyncio.sleep(END)
        assert worker.queue.depth == 0

    worker = scenario(play, slow)
    assert worker.most_running == WORKERS
    assert len(worker.begun) == 2 * WORKERS


def test_a_failing_key_is_tried_later_and_later_and_the_others_are_not_held_back() -> None:
    async def fail(key: str) -> None:
        if key == "bad":
            raise RuntimeError("it does not work")

    async def play(worker: Worker) -> None:
        worker.queue.add("bad")
        await asyncio.sleep(END)
        worker.queue.add("good")
        await asyncio.sleep(1)
        assert worker.times("good"), "one failing key holds up another"
        assert worker.queue.failing == 1

    worker = scenario(play, fail)
    pauses = [later - earlier for earlier, later in zip(worker.times("bad"), worker.times("bad")[1:], strict=False)]
    assert [round(pause) for pause in pauses[:10]] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert worker.failures[0] == ("bad", "it does not work", 1, FIRST_BACKOFF)


def test_success_ends_the_backoff() -> None:
    outcomes = iter([RuntimeError("no"), RuntimeError("no"), None, RuntimeError("no")])

    async def sometimes(_: str) -> None:
        if (error := next(outcomes, None)) is not None:
            raise error

    async def play(worker: Worker) -> None:
        worker.queue.add("a")
        await asyncio.sleep(END)
        assert worker.queue.failing == 0
        worker.queue.add("a")
        await asyncio.sleep(END)

    assert [failures for _, _, failures, _ in scenario(play, sometimes).failures] == [1, 2, 1]


def test_an_event_cuts_a_long_backoff_short_but_not_below_the_shortest() -> None:
    async def fail(_: str) -> None:
        raise RuntimeError("no")

    async def play(worker: Worker) -> None:
        worker.queue.add("a")
        await asyncio.sleep(1000)
        last = worker.times("a")[-1]
        await asyncio.sleep(10)
        worker.queue.add("a")
        before = now()
        await asyncio.sleep(1)
        assert last < before <= worker.times("a")[-1] < before + 1, "an event did not bring the failing key forward"
        tries = len(worker.begun)
        for _ in range(100):
            worker.queue.add("a")
            await asyncio.sleep(0.01)
        assert len(worker.begun) - tries <= 2, "events make a failing key be tried without a pause"

    scenario(play, fail)


def test_a_key_is_looked_at_again_when_the_work_says_so_or_before_when_something_happens() -> None:
    async def later(_: str) -> float:
        return 60.0

    async def play(worker: Worker) -> None:
        begun = now()
        worker.queue.add("a")
        await asyncio.sleep(130)
        assert [round(when - begun) for when in worker.times("a")] == [0, 60, 120]
        worker.queue.add("a")
        await asyncio.sleep(1)
        assert len(worker.begun) == 4
        await asyncio.sleep(58)
        assert len(worker.begun) == 4, "the look that was arranged before took place as well"

    scenario(play, later)


def test_a_forgotten_key_is_not_worked_on() -> None:
    async def play(worker: Worker) -> None:
        worker.queue.add("a")
        worker.queue.forget("a")
        await asyncio.sleep(END)
        assert not worker.begun
        worker.queue.add("a")
        await asyncio.sleep(END)
        assert len(worker.begun) == 1

    scenario(play)


def test_how_long_keys_wait_and_work_takes_is_known() -> None:
    async def stuck(_: str) -> None:
        await asyncio.sleep(END)

    async def play(worker: Worker) -> None:
        assert worker.queue.longest_wait() == worker.queue.longest_run() == 0
        for number in range(WORKERS + 1):
            worker.queue.add(str(number))
        await asyncio.sleep(100)
        assert 99 < worker.queue.longest_wait() <= 100
        assert 99 < worker.queue.longest_run() <= 100

    scenario(play, stuck)


def test_stopping_cancels_what_is_under_way() -> None:
    async def stuck(_: str) -> None:
        await asyncio.sleep(END)

    async def play(worker: Worker) -> None:
        worker.queue.add("a")
        await asyncio.sleep(1)
        begun = now()
        await worker.queue.stop()
        assert now() - begun < 1
        assert not worker.running.total()

    scenario(play, stuck)


def test_backoffs_are_from_a_second_to_five_minutes_and_differ() -> None:
    assert backoff(1, 0) == FIRST_BACKOFF
    assert backoff(100, 0) == backoff(100, 1) == LONGEST_BACKOFF
    assert backoff(3, 0) < backoff(3, 1) < backoff(4, 0)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 3), st.booleans()), max_size=40))
def test_every_key_is_worked_on_after_its_last_event_and_never_twice_at_a_time(events: list[tuple[str, float, bool]]) -> None:
    failing = {key for key, _, fails in events if fails}
    last: dict[str, float] = {}

    async def do(key: str) -> float | None:
        await asyncio.sleep(0.7)
        if key in failing:
            failing.discard(key)
            raise RuntimeError("once")
        return None

    async def play(worker: Worker) -> None:
        for key, pause, _ in events:
            worker.queue.add(key)
            last[key] = now()
            await asyncio.sleep(pause)
        await asyncio.sleep(END)
        assert worker.queue.depth == 0

    worker = scenario(play, do)
    assert not worker.doubled
    for key, when in last.items():
        assert worker.times(key)[-1] >= when, f"{key} was not worked on after its last event"
