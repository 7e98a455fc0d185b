"""Releases are built by the real pip and installed by the program that is carried, with no way to any package."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.contract.release.small_project import write_project
from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster_file.model import DeclaredMachine
from zejzl_ray.cluster_release.rollback import InstalledRelease, MachineReleases, plan_rollback
from zejzl_ray.errors import InvalidInput, NotFound
from zejzl_ray.release.build import build_release, own_source
from zejzl_ray.release.folder import INSTALLER, ReleaseManifest, read_folder
from zejzl_ray.release.installer import REQUIREMENTS, WHEELS, ReleaseFault, Releases, _run, main


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of releases: two that work, one of a newer state, and two that do not start."""
    root = tmp_path_factory.mktemp("releases")
    projects = {
        "first": write_project(root / "p1", "1.0.0"),
        "second": write_project(root / "p2", "1.1.0"),
        "third": write_project(root / "p3", "1.2.0", state_format=2),
        "liar": write_project(root / "p4", "2.0.0", said="'2.0.1'"),
        "broken": write_project(root / "p5", "3.0.0", ray="raise ImportError('no such library')"),
    }
    for name, project in projects.items():
        build_release(project, root / name, SystemClock())
    return root


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    return Releases(tmp_path / "data" / "releases")


def _manifest(folder: Path) -> ReleaseManifest:
    manifest = read_folder(folder)
    assert manifest is not None
    return manifest


def _take(releases: Releases, folder: Path) -> str:
    """Install a release, without the seconds that its environment takes: it is there already."""
    own = releases.root / _manifest(folder).id
    own.mkdir(parents=True, exist_ok=True)
    (own / "release.json").write_bytes((folder / "release.json").read_bytes())
    return releases.install(folder)


def _says(releases: Releases) -> str:
    program = releases.root / "current/venv/bin/zejzl"
    return subprocess.run(
        # the environment of the tests would lead it to this source tree
        [program, "version"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env={},
    ).stdout.strip()


def test_the_same_checkout_gives_the_same_release(sources: Path, tmp_path: Path) -> None:
    again = build_release(sources / "p1", tmp_path / "again", SystemClock())

    assert again.id == _manifest(sources / "first").id
    assert again.id.startswith("1.0.0-")


def test_building_what_is_there_already_leaves_the_folder_alone(sources: Path) -> None:
    before = (sources / "first" / "release.json").read_bytes()

    build_release(sources / "p1", sources / "first", SystemClock())

    assert (sources / "first" / "release.json").read_bytes() == before


def test_another_build_takes_the_place_of_the_folder(sources: Path, tmp_path: Path) -> None:
    build_release(sources / "p1", tmp_path / "folder", SystemClock())

    build_release(sources / "p2", tmp_path / "folder", SystemClock())

    assert _manifest(tmp_path / "folder").version == "1.1.0"
    assert not [path for path in (tmp_path / "folder" / WHEELS).iterdir() if "1.0.0" in path.name]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_the_state_format_is_that_of_the_code_that_is_packed(sources: Path) -> None:
    assert _manifest(sources / "first").state_format == 1
    assert _manifest(sources / "third").state_format == 2


def test_a_folder_without_a_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"has no pyproject.toml"):
        build_release(tmp_path, tmp_path / "folder", SystemClock())

    (tmp_path / "other").mkdir()
    (tmp_path / "other/pyproject.toml").write_text(
        '[build-system]\nrequires=["hatchling"]\nbuild-backend="hatchling.build"\n'
        '[project]\nname="other"\nversion="1"\n[tool.hatch.build.targets.wheel]\nbypass-selection=true\n'
    )
    (tmp_path / "other/constraints.txt").write_text("")
    with pytest.raises(NotFound, match="is not the project"):
        build_release(tmp_path / "other", tmp_path / "folder", SystemClock())
    assert not (tmp_path / "folder").exists()


def test_what_pip_cannot_collect_is_named(sources: Path, tmp_path: Path) -> None:
    project = write_project(tmp_path / "p", "1.0.0")
    text = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(
        text.replace(
            "[project.scripts]",
            'dependencies = ["lacking @ file:///no-such-1-py3-none-any.whl"]\n[tool.hatch.metadata]\n'
            "allow-direct-references = true\n[project.scripts]",
        )
    )

    with pytest.raises(InvalidInput, match="no-such"):
        build_release(project, tmp_path / "folder", SystemClock())


