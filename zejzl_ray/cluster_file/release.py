"""What a cluster file says of the release: carried, installed, and started from, or none of the three."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from zejzl_ray.cluster_file.machine_names import Say
from zejzl_ray.cluster_file.model import CarriedRelease
from zejzl_ray.fleet.document import Items, Scalar, Table

SETUP: Final = "setup_commands"
MOUNTS: Final = "file_mounts"
_INSTALLER: Final = "/install.py"
_STARTED: Final = "/releases/current/"
# What the project's own file says of machines that a release is installed on, and what it says without.
_WORDS: Final = (
    (
        "#   - Python, one version on all; the project brings an environment of its own\n",
        "#   - the same path for zejzl-ray's virtual environment, with its `bin` on PATH in ~/.bashrc, above any line\n"
        "#     that returns early for shells that are not interactive\n",
    ),
    (
        "#   - the environment that you work in, which has `zejzl` and `ray`, with its `bin` on PATH in ~/.bashrc,"
        " above any line\n#     that returns early for shells that are not interactive\n",
        "",
    ),
)
_BOTH_WAYS: Final = "`zejzl cluster init` writes them all, and `--no-release` none of them."


def read_carried_release(
    root: Table, copied: Mapping[str, Path], program: str | None, say: Say
) -> CarriedRelease | None:
    """Return what is carried; None where the machines have an environment of their own.

    Args:
        root: the file.
        copied: path on the machines -> path here.
        program: of the head's start command; None when there is none.
        say: told where the three places do not fit together.
    """
    setup = root.get(SETUP)
    items = setup.node.items if setup is not None and isinstance(setup.node, Items) else ()
    words = [(word, item) for item in items if isinstance(item, Scalar) for word in item.text.split()]
    installers = [(word, item) for word, item in words if word.endswith(_INSTALLER)]
    is_started = program is not None and _STARTED in program
    if not installers:
        if is_started:
            message = f"the start command is that of a release, and {SETUP} installs none"
            say("release", message, root.place, f"Add the command that runs install.py. {_BOTH_WAYS}")
        return None
    path, item = installers[0]
    there = path.removesuffix(_INSTALLER)
    here = copied.get(there)
    if here is None:
        message = f"{path} is to be run, and {MOUNTS} carries no {there}"
        say("release", message, item.place, f'Add "{there}" to {MOUNTS}. {_BOTH_WAYS}')
        return None
    if program is not None and not is_started:
        message = f"a release is installed, and {program} is started"
        remedy = f"Start ~/.local/share/zejzl{_STARTED}venv/bin/zejzl. {_BOTH_WAYS}"
        say("release", message, item.place, remedy)
    return CarriedRelease(here=here, there=there)


def without_release(text: str) -> str:
    """Return the project's cluster file for machines that have an environment of their own, with ``zejzl`` on PATH."""
    for former, words in _WORDS:
        text = text.replace(former, words)
    lines: list[str] = []
    rest = iter(text.splitlines(keepends=True))
    for line in rest:
        if line.startswith(f"{SETUP}:"):
            while lines and lines[-1].startswith("#"):
                lines.pop()
            for skipped in rest:
                if not skipped.strip():
                    break
        elif line.strip().startswith('"~/.local/share/zejzl/release"'):
            continue
        elif _STARTED in line:
            lines.append(line[: len(line) - len(line.lstrip())] + "zejzl\n")
        elif "zejzl release " in line or line.startswith("# The release: "):
            continue
        else:
            lines.append(line)
    return "".join(lines)
