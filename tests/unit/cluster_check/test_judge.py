"""Facts with one planted fault give one finding, at the right machine and with the right cause."""

from typing import Any

import pytest

from tests.unit.cluster_check.healthy import (
    ADDRESSES,
    CLUSTER,
    DATA,
    NOW_S,
    healthy,
    missing,
    own_facts,
    tls_files,
    with_link,
    with_machine,
    with_own,
    with_secret,
)
from tests.unit.cluster_check.verdicts import BOTH, Spoil, found, the_one
from zejzl_ray.cluster_check.facts import (
    Clock,
    ClusterFacts,
    Command,
    Disk,
    Gpus,
    Here,
    KeyFile,
    Phase,
    PortAnswer,
    Programs,
    RedisAnswer,
    SshFault,
)
from zejzl_ray.cluster_check.finding import HERE
from zejzl_ray.cluster_check.judge import judge
from zejzl_ray.cluster_check.needed_ports import sentinels_of
from zejzl_ray.cluster_file.model import DeclaredMachine


@BOTH
def test_nothing_is_found_where_all_is_well(phase: Phase) -> None:
    judgement = judge(healthy(phase))

    assert judgement.findings == ()
    assert judgement.is_well
    assert ("members" in judgement.checks) is (phase is Phase.AFTER)


def _programs(**changes: Any) -> Spoil:
    programs = own_facts("pc2").programs.model_copy(update=changes)
    return lambda facts: with_own(facts, "pc2", programs=programs)


def _disk(**changes: Any) -> Spoil:
    fields: dict[str, Any] = {
        "use": "state",
        "path": DATA,
        "device": 1,
        "free_mib": 50_000,
        "total_mib": 100_000,
    }
    return lambda facts: with_own(facts, "pc2", disks=(Disk(**{**fields, **changes}),))


def _tls(**changes: Any) -> Spoil:
    return lambda facts: with_own(facts, "pc2", tls=own_facts("pc2").tls.model_copy(update=changes))


def _redis(**changes: Any) -> Spoil:
    answer = RedisAnswer.model_validate({"state": "well", **changes})

    def spoil(facts: ClusterFacts) -> ClusterFacts:
        for name in ADDRESSES:
            facts = with_machine(facts, name, redis=answer)
        return facts

    return spoil


def _replica(**changes: Any) -> Spoil:
    fields = {"state": "well", "meant_to_follow": "192.168.1.10:6380", **changes}
    return lambda facts: with_machine(facts, "pc2", replica=RedisAnswer.model_validate(fields))


def _with_store(facts: ClusterFacts, url: str) -> ClusterFacts:
    cluster = CLUSTER.model_copy(update={"environment": {"ZEJZL_STORE_URL": url}})
    return facts.model_copy(update={"cluster": cluster})


def _settings(**changes: str) -> Spoil:
    return lambda facts: with_own(facts, "pc2", settings=changes)


def _key(**changes: Any) -> KeyFile:
    return KeyFile(**{"path": f"{DATA}/tls/pc2.key", "mode": 0o600, "fits": True, **changes})


