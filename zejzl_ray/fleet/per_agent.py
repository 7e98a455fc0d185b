"""What one agent needs to know about itself: the view it opens with ``Config.for_agent(__file__)``."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeVar, cast

from zejzl_ray.errors import AgentNotFound, SettingsInvalid
from zejzl_ray.fleet.load import load_fleet
from zejzl_ray.fleet.model import Fleet
from zejzl_ray.fleet.order import canonical_names

DEFAULT_FLEET: Final = Path("config/fleet.yaml")
FLEET_VARIABLE: Final = "ZEJZL_FLEET_FILE"
OVERRIDE_PREFIX: Final = "ZEJZL_AGENT_"

_TRUE: Final = frozenset({"true", "yes", "on", "1", "enabled"})
_FALSE: Final = frozenset({"false", "no", "off", "0", "disabled"})
_SUFFIXES: Final = ("agent", "service", "client")
_MISSING: Final = object()

# The getters carry the names of the types that they return, so the types need other names inside the class.
_Text = str
_Integer = int
_Decimal = float
_Flag = bool
_List = list[Any]
_Section = dict[str, Any]
T = TypeVar("T")


class Config:
    """The settings of one agent (or service), merged and typed; it never changes, so threads may share it.

    A path such as ``redis.url`` is looked up in the agent's own settings, laid over what its machine says
    for all agents (``resource_limits``, ``health_checks``, ``network``). An environment variable
    ``ZEJZL_AGENT_<NAME>__<KEY>__<KEY>`` wins over both: a double underscore separates keys, so that keys
    with one underscore in them can be reached; case does not matter.

    ``name`` is the real name, also when the view was opened by an alias. ``environment`` is what its process
    gets: the machine's variables, then its own.

    Each typed getter takes the path and a default, which is returned as it is when nothing stands there.
    Without a default a missing value raises ``SettingsInvalid``, and so does a value of the wrong type,
    default or not.
    """

    def __init__(
        self,
        fleet: Fleet,
        name: _Text,
        *,
        environment: Mapping[_Text, _Text] | None = None,
        source: Path | None = None,
    ) -> None:
        names = canonical_names(fleet)
        if name not in names:
            raise AgentNotFound(
                f"no agent is called {name!r} in {source or 'the fleet'}.",
                "zejzl fleet show lists the names.",
            )
        self.name = names[name]
        self._source = source
        self._variables = dict(os.environ if environment is None else environment)
        agent, service = fleet.agents.get(self.name), fleet.services.get(self.name)
        own: _Section = {}
        self.environment: dict[_Text, _Text] = {}
        if service is not None:
            self.machine: _Text | None = service.home
            self.host, self.is_required = "127.0.0.1", True
            self.port: _Integer | None = service.port
            self.health_port: _Integer | None = service.port
            self.dependencies, self.capabilities = service.dependencies, tuple[_Text, ...]()
        else:
            agent = fleet.agents[self.name]
            self.machine, self.host, self.is_required = agent.machine, agent.host, agent.required
            self.port, self.health_port = agent.port, agent.health_port
            self.dependencies, self.capabilities = agent.dependencies, agent.capabilities
            own = agent.config
        machine = fleet.machines.get(self.machine) if self.machine else None
        shared: _Section = {}
        if machine is not None:
            shared = {
                "resource_limits": machine.resource_limits,
                "health_checks": machine.health_checks,
                "network": machine.network,
            }
            self.environment.update(machine.environment)
        if agent is not None:
            self.environment.update(agent.environment)
        self._settings = _merged(shared, own)
        for path, text in self._overrides():
            self._settings = _with_override(self._settings, path, text)

    @classmethod
    def for_agent(
        cls,
        name_or_file: _Text | Path,
        *,
        fleet: Fleet | Path | None = None,
        environment: Mapping[_Text, _Text] | None = None,
    ) -> "Config":
        """Return the view of one agent.

        Args:
            name_or_file: its name, an alias, or its script, so ``__file__`` works. A script is matched by
                its path as the fleet declares it, then by its file name; case, underscores and an ending of
                ``_agent``, ``_service`` or ``_client`` do not matter then.
            fleet: the fleet, or its file. Default: the file named by ``ZEJZL_FLEET_FILE``, else
                ``config/fleet.yaml``.
            environment: variables to use instead of the process's own.

        Raises:
            AgentNotFound: nothing matches.
            SettingsInvalid: a script matches several agents.
            FleetInvalid: the file has errors.
        """
        variables = os.environ if environment is None else environment
        source = None
        if not isinstance(fleet, Fleet):
            source = fleet or Path(variables.get(FLEET_VARIABLE, str(DEFAULT_FLEET)))
            fleet = load_fleet([source], environment=variables).raise_if_invalid()
        return cls(fleet, find_name(fleet, name_or_file), environment=variables, source=source)

    def reload(self) -> "Config":
        """Return a new view, read again from the file; nothing is cached, and this one stays as it is.

        Raises:
            SettingsInvalid: the view was made from a fleet in memory.
        """
        if self._source is None:
            raise SettingsInvalid(
                f"the settings of {self.name} come from memory and cannot be read again.",
                "Open them with Config.for_agent(name, fleet=path).",
            )
        return type(self).for_agent(self.name, fleet=self._source, environment=self._variables)

    def has(self, path: _Text) -> _Flag:
        """Return whether a value or a section stands at ``path``; a null counts."""
        return self._find(path) is not _MISSING

    def get(self, path: _Text, default: Any = None) -> Any:
        """Return the value or section at ``path`` as it stands, or ``default``."""
        found = self._find(path)
        return default if found is _MISSING else found

    def str(self, path: _Text, default: Any = _MISSING) -> _Text:
        """Return a text; a number is written out."""
        return self._read(path, default, _as_text, "a text")

    def int(self, path: _Text, default: Any = _MISSING) -> _Integer:
        """Return a whole number; a text that spells one is read."""
        return self._read(path, default, _as_integer, "a whole number")

    def float(self, path: _Text, default: Any = _MISSING) -> _Decimal:
        """Return a number; a text that spells one is read."""
        return self._read(path, default, _as_decimal, "a number")

    def bool(self, path: _Text, default: Any = _MISSING) -> _Flag:
        """Return a flag: true, yes, on, 1, enabled, or false, no, off, 0, disabled, in any case."""
        return self._read(path, default, _as_flag, "true or false")

    def path(self, path: _Text, default: Any = _MISSING) -> Path:
        """Return a file path, with ``~`` resolved; relative ones are left relative."""
        return self._read(path, default, _as_path, "a path")

    def list(self, path: _Text, default: Any = _MISSING) -> _List:
        """Return a list, as a copy."""
        return self._read(path, default, _as_list, "a list")

    def dict(self, path: _Text, default: Any = _MISSING) -> _Section:
        """Return a section, as a copy."""
        return self._read(path, default, _as_section, "a section")

    def _read(self, path: _Text, default: Any, convert: Callable[[Any], T], wanted: _Text) -> T:
        found = self._find(path)
        if found is _MISSING:
            if default is _MISSING:
                raise SettingsInvalid(
                    f"{self._where(path)} is not set.",
                    f"Add it to the agent's config, or set {self._variable(path)}.",
                )
            return cast(T, default)
        try:
            return convert(found)
        except ValueError:
            # The type and not the value: what stands there may be a secret.
            raise SettingsInvalid(
                f"{self._where(path)} must be {wanted}, but a {type(found).__name__} stands there."
            ) from None

    def _find(self, path: _Text) -> Any:
        at: Any = self._settings
        for key in path.split("."):
            if not isinstance(at, dict) or key not in at:
                return _MISSING
            at = at[key]
        return at

    def _where(self, path: _Text) -> _Text:
        return f"{self._source}: {self.name}: {path}" if self._source else f"{self.name}: {path}"

    def _variable(self, path: _Text) -> _Text:
        return f"{OVERRIDE_PREFIX}{self.name.upper()}__{path.replace('.', '__').upper()}"

    def _overrides(self) -> _List:
        prefix = f"{OVERRIDE_PREFIX}{self.name}__".upper()
        return [
            (name[len(prefix) :].split("__"), text)
            for name, text in sorted(self._variables.items())
            if name.upper().startswith(prefix) and len(name) > len(prefix)
        ]


def find_name(fleet: Fleet, name_or_file: str | Path) -> str:
    """Return the declared name that a name, an alias or a script file means.

    Raises:
        AgentNotFound: nothing matches.
        SettingsInvalid: a script matches several agents.
    """
    names = canonical_names(fleet)
    text = str(name_or_file)
    if text in names:
        return names[text]
    wanted = PurePosixPath(text.replace("\\", "/"))
    entries = {agent.name: PurePosixPath(agent.entry) for agent in fleet.agents.values() if agent.entry}
    rounds = (
        [name for name, entry in entries.items() if wanted.parts[-len(entry.parts) :] == entry.parts],
        [name for name, entry in entries.items() if _plain(entry.stem) == _plain(wanted.stem)],
        sorted({real for name, real in names.items() if _plain(name) == _plain(wanted.stem)}),
        sorted({real for name, real in names.items() if _core(name) == _core(wanted.stem)}),
    )
    for found in rounds:
        if len(found) == 1:
            return found[0]
        if found:
            raise SettingsInvalid(
                f"{wanted.name} may mean {', '.join(found)}.", "Give the agent's name instead of its file."
            )
    raise AgentNotFound(
        f"no agent is called {text!r} or runs such a script.", "zejzl fleet show lists the names."
    )


def _as_text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError
    return str(value)


def _as_integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError
    return int(value)


def _as_decimal(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError
    return float(value)


def _as_flag(value: Any) -> bool:
    text = str(value).strip().lower()
    if text not in _TRUE | _FALSE:
        raise ValueError
    return text in _TRUE


def _as_path(value: Any) -> Path:
    if not isinstance(value, str) or not value:
        raise ValueError
    return Path(value).expanduser()


def _as_list(value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise ValueError
    return [*value]


def _as_section(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError
    return {**value}


def _plain(text: str) -> str:
    return text.replace("_", "").replace("-", "").lower()


def _core(text: str) -> str:
    plain = _plain(text)
    return next((plain.removesuffix(suffix) for suffix in _SUFFIXES if plain.endswith(suffix)), plain)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _with_override(tree: Mapping[str, Any], path: list[str], text: str) -> dict[str, Any]:
    """Return the tree with one value replaced; case does not matter, and a new key is in lower case."""
    key = next((known for known in tree if known.lower() == path[0].lower()), path[0].lower())
    if len(path) == 1:
        return {**tree, key: text}
    below = tree.get(key)
    return {**tree, key: _with_override(below if isinstance(below, dict) else {}, path[1:], text)}
