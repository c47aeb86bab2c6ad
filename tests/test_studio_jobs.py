"""The queue of a device: order, limits, cancelling, rests, questions in between, visitors who leave."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import time

import pytest
import torch
from PIL import Image

from pixelgrad.errors import Cancelled, SettingError
from pixelgrad.gradient import Step, logits_of
from pixelgrad.studio import events, jobs
from pixelgrad.studio.job import FINAL, Job
from pixelgrad.studio.jobs import Desk, Full
from pixelgrad.studio.watch import KEPT, SIDE, Watch, small


@pytest.fixture
def desk():
    made = Desk(waiting=3, per_visitor=2)
    yield made
    made.close()


class Endless:
    """Work that goes on step by step until it is stopped, or told to end."""

    def __init__(self) -> None:
        self.begun, self.end = threading.Event(), threading.Event()
        self.steps = 0

    def __call__(self, job: Job) -> str:
        self.begun.set()
        while not self.end.is_set():
            self.steps += 1
            job.between(Step(self.steps, 10**6))
            time.sleep(0.001)
        return "result"


def over(job: Job, seconds: float = 30.0) -> str:
    """The last state of a job, waited for."""
    for _ in range(int(seconds / 0.005)):
        if job.state in FINAL:
            return job.state
        time.sleep(0.005)
    pytest.fail(f"the job is still {job.state}")


def until(condition, seconds: float = 30.0) -> None:
    for _ in range(int(seconds / 0.005)):
        if condition():
            return
        time.sleep(0.005)
    pytest.fail("it did not come to that")


def test_jobs_are_done_in_their_order_and_know_how_many_are_before_them(desk):
    work, order = Endless(), []
    first = Job(work, "a")
    desk.submit(first)
    work.begun.wait()
    others = [Job(lambda job, i=i: order.append(i) or "r", f"v{i}") for i in range(3)]
    for other in others:
        desk.submit(other)
    assert [job.position for job in (first, *others)] == [0, 1, 2, 3]
    desk.cancel(others[0])
    assert [job.position for job in others[1:]] == [1, 2]
    work.end.set()
    assert [over(job) for job in (first, *others)] == ["done", "cancelled", "done", "done"]
    assert order == [1, 2]
    assert first.result == "result"


def test_the_queue_is_bounded_in_all_and_for_each_visitor(desk):
    work = Endless()
    desk.submit(Job(work, "a"))
    work.begun.wait()
    desk.submit(Job(work, "a"))
    with pytest.raises(Full, match="2 jobs of yours"):
        desk.submit(Job(work, "a"))
    desk.submit(Job(work, "b"))
    desk.submit(Job(work, "c"))
    with pytest.raises(Full, match="queue full: 3 jobs are waiting"):
        desk.submit(Job(work, "d"))
    assert len(desk.jobs) == 4


def test_a_running_job_is_stopped_between_two_steps(desk):
    work, job = Endless(), None
    job = Job(work, "a")
    desk.submit(job)
    work.begun.wait()
    desk.cancel(job)
    assert over(job) == "cancelled"
    steps = work.steps
    desk.cancel(job)  # once more does no harm
    after = Job(lambda job: "r", "a")
    desk.submit(after)
    assert over(after) == "done"
    assert work.steps == steps


def test_a_job_that_tells_nobody_how_far_it_is_is_stopped_between_two_passes(desk, small, pixels):
    begun = threading.Event()

    def silent(job: Job) -> str:
        while True:
            logits_of(small, pixels)
            begun.set()

    job = Job(silent, "a")
    desk.submit(job)
    begun.wait()
    assert desk.ask(lambda: 7).result(30) == 7
    desk.cancel(job)
    assert over(job) == "cancelled"


def test_a_job_that_has_had_its_share_ends_when_others_wait(desk, monkeypatch):
    monkeypatch.setattr(jobs, "SHARE", 0.0)
    work, kept = Endless(), []
    long = Job(work, "a")
    desk.submit(long)
    work.begun.wait()
    steps = work.steps
    until(lambda: work.steps > steps)  # alone it may go on
    assert (long.state, long.cut) == ("running", False)
    other = Job(lambda job: "r", "b")
    desk.submit(other)
    assert (over(long), over(other)) == ("cancelled", "done")
    assert "because others are waiting" in long.error

    def best_so_far(job: Job) -> str:
        try:
            return again(job)
        except Cancelled:
            job.between(Step(5, 10))  # what there is, is made whole
            kept.append(job.cut)
            return "best so far"

    again = Endless()
    follows = Job(best_so_far, "a")
    desk.submit(follows)
    again.begun.wait()
    desk.submit(Job(lambda job: "r", "b"))
    assert (over(follows), follows.result, kept) == ("done", "best so far", [True])


def one_rests(desk):
    """The work of a job that rests and of another that is done meanwhile, and the two jobs."""
    outer, inner = Endless(), Endless()
    resting, other = Job(outer, "a"), Job(inner, "b")
    desk.submit(resting)
    outer.begun.wait()
    desk.pause(resting)
    desk.submit(other)
    inner.begun.wait()
    return outer, inner, resting, other


def test_who_goes_on_after_a_rest_waits_as_well(desk, monkeypatch):
    monkeypatch.setattr(jobs, "SHARE", 0.0)
    outer, inner, resting, other = one_rests(desk)
    steps = inner.steps
    until(lambda: inner.steps > steps)
    desk.pause(resting, False)
    assert over(other) == "cancelled"
    outer.end.set()
    assert over(resting) == "done"


def test_while_a_job_rests_others_are_done(desk):
    work = Endless()
    job = Job(work, "a")
    desk.submit(job)
    work.begun.wait()
    desk.pause(job)
    until(lambda: job.state == "paused")
    steps = work.steps
    inner = Job(lambda job: "r", "b")
    desk.submit(inner)
    assert over(inner) == "done"
    assert (job.state, work.steps) == ("paused", steps)
    assert desk.ask(lambda: 7).result(30) == 7
    desk.pause(job, False)
    until(lambda: work.steps > steps)
    assert job.state == "running"
    assert job.rested > 0
    work.end.set()
    assert over(job) == "done"


def test_a_resting_job_is_cancelled_at_once_though_another_is_at_work(desk):
    _, inner, resting, other = one_rests(desk)
    desk.cancel(resting)
    assert resting.state == "cancelled"
    inner.end.set()
    assert over(other) == "done"
    until(lambda: not desk._running)
    assert resting.state == "cancelled"


def test_questions_are_answered_between_the_steps_of_a_job(desk):
    work = Endless()
    job = Job(work, "a")
    desk.submit(job)
    work.begun.wait()
    thread = desk.ask(threading.get_ident).result(30)
    assert thread == desk._thread.ident
    with pytest.raises(SettingError, match="no"):
        desk.ask(lambda: (_ for _ in ()).throw(SettingError("no"))).result(30)
    assert job.state == "running"


def test_what_is_done_later_gives_way_to_jobs_and_begins_again(desk):
    begun, let = [], threading.Event()

    def later(progress):
        begun.append(1)
        while not let.is_set():
            progress(Step(0, 1))
            time.sleep(0.001)

    desk.later(later, "a")
    desk.later(later, "a")  # is the same
    until(lambda: begun)
    assert desk.ask(lambda: 1).result(30) == 1
    job = Job(lambda job: "r", "a")
    desk.submit(job)
    assert over(job) == "done"
    until(lambda: len(begun) == 2)
    let.set()
    until(lambda: not desk._idle)


def test_what_is_wrong_with_a_job_is_told_and_the_next_one_done(desk, capfd):
    def wrong(job):
        raise SettingError("size is at least 1; got 0")

    def broken(job):
        raise ZeroDivisionError("/home/me/secret")

    found = [Job(work, f"v{i}") for i, work in enumerate((wrong, broken, lambda job: "r"))]
    for job in found:
        desk.submit(job)
    assert [over(job) for job in found] == ["failed", "failed", "done"]
    assert found[0].error == "size is at least 1; got 0"
    assert found[1].error == "something went wrong here: ZeroDivisionError"
    assert "ZeroDivisionError" in capfd.readouterr().err  # for whoever runs the server


def test_jobs_whose_readers_have_left_are_cancelled_unless_asked_to_stay(desk, monkeypatch):
    monkeypatch.setattr(jobs, "LEFT", 0.0)
    work = Endless()
    left, read, stays = Job(work, "a"), Job(work, "b"), Job(work, "c", stay=True)
    read.readers = 1
    for job in (left, read, stays):
        desk.submit(job)
    time.sleep(0.01)
    desk.give_up()
    assert over(left) == "cancelled"
    assert [job.state in FINAL for job in (read, stays)] == [False, False]


def test_only_the_last_jobs_are_remembered(desk, monkeypatch):
    monkeypatch.setattr(jobs, "REMEMBERED", 2)
    found = [Job(lambda job: "r", "a") for _ in range(5)]
    for job in found:
        desk.submit(job)
        over(job)
        until(lambda: not desk._running)
    assert list(desk.jobs) == [job.id for job in found[2:]]


def test_closing_stops_everything():
    desk, work = Desk(), Endless()
    found = [Job(work, "a"), Job(work, "a")]
    for job in found:
        desk.submit(job)
    work.begun.wait()
    desk.close()
    assert not desk._thread.is_alive()
    assert [over(job) for job in found] == ["cancelled"] * 2
    with pytest.raises(Full):
        desk.ask(lambda: 1)


# ---------------------------------------------------------------------- events


def read(text: str) -> tuple[str, dict]:
    name, data = text.strip().split("\n")
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def test_a_slow_reader_gets_the_latest_frame_and_the_whole_curve():
    job = Job(lambda job: "r", "a")

    async def slow() -> list[tuple[str, dict]]:
        stream = events.stream(job, lambda: False)
        assert await anext(stream) == "retry: 1000\n\n"
        seen = [read(await anext(stream))]
        for i in range(1, 6):
            job.frame = (i, b"%d" % i)
            job.curve.append((i, i / 10))
            job.changed()
        seen.append(read(await anext(stream)))
        job.finish("done")
        seen.append(read(await anext(stream)))
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        return seen

    (first, middle, last) = asyncio.run(slow())
    assert (first[0], "frame" in first[1]) == ("state", False)
    assert middle[1]["frame"] == {"index": 5, "url": "data:image/jpeg;base64,NQ=="}
    assert middle[1]["curve"] == [[i, i / 10] for i in range(1, 6)]
    assert (last[0], last[1]["state"]) == ("end", "done")
    assert "frame" not in last[1]
    assert (job.readers, job.listeners) == (0, [])


def test_a_reader_who_leaves_is_counted_out():
    job = Job(lambda job: "r", "a")

    async def leaves() -> None:
        stream = events.stream(job, lambda: False)
        await anext(stream)
        assert job.readers == 1
        await stream.aclose()

    asyncio.run(leaves())
    assert (job.readers, job.listeners) == (0, [])


def test_streams_end_when_the_studio_closes():
    job = Job(lambda job: "r", "a")

    async def closing() -> list[str]:
        return [text async for text in events.stream(job, lambda: True)]

    assert len(asyncio.run(closing())) == 2


# ---------------------------------------------------------------------- pictures along the way


def test_pictures_along_the_way_are_thinned_evenly(small_watch):
    watch, job = small_watch
    for step in range(1, 1001):
        watch(Step(step, 1000, torch.rand(1, 3, 8, 8), torch.zeros(1)))
    steps = [step for step, _ in watch.frames]
    assert steps == [*range(16, 1001, 16), 1000]  # 1000 / 64 is nearly 16
    assert len(steps) <= KEPT
    assert job.frame[0] == job.curve[-1][0] == 1000


def test_of_large_pictures_fewer_are_kept(small_watch, monkeypatch):
    watch, _ = small_watch
    monkeypatch.setattr("pixelgrad.studio.watch.PIXELS", 8 * 40 * 60 + 1)
    for step in range(1, 17):
        watch(Step(step, 16, torch.rand(1, 3, 40, 60), torch.zeros(1)))
    assert [step for step, _ in watch.frames] == [*range(2, 17, 2)]


def test_what_is_finished_before_its_last_step_ends_there(small_watch):
    watch, job = small_watch
    first, last = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    watch(Step(1, 100, first, torch.zeros(1)))
    watch(Step(2, 100, last, torch.ones(1)))
    watch(Step(100, 100, last, torch.ones(1)))
    assert (watch.frames[-1][0], job.frame[0], job.curve[-1]) == (2, 2, (2, 1.0))


@pytest.fixture
def small_watch(small):
    job = Job(lambda job: "r", "a")
    return Watch(job, small, None), job


def test_pictures_along_the_way_are_small_and_side_by_side():
    for shape, expected in [
        ((2, 3, 8, 10), (20, 8)),
        ((1, 3, 640, 320), (160, SIDE)),
        ((9, 3, 4, 4), (16, 4)),
    ]:
        with Image.open(io.BytesIO(small(torch.rand(shape)))) as picture:
            assert picture.size == expected
