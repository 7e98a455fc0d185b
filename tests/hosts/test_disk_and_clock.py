"""A disk that is full, and a clock that jumps: what goes on, what is refused, and that nothing acknowledged is lost."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.hosts import PROJECT, Host

_DISK_MIB = 6


@pytest.fixture
def small_disk(bare_hosts: tuple[Host, Host]) -> Any:
    """A host with a file system of its own that is soon full."""
    host = bare_hosts[0]
    host.run(f"mkdir -p ~/small && mount -t tmpfs -o size={_DISK_MIB}m tmpfs ~/small")
    yield host
    host.run("umount ~/small")


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_full_disk_refuses_changes_keeps_what_was_acknowledged_and_goes_on_once_there_is_room(
    small_disk: Host, kind: str
) -> None:
    program = f"python -m tests.hosts.full_disk {kind} ~/small"

    done = small_disk.run(f"PYTHONPATH={PROJECT} timeout 50 {program}", timeout_s=60)

    found = json.loads(done.output.splitlines()[-1])
    assert found["errors"] == ["StoreUnavailable"]
    assert found["acknowledged_before"] > 50
    assert found["is_refused_again"]
    assert found["missing_after"] == 0
    # SQLite goes on reading; Redis ends when it cannot write down what it is about to acknowledge
    assert found["missing_while_full"] == (0 if kind == "sqlite" else -1)


def test_a_clock_that_jumps_forward_and_back_ends_no_lease_and_lets_none_run_on(
    bare_hosts: tuple[Host, Host],
) -> None:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        pytest.skip("there is no libfaketime (run tests/hosts/prerequisites.sh)")
    # the clock of this one process: no clock is set, and the monotonic one stays as it is
    lies = f"LD_PRELOAD={library} DONT_FAKE_MONOTONIC=1 FAKETIME_NO_CACHE=1 FAKETIME_TIMESTAMP_FILE=$HOME/lie"
    program = "python -m tests.hosts.jumping_clock $HOME/lie"

    done = bare_hosts[0].run(
        f"echo +0 >lie; export PYTHONPATH={PROJECT}; {lies} timeout 50 {program}", timeout_s=60
    )

    found = json.loads(done.output.splitlines()[-1])
    assert found["ahead_min"] == [-60, 0, 60]
    assert found["states"] == ["healthy"]
    assert found["taken"] == 0  # by another client, while the first one renewed
    assert found["silent_s"] < 8  # the lease is one of 2 s; looked at once a second