def test_the_first_release_becomes_the_current_one(sources: Path, releases: Releases) -> None:
    said = releases.install(sources / "first")

    assert "installed in" in said
    assert releases.linked("current") == _manifest(sources / "first").id
    assert releases.linked("previous") is None
    assert _says(releases) == "1.0.0"


def test_installing_again_changes_nothing(sources: Path, releases: Releases) -> None:
    _take(releases, sources / "first")
    before = sorted((path, path.lstat().st_mtime_ns) for path in releases.root.rglob("*"))

    said = releases.install(sources / "first")

    assert "current already" in said
    after = sorted((path, path.lstat().st_mtime_ns) for path in releases.root.rglob("*"))
    assert [row for row in after if row[0].name != ".lock"] == [
        row for row in before if row[0].name != ".lock"
    ]


def test_the_release_before_stays_and_older_ones_go(sources: Path, releases: Releases) -> None:
    (releases.root / "half-done").mkdir(parents=True)
    for name in ("first", "second", "third"):
        _take(releases, sources / name)

    assert releases.linked("current") == _manifest(sources / "third").id
    assert releases.linked("previous") == _manifest(sources / "second").id
    assert {row["version"] for row in releases.installed()} == {"1.1.0", "1.2.0"}
    assert not (releases.root / "half-done").exists()


def test_wheels_of_releases_that_were_carried_before_go(
    sources: Path, releases: Releases, tmp_path: Path
) -> None:
    folder = _copy(sources / "first", tmp_path)
    (folder / WHEELS / "zejzl_ray-0.9.0-py3-none-any.whl").write_bytes(b"of the one before")

    _take(releases, folder)

    assert {path.name for path in (folder / WHEELS).iterdir()} == {
        wheel.file for wheel in _manifest(folder).wheels
    }


def test_a_release_that_a_process_runs_from_stays(sources: Path, releases: Releases) -> None:
    _take(releases, sources / "first")
    path = releases.root / _manifest(sources / "first").id / "venv/bin/python"
    with subprocess.Popen([sys.executable, "-c", "input()", path], stdin=subprocess.PIPE) as process:
        try:
            for name in ("second", "third"):
                _take(releases, sources / name)
        finally:
            process.kill()

    assert {row["version"] for row in releases.installed()} == {"1.0.0", "1.1.0", "1.2.0"}


@pytest.mark.parametrize(
    ("name", "words"), [("liar", "says that it is 2.0.1"), ("broken", "no such library")]
)
def test_a_release_that_does_not_start_is_not_switched_to(
    sources: Path, releases: Releases, name: str, words: str
) -> None:
    releases.install(sources / "first")

    with pytest.raises(ReleaseFault, match=words):
        releases.install(sources / name)

    assert _says(releases) == "1.0.0"
    assert [row["version"] for row in releases.installed()] == ["1.0.0"]


def test_an_installation_that_was_killed_leaves_the_current_release_and_is_done_by_the_next(
    sources: Path, releases: Releases
) -> None:
    releases.install(sources / "first")
    second = releases.root / _manifest(sources / "second").id
    folder = _copy(sources / "second", releases.root.parent)
    with subprocess.Popen([sys.executable, str(folder / INSTALLER)], start_new_session=True) as process:
        deadline_s = time.monotonic() + 30
        while not (second / "venv").exists() and time.monotonic() < deadline_s:
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)

    assert (second / "venv").exists()
    assert not (second / "release.json").exists()
    assert _says(releases) == "1.0.0"
    assert "installed in" in releases.install(sources / "second")
    assert _says(releases) == "1.1.0"


def test_a_release_that_a_rollback_has_left_is_not_taken_again_by_itself(
    sources: Path, releases: Releases
) -> None:
    first, second = _manifest(sources / "first").id, _manifest(sources / "second").id
    _take(releases, sources / "first")
    _take(releases, sources / "second")

    releases.use(first, leaving=second)
    said = releases.install(sources / "second")

    assert "left alone" in said
    assert releases.linked("current") == first
    assert {row["id"]: row["was_left"] for row in releases.installed()} == {first: False, second: True}
    releases.use(second)
    assert releases.linked("current") == second
    assert "current already" in releases.install(sources / "second")


