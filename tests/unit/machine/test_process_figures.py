"""What this process uses, read for real."""

import os
import threading
import time

import psutil
import pytest

from zejzl_ray.machine.process_figures import ProcessProbe


def test_a_process_that_works_has_a_cpu_figure() -> None:
    probe = ProcessProbe()
    end_s = time.process_time() + 0.05
    while time.process_time() < end_s:
        pass
    reading = probe.read()
    assert reading.cpu_ratio > 0
    assert reading.pid == os.getpid()
    assert reading.ram_bytes > 1_000_000
    assert reading.threads >= 1
    assert reading.open_files is not None
    assert reading.open_files > 0
    assert reading.uptime_s > 0


def test_threads_and_files_are_counted() -> None:
    probe = ProcessProbe()
    before = probe.read()
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    reader, writer = os.pipe()
    try:
        now = probe.read()
        assert now.threads > before.threads
        assert now.open_files == (before.open_files or 0) + 2
    finally:
        os.close(reader)
        os.close(writer)
        stop.set()
        thread.join()


def test_descriptors_that_may_not_be_counted_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: psutil.Process) -> int:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "num_fds", refuse)
    assert ProcessProbe().read().open_files is None