# name -> how it is planted, machine, check, words of what, words of the remedy
FAULTS: dict[str, tuple[Spoil, str, str, str, str]] = {
    "another Ray token": (
        lambda facts: with_secret(facts, "pc2", "ray_token", digest="other"),
        "pc2", "secret", "Ray token differs from that of mainpc", "Copy ray_token",
    ),
    "a closed port": (
        lambda facts: with_link(facts, "pc2", 6379, state="timeout"),
        "mainpc", "port", "port 6379 (Ray's control store) swallows connections from pc2", "firewall of mainpc",
    ),
    "another Ray": (
        _programs(ray=Command(path="/r", version="2.9.0")), "pc2", "version", "Ray is 2.9.0 here and 2.60.0", "2.60.0",
    ),
    "a disk that nobody may look at": (
        _disk(error="Permission denied"), "pc2", "disk", "cannot be looked at: Permission denied", "modes above",
    ),
    "a file in the place of the data directory": (_disk(is_directory=False), "pc2", "disk", "a file where", "Move"),
    "a private key that nobody can read": (
        _tls(key=_key(fits=None, error="Permission denied")), "pc2", "tls", "cannot be read: Permission", "chmod 600",
    ),
    "a private key of another user": (_tls(key=_key(is_own=False)), "pc2", "tls", "another user", "chown"),
    "an authority that nobody can read": (
        _tls(ca=None, errors={"ca.pem": "Permission denied"}), "pc2", "tls", "ca.pem cannot be read", "owner and mode",
    ),
    "certificates of another machine": (_tls(own_name="mainpc"), "pc2", "tls", "is of mainpc", "--force"),
    "too few open files": (
        lambda facts: with_own(facts, "pc2", open_files=64), "pc2", "setting", "open 64 files only", "limits.conf",
    ),
    "Redis whose memory is full": (_redis(memory_ratio=0.99), "mainpc", "redis", "99% of its maxmemory", "maxmemory"),
    "a port that is none": (_settings(RAY_PORT="abc"), "pc2", "setting", "ZEJZL_RAY_PORT: Input should", ".bashrc"),
    "a range that is none": (_settings(MAIL_PORTS="zz"), "pc2", "setting", "ZEJZL_MAIL_PORTS", ".bashrc"),
    "video memory that is none": (_settings(VRAM_MIB="lots"), "pc2", "setting", "ZEJZL_VRAM_MIB: 'lots'", "mainpc="),
    "simulated cards that are none": (_settings(SIMULATED_GPUS="x"), "pc2", "gpu", "", "RTX 4090:24564"),
    "one port for two": (
        _settings(RAY_NODE_MANAGER_PORT="6379"), "pc2", "setting", "both name port 6379", "Give each its own",
    ),
    "a range with a port in it": (
        _settings(RAY_WORKER_PORTS="6000-7000"), "pc2", "setting", "inside ZEJZL_RAY_WORKER_PORTS", "Give each",
    ),
    "another port of the head": (
        _settings(RAY_PORT="6400"), "pc2", "setting", "looks for the head at port 6400, and the head's is 6379", "same",
    ),
    "settings that do not fit together": (
        _settings(REQUIRE_AUTH="false"), "pc2", "setting", "REQUIRE_AUTH=false counts with", ".bashrc",
    ),
    "a misspelt setting": (
        lambda facts: with_own(
            facts, "pc2", unknown_settings=("ZEJZL_STORE_ULR", "ZEJZL_OF_MINE", "ZEJZL_NODE_MARKER")
        ),
        "pc2", "setting", "ZEJZL_STORE_ULR is set, and is no setting", "ZEJZL_STORE_URL",
    ),
    "a store that cannot be parsed": (
        _settings(STORE_URL="redis://h:x"), "pc2", "setting", "ZEJZL_STORE_URL: the Redis", "redis://host",
    ),
    "a file to copy that is not there": (
        lambda facts: facts.model_copy(
            update={"here": facts.here.model_copy(update={"unmounted": {"/home/me/x": "is not there"}})}
        ),
        "mainpc", "mount", "/home/me/x, which `ray up` is to copy, is not there", "file_mounts",
    ),
    "another credential of the administrator": (
        lambda facts: with_secret(facts, "pc2", "token", digest="other"),
        "pc2", "secret", "its administrator's credential differs from that of mainpc", "Copy token",
    ),
    "no rsync": (_programs(rsync=None), "pc2", "rsync", "no rsync", "apt-get install rsync"),
    "a clock that is an hour ahead": (
        lambda facts: with_machine(facts, "pc2", clock=Clock(ahead_s=3600, uncertainty_s=0.1)),
        "pc2", "clock", "60 min ahead of that of mainpc", "timedatectl",
    ),
    "a clock of the shell that is behind": (
        lambda facts: with_machine(facts, "pc2", shell_clock=Clock(ahead_s=-20, uncertainty_s=0.1)),
        "pc2", "clock", "20.0 s behind that of mainpc", "timedatectl",
    ),
    "a full disk": (_disk(free_mib=3), "pc2", "disk", "has 3 MiB left", "Free some space"),
    "a disk without room for files": (_disk(free_inodes=5), "pc2", "disk", "5 more files only", "Remove files"),
    "a disk that cannot be written": (_disk(is_writable=False), "pc2", "disk", "cannot be written", "mount"),
    "a large disk that is nearly full": (_disk(free_mib=4000), "pc2", "disk", "96% full", "Free some space"),
    "a wrong key": (
        lambda facts: with_machine(
            facts, "pc2", own=None, ssh_fault=SshFault(cause="key", what="the key does not let me in", remedy="copy it")
        ),
        "pc2", "ssh", "does not let me in", "copy it",
    ),
    "a file that others may read": (
        lambda facts: with_secret(facts, "pc2", "security_key", mode=0o644),
        "pc2", "secret", "has the mode 0644", f"chmod 600 {DATA}/security_key",
    ),
    "a file of another user": (
        lambda facts: with_secret(facts, "pc2", "security_key", is_own=False),
        "pc2", "secret", "belongs to another user", "chown",
    ),
    "an empty secret": (
        lambda facts: with_secret(facts, "mainpc", "ray_token", state="empty"),
        "mainpc", "secret", "holds no Ray token", "zejzl node token",
    ),
    "a secret that cannot be read": (
        lambda facts: with_secret(facts, "pc2", "ray_token", state="unreadable", digest=None),
        "pc2", "secret", "cannot be read", "chown",
    ),
    "no certificate": (
        _tls(certificate=None, key=None), "pc2", "tls", "no certificate of pc2", "tls issue pc2 --address 192.168.1.11",
    ),
    "no private key": (_tls(key=None), "pc2", "tls", "no private key", "--force"),
    "the private key of another": (_tls(key=_key(fits=False)), "pc2", "tls", "does not belong", "--force"),
    "a private key that others may read": (_tls(key=_key(mode=0o640)), "pc2", "tls", "mode 0640", "chmod 600"),
    "no authority": (_tls(ca=None), "pc2", "tls", "no authority", "--force"),
    "a certificate that is none": (_tls(certificate="nonsense"), "pc2", "tls", "cannot be read", "--force"),
    "a certificate for another address": (
        lambda facts: with_own(facts, "pc2", tls=tls_files("pc2", address="192.168.1.99")),
        "pc2", "tls", "does not name 192.168.1.11", "tls issue pc2",
    ),
    "a certificate that expires": (
        lambda facts: with_own(facts, "pc2", tls=tls_files("pc2", now_s=NOW_S - 360 * 86_400)),
        "pc2", "tls", "expires in 5 days", "zejzl tls renew pc2",
    ),
    "a certificate that has expired": (
        lambda facts: with_own(facts, "pc2", tls=tls_files("pc2", now_s=NOW_S - 400 * 86_400)),
        "pc2", "tls", "has expired", "zejzl tls renew pc2",
    ),
    "a certificate of tomorrow": (
        lambda facts: with_own(facts, "pc2", tls=tls_files("pc2", now_s=NOW_S + 86_400)),
        "pc2", "tls", "not valid yet", "clocks",
    ),
    "another authority": (
        lambda facts: with_own(facts, "pc2", tls=tls_files("pc2", of="other")),
        "pc2", "tls", "another certificate authority than mainpc", "--force",
    ),
    "TLS that is off on one side": (
        lambda facts: with_own(facts, "pc2", settings={"RAY_TLS": "off"}), "pc2", "tls", "off here", "ZEJZL_RAY_TLS",
    ),
    "a wrong password of Redis": (
        lambda facts: with_machine(facts, "pc2", redis=RedisAnswer(state="password", error="WRONGPASS")),
        "pc2", "redis", "refuses the password", "redis_password",
    ),
    "Redis without TLS": (
        lambda facts: with_machine(facts, "pc2", redis=RedisAnswer(state="tls", error="wrong version number")),
        "pc2", "redis", "TLS with Redis at 192.168.1.10:6380 fails: wrong version number", "one authority",
    ),
    "Redis that is out of reach of one": (
        lambda facts: with_machine(facts, "pc2", redis=RedisAnswer(state="timeout")),
        "pc2", "redis", "does not answer", "firewall",
    ),
    "an environment without a client of Redis": (
        lambda facts: with_machine(facts, "pc2", redis=RedisAnswer(state="no client")),
        "pc2", "redis", "package redis", "Install",
    ),
    "Redis that says something else": (
        lambda facts: with_machine(facts, "pc2", redis=RedisAnswer(state="error", error="MISCONF")),
        "pc2", "redis", "gives no answer: MISCONF", "log",
    ),
    "Redis that writes nothing": (
        lambda facts: with_machine(facts, "pc2", redis=RedisAnswer(state="well", is_appending=False)).model_copy(
            update={"machines": tuple(m.model_copy(update={"redis": RedisAnswer(state="well", is_appending=False)})
                                      for m in facts.machines)}),
        "mainpc", "redis", "appendonly is off", "deploy/redis.conf",
    ),
    "Redis that is a replica": (
        lambda facts: with_machine(facts, "mainpc", redis=RedisAnswer(state="well", role="slave")),
        "mainpc", "redis", "is a replica", "primary",
    ),
    "Redis that acknowledges too soon": (
        _redis(fsync="everysec"), "mainpc", "redis", "appendfsync is everysec", "appendfsync always",
    ),
    "Redis that forgets": (_redis(eviction="allkeys-lru"), "mainpc", "redis", "drops state", "noeviction"),
    "Redis without Ray's user": (_redis(knows_ray=False), "mainpc", "redis", "Ray's user", "redis_gcs_user.conf"),
    "a replica that does not run": (_replica(state="refused"), "pc2", "redis", "does not run", "systemctl start"),
    "a replica that hears nothing": (
        _replica(role="slave", is_linked=False), "pc2", "redis", "does not hear from it", "log says why",
    ),
    "a replica that is none": (_replica(role="master"), "pc2", "redis", "but is a primary", "drops what it has"),
    "a replica with another password": (_replica(state="password"), "pc2", "redis", "another password", "node token"),
    "a replica that is not there": (
        lambda facts: _redis(replicas=0)(_with_store(facts, "rediss://192.168.1.10:6380?replicas=1")),
        "mainpc", "redis", "0 of 1 replicas follow", "MainPC off",
    ),
    "a Sentinel that is silent": (
        lambda facts: _redis(sentinels=({"address": "192.168.1.10:26379", "state": "silent"},))(
            _with_store(facts, "redis+sentinel://192.168.1.10,192.168.1.11/zejzl")
        ),
        "mainpc", "redis", "the Sentinel at 192.168.1.10:26379 does not answer", "Start it",
    ),
    "a Sentinel that knows another primary": (
        lambda facts: _redis(state="sentinel", sentinels=({"address": "h:26379", "state": "unknown"},))(
            _with_store(facts, "redis+sentinel://h/zejzl")
        ),
        "mainpc", "redis", "does not know the primary zejzl", "sentinel monitor zejzl",
    ),
    "a wrong password behind Sentinels": (
        lambda facts: with_machine(
            _with_store(facts, "redis+sentinel://h/zejzl"), "pc2", redis=RedisAnswer(state="password")
        ),
        "pc2", "redis", "the primary zejzl of the Sentinels refuses the password", "redis_password",
    ),
    "a name that means the machine itself": (
        lambda facts: with_machine(facts, "pc2", addresses=("127.0.1.1", "192.168.1.11")),
        "pc2", "loopback", "192.168.1.11 is 127.0.1.1 on this computer", "/etc/hosts",
    ),
    "Redis that cannot write": (
        lambda facts: with_machine(facts, "mainpc", redis=RedisAnswer(state="well", append_error=True)),
        "mainpc", "redis", "cannot write to its disk", "full",
    ),
    "no ray": (_programs(ray=Command()), "pc2", "version", "no command ray", "PATH"),
    "a ray that breaks": (
        _programs(ray=Command(path="/r", said="x\nImportError")), "pc2", "version", "ImportError", "environment",
    ),
    "another Python": (
        lambda facts: with_own(facts, "pc2", python="3.12.1"), "pc2", "version", "Python is 3.12.1", "3.11.9",
    ),
    "another zejzl": (
        _programs(zejzl=Command(path="/z", version="0.0.9")), "pc2", "version", "zejzl-ray is 0.0.9", "0.1.0",
    ),
    "a card whose driver is silent": (
        lambda facts: with_own(facts, "pc2", gpus=Gpus(plugged=1, error="couldn't communicate")),
        "pc2", "gpu", "0 of 1 NVIDIA cards answer: couldn't communicate", "nvidia-smi",
    ),
    "a declared card that is not there": (
        lambda facts: with_own(
            facts.model_copy(update={"fleet_gpus": {"pc2": ("RTX 3060",)}}), "pc2", gpus=Gpus(error="no nvidia-smi")
        ),
        "pc2", "gpu", "RTX 3060 is declared", "nvidia-smi",
    ),
    "a named card that is not there": (
        lambda facts: with_own(facts, "pc2", settings={"GPU_CARDS": "pc2=GPU-x"}),
        "pc2", "gpu", "GPU-x, which is not there; there is GPU-pc2", "nvidia-smi -L",
    ),
    "a setting of cards that is not understood": (
        lambda facts: with_own(facts, "pc2", settings={"GPU_CARDS": "pc2="}), "pc2", "gpu", "not understood", "mainpc=",
    ),
    "a name that a machine does not know": (
        lambda facts: with_link(facts, "pc2", 6379, state="unresolved"),
        "pc2", "port", "192.168.1.10 of mainpc cannot be resolved", "/etc/hosts of pc2",
    ),
    "another program behind a port": (
        lambda facts: with_link(facts, "mainpc", 40_000, greeted_by=""),
        "pc2", "port", "port 40000 (Ray's own ports) is answered by something else from mainpc", "all TCP ports",
    ),
    "a machine in the place of another": (
        lambda facts: with_link(facts, "pc2", 40_000, greeted_by="pc2"),
        "pc2", "address", "192.168.1.10 leads to pc2, not to mainpc", "/etc/hosts",
    ),
    "a computer without rsync that asks": (
        lambda facts: facts.model_copy(update={"here": Here(machine="", has_rsync=False)}),
        HERE, "rsync", "there is no rsync", "rsync",
    ),
    "another token on the computer that asks": (
        lambda facts: facts.model_copy(update={"here": Here(machine="", secret_digests={"ray_token": "other"})}),
        HERE, "secret", "this computer's Ray token differs from that of mainpc", "Copy ray_token",
    ),
}  # fmt: skip


