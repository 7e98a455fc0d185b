"""``zejzl cluster``: the file that init writes, and what check says of files and of machines."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from tests.unit.cluster_check.healthy import ADDRESSES, after_takeover, healthy, with_machine, with_secret
from zejzl_ray.cli import cluster as cluster_command
from zejzl_ray.cli import cluster_init
from zejzl_ray.cli.main import app
from zejzl_ray.cluster_check.facts import ClusterFacts, Phase, SshFault
from zejzl_ray.cluster_check.gather import Gathering
from zejzl_ray.cluster_check.reach import Outcome, Reach
from zejzl_ray.cluster_file.model import DeclaredMachine
from zejzl_ray.errors import ClusterError, Conflict, InvalidInput

Run = Callable[..., Result]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A private key without passphrase."""
    path = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True, timeout=30)
    return path


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `zejzl cluster ...` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZEJZL_FLEET_FILE", str(tmp_path / "none.yaml"))

    def run(*arguments: str, typed: str = "") -> Result:
        return CliRunner().invoke(app, ["cluster", *arguments], input=typed)

    return run


def _init(run: Run, key: Path, *more: str) -> Result:
    return run(
        "init", "--head-address", ADDRESSES["mainpc"], "--worker", f"pc2={ADDRESSES['pc2']}", "--user", "me",
        "--key", str(key), *more,
    )  # fmt: skip


def test_init_writes_a_file_that_check_takes(run: Run, key: Path, tmp_path: Path) -> None:
    done = _init(run, key, "--worker", "pc3=pc3.lan", "--redis-conf", "redis.conf", "--yes")

    assert done.exit_code == 0, done.output
    data = yaml.safe_load((tmp_path / "cluster.yaml").read_text())
    assert data["provider"]["worker_ips"] == [ADDRESSES["pc2"], "pc3.lan"]
    assert f"bind {ADDRESSES['mainpc']} " in (tmp_path / "redis.conf").read_text()
    assert "/home/me/.local/share/zejzl/tls/mainpc.pem" in (tmp_path / "redis.conf").read_text()
    assert "bind pc3.lan " in (tmp_path / "redis-pc3.conf").read_text()
    assert "/home/me/.local/share/zejzl/tls/pc3.pem" in (tmp_path / "redis-pc3.conf").read_text()
    assert f"zejzl tls issue pc2 --address {ADDRESSES['pc2']} --ssh me@{ADDRESSES['pc2']}" in done.output
    assert "ray up -y cluster.yaml" in done.output


def test_init_says_as_json_what_it_wrote(run: Run, key: Path) -> None:
    done = _init(run, key, "--json", "--output", "mine.yaml")

    assert json.loads(done.output) == {
        "files": ["mine.yaml"],
        "machines": [{"name": name, "address": address} for name, address in ADDRESSES.items()],
    }


