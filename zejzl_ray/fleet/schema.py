"""JSON Schema of the unified startup configuration, for editors and other programs."""

from typing import Any

from zejzl_ray.fleet.model import SCHEMA, Fleet
from zejzl_ray.fleet.topology import SERVICE_NAMES
from zejzl_ray.ids import NAME_PATTERN

_EXPRESSION = {
    "type": "string",
    "pattern": r"\$\{|^\s*[0-9]",
    "description": "an expression: ${PORT_OFFSET}+7200",
}
_NUMERIC = frozenset({"port", "health_port", "error_bus_port", "vram_mib", "memory_mib", "cpus"})
_DECLARATIONS = ("MachineDeclaration", "ServiceDeclaration", "HostDeclaration", "AgentDeclaration")


def json_schema() -> dict[str, Any]:
    """Return the schema of a file, draft 2020-12.

    It follows the models, with what a file allows beyond them: names are keys, numbers and flags may be
    expressions, and null means absent. It is looser than the validators: they see more than one value at a
    time.
    """
    schema = Fleet.model_json_schema()
    definitions = schema["$defs"]
    for name in _DECLARATIONS:
        definition = definitions[name]
        definition["properties"].pop("name")
        definition["required"] = [field for field in definition.get("required", []) if field != "name"]
    definitions["ServiceDeclaration"]["required"] = []  # home and port have their usual values
    for definition in definitions.values():
        for field, value in definition.get("properties", {}).items():
            definition["properties"][field] = _as_written(field, value)
    properties = schema["properties"]
    for section in properties.values():
        section["additionalProperties"] = {"anyOf": [section["additionalProperties"], {"type": "null"}]}
        section["propertyNames"] = {"pattern": NAME_PATTERN}
    properties["services"]["propertyNames"] = {"enum": list(SERVICE_NAMES)}
    properties["schema"] = {"const": SCHEMA, "description": "names this schema and its version"}
    schema.update(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": SCHEMA,
            "title": "Fleet",
            "required": ["schema"],
        }
    )
    return schema


def _as_written(field: str, value: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a field as a file may write it."""
    kept: dict[str, Any] = {key: value[key] for key in ("description", "default") if key in value}
    forms = value.get("anyOf") or [{key: part for key, part in value.items() if key not in kept}]
    forms = [form for form in forms if form.get("type") != "null"]
    if field in _NUMERIC:
        forms.append(_EXPRESSION)
    if field == "required":
        forms.append({"type": "string", "description": "a comparison: ${RTAP_ENABLED:-false} == 'false'"})
    if field == "environment":
        forms = [
            {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}}
        ]
    return {**kept, "anyOf": [*forms, {"type": "null"}]}
