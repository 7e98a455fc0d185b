"""``zejzl release`` and ``zejzl rollback``: what they say, where the machines are stood in for."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.unit.cluster.nodes import a_head
from zejzl_ray.cli import release as release_command
from zejzl_ray.cli import upgrade
from zejzl_ray.cli.main import app
from zejzl_ray.cli.upgrade import back_up_before_upgrade
from zejzl_ray.cluster.node_intent import NodeIntent
from zejzl_ray.cluster.supervised_plan import SupervisedPlan
from zejzl_ray.cluster_check.reach import Outcome, Reach
from zejzl_ray.cluster_file.model import DeclaredMachine
from zejzl_ray.cluster_file.release import without_release
from zejzl_ray.cluster_file.template import CLUSTER_TEMPLATE, read_template
from zejzl_ray.errors import ClusterError, InvalidInput, NotFound, ZejzlError
from zejzl_ray.release.folder import CarriedWheel, ReleaseManifest
from zejzl_ray.settings import load_settings


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZEJZL_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


@pytest.fixture
def cluster_file(tmp_path: Path, data_dir: Path) -> Path:
    """The project's file, with a key that is there and this data directory."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "id"], check=True, timeout=30
    )
    text = read_template(CLUSTER_TEMPLATE).replace("~/.ssh/id_ed25519", str(tmp_path / "id"))
    text = text.replace(': "~/.local/share/zejzl', f': "{data_dir}')
    (tmp_path / "cluster.yaml").write_text(text)
    return tmp_path / "cluster.yaml"


def zejzl(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def manifest(name: str, state_format: int = 1) -> ReleaseManifest:
    wheel = CarriedWheel(file="pip.whl", name="pip", version="1", sha256="0", size_bytes=1)
    return ReleaseManifest(
        id=name, version=name.partition("-")[0], python="3.11", platform="p", state_format=state_format,
        built_at_s=1_800_000_000.0, pip="pip.whl", wheels=(wheel,),
    )  # fmt: skip


def carry(folder: Path, name: str) -> None:
    (folder / "wheels").mkdir(parents=True)
    (folder / "wheels/pip.whl").write_bytes(b"x")
    (folder / "release.json").write_text(json.dumps(manifest(name).model_dump(mode="json")))


def plant(data_dir: Path, name: str, *links: str, state_format: int = 1) -> None:
    folder = data_dir / "releases" / name
    folder.mkdir(parents=True)
    (folder / "release.json").write_text(json.dumps(manifest(name, state_format).model_dump(mode="json")))
    for link in links:
        (data_dir / "releases" / link).symlink_to(name)


def test_what_is_installed_and_what_would_be_carried_are_listed(data_dir: Path) -> None:
    plant(data_dir, "1.0-a", "previous")
    plant(data_dir, "1.1-b", "current")
    carry(data_dir / "release", "1.1-b")

    table, data = zejzl("release", "list"), json.loads(zejzl("release", "list", "--json").stdout)

    assert table.exit_code == 0
    assert "`ray up` carries: 1.1-b" in table.output
    assert [(row["id"], row["is_current"], row["is_previous"]) for row in data["installed"]] == [
        ("1.0-a", False, True),
        ("1.1-b", True, False),
    ]
    assert data["carried"]["id"] == "1.1-b"


def test_where_nothing_is_there_the_list_says_how_to_begin(data_dir: Path) -> None:
    done = zejzl("release", "list")

    assert done.exit_code == 0
    assert "`zejzl release build` makes one" in done.output


@pytest.mark.parametrize("place", ["release", "releases/1.0-a"])
def test_a_damaged_release_is_named(data_dir: Path, place: str) -> None:
    (data_dir / place).mkdir(parents=True)
    (data_dir / place / "release.json").write_text("{")

    done = zejzl("release", "list")

    assert isinstance(done.exception, (InvalidInput, ClusterError))
    assert f"{place}/release.json cannot be read" in str(done.exception)
    assert "`zejzl release build` anew" in str(done.exception)


def test_an_installation_without_a_release_says_how_to_make_one(data_dir: Path) -> None:
    with pytest.raises(ClusterError, match=r"There is no release in .*`zejzl release build`"):
        _raised(zejzl("release", "install"))


def test_a_build_says_which_release_it_is(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Path, Path]] = []

    def build(source: Path, folder: Path, clock: object) -> ReleaseManifest:
        asked.append((source, folder))
        return manifest("1.0-a")

    monkeypatch.setattr(release_command, "build_release", build)

    words, data = (
        zejzl("release", "build"),
        json.loads(zejzl("release", "build", "--source", "x", "--json").stdout),
    )

    assert words.stdout.strip() == str(data_dir / "release")
    assert "release 1.0-a: 1 wheels" in words.output
    assert data["id"] == "1.0-a"
    assert [folder for _, folder in asked] == [data_dir / "release"] * 2
    assert (asked[0][0] / "pyproject.toml").is_file()
    assert asked[1][0] == Path.cwd() / "x"