class CutOff(BaseException):
    """The machine has lost its power."""


def _cut_off_after(links: int, releases: Releases, monkeypatch: pytest.MonkeyPatch) -> None:
    link, left = releases._link, [links]

    def cut_off(name: str, to: str) -> None:
        if not left[0]:
            raise CutOff
        left[0] -= 1
        link(name, to)

    monkeypatch.setattr(releases, "_link", cut_off)


@pytest.mark.parametrize("links", [0, 1])
def test_a_way_back_that_was_cut_off_is_completed_by_the_next(
    sources: Path, releases: Releases, monkeypatch: pytest.MonkeyPatch, links: int
) -> None:
    first, second = (_manifest(sources / name).id for name in ("first", "second"))
    _take(releases, sources / "first")
    _take(releases, sources / "second")
    with monkeypatch.context() as patch:
        _cut_off_after(links, releases, patch)
        with pytest.raises(CutOff):
            releases.use(first, leaving=second)

    machine = MachineReleases(
        machine=DeclaredMachine(name="mainpc", address="10.0.0.1"),
        installed=tuple(InstalledRelease.model_validate(row) for row in releases.installed()),
    )
    plan = plan_rollback([machine])
    releases.use(plan.target, leaving=plan.leaving)

    assert (releases.linked("current"), releases.linked("previous")) == (first, second)


@pytest.mark.parametrize("links", [0, 1])
def test_an_upgrade_that_was_cut_off_is_completed_by_the_next(
    sources: Path, releases: Releases, monkeypatch: pytest.MonkeyPatch, links: int
) -> None:
    names = ("first", "second", "third")
    _, second, third = (_manifest(sources / name).id for name in names)
    _take(releases, sources / "first")
    _take(releases, sources / "second")
    with monkeypatch.context() as patch:
        _cut_off_after(links, releases, patch)
        with pytest.raises(CutOff):
            _take(releases, sources / "third")

    _take(releases, sources / "third")

    assert (releases.linked("current"), releases.linked("previous")) == (third, second)


def test_a_release_that_is_not_installed_cannot_be_used(releases: Releases) -> None:
    with pytest.raises(ReleaseFault, match="is not installed here"):
        releases.use("9.9.9-none")


def test_a_damaged_wheel_is_named_and_nothing_is_installed(
    sources: Path, releases: Releases, tmp_path: Path
) -> None:
    folder = _copy(sources / "first", tmp_path)
    wheel = next((folder / WHEELS).glob("zejzl_ray*"))
    content = wheel.read_bytes()
    wheel.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    with pytest.raises(ReleaseFault, match=rf"{wheel.name} is damaged"):
        releases.install(folder)
    wheel.unlink()
    with pytest.raises(ReleaseFault, match=rf"{wheel.name} cannot be read"):
        releases.install(folder)
    with pytest.raises(InvalidInput, match="missing or cut short"):
        read_folder(folder)
    assert releases.installed() == []


