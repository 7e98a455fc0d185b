"""A cluster file is refused with file, line and remedy for each fault, and read where there is none."""

import shutil
import subprocess
from pathlib import Path

import pytest

from zejzl_ray.cluster_file.key_file import key_file_fault
from zejzl_ray.cluster_file.read import parse_cluster_file, read_cluster_file
from zejzl_ray.cluster_file.release import without_release
from zejzl_ray.cluster_file.template import CLUSTER_TEMPLATE, read_template
from zejzl_ray.errors import InvalidInput
from zejzl_ray.fleet.finding import Finding


@pytest.fixture
def text(tmp_path: Path) -> str:
    """The project's own file, with a key that is there."""
    key = tmp_path / "id"
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not here")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=30)
    return read_template(CLUSTER_TEMPLATE).replace("~/.ssh/id_ed25519", str(key))


def _faults(text: str) -> tuple[Finding, ...]:
    return parse_cluster_file(text, "cluster.yaml").findings


def _line(text: str, words: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if words in line)


def test_the_projects_own_file_is_read(text: str) -> None:
    cluster = parse_cluster_file(text, "cluster.yaml").require()

    assert [(machine.name, machine.address) for machine in cluster.machines] == [
        ("mainpc", "192.168.1.10"),
        ("pc2", "192.168.1.11"),
    ]
    assert cluster.ssh_user == "zejzl"
    assert cluster.environment == {"ZEJZL_STORE_URL": "rediss://192.168.1.10:6380"}
    assert set(cluster.copied) == {
        f"~/.local/share/zejzl/{name}"
        for name in ("release", "ray_token", "redis_password", "security_key", "token")
    }
    assert cluster.carried_release is not None
    assert cluster.carried_release.there == "~/.local/share/zejzl/release"
    assert cluster.head_start.startswith("ZEJZL_STORE_URL=rediss://192.168.1.10:6380 ~/.local/")
    assert cluster.worker_start.endswith("--worker pc2=192.168.1.11")


def test_the_file_for_machines_with_an_environment_of_their_own_says_nothing_of_releases(text: str) -> None:
    without = without_release(text)

    cluster = parse_cluster_file(without, "cluster.yaml").require()
    assert cluster.carried_release is None
    assert "release" not in without
    assert "setup_commands" not in without
    assert len(without.splitlines()) > len(text.splitlines()) - 12
    assert without_release(without) == without


# former text, new text, words of the finding: the three places that have to fit together
APART = {
    "not carried": (
        '  "~/.local/share/zejzl/release": "~/.local/share/zejzl/release"\n',
        "",
        "file_mounts carries no",
    ),
    "not installed": ("  - python3 ~/.local/share/zejzl/release/install.py\n", "  - date\n", "installs none"),
    "not started": (
        "~/.local/share/zejzl/releases/current/venv/bin/zejzl",
        "/opt/zejzl",
        "/opt/zejzl is started",
    ),
}


@pytest.mark.parametrize("name", APART)
def test_a_release_that_is_half_meant_is_refused(text: str, name: str) -> None:
    former, new, words = APART[name]
    assert former in text

    (finding,) = _faults(text.replace(former, new, 1))

    assert words in finding.message
    assert "--no-release" in finding.remedy