@BOTH
@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_named_alone(name: str, phase: Phase) -> None:
    spoil, machine, check, what, remedy = FAULTS[name]

    finding = the_one(spoil(healthy(phase)))

    assert (finding.machine, finding.check) == (machine, check)
    assert what in finding.what
    assert remedy in finding.remedy
    assert not judge(spoil(healthy(phase))).is_well


@pytest.mark.parametrize("name", ["ray_token", "redis_password", "security_key", "token"])
def test_before_the_start_a_worker_may_lack_what_is_brought_to_it(name: str) -> None:
    def without(facts: ClusterFacts, machine: str) -> ClusterFacts:
        return with_secret(facts, machine, name, state="missing", digest=None, mode=None)

    assert judge(without(healthy(Phase.BEFORE), "pc2")).is_well
    assert the_one(without(healthy(Phase.AFTER), "pc2")).check == "secret"
    nowhere = without(healthy(Phase.BEFORE), "mainpc").model_copy(update={"here": Here(machine="mainpc")})
    assert "zejzl node token" in the_one(nowhere).remedy


def test_before_the_start_a_worker_may_lack_the_password_of_redis() -> None:
    answer = RedisAnswer(state="password", error="NOAUTH", has_password=False)
    facts = with_secret(
        healthy(Phase.BEFORE), "pc2", "redis_password", state="missing", digest=None, mode=None
    )

    assert judge(with_machine(facts, "pc2", redis=answer)).is_well
    assert "there is none here" in the_one(with_machine(healthy(), "mainpc", redis=answer)).what