def test_init_overwrites_nothing_unless_told(run: Run, key: Path) -> None:
    assert _init(run, key).exit_code == 0
    assert isinstance(_init(run, key).exception, Conflict)
    assert _init(run, key, "--force").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--worker", f"other={ADDRESSES['pc2']}"), "two workers have the address"),
        (("--worker", "pc2=192.168.1.12"), "two machines are called pc2"),
        (("--worker", "pc3"), "no NAME=ADDRESS"),
        (("--head-name", "pc2"), "two machines are called pc2"),
        (("--key", "/no/such/key"), "there is no private key /no/such/key"),
    ],
)
def test_init_writes_nothing_of_what_is_wrong(
    run: Run, key: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = _init(run, key, *arguments)

    assert isinstance(done.exception, InvalidInput)
    assert words in str(done.exception)
    assert not (tmp_path / "cluster.yaml").exists()


def test_init_asks_for_what_is_not_given(
    run: Run, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_init, "is_asking", lambda: True)
    typed = f"{ADDRESSES['mainpc']}\npc2={ADDRESSES['pc2']}\nnas=192.168.1.12\n\nme\n{key}\n"

    done = run("init", typed=typed)

    assert done.exit_code == 0, done.output
    data = yaml.safe_load((tmp_path / "cluster.yaml").read_text())
    assert data["provider"]["worker_ips"] == [ADDRESSES["pc2"], "192.168.1.12"]
    assert data["auth"]["ssh_user"] == "me"


def test_init_without_a_terminal_names_the_flag_that_is_missing(run: Run) -> None:
    done = run("init")

    assert done.exit_code == 2
    assert "--head-address" in done.output


# --- check ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def facts(monkeypatch: pytest.MonkeyPatch) -> Callable[[ClusterFacts], list[Phase | None]]:
    """Let the machines answer with these facts; the phases that were asked for are kept."""
    asked: list[Phase | None] = []

    def answer(found: ClusterFacts) -> list[Phase | None]:
        async def gather(self: Gathering, phase: Phase | None = None) -> ClusterFacts:
            asked.append(phase)
            return found

        monkeypatch.setattr(Gathering, "facts", gather)
        return asked

    return answer


def test_a_healthy_cluster_is_one_line_and_exit_code_0(run: Run, key: Path, facts: Any) -> None:
    asked = facts(healthy())
    _init(run, key)

    done = run("check")

    assert done.exit_code == 0
    assert done.output.splitlines() == [
        "19 checks after the start of mainpc (192.168.1.10), pc2 (192.168.1.11): all is well"
    ]
    assert run("check", "cluster.yaml", "--before").exit_code == run("check", "--after").exit_code == 0
    assert asked == [None, Phase.BEFORE, Phase.AFTER]
    assert run("check", "--before", "--after").exit_code == 2


def test_a_head_by_takeover_is_named(run: Run, key: Path, facts: Any) -> None:
    facts(after_takeover())
    _init(run, key)

    done = run("check")
    data = json.loads(run("check", "--json").output)

    assert (done.exit_code, data["is_well"]) == (0, True)
    assert "pc2 (192.168.1.11), pc2 is the head since its takeover: all is well" in done.output
    assert [machine["role"] for machine in data["machines"]] == ["worker", "head"]


def test_a_finding_is_a_row_with_machine_words_and_remedy(run: Run, key: Path, facts: Any) -> None:
    facts(
        with_machine(
            with_secret(healthy(), "pc2", "ray_token", digest="x"), "mainpc", unanswered={"redis": "silent"}
        )
    )
    _init(run, key)

    done = run("check")
    data = json.loads(run("check", "--json").output)

    assert done.exit_code == 1
    assert "1 finding, 1 not looked at" in done.output
    assert "its Ray token differs from that of mainpc" in done.output
    assert "not looked at (redis): silent" in done.output
    assert not data["is_well"]
    assert data["findings"][0]["machine"] == "pc2"
    assert data["findings"][0]["remedy"].startswith("Copy ray_token")
    assert data["unknown"] == [{"machine": "mainpc", "question": "redis", "why": "silent"}]
    assert [machine["role"] for machine in data["machines"]] == ["head", "worker"]


def test_a_machine_that_is_silent_is_told(run: Run, key: Path, facts: Any) -> None:
    fault = SshFault(cause="key", what="the key does not let me in", remedy="copy it")
    facts(with_machine(healthy(Phase.BEFORE), "pc2", own=None, ssh_fault=fault))
    _init(run, key)

    done = run("check")

    assert "before the start" in done.output
    assert "1 finding" in done.output
    assert "the key does not let me in" in done.output


def test_a_wrong_file_is_told_with_its_line_before_anybody_is_asked(
    run: Run, key: Path, facts: Any, tmp_path: Path
) -> None:
    asked = facts(healthy())
    _init(run, key)
    path = tmp_path / "cluster.yaml"
    path.write_text(path.read_text().replace("head_ip: 192", "head_ip: 999"))

    done = run("check")
    data = json.loads(run("check", "--json").output)

    assert done.exit_code == 1
    assert "is no IP address" in done.output
    assert done.output.startswith("cluster.yaml:")
    assert data["is_well"] is False
    assert data["file_findings"][0]["line"] > 0
    assert asked == []


def test_the_machines_are_asked_for_real_and_the_fleet_names_cards_and_addresses(
    run: Run, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fleet.yaml").write_text(
        "schema: zejzl.fleet/1\nmachines:\n  mainpc: {}\n"
        f"  pc2: {{address: {ADDRESSES['pc2']}, gpus: [{{name: RTX 3060, vram_mib: 12288}}]}}\n"
    )
    monkeypatch.setenv("ZEJZL_FLEET_FILE", str(tmp_path / "fleet.yaml"))
    monkeypatch.setattr(cluster_command, "Gathering", _LocalGathering)
    _init(run, key)
    path = tmp_path / "cluster.yaml"
    path.write_text(path.read_text().replace(f"--worker pc2={ADDRESSES['pc2']}", ""))

    data = json.loads(run("check", "--json").output)

    assert {row["check"] for row in data["findings"]} == {"mount", "release", "ssh"}
    assert [machine["name"] for machine in data["machines"]] == ["mainpc", "pc2"]


class _LocalGathering(Gathering):
    """Asks with a command that fails at once instead of ssh."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, command=lambda *_: ("false",), **options)
        assert self._fleet_gpus == {"mainpc": (), "pc2": ("RTX 3060",)}


class Machines:
    """Plays the machines for `down` and `purge`: notes what they are told, and answers as it is told itself."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[tuple[str, str]] = []
        self.failing: dict[str, str] = {}
        monkeypatch.setattr(Reach, "ask", lambda reach, *asked: self._ask(*asked))

    def _ask(self, machine: DeclaredMachine, text: str, limit_s: float) -> Outcome:
        self.told.append((machine.name, text))
        said = self.failing.get(machine.name)
        return Outcome(
            machine=machine.name, address=machine.address, status=None if said else 0,
            said=said or "stopped", remedy="Switch it on." if said else "",
        )  # fmt: skip


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch, run: Run, key: Path) -> Machines:
    assert _init(run, key, "--yes").exit_code == 0
    return Machines(monkeypatch)


