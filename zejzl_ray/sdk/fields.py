"""Keyword arguments of the clients' methods, typed once for both, and how they become request models."""

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict, TypeVar

from pydantic import JsonValue, ValidationError

from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.orchestrator import AgentKind, AgentState
from zejzl_ray.errors import InvalidInput

M = TypeVar("M", bound=Contract)


class AgentFields(TypedDict, total=False):
    """What a registration may say; ``RegisterAgent`` holds the defaults and the limits."""

    request_id: str
    agent_type: str
    kind: AgentKind | str
    machine: str
    host: str
    port: int | None
    health_port: int | None
    capabilities: Iterable[str]
    dependencies: Iterable[str]
    aliases: Iterable[str]
    vram_mib: int
    metadata: Mapping[str, JsonValue]
    lease_s: float | None
    is_new_required: bool
    held_by: str


class AgentChanges(TypedDict, total=False):
    """What an update may change; a field that is not given stays as it is."""

    request_id: str
    machine: str
    host: str
    port: int
    health_port: int
    capabilities: Iterable[str]
    dependencies: Iterable[str]
    vram_mib: int
    metadata: Mapping[str, JsonValue]
    expected_revision: int


class AgentFilters(TypedDict, total=False):
    """What to list; all given filters must hold."""

    machine: str
    capability: str
    agent_type: str
    kind: AgentKind | str
    state: AgentState | str
    metadata_key: str
    metadata_value: str


def build(model: type[M], fields: Mapping[str, Any]) -> M:
    """Return the request model.

    Raises:
        InvalidInput: names every field that is wrong and why; nothing was sent.
    """
    try:
        return model.model_validate({name: _plain(value) for name, value in fields.items()})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'the whole'}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise InvalidInput(
            f"{model.__name__} cannot be sent: {problems}.", "Correct it and call again."
        ) from None


def _plain(value: Any) -> Any:
    """Turn sets and generators into tuples, which the models accept."""
    if isinstance(value, str | bytes | Mapping | Contract) or not isinstance(value, Iterable):
        return value
    return tuple(value)