@pytest.mark.parametrize("state", ["refused", "timeout", "loading"])
def test_a_redis_that_is_away_is_one_finding_at_its_machine(state: str) -> None:
    facts = healthy()
    for name in ("mainpc", "pc2"):
        facts = with_machine(facts, name, redis=RedisAnswer(state=state))

    assert (the_one(facts).machine, the_one(facts).check) == ("mainpc", "redis")


def test_what_only_follows_from_another_fault_is_not_said() -> None:
    no_certificate = _tls(certificate=None, key=None)(
        with_machine(healthy(), "pc2", redis=RedisAnswer(state="tls"))
    )
    password = with_secret(healthy(), "pc2", "redis_password", digest="other")
    password = with_machine(password, "pc2", redis=RedisAnswer(state="password", error="WRONGPASS"))

    assert the_one(no_certificate).check == "tls"
    assert "Redis password differs" in the_one(password).what


def test_shared_memory_must_hold_the_object_store_that_is_not_there_yet() -> None:
    spoil = _disk(use="shared memory", path="/dev/shm", free_mib=64)

    assert "object store takes 256" in the_one(spoil(healthy(Phase.BEFORE))).what
    assert judge(spoil(healthy(Phase.AFTER))).is_well  # the running node has taken it


def test_a_store_of_one_machine_is_refused() -> None:
    facts = healthy().model_copy(update={"cluster": CLUSTER.model_copy(update={"environment": {}})})

    assert "sqlite lies on one machine" in the_one(facts).what