def test_down_stops_every_machine_and_says_of_each_what_happened(run: Run, machines: Machines) -> None:
    done = run("down")

    assert done.exit_code == 0, done.output
    assert machines.told == [("mainpc", "zejzl node stop"), ("pc2", "zejzl node stop")]
    machines.failing["pc2"] = "nothing answers"
    failed, data = run("down"), run("down", "--json")
    assert (failed.exit_code, data.exit_code) == (1, 1)
    assert "nothing answers" in failed.output
    assert "Switch it on." in failed.output
    found = json.loads(data.stdout)
    assert [(row["machine"], row["is_done"]) for row in found["machines"]] == [
        ("mainpc", True),
        ("pc2", False),
    ]


def test_down_needs_a_file_that_is_right(run: Run, tmp_path: Path) -> None:
    missing = run("down", "nowhere.yaml")
    (tmp_path / "cluster.yaml").write_text("cluster_name: x\n")
    wrong = run("down")

    assert isinstance(missing.exception, ClusterError)
    assert isinstance(wrong.exception, InvalidInput)
    assert "there is no provider" in str(wrong.exception)


def test_purge_removes_nothing_while_one_machine_is_up_or_silent(run: Run, machines: Machines) -> None:
    machines.failing["pc2"] = "The cluster is up on this machine, so nothing was removed."

    done = run("purge", "--yes")

    assert done.exit_code == 1
    assert {command for _, command in machines.told} == {"zejzl node purge --check"}


def test_purge_asks_first_and_tells_the_head_where_redis_is(run: Run, machines: Machines) -> None:
    refused = run("purge", typed="n\n")
    before = len(machines.told)
    done = run("purge", "--everything", typed="y\n")
    for_programs = run("purge", "--json")

    assert isinstance(refused.exception, InvalidInput)
    assert isinstance(for_programs.exception, InvalidInput)
    assert before == 2
    assert done.exit_code == 0
    purged = machines.told[4:6]
    address = ADDRESSES["mainpc"]
    assert purged == [
        ("mainpc", f"ZEJZL_STORE_URL=rediss://{address}:6380 zejzl node purge --yes --everything"),
        ("pc2", "zejzl node purge --yes --everything"),
    ]


def test_init_takes_the_values_from_their_file_and_flags_go_before_them(
    run: Run, key: Path, tmp_path: Path
) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(
        f"head: {{big: 10.0.0.1}}\nworkers: {{small: 10.0.0.2}}\nssh_user: me\nssh_private_key: {key}\n"
    )

    done = run("init", "--values", "values.yaml", "--user", "you", "--yes")

    assert done.exit_code == 0, done.output
    data = yaml.safe_load((tmp_path / "cluster.yaml").read_text())
    assert data["provider"] == {"type": "local", "head_ip": "10.0.0.1", "worker_ips": ["10.0.0.2"]}
    assert data["auth"] == {"ssh_user": "you", "ssh_private_key": str(key)}
    assert "--machine big" in data["head_start_ray_commands"][0]
    assert "--worker small=10.0.0.2" in data["worker_start_ray_commands"][0]
