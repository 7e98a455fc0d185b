"""A new agent: its class, a test that passes, and its entry for the fleet file."""

import keyword
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import Final

from zejzl_ray.errors import AgentExists, InvalidInput
from zejzl_ray.fleet.model import Fleet
from zejzl_ray.fleet.new_files import write_files
from zejzl_ray.fleet.order import canonical_names
from zejzl_ray.fleet.suggest import did_you_mean
from zejzl_ray.ids import NAME_REGEX

_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_MOST_CHARACTERS: Final = 64


@dataclass(frozen=True, slots=True)
class AgentDraft:
    """A new agent, not written yet.

    Attributes:
        name: in the fleet.
        module: of its class.
        class_name: of its class.
        files: place -> text.
    """

    name: str
    module: str
    class_name: str
    files: Mapping[Path, str]


def draft_agent(name: str, folder: Path, *, machine: str = "", fleet: Fleet | None = None) -> AgentDraft:
    """Return the files of a new agent.

    Args:
        name: its name in the fleet; the class has it in CamelCase, the module in snake_case.
        folder: where the files go.
        machine: where it runs; empty: where there is room.
        fleet: in which its name must be free and its machine be known; None: neither is checked.

    Raises:
        InvalidInput: the name cannot be used, or there is no such machine.
        AgentExists: the fleet has an agent, a service or an alias of this name.
    """
    words = [word.lower() for word in _WORDS.findall(name)]
    module, class_name = "_".join(words), "".join(word.capitalize() for word in words)
    if NAME_REGEX.match(name) is None or not words or len(name) > _MOST_CHARACTERS:
        raise InvalidInput(
            f"{name!r} is no name of an agent.",
            f"Begin with a letter, then letters, digits, _ . or -; at most {_MOST_CHARACTERS}.",
        )
    if (
        keyword.iskeyword(module)
        or module in sys.stdlib_module_names
        or module in ("zejzl_ray", "pytest", "pydantic")
    ):
        raise InvalidInput(
            f"The module of {name} would be called {module}, which Python or a library needs.",
            "Choose another name.",
        )
    if class_name in ("Agent", "Greeting", "Answer", "AgentHarness", "InvalidInput", "BaseModel"):
        raise InvalidInput(f"The class of {name} would be called {class_name}.", "Choose another name.")
    if fleet is not None:
        _check_against(fleet, name, machine)
    values = {
        "name": name,
        "module": module,
        "class_name": class_name,
        "machine_line": f"    machine: {machine}\n" if machine else "",
    }
    files = {
        folder / f"{module}.py": _filled("agent", values),
        folder / f"test_{module}.py": _filled("test", values),
        folder / f"{module}.fleet.yaml": _filled("fleet", values),
    }
    return AgentDraft(name, module, class_name, files)


def write_agent(draft: AgentDraft) -> None:
    """Write all files of a draft, or none.

    Raises:
        Conflict: one is there already.
        InvalidInput: one cannot be written.
    """
    write_files(draft.files)


def _check_against(fleet: Fleet, name: str, machine: str) -> None:
    taken = {known.lower(): real for known, real in canonical_names(fleet).items()}
    real = taken.get(name.lower())
    if real is not None:
        shown = name if real.lower() == name.lower() else f"{name}, which means {real}"
        raise AgentExists(f"The fleet has {shown} already.", "Choose another name.")
    if machine and machine not in fleet.machines:
        known_machines = f"The fleet has: {', '.join(fleet.machines) or 'none'}."
        raise InvalidInput(
            f"The fleet has no machine {machine}.", did_you_mean(machine, fleet.machines, known_machines)
        )


def _filled(template: str, values: Mapping[str, str]) -> str:
    text = (
        resources.files("zejzl_ray.agents")
        .joinpath("templates", f"{template}.txt")
        .read_text(encoding="utf-8")
    )
    return Template(text).substitute(values)