# former text, new text, words of the finding, words of the line that it names
WRONG = {
    "a wrong address": (
        "head_ip: 192.168.1.10",
        "head_ip: 192.168.1.300",
        "192.168.1.300 is no IP address",
        "head_ip",
    ),
    "loopback": ("head_ip: 192.168.1.10", "head_ip: 127.0.0.1", "another machine on each machine", "head_ip"),
    "localhost": (
        "head_ip: 192.168.1.10",
        "head_ip: localhost",
        "another machine on each machine",
        "head_ip",
    ),
    "all addresses": ("head_ip: 192.168.1.10", "head_ip: 0.0.0.0", "not the address of one", "head_ip"),
    "no host name": ("head_ip: 192.168.1.10", "head_ip: main_pc!", "neither an IP address", "head_ip"),
    "no address": ("head_ip: 192.168.1.10", "head_ip:", "there is no provider.head_ip", "type: local"),
    "a list for an address": ("head_ip: 192.168.1.10", "head_ip: [a]", "head_ip must be a text", "head_ip"),
    "the head among the workers": (
        "[192.168.1.11]",
        "[192.168.1.10]",
        "head's address and stands among",
        "worker_ips",
    ),
    "one address twice": (
        "[192.168.1.11]",
        "[192.168.1.11, 192.168.1.11]",
        "two workers have the address",
        "worker_ips",
    ),
    "no list of workers": ("[192.168.1.11]", "192.168.1.11", "worker_ips must be a list", "worker_ips"),
    "a worker that is none": ("[192.168.1.11]", "[[a]]", "a worker's address must be a text", "worker_ips"),
    "a wrong worker": ("[192.168.1.11]", "[192.168.1]", "192.168.1 is no IP address", "worker_ips"),
    "an unknown field": ("min_workers: 1", "min_worker: 1", "min_worker is no field", "min_worker:"),
    "an unknown field of the provider": (
        "head_ip: ",
        "head_up: 1\n  head_ip: ",
        "provider.head_up is no",
        "head_up",
    ),
    "an unknown field of the log-in": (
        "ssh_user: ",
        "ssh_usr: x\n  ssh_user: ",
        "auth.ssh_usr is no field",
        "ssh_usr",
    ),
    "a field twice": (
        "min_workers: 1",
        "min_workers: 1\nmin_workers: 1",
        "min_workers stands here again",
        "",
    ),
    "containers": ("min_workers: 1", "min_workers: 1\ndocker: {}", "docker is no field", "docker"),
    "another provider": ("type: local", "type: aws", "the provider is aws, not local", "type: aws"),
    "no user": ("ssh_user: zejzl", "ssh_user:", "there is no auth.ssh_user", ""),
    "a user that is none": ("ssh_user: zejzl", "ssh_user: a b", "'a b' is no user name", "ssh_user: a"),
    "too few workers": (
        "max_workers: 1",
        "max_workers: 0",
        "max_workers is 0, but worker_ips has 1",
        "max_workers",
    ),
    "no count of workers": ("min_workers: 1\n", "", "there is no min_workers", ""),
    "two machines with one name": ("--worker pc2=", "--worker mainpc=", "two machines are called mainpc", ""),
    "a worker without a name": (
        "--worker pc2=192.168.1.11",
        "",
        "the worker at 192.168.1.11 has no name",
        "worker_ips",
    ),
    "a name at another address": (
        "pc2=192.168.1.11",
        "pc2=192.168.1.12",
        "not among provider.worker_ips",
        "",
    ),
    "a worker that is no pair": (
        "    --worker pc2=192.168.1.11",
        "    --worker pc2",
        "'pc2' is no NAME=ADDRESS",
        "",
    ),
    "a name that cannot be": ("--head --machine mainpc", "--head --machine ../x", "cannot be the name", ""),
    "a head without a name": ("--machine mainpc ", "", "the head has no name", ""),
    "another start command": (
        "node start --head",
        "nodes start --head",
        "must hold one `zejzl node start --head",
        "",
    ),
    "a quote that is open": ("node start --head", "'node start --head", "cannot be read", ""),
    "no start command": (
        "worker_start_ray_commands:",
        "setup_commands:",
        "there is no worker_start_ray_commands",
        "",
    ),
    "no section": ("auth:", "metadata:", "there is no auth", ""),
    "a section that is none": (
        "provider:\n  type: local",
        "provider: x\nmetadata:\n  type: local",
        "must be a mapping",
        "",
    ),
    "no mapping of files": (
        "file_mounts:\n",
        "file_mounts: x\nmetadata:\n",
        "file_mounts must be a mapping",
        "file_mounts:",
    ),
    "IPv6": ("head_ip: 192.168.1.10", "head_ip: fd00::1", "is an IPv6 address", "head_ip"),
    "a worker with IPv6": ("[192.168.1.11]", "['fd00::2']", "is an IPv6 address", "worker_ips"),
    "a count that is a fraction": (
        "max_workers: 1",
        "max_workers: 1.0",
        "must be a whole number, not",
        "max_workers",
    ),
    "a count that is none": (
        "min_workers: 1",
        "min_workers: true",
        "must be a whole number, not",
        "min_workers",
    ),
    "a list of counts": (
        "min_workers: 1",
        "min_workers: [1]",
        "must be a whole number, not a list",
        "min_workers",
    ),
    "no time": ("minutes: 525600", "minutes: soon", "minutes must be a number", "idle_timeout"),
    "a time that is a list": (
        "minutes: 525600",
        "minutes: [1]",
        "must be a number from 0 on, not a list",
        "idle",
    ),
    "a negative time": ("minutes: 525600", "minutes: -1", "must be a number from 0 on", "idle_timeout"),
    "a proxy that is a list": (
        "ssh_user: zejzl",
        "ssh_proxy_command: [a]\n  ssh_user: zejzl",
        "ssh_proxy_command must be a text",
        "ssh_proxy",
    ),
    "a name that a shell would take apart": (
        "cluster_name: zejzl",
        'cluster_name: "a b;c"',
        "cluster_name 'a b;c' holds more than",
        "cluster_name",
    ),
    "a path that is a list": (
        '"~/.local/share/zejzl/token": "~/.local/share/zejzl/token"',
        '"~/.local/share/zejzl/token": [a]',
        "must be a path, not a list",
        "/token",
    ),
    "no YAML": ("provider:", "provider: [", "not valid YAML", ""),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_refused_with_its_place_and_a_remedy(text: str, name: str) -> None:
    former, new, words, place = WRONG[name]
    assert former in text
    wrong = text.replace(former, new, 1)

    findings = [finding for finding in _faults(wrong) if words in finding.message]

    assert len(findings) == 1, _faults(wrong)
    assert findings[0].remedy
    assert findings[0].line > 0
    if place:
        assert findings[0].line == _line(wrong, place)
    with pytest.raises(InvalidInput, match=r"cluster\.yaml:\d+:\d+: error: "):
        parse_cluster_file(wrong, "cluster.yaml").require()


def test_one_name_for_two_workers_is_refused(text: str) -> None:
    wrong = text.replace("[192.168.1.11]", "[192.168.1.11, 192.168.1.12]").replace("workers: 1", "workers: 2")
    wrong = wrong.replace("--worker pc2=192.168.1.11", "--machine pc2")

    assert [finding.code for finding in _faults(wrong)] == ["name-twice"]


def test_one_worker_may_be_named_by_machine_alone_and_others_by_the_fleet(text: str) -> None:
    single = text.replace("--worker pc2=192.168.1.11", "--machine pc2")
    unnamed = text.replace("--worker pc2=192.168.1.11", "")

    assert parse_cluster_file(single, "c").require().workers[0].name == "pc2"
    assert parse_cluster_file(unnamed, "c", {"192.168.1.11": "pc9"}).require().workers[0].name == "pc9"


def test_a_head_alone_needs_no_command_for_workers(text: str) -> None:
    alone = text.replace("[192.168.1.11]", "[]").replace("workers: 1", "workers: 0")
    alone = alone.partition("worker_start_ray_commands:")[0]

    assert parse_cluster_file(alone, "c").require().workers == ()
    none = alone.replace("worker_ips: []", "").replace("ssh_private_key", "ssh_public_key")
    assert parse_cluster_file(none, "c").require().ssh_private_key is None


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no file"):
        read_cluster_file(tmp_path / "none.yaml").require()


def test_a_key_that_ssh_would_not_use_is_named(tmp_path: Path, text: str) -> None:
    key = tmp_path / "id"
    locked = tmp_path / "locked"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "word", "-f", str(locked)], check=True, timeout=30
    )

    assert key_file_fault(key) is None
    for path, words in (
        (tmp_path / "none", "there is no private key"),
        (tmp_path, "is not a file"),
        (locked, "has a passphrase"),
    ):
        fault = key_file_fault(path)
        assert fault is not None
        assert words in fault.message
    key.chmod(0o644)
    fault = key_file_fault(key)
    assert fault is not None
    assert fault.remedy == f"Run: chmod 600 {key}"
    assert [finding.code for finding in _faults(text)] == ["key"]
    key.chmod(0o600)
    key.write_text("nonsense")
    fault = key_file_fault(key)
    assert fault is not None
    assert "holds no private key" in fault.message