def test_two_machines_with_one_address_are_one_finding() -> None:
    twin = DeclaredMachine(name="pc2", address="pc2.lan")
    facts = with_machine(healthy(), "pc2", machine=twin, addresses=("192.168.1.10",))
    facts = with_own(facts, "pc2", tls=tls_files("mainpc").model_copy(update={"key": None}))

    assert found(facts) == [
        ("pc2", "same-address", "pc2.lan is 192.168.1.10, which is the address of mainpc too")
    ]


def test_of_three_clocks_the_one_that_is_alone_is_wrong() -> None:
    facts = healthy().model_copy(update={"here": Here(machine="")})

    ahead = with_machine(facts, "mainpc", clock=Clock(ahead_s=600, uncertainty_s=0.1))
    assert the_one(ahead).machine == "mainpc"
    both = with_machine(ahead, "pc2", clock=Clock(ahead_s=600, uncertainty_s=0.1))
    assert (the_one(both).machine, the_one(both).check) == (HERE, "clock")


def test_a_slow_answer_is_no_wrong_clock() -> None:
    slow = Clock(ahead_s=4.0, uncertainty_s=4.5)

    assert judge(with_machine(healthy(), "pc2", clock=slow, shell_clock=None)).is_well
    silent = with_machine(
        with_machine(healthy(), "pc2", clock=None, shell_clock=None), "mainpc", clock=None, shell_clock=None
    )
    assert judge(silent).is_well


