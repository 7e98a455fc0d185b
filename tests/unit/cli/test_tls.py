"""``zejzl tls``, with another machine's command line in place of ssh."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from zejzl_ray.cli import tls
from zejzl_ray.errors import ClusterError, Conflict, InvalidInput
from zejzl_ray.tls.credentials import load_credentials
from zejzl_ray.tls.directory import TlsDirectory
from zejzl_ray.tls.names import certificate_names
from zejzl_ray.tls.remote import RemoteMachine

_ADDRESS = "192.168.1.11"


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZEJZL_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data" / "tls"


@pytest.fixture
def ingress(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Data directories whose running ingress was told of a renewed certificate; one proxy runs."""
    told: list[Path] = []

    def tell(settings: Any) -> int:
        told.append(settings.data_path)
        return 1

    monkeypatch.setattr("actors.ingress_certificate.renew_in_running_ingress", tell)
    return told


@pytest.fixture
def pc2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ingress: list[Path]) -> Path:
    """Directory of another machine that ssh reaches."""
    data_dir = tmp_path / "pc2"

    def run(argv: list[str], **options: Any) -> "subprocess.CompletedProcess[bytes]":
        command = argv[-1].partition(" tls ")[2].split()
        environment = {"ZEJZL_DATA_DIR": str(data_dir)}
        done = CliRunner().invoke(tls.app, command, input=options["input"], env=environment)
        said = str(done.exception or "").encode()
        return subprocess.CompletedProcess(argv, done.exit_code, done.stdout_bytes, said)

    monkeypatch.setattr(tls, "RemoteMachine", lambda target, identity: RemoteMachine(target, identity, run))
    return data_dir / "tls"


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(tls.app, arguments)


def _is_usable(directory: Path, machine: str) -> bool:
    return load_credentials(directory, machine, time.time(), address=_ADDRESS).days_left > 300


def test_init_may_be_repeated_and_prints_no_key(directory: Path) -> None:
    first = _run("init", "--machine", "mainpc", "--address", _ADDRESS, "--name", "mainpc.lan")
    key = (directory / "mainpc.key").read_text()
    second = _run("init")

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "made: authority and certificate of mainpc" in first.output
    assert "is there already: authority and certificate of mainpc" in second.output
    assert (directory / "mainpc.key").read_text() == key
    assert directory.parent.stat().st_mode & 0o777 == 0o700
    assert key.splitlines()[1] not in first.output + second.output
    assert _is_usable(directory, "mainpc")


def test_without_an_address_a_certificate_names_those_of_this_machine(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "own_addresses", lambda: ("10.1.2.3", "fd00::7"))
    monkeypatch.setattr("socket.gethostname", lambda: "Box.lan")

    assert _run("init").exit_code == 0

    names = TlsDirectory(directory).names("Box")
    assert names.dns == ("box", "box.lan", "localhost")
    assert names.addresses == ("10.1.2.3", "fd00::7", "127.0.0.1", "::1")


def test_a_certificate_without_an_address_would_be_of_no_use(directory: Path) -> None:
    done = _run("issue", "pc2")

    assert done.exit_code == 2
    assert "--address" in done.output


def test_a_certificate_to_carry_by_hand_says_what_to_copy(directory: Path) -> None:
    _run("init", "--machine", "mainpc")

    done = _run("issue", "pc2", "--address", _ADDRESS)

    assert done.exit_code == 0, done.exception
    assert "Copy ca.pem, pc2.pem and pc2.key" in done.output
    assert isinstance(_run("issue", "pc2", "--address", _ADDRESS).exception, Conflict)
    assert _run("issue", "pc2", "--address", _ADDRESS, "--force").exit_code == 0


def test_over_ssh_the_other_machine_gets_its_certificate_and_keeps_its_key(
    directory: Path, pc2: Path
) -> None:
    _run("init", "--machine", "mainpc")

    done = _run("issue", "pc2", "--address", _ADDRESS, "--ssh", "me@pc2")

    assert done.exit_code == 0, done.exception
    assert _is_usable(pc2, "pc2")
    assert not (directory / "pc2.key").exists()
    assert (directory / "pc2.pem").read_bytes() == (pc2 / "pc2.pem").read_bytes()
    refused = _run("issue", "pc2", "--address", _ADDRESS, "--ssh", "me@pc2")
    assert isinstance(refused.exception, Conflict)


