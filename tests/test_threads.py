import _thread
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from fallline.threads import (
    Workers,
    is_side_by_side,
    one_blas_thread,
    processors,
    quota,
    side_by_side,
    stopping,
    workers_for,
)


@pytest.fixture(autouse=True, scope="module")
def every_library():
    """SciPy's BLAS beside NumPy's: it is loaded at the first use."""
    with one_blas_thread():
        pass


@pytest.fixture
def three():
    """A user's own setting: three threads for every BLAS."""
    with threadpool_limits(3, user_api="blas"):
        assert blas_threads() == {3}
        yield


def blas_threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.mark.usefixtures("three")
def test_blas_has_one_thread_inside_and_as_many_as_before_after():
    with one_blas_thread():
        assert blas_threads() == {1}
    assert blas_threads() == {3}


@pytest.mark.usefixtures("three")
def test_an_exception_puts_the_threads_back():
    with pytest.raises(ZeroDivisionError), one_blas_thread():
        _ = 1 / 0
    assert blas_threads() == {3}


@pytest.mark.usefixtures("three")
def test_the_last_to_leave_puts_the_threads_back_in_whatever_order():
    one, other = one_blas_thread(), one_blas_thread()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert blas_threads() == {1}
    other.__exit__(None, None, None)
    assert blas_threads() == {3}


@pytest.mark.usefixtures("three")
def test_many_threads_that_come_and_go_leave_the_setting_as_it_was():
    def often(_):
        seen = set()
        for _ in range(50):
            with one_blas_thread():
                seen |= blas_threads()
        return seen

    with ThreadPoolExecutor(4) as pool:
        assert set().union(*pool.map(often, range(8))) == {1}
    assert blas_threads() == {3}


def test_a_thread_that_came_first_does_not_keep_others_from_a_setting_of_their_own():
    def use():
        with one_blas_thread():
            return blas_threads()

    with ThreadPoolExecutor(1) as pool:  # threadpoolctl lets one thread alone set OpenBLAS, as long as it lives
        assert pool.submit(use).result() == {1}
        with threadpool_limits(3, user_api="blas"):
            assert blas_threads() == {3}
            assert pool.submit(use).result() == {1}
            assert blas_threads() == {3}


FORK = """
import os, threading, warnings
from threadpoolctl import threadpool_info, threadpool_limits
from fallline.threads import one_blas_thread, side_by_side

warnings.simplefilter("ignore")  # of a fork while there are threads
def blas(): return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}

with one_blas_thread(): pass
threadpool_limits(3, user_api="blas")
inside, done = threading.Event(), threading.Event()
def hold():
    with one_blas_thread():
        inside.set()
        done.wait()
threading.Thread(target=hold).start()
inside.wait()
with one_blas_thread():
    child = os.fork()
    if not child:
        assert blas() == {3}  # nobody holds it here
        with one_blas_thread(): assert blas() == {1}
        assert blas() == {3}
        assert side_by_side([lambda: 1, lambda: 2], n_jobs=2) == [1, 2]
if not child:
    with one_blas_thread(): assert blas() == {1}
    assert blas() == {3}
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
done.set()
"""


def test_after_a_fork_nobody_holds_the_setting():
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=60)


@pytest.mark.parametrize(("n_jobs", "threads"), [(None, 4), (-1, 4), (-2, 3), (3, 3), (9, 9), (-9, 1)])
def test_n_jobs_counts_as_in_scikit_learn(n_jobs, threads, monkeypatch):
    monkeypatch.setattr("fallline.threads.processors", lambda: 4)
    assert workers_for(n_jobs) == threads