@pytest.mark.parametrize(
    ("port", "answer", "what"),
    [
        (
            6379,
            PortAnswer(state="taken", holder={"name": "nc", "pid": 7, "is_ours": False}),
            "taken by nc (process 7)",
        ),
        (
            6379,
            PortAnswer(state="taken", holder={"name": None, "pid": None}),
            "taken by another user's program",
        ),
        (6379, PortAnswer(state="refused", error="Cannot assign requested address"), "Cannot assign"),
    ],
)
def test_a_port_that_is_taken_is_named_with_who_has_it(port: int, answer: PortAnswer, what: str) -> None:
    facts = with_machine(healthy(Phase.BEFORE), "mainpc", outer_ports={port: answer})

    finding = the_one(facts)
    assert finding.check == "port"
    assert what in finding.what


def test_a_port_of_a_service_that_is_taken_names_its_setting() -> None:
    taken = PortAnswer(state="taken", holder={"name": "nc", "pid": 7, "is_ours": False})
    facts = with_machine(healthy(Phase.BEFORE), "pc2", local_ports={7002: taken})

    assert "observability_hub" in the_one(facts).what
    assert "ZEJZL_OBSERVABILITY_PORT" in the_one(facts).remedy


def test_the_ports_of_the_own_cluster_are_no_fault() -> None:
    own = PortAnswer(state="taken", holder={"name": "gcs_server", "pid": 7, "is_ours": True})

    assert judge(with_machine(healthy(Phase.BEFORE), "mainpc", outer_ports={6379: own})).is_well