def test_a_hand_over_that_failed_may_simply_be_repeated(
    directory: Path, pc2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run("init", "--machine", "mainpc")
    with monkeypatch.context() as patch:
        patch.setattr(TlsDirectory, "accept", _fail)
        failed = _run("issue", "pc2", "--address", _ADDRESS, "--ssh", "me@pc2")

    assert isinstance(failed.exception, ClusterError)
    assert "the disk is full" in str(failed.exception)
    assert _run("issue", "pc2", "--address", _ADDRESS, "--ssh", "me@pc2").exit_code == 0
    assert _is_usable(pc2, "pc2")


def _fail(*_: Any, **__: Any) -> None:
    raise ClusterError("the disk is full")


def test_this_machine_is_renewed_and_its_ingress_told(directory: Path, ingress: list[Path]) -> None:
    _run("init", "--machine", "mainpc", "--address", _ADDRESS)
    before = (directory / "mainpc.pem").read_bytes()

    done = _run("renew")

    assert done.exit_code == 0, done.exception
    assert "running ingress shows the new certificate" in done.output
    assert ingress == [directory.parent]
    assert (directory / "mainpc.pem").read_bytes() != before


def test_another_machine_is_renewed_over_ssh_with_its_names(
    directory: Path, pc2: Path, ingress: list[Path]
) -> None:
    _run("init", "--machine", "mainpc")
    _run("issue", "pc2", "--address", _ADDRESS, "--ssh", "me@pc2")
    key, before = (pc2 / "pc2.key").read_bytes(), (pc2 / "pc2.pem").read_bytes()

    assert _run("renew", "pc2", "--ssh", "me@pc2").exit_code == 0
    assert (pc2 / "pc2.key").read_bytes() == key
    assert (pc2 / "pc2.pem").read_bytes() != before
    assert _run("renew", "pc2", "--ssh", "me@pc2", "--new-key").exit_code == 0
    assert (pc2 / "pc2.key").read_bytes() != key
    assert _is_usable(pc2, "pc2")
    assert ingress[-1] == pc2.parent


def test_a_renewal_without_a_certificate_says_how_to_make_one(directory: Path) -> None:
    done = _run("renew")

    assert isinstance(done.exception, InvalidInput)
    assert "zejzl tls init" in str(done.exception)


def test_the_list_ends_with_1_when_something_expires_soon(directory: Path) -> None:
    names = certificate_names("mainpc", (), (_ADDRESS,))
    directory.parent.mkdir(mode=0o700)
    TlsDirectory(directory).init(names, time.time() - 340 * 86_400)

    table, data = _run("show"), _run("show", "--json")
    _run("renew")
    after = _run("show")

    assert (table.exit_code, data.exit_code, after.exit_code) == (1, 1, 0)
    assert "mainpc" in table.output
    assert "expires within 30 days: mainpc" in table.stderr
    rows = json.loads(data.stdout)
    assert [(row["name"], row["is_ending_soon"], row["is_this_machine"]) for row in rows] == [
        ("ca", False, False),
        ("mainpc", True, True),
    ]
    assert rows[1]["names"] == ["mainpc", "localhost", _ADDRESS, "127.0.0.1", "::1"]


def test_an_empty_list_says_what_to_do(directory: Path) -> None:
    assert "zejzl tls init" in _run("show").output
    assert _run("show", "--json").output.strip() == "[]"


def test_only_a_certificate_with_its_authority_is_accepted(directory: Path) -> None:
    done = CliRunner().invoke(tls.app, ["accept", "pc2"], input="nothing")

    assert isinstance(done.exception, InvalidInput)
    assert not (directory / "pc2.pem").exists()


def test_the_command_is_part_of_the_command_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "zejzl_ray.cli.main", "tls", "show", "--json"],
        capture_output=True, text=True, timeout=30, check=False, env={"ZEJZL_DATA_DIR": str(tmp_path / "d")},
        cwd=Path(__file__).parents[3],
    )  # fmt: skip

    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