def test_a_key_is_taken_as_it_is_where_nobody_can_look(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "id").write_text("nonsense")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert key_file_fault(tmp_path / "id") is None


URL = "ZEJZL_STORE_URL=rediss://192.168.1.10:6380"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (
            "ZEJZL_STORE_URL=rediss://192.168.1.10:abc",
            "ZEJZL_STORE_URL: the Redis address is not a valid URL",
        ),
        ("ZEJZL_STORE_URL=rediss://192.168.1.10:99999", "not a valid URL"),
        ("ZEJZL_STORE_URL=rediss:/192.168.1.10", "not a valid URL"),
        ("ZEJZL_STORE_URL='rediss://192.168.1.10?replicas=xx'", "replicas, when_away or sentinels"),
        ("ZEJZL_STORE_URL='rediss://192.168.1.10?replica=1'", "replica in the store's address is no option"),
        ("ZEJZL_STORE_URL=mysql://x", "has the scheme 'mysql'"),
        (f"{URL} ZEJZL_RAY_PORT=abc", "ZEJZL_RAY_PORT: Input should be a valid integer"),
        (f"{URL} ZEJZL_RAY_PORT=80", "ZEJZL_RAY_PORT: Input should be greater"),
        (f"{URL} ZEJZL_FAILBACK=sometimes", "ZEJZL_FAILBACK: Input should be 'auto' or 'never'"),
        (f"export {URL}; ZEJZL_CPUS=none", "ZEJZL_CPUS is no whole number"),
        ("ZEJZL_STORE_ULR=rediss://192.168.1.10:6380", "ZEJZL_STORE_ULR is no setting"),
    ],
)
def test_a_setting_of_a_start_command_is_checked_as_the_node_would(
    text: str, setting: str, words: str
) -> None:
    assert URL in text
    wrong = text.replace(URL, setting)

    (finding,) = _faults(wrong)

    assert words in finding.message
    assert finding.remedy
    assert finding.line in (_line(wrong, setting), _line(wrong, setting) - 1)


