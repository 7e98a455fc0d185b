"""The harness itself: hosts are apart from each other and from the machine, and nothing of them stays."""

from pathlib import Path

import pytest

from tests.hosts.commands import CommandFailed
from tests.hosts.hosts import Host
from tests.hosts.leftovers import BASE, clean_leftovers
from tests.hosts.network import Network


def test_each_host_has_its_own_name_processes_and_temporary_files(bare_hosts: tuple[Host, Host]) -> None:
    first, second = bare_hosts
    first.run("echo mine > /tmp/note; echo mine > ~/note; echo mine > /dev/shm/note")

    assert first.run("hostname").output.strip() == "one"
    assert second.run("cat /tmp/note ~/note /dev/shm/note", is_checked=False).status != 0
    assert not Path("/tmp/note").exists()
    assert first.inside("/tmp/note").read_text().strip() == "mine"
    assert "sshd" in first.run("ps -e -o comm").output
    assert len(first.run("ps -e -o pid=").output.split()) < 12


def test_ssh_leads_from_one_host_to_the_other(bare_hosts: tuple[Host, Host]) -> None:
    first, second = bare_hosts

    assert first.ssh(second, "hostname").output.strip() == "two"


def test_an_unplugged_host_is_silent_and_answers_again_when_plugged_in(bare_hosts: tuple[Host, Host]) -> None:
    first, second = bare_hosts

    second.unplug()
    with pytest.raises(CommandFailed):
        first.ssh(second, "true", timeout_s=8)
    second.plug()

    assert first.ssh(second, "hostname").output.strip() == "two"


def test_a_frozen_host_goes_on_where_it_stood(bare_hosts: tuple[Host, Host]) -> None:
    first, second = bare_hosts

    second.freeze()
    with pytest.raises(CommandFailed):
        first.ssh(second, "true", timeout_s=3)
    second.thaw()

    assert first.ssh(second, "hostname").output.strip() == "two"


def test_nothing_is_left_of_a_host_whose_test_failed(prefix: str) -> None:
    network = Network(f"{prefix}b")
    host = Host(network, "gone", 3)

    def fail() -> None:
        with network, host:
            host.run("setsid sleep 1000 >/dev/null 2>&1 &")
            assert len(host.pids()) >= 3
            raise RuntimeError("the test fails")

    with pytest.raises(RuntimeError, match="the test fails"):
        fail()

    assert host.pids() == []
    assert not Path("/run/netns", host.namespace).exists()
    assert not host.folder.exists()
    assert not Path("/run/netns", network.namespace).exists()
    assert str(host.folder) not in Path("/proc/self/mounts").read_text()


def test_what_a_killed_run_left_behind_is_removed_and_a_living_run_is_not(dead_pid: int, prefix: str) -> None:
    dead = BASE / f"zj{dead_pid}xleft"
    alive = BASE / f"{prefix}left"
    dead.mkdir()
    alive.mkdir()
    try:
        removed = clean_leftovers()

        assert dead.name in removed
        assert not dead.exists()
        assert alive.exists()
    finally:
        alive.rmdir()
