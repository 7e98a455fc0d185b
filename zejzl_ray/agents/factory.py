"""From ``module:Class`` to an agent, with one clear error at each step."""

import importlib
import inspect
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, get_type_hints

from zejzl_ray.agents.agent import Agent
from zejzl_ray.errors import InvalidInput, ZejzlError
from zejzl_ray.fleet.suggest import did_you_mean
from zejzl_ray.fleet.validators.agent_hosts import names_class


def load_agent_class(entry: str) -> type[Agent]:
    """Return the agent class that an entry ``package.module:Class`` names.

    Raises:
        InvalidInput: the entry, the module or the class is not there, or it is no agent; says which.
    """
    if not names_class(entry):
        raise InvalidInput(f"{entry!r} names no class.", "Write it as package.module:Class.")
    module_name, _, class_name = entry.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as missing:
        if missing.name is not None and f"{module_name}.".startswith(f"{missing.name}."):
            raise InvalidInput(
                f"There is no module {missing.name}, which {entry} needs.",
                "Check the name, and that its folder is installed or in PYTHONPATH.",
            ) from None
        raise InvalidInput(
            f"The module of {entry} imports {missing.name}, which is not installed.",
            "Install it on this machine.",
        ) from missing
    except ZejzlError as wrong:  # such as a handler that cannot be one
        raise type(wrong)(f"{entry} cannot be loaded: {wrong.message}", wrong.remedy) from wrong
    except Exception as error:
        raise InvalidInput(
            f"The module of {entry} fails when it is imported: {_shown(error)}.",
            f"Try `python -c 'import {module_name}'`.",
        ) from error
    found = getattr(module, class_name, None)
    if found is None:
        raise InvalidInput(
            f"{module_name} has no {class_name}.",
            did_you_mean(
                class_name, (name for name in vars(module) if not name.startswith("_")), "Check the name."
            ),
        )
    if not (isinstance(found, type) and issubclass(found, Agent)):
        raise InvalidInput(f"{entry} is no agent.", "Derive the class from zejzl_ray.Agent.")
    if found is Agent:
        raise InvalidInput(f"{entry} is the base class of agents.", "Name a class that is derived from it.")
    return found


def build_agent(
    agent_class: type[Agent], settings: Mapping[str, Any], dependencies: Mapping[str, object]
) -> Agent:
    """Return a new agent; its constructor gets what it asks for by keyword.

    A parameter ``settings`` gets the settings; any other one the dependency of its name.

    Raises:
        InvalidInput: a dependency is missing or of another class, or the constructor fails.
    """
    offered: dict[str, object] = {**dependencies, "settings": settings}
    given: dict[str, object] = {}
    initialise = agent_class.__init__
    parameters = (
        () if initialise is object.__init__ else tuple(inspect.signature(initialise).parameters.values())[1:]
    )
    hints = _hints(initialise)
    for parameter in parameters:
        if parameter.kind in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL):
            continue
        if parameter.name in offered:
            given[parameter.name] = _checked(agent_class, parameter.name, offered[parameter.name], hints)
        elif parameter.default is inspect.Parameter.empty:
            raise InvalidInput(
                f"{agent_class.__name__} needs {parameter.name!r}, which its host does not have.",
                f"The host has: {', '.join(sorted(offered))}.",
            )
    try:
        return agent_class(**given)
    except ZejzlError:
        raise
    except Exception as error:
        raise InvalidInput(
            f"{agent_class.__name__} cannot be made: {_shown(error)}.",
            "Look at its constructor and its settings.",
        ) from error


def _checked(agent_class: type[Agent], name: str, value: object, hints: Mapping[str, object]) -> object:
    wanted = hints.get(name)
    is_checkable = isinstance(wanted, type) and Protocol not in wanted.__mro__
    if is_checkable and isinstance(wanted, type) and not isinstance(value, wanted):
        raise InvalidInput(
            f"{agent_class.__name__} needs a {wanted.__name__} as {name!r}; its host has a {type(value).__name__}.",
            "Correct the annotation, or what the host gives.",
        )
    return value


def _hints(initialise: Any) -> dict[str, object]:
    try:
        return get_type_hints(initialise)
    except (NameError, TypeError, AttributeError):  # names that exist for type checkers only
        return {}


def _shown(error: Exception) -> str:
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):  # the innermost one is the last
        place = f" ({Path(frame.f_code.co_filename).name}:{line})"
    return f"{type(error).__name__}: {error}{place}"[:500]
