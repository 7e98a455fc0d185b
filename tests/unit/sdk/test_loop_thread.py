import asyncio
import gc
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from zejzl_ray.errors import DeadlineExceeded, ZejzlError
from zejzl_ray.sdk.loop_thread import LoopThread, _Call


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    loop = LoopThread()
    yield loop
    loop.close()


class Endless:
    """Waits for ever, and tells when it began and when it was cancelled."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.ended = threading.Event()

    async def run(self) -> None:
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


def test_a_result_and_an_error_come_back(loop: LoopThread) -> None:
    async def give(value: int) -> int:
        return 10 // value

    assert loop.run(give(5), 10.0) == 2
    with pytest.raises(ZeroDivisionError):
        loop.run(give(0), 10.0)


def test_what_takes_too_long_is_cancelled(loop: LoopThread) -> None:
    endless = Endless()
    with pytest.raises(DeadlineExceeded, match=r"within 0\.0 s"):
        loop.run(endless.run(), 0.01)
    assert endless.ended.wait(20) or not endless.began.is_set()


def test_a_timeout_of_the_coroutine_itself_stays_one(loop: LoopThread) -> None:
    async def slow() -> None:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        loop.run(slow(), 10.0)


@pytest.fixture
def listening_to_ctrl_c() -> Iterator[None]:
    """Ctrl-C as a terminal's program has it: a shell's background jobs are started with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listening_to_ctrl_c")
def test_ctrl_c_cancels_what_runs(loop: LoopThread) -> None:
    endless = Endless()

    def interrupt() -> None:
        endless.began.wait(20)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        loop.run(endless.run(), 30.0)
    thread.join(20)
    assert endless.ended.wait(20)


async def test_a_call_that_is_abandoned_before_it_begins_never_runs() -> None:
    endless = Endless()
    call = _Call(endless.run())
    call.abandon()
    with pytest.raises(asyncio.CancelledError):
        await call.run()
    assert not endless.began.is_set()


def test_closing_cancels_what_runs_in_other_threads(loop: LoopThread) -> None:
    endless, caught = Endless(), list[BaseException]()

    def wait() -> None:
        try:
            loop.run(endless.run(), 30.0)
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert endless.began.wait(20)
    loop.close()
    thread.join(20)
    assert endless.ended.is_set()
    assert [type(error).__name__ for error in caught] == ["CancelledError"]


def test_calling_from_the_loop_itself_is_refused_instead_of_hanging(loop: LoopThread) -> None:
    async def inner() -> None: ...

    async def outer() -> None:
        loop.run(inner(), 10.0)

    with pytest.raises(ZejzlError, match="Use AsyncClient there"):
        loop.run(outer(), 10.0)


def test_a_loop_that_is_forgotten_ends() -> None:
    loop = LoopThread()
    thread = loop._worker._thread
    del loop
    gc.collect()
    thread.join(20)
    assert not thread.is_alive()


def test_a_program_that_forgets_to_close_ends() -> None:
    code = (
        "from zejzl_ray.sdk.loop_thread import LoopThread\n"
        "import asyncio\n"
        "kept = LoopThread()\n"
        "kept.run(asyncio.sleep(0), 10)\n"
        "print('done')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_it_may_be_closed_from_its_own_loop_and_again_after(loop: LoopThread) -> None:
    async def close() -> None:
        loop.close()

    loop.run(close(), 20.0)
    worker = loop._worker
    worker._thread.join(20)
    worker.stop()
    assert not worker._thread.is_alive()
    assert not loop.is_open
