import zipfile
from pathlib import Path

from tools.check_wheel import DATA, PACKAGES, ROOT, problems_of

INFO = "zejzl_ray-0.1.0.dist-info"
METADATA = "Metadata-Version: 2.4\nName: zejzl-ray\nLicense-Expression: Apache-2.0\nRequires-Python: >=3.11\n"


def wheel(path: Path, *, metadata: str = METADATA, leave_out: str = "", add: str = "") -> Path:
    modules = {
        file.relative_to(ROOT).as_posix() for package in PACKAGES for file in (ROOT / package).rglob("*.py")
    }
    names = {*modules, *DATA, f"{INFO}/licenses/LICENSE", f"{INFO}/entry_points.txt"} - {leave_out}
    target = path / "zejzl_ray-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(f"{INFO}/METADATA", metadata)
        for name in sorted({*names, add} - {""}):
            archive.writestr(name, "")
    return target


def test_a_wheel_with_everything_has_no_problem(tmp_path: Path) -> None:
    assert problems_of(wheel(tmp_path)) == []


def test_a_missing_module_is_named(tmp_path: Path) -> None:
    assert problems_of(wheel(tmp_path, leave_out="actors/bootstrap.py")) == ["actors/bootstrap.py is missing"]


def test_tests_do_not_belong_in_a_wheel(tmp_path: Path) -> None:
    assert "tests/test_it.py does not belong in it" in problems_of(wheel(tmp_path, add="tests/test_it.py"))


def test_licence_and_python_version_are_looked_at(tmp_path: Path) -> None:
    metadata = METADATA.replace("Apache-2.0", "MIT").replace(">=3.11", ">=3.9")
    assert problems_of(wheel(tmp_path, metadata=metadata)) == [
        "its licence is MIT",
        "it asks for Python >=3.9",
    ]