def test_a_misspelt_setting_is_told_which_was_meant(text: str) -> None:
    (finding,) = _faults(text.replace("ZEJZL_STORE_URL", "ZEJZL_STORE_ULR"))

    assert finding.remedy == "Did you mean ZEJZL_STORE_URL?"


def test_what_the_shell_will_put_in_is_nobodys_fault(text: str) -> None:
    more = f"{URL} ZEJZL_RAY_PORT=$PORT ZEJZL_SECRET_X=y ZEJZL_CPUS=2 OTHER=1"
    workers = text.replace("--address $RAY", "--address  $RAY").replace(
        "~/.local/share/zejzl/releases/current/venv/bin/zejzl\n    node start --address",
        "ZEJZL_RAY_PORT=x ~/.local/share/zejzl/releases/current/venv/bin/zejzl\n    node start --address",
    )

    assert parse_cluster_file(text.replace(URL, more), "c").require().environment["ZEJZL_CPUS"] == "2"
    assert ["ZEJZL_RAY_PORT" in finding.message for finding in _faults(workers)] == [True]


def test_an_exported_variable_counts_for_every_command_and_another_for_its_own_only(text: str) -> None:
    exported = parse_cluster_file(text.replace(URL, f"export {URL}; A=1 true;"), "c").require()
    assert exported.environment == {"ZEJZL_STORE_URL": "rediss://192.168.1.10:6380"}
    assert parse_cluster_file(text.replace(URL, f"{URL} true;"), "c").require().environment == {}


@pytest.mark.parametrize("whole", ["", "# nothing\n", "[1, 2]\n", "text\n"])
def test_a_file_that_holds_no_cluster_says_what_does(whole: str) -> None:
    (finding,) = _faults(whole)

    assert finding.remedy == "Write one with `zejzl cluster init`."


def test_a_wrong_address_of_a_worker_is_no_wrong_count(text: str) -> None:
    found = _faults(text.replace("[192.168.1.11]", "[192.168.1.300]"))

    assert "count" not in {finding.code for finding in found}