def test_a_node_that_runs_has_its_ports_itself() -> None:
    taken = PortAnswer(state="taken", holder={"name": "ray::SecurityGa", "pid": 7, "is_ours": False})
    facts = healthy().model_copy(update={"phase": Phase.BEFORE})

    assert judge(with_machine(facts, "pc2", local_ports={7005: taken})).is_well


def test_other_versions_are_told_from_the_usual_one() -> None:
    versions = {"mainpc": "2.9.0", "pc2": "2.60.0", "pc3": "2.60.0"}
    third = (
        healthy()
        .machines[1]
        .model_copy(update={"machine": DeclaredMachine(name="pc3", address="192.168.1.12")})
    )
    facts = healthy()
    facts = facts.model_copy(update={"machines": (*facts.machines, third)})
    for name, version in versions.items():
        programs = Programs(
            rsync="/r", ray=Command(path="/r", version=version), zejzl=Command(path="/z", version="1")
        )
        facts = with_own(facts, name, programs=programs)

    assert [row for row in found(facts) if row[1] == "version"] == [
        ("mainpc", "version", "Ray is 2.9.0 here and 2.60.0 on pc2, pc3")
    ]


def test_cards_that_are_simulated_or_given_away_need_no_driver() -> None:
    bare = Gpus(error="there is no nvidia-smi")
    facts = healthy().model_copy(update={"fleet_gpus": {"pc2": ("RTX 3060",)}})

    for settings in ({"SIMULATED_GPUS": "pc2=RTX 3060:12288"}, {"GPU_CARDS": "none"}):
        assert judge(with_own(facts, "pc2", gpus=bare, settings=settings)).is_well


def test_a_machine_that_stops_answering_is_not_well() -> None:
    judgement = judge(with_machine(healthy(), "pc2", unanswered={"redis": "no answer within 20 s"}))

    assert judgement.findings == ()
    assert not judgement.is_well
    assert (judgement.unknown[0].machine, judgement.unknown[0].question) == ("pc2", "redis")