def test_pip_itself_refuses_a_wheel_with_another_digest(
    sources: Path, releases: Releases, tmp_path: Path
) -> None:
    folder = _copy(sources / "first", tmp_path)
    (folder / REQUIREMENTS).write_text(f"zejzl_ray==1.0.0 --hash=sha256:{'0' * 64}\n")

    with pytest.raises(ReleaseFault, match="DO NOT MATCH THE HASHES"):
        releases.install(folder)
    assert releases.linked("current") is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"platform": "linux-riscv64"}, "is for linux-riscv64"),
        ({"format": 99}, "of format 99"),
        ({"id": "../elsewhere"}, "no name"),
    ],
)
def test_a_release_for_another_machine_or_program_is_refused(
    sources: Path, releases: Releases, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    folder = _copy(sources / "first", tmp_path)
    manifest = json.loads((folder / "release.json").read_text())
    (folder / "release.json").write_text(json.dumps({**manifest, **change}))

    with pytest.raises(ReleaseFault, match=words):
        releases.install(folder)


def test_the_carried_program_asks_for_the_python_that_the_wheels_are_for(
    sources: Path, tmp_path: Path
) -> None:
    folder = _copy(sources / "first", tmp_path)
    manifest = json.loads((folder / "release.json").read_text())
    (folder / "release.json").write_text(json.dumps({**manifest, "python": "3.99"}))

    done = _carried(folder)

    assert done.returncode == 1
    assert "Install python3.99" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_carried_program_installs_beside_its_folder_and_lists_and_changes(
    sources: Path, tmp_path: Path
) -> None:
    folder = _copy(sources / "first", tmp_path)
    releases = Releases(tmp_path / "releases")
    first, second = _manifest(sources / "first").id, _manifest(sources / "second").id
    for name in ("first", "second"):
        _take(releases, sources / name)

    assert "installed already" in _carried(folder).stdout
    assert releases.linked("current") == first
    assert _carried(folder, "use", second).returncode == 0
    said = _carried(folder, "use", first, "--leaving", second).stdout
    rows = json.loads(said.removeprefix("ZEJZL-RELEASES:"))
    assert {row["id"]: (row["is_current"], row["was_left"]) for row in rows} == {
        first: (True, False),
        second: (False, True),
    }
    assert _carried(folder, "list").stdout == said
    refused = _carried(folder, "use", "none")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "is not installed here" in refused.stderr


def test_the_program_says_what_it_did_and_why_not(
    sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _copy(sources / "first", tmp_path)
    releases = Releases(tmp_path / "releases")
    first = _manifest(folder).id
    _take(releases, folder)

    assert main([], folder) == 0
    assert "current already" in capsys.readouterr().out
    assert main(["use", first], folder) == main(["list"], folder) == 0
    assert capsys.readouterr().out.count("ZEJZL-RELEASES:") == 2
    assert main(["use", "none"], folder) == main([], tmp_path / "nowhere") == 1
    assert capsys.readouterr().err.count("error: ") == 2
    started: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda path, argv: started.append(argv))
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    manifest = json.loads((folder / "release.json").read_text())
    (folder / "release.json").write_text(json.dumps({**manifest, "python": "3.99"}))
    monkeypatch.delenv("ZEJZL_INSTALLER_AGAIN", raising=False)
    assert main([], folder) == 0
    assert started[0][0] == "/usr/bin/python3.99"
    assert main([], folder) == 1  # once only: a program of that name may be another Python
    assert "Install python3.99" in capsys.readouterr().err
    monkeypatch.undo()


def test_what_does_not_start_or_does_not_end_is_told() -> None:
    with pytest.raises(ReleaseFault, match=r"Could not wait within 0\.1 s"):
        _run([sys.executable, "-c", "import time; time.sleep(60)"], 0.1, "wait")
    with pytest.raises(ReleaseFault, match="Could not begin: No such file"):
        _run(["/no/such/program"], 1, "begin")


def test_only_one_installation_runs_at_a_time(
    sources: Path, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zejzl_ray.release.installer._LOCK_LIMIT_S", 0.2)
    releases.root.mkdir(parents=True)
    with (releases.root / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ReleaseFault, match="Another installation"):
            releases.install(sources / "first")


def _carried(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(folder / INSTALLER), *arguments]
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)


def test_where_nothing_was_carried_the_program_says_how_to_make_it(
    tmp_path: Path, releases: Releases
) -> None:
    with pytest.raises(ReleaseFault, match="`zejzl release build`"):
        releases.install(tmp_path)


def _copy(folder: Path, tmp_path: Path) -> Path:
    target = tmp_path / "copy"
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            to = target / path.relative_to(folder)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(path.read_bytes())
    return target


def test_a_tree_that_cannot_be_packed_and_a_folder_that_cannot_be_written_are_told(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="cannot write"):
        build_release(sources / "p1", tmp_path / "file" / "folder", SystemClock())
    monkeypatch.setattr("zejzl_ray.release.build._LIMIT_S", 0.01)
    with pytest.raises(InvalidInput, match=r"pip did not end within 0\.01 s"):
        build_release(sources / "p1", tmp_path / "folder", SystemClock())
    monkeypatch.setattr("zejzl_ray.release.build._CHECKOUT", tmp_path)
    with pytest.raises(NotFound, match="an installation, not a checkout"):
        own_source()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