def test_there_is_a_processor():
    assert processors() >= 1


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "max 100000\n"}, float("inf")),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, float("inf")),
        ({}, float("inf")),
    ],
)
def test_the_quota_of_a_container_is_a_limit(files, expected, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert quota(tmp_path) == expected


def test_no_more_processors_than_the_quota(monkeypatch):
    monkeypatch.setattr("fallline.threads.quota", lambda: 1)
    assert processors() == 1


def delayed(number):
    """Later tasks end sooner."""
    time.sleep(0.01 * (5 - number))
    return number


@pytest.mark.parametrize("n_jobs", [1, 2, 5, -1])
def test_results_come_in_the_order_of_the_tasks(n_jobs):
    assert side_by_side([lambda i=i: delayed(i) for i in range(5)], n_jobs) == list(range(5))


def test_with_one_thread_a_task_runs_where_and_when_its_result_is_asked_for():
    ran = []
    with Workers(1) as workers:
        first, second, _ = (workers.give(lambda i=i: ran.append((i, threading.get_ident()))) for i in range(3))
        assert ran == []
        second.result()
        first.result()
    assert ran == [(1, threading.get_ident()), (0, threading.get_ident())]


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("kind", [ValueError, TimeoutError])
def test_the_first_exception_in_the_order_of_the_tasks_is_raised_and_ends_the_rest(kind, n_jobs):
    began = []

    def task(number):
        began.append(number)
        if number == 1:
            raise kind("of task 1")
        while number > 1 and not stopping():
            time.sleep(0.01)

    with pytest.raises(kind, match="of task 1"):
        side_by_side([lambda i=i: task(i) for i in range(20)], n_jobs)
    assert max(began) < 19


def until_stopped():
    while not stopping():
        time.sleep(0.01)
    return "ended"


def test_an_interrupt_ends_all_tasks_and_keeps_what_arrived():
    with Workers(3) as workers:
        given = [workers.give(task) for task in (lambda: "arrived", *[until_stopped] * 4)]
        threading.Timer(0.2, _thread.interrupt_main).start()
        found = [task.result() for task in given]
    assert found[0] == "arrived"
    assert set(found[1:]) == {"ended", None}
    assert workers.interrupted


def test_as_many_tasks_run_at_once_as_there_are_workers_beside_the_thread_that_waits():
    both = threading.Barrier(2, timeout=10)
    with Workers(2) as workers:
        tasks = [workers.give(both.wait) for _ in range(2)]
        here = workers.give(threading.get_ident, here=True)
        assert here.result() == threading.get_ident()
        assert sorted(task.result() for task in tasks) == [0, 1]


def test_an_interrupt_of_tasks_side_by_side_is_raised_when_they_have_ended():
    ended = []
    threading.Timer(0.2, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        side_by_side([lambda: ended.append(until_stopped())] * 4, n_jobs=2)
    assert set(ended) <= {"ended"}


def test_an_interrupt_of_the_only_thread_ends_what_follows():
    def interrupted():
        raise KeyboardInterrupt

    with Workers(1) as workers:
        given = [workers.give(task) for task in (lambda: "arrived", interrupted, lambda: "never")]
        assert [task.result() for task in given] == ["arrived", None, None]
    assert workers.interrupted


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_task_that_was_dropped_is_not_begun(n_jobs):
    ran = []
    with Workers(n_jobs) as workers:
        started = threading.Event()
        busy = [workers.give(until_stopped) for _ in range(n_jobs - 1)]
        first, second = (
            workers.give(lambda: started.wait(5) and ran.append("first")),
            workers.give(lambda: ran.append("second")),
        )
        second.drop()
        started.set()
        first.result()
        assert second.result() is None
        [task.drop() for task in busy]
    assert ran == ["first"]


def test_threads_that_work_side_by_side_know_it_and_call_for_no_more():
    def inner():
        return [is_side_by_side(), *side_by_side([threading.get_ident] * 3, n_jobs=3), threading.get_ident()]

    (side, *idents), _ = side_by_side([inner] * 2, n_jobs=2)
    assert side
    assert len(set(idents)) == 1
    assert not is_side_by_side()
    assert not stopping()


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_what_threads_say_is_called_by_the_thread_that_waits(n_jobs):
    heard = []
    with Workers(n_jobs) as workers:

        def task(number):
            workers.say(lambda: heard.append((number, threading.get_ident())))
            return number

        given = [workers.give(lambda i=i: task(i)) for i in range(4)]
        assert [each.result() for each in given] == [0, 1, 2, 3]
    assert sorted(heard) == [(number, threading.get_ident()) for number in range(4)]


def test_what_is_said_from_work_within_work_is_heard_outside():
    heard = []

    def outer():
        with Workers(2) as inner:
            return inner.give(lambda: inner.say(lambda: heard.append(threading.get_ident()))).result()

    side_by_side([outer, outer], n_jobs=2)
    assert heard == [threading.get_ident()] * 2


def test_an_exception_of_what_was_said_is_raised_where_it_is_heard_and_ends_all():
    def fail():
        raise ValueError("in a callback")

    ended = []
    with Workers(2) as workers:
        given = [workers.give(lambda: workers.say(fail) or ended.append(until_stopped())) for _ in range(2)]
        with pytest.raises(ValueError, match="in a callback"):
            given[0].result()
    assert set(ended) <= {"ended"}