@pytest.mark.parametrize(
    ("free_mib", "held_mib", "is_fault"),
    [
        (8000, 1, False),
        (0, 1, True),
        (50, 1, True),
        (0, 256, False),
        (70, 1, False),
        (0, None, True),
        (1, None, False),
    ],
)
def test_a_running_node_finds_its_shared_memory_full(
    free_mib: float, held_mib: float | None, is_fault: bool
) -> None:
    shared = Disk(use="shared memory", path="/dev/shm", device=2, free_mib=free_mib, total_mib=256)
    node = own_facts("pc2").node
    raylet = node.processes[0].model_copy(update={"shared_mib": held_mib})
    facts = with_own(healthy(), "pc2", disks=(shared,), node=node.model_copy(update={"processes": (raylet,)}))

    assert [finding.check for finding in judge(facts).findings] == ["disk"] * is_fault


def test_a_secret_that_is_brought_elsewhere_than_it_is_looked_for_is_missing() -> None:
    facts = with_secret(healthy(Phase.BEFORE), "pc2", "ray_token", state="missing", digest=None, mode=None)
    assert judge(facts).is_well
    for home, is_well in (("/home/me", True), ("/root", False)):
        own = own_facts("pc2")
        disks = (*own.disks, own.disks[0].model_copy(update={"use": "home", "path": home}))
        assert judge(with_own(facts, "pc2", disks=disks)).is_well is is_well


def test_a_secret_that_is_missing_here_is_one_finding() -> None:
    facts = with_secret(healthy(), "mainpc", "token", state="missing", digest=None, mode=None)
    unmounted = {f"{DATA}/token": "is not there"}

    facts = facts.model_copy(update={"here": facts.here.model_copy(update={"unmounted": unmounted})})
    assert the_one(facts).check == "secret"


def test_who_does_not_bring_the_credential_along_does_not_need_it() -> None:
    facts = with_secret(healthy(), "pc2", "token", state="missing", digest=None, mode=None)
    assert the_one(facts).check == "secret"
    copied = {path: here for path, here in CLUSTER.copied.items() if not path.endswith("/token")}

    assert judge(facts.model_copy(update={"cluster": CLUSTER.model_copy(update={"copied": copied})})).is_well


def test_a_worker_that_is_told_the_port_may_have_another_set() -> None:
    cluster = CLUSTER.model_copy(update={"worker_start": "zejzl node start --address $RAY_HEAD_IP:6379"})
    facts = with_own(healthy(), "pc2", settings={"RAY_PORT": "6400"})

    assert judge(facts.model_copy(update={"cluster": cluster})).is_well


def test_replicas_that_follow_and_what_nobody_may_ask_are_no_fault() -> None:
    facts = _with_store(healthy(), "rediss://192.168.1.10:6380?replicas=1")

    well = {"fsync": "always", "eviction": "noeviction", "knows_ray": True, "replicas": 1, "role": "master"}
    assert judge(_redis(**well)(_replica(role="slave", is_linked=True)(facts))).is_well
    assert judge(_redis()(_replica(state="loading")(facts))).is_well
    away = _redis(replicas=0)(
        with_machine(facts, "pc2", own=None, ssh_fault=SshFault(cause="x", what="x", remedy="x"))
    )
    assert {finding.check for finding in judge(away).findings} == {"ssh"}


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("redis+sentinel://u@a,b:1/p/0?ssl=true", ("p", (("a", 26379), ("b", 1)), True)),
        ("redis+sentinel://a:x/p", None),
        ("rediss://h", None),
    ],
)
def test_sentinels_are_read_from_the_url(url: str, found: Any) -> None:
    assert sentinels_of(url) == found


def test_a_machine_that_never_started_is_told_with_what_keeps_it_from_it() -> None:
    facts = _tls(certificate=None, key=None)(missing(healthy(), "pc2", record=None))

    member = next(finding for finding in judge(facts).findings if finding.check == "member")
    assert "what keeps it from it: there is no certificate of pc2" in member.what
    assert "tls issue pc2" in member.remedy
