"""Build the wheel and look whether it holds what it should, and nothing else."""

import subprocess
import sys
import tempfile
import zipfile
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("zejzl_ray", "actors", "serve_apps")
DATA = (
    "zejzl_ray/py.typed",
    "zejzl_ray/fleet/shipped/fleet.yaml",
    "zejzl_ray/fleet/shipped/policy.yaml",
    "zejzl_ray/cluster_file/shipped/cluster.yaml",
    "zejzl_ray/cluster_file/shipped/redis.conf",
    "zejzl_ray/security/common_passwords.txt",
)


def build(directory: Path) -> Path:
    """Return the wheel, built from the working tree without the network.

    Raises:
        SystemExit: it cannot be built; pip's last words are printed.
    """
    command = [sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*command, "-w", str(directory), str(ROOT)],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        sys.exit(f"error: the wheel cannot be built:\n{done.stderr[-2000:]}")
    return next(directory.glob("*.whl"))


def problems_of(wheel: Path) -> list[str]:
    """Return what is missing in the wheel and what does not belong there, one sentence each."""
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        info = next(name for name in held if name.endswith(".dist-info/METADATA")).rsplit("/", 1)[0]
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
    modules = {
        path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*.py")
    }
    wanted = {*modules, *DATA, f"{info}/licenses/LICENSE", f"{info}/entry_points.txt"}
    problems = [f"{name} is missing" for name in sorted(wanted - held)]
    allowed = (*(f"{package}/" for package in PACKAGES), f"{info}/")
    problems += [f"{name} does not belong in it" for name in sorted(held) if not name.startswith(allowed)]
    problems += [f"{name} is no module" for name in sorted(held - modules) if name.endswith(".py")]
    if metadata["License-Expression"] != "Apache-2.0":
        problems.append(f"its licence is {metadata['License-Expression']}")
    if not str(metadata["Requires-Python"]).startswith(">=3.11"):
        problems.append(f"it asks for Python {metadata['Requires-Python']}")
    return problems


def import_problem(wheel: Path) -> str:
    """Return why the library cannot be used from the wheel alone; empty when it can."""
    program = (
        "import sys; sys.path[:] = [sys.argv[1], *(p for p in sys.path if p and p != sys.argv[2])]; "
        "import zejzl_ray.cli.main as cli, zejzl_ray; [*cli.typer.main.get_group(cli.app).commands.values()]; "
        "assert sys.argv[1] in zejzl_ray.__file__, zejzl_ray.__file__"
    )
    command = [sys.executable, "-P", "-E", "-c", program, str(wheel), str(ROOT)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, cwd=wheel.parent)
    return done.stderr.strip()[-1000:] if done.returncode else ""


def main() -> int:
    """Print what is wrong; return 1 when something is."""
    with tempfile.TemporaryDirectory(prefix="zejzl-wheel-") as directory:
        wheel = build(Path(directory))
        problems = problems_of(wheel)
        problem = import_problem(wheel)
        if problem:
            problems.append(f"it cannot be imported:\n{problem}")
        for text in problems:
            print(f"error: {wheel.name}: {text}", file=sys.stderr)
        if not problems:
            print(f"{wheel.name}: {wheel.stat().st_size // 1024} KiB")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