def _said(machine: DeclaredMachine, words: str) -> Outcome:
    return Outcome(machine=machine.name, address=machine.address, status=0, said=words)


def test_a_release_is_sent_to_all_machines(
    data_dir: Path, cluster_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry(data_dir / "release", "1.0-a")
    monkeypatch.setattr(Reach, "copy", lambda *_, **__: None)
    monkeypatch.setattr(Reach, "ask", lambda _, machine, *__: _said(machine, f"{machine.name} has it"))

    words, data = zejzl("release", "send"), json.loads(zejzl("release", "send", "--json").stdout)

    assert words.stdout.splitlines() == ["mainpc: mainpc has it", "pc2: pc2 has it"]
    assert data == {"mainpc": "mainpc has it", "pc2": "pc2 has it"}


def test_the_way_back_is_told_and_what_is_left_to_do(
    data_dir: Path, cluster_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"id": "1.0-a", "state_format": 1, "is_current": False, "is_previous": True, "was_left": False},
        {"id": "1.1-b", "state_format": 1, "is_current": True, "is_previous": False, "was_left": False},
    ]
    said = f"ZEJZL-RELEASES:{json.dumps(rows)}\n"
    monkeypatch.setattr(Reach, "ask", lambda _, machine, *__: _said(machine, said))

    words, data = zejzl("rollback"), json.loads(zejzl("rollback", "--json").stdout)

    assert "1.0-a is the release of mainpc, pc2" in words.stdout
    assert "`ray up` starts it" in words.output
    assert data == {"release": "1.0-a", "left": "1.1-b", "is_started": False}


def test_without_releases_there_is_no_way_back(cluster_file: Path) -> None:
    cluster_file.write_text(without_release(cluster_file.read_text()))

    for command in (("rollback",), ("release", "send")):
        with pytest.raises(InvalidInput, match="carries no release"):
            _raised(zejzl(*command))


@pytest.fixture
def backed_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each back-up that was made."""
    made: list[str] = []
    monkeypatch.setattr("zejzl_ray.cli.backup.with_site", lambda settings, work: made.append("back-up"))
    return made


def _started(data_dir: Path, executable: str) -> None:
    node = a_head(ray_executable=executable)
    data_dir.mkdir(parents=True, exist_ok=True)
    NodeIntent(plan=SupervisedPlan(node=node), is_wanted=True).write(data_dir)


@pytest.mark.parametrize(
    ("own", "former", "count"),
    [
        ("1.1-b", "releases/1.0-a/venv/bin/ray", 1),
        ("1.1-b", "releases/1.1-b/venv/bin/ray", 0),
        ("1.1-b", "elsewhere/ray", 0),
        (None, "releases/1.0-a/venv/bin/ray", 0),
        ("1.1-b", "", 0),
    ],
)
def test_the_state_is_backed_up_by_the_first_start_of_another_release(
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    backed_up: list[str],
    own: str | None,
    former: str,
    count: int,
) -> None:
    monkeypatch.setattr(upgrade, "own_release", lambda _: own)
    if former:
        _started(data_dir, str(data_dir / former))

    back_up_before_upgrade(load_settings())

    assert len(backed_up) == count


def test_a_back_up_that_fails_stops_a_release_that_writes_the_state_anew_and_no_other(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise NotFound("Redis is away.")

    monkeypatch.setattr("zejzl_ray.cli.backup.with_site", fail)
    monkeypatch.setattr(upgrade, "own_release", lambda _: "1.1-b")
    _started(data_dir, str(data_dir / "releases/1.0-a/venv/bin/ray"))
    plant(data_dir, "1.0-a")

    back_up_before_upgrade(load_settings())
    assert "Redis is away" in capsys.readouterr().err
    monkeypatch.setattr(upgrade, "STATE_FORMAT", 2)
    with pytest.raises(ClusterError, match=r"cannot be backed up: Redis is away.*zejzl rollback"):
        back_up_before_upgrade(load_settings())
    (data_dir / "releases/1.0-a/release.json").write_text("{")
    with pytest.raises(ClusterError, match="cannot be backed up"):
        back_up_before_upgrade(load_settings())


def _raised(done: Result) -> None:
    assert isinstance(done.exception, ZejzlError), done.output
    raise done.exception
