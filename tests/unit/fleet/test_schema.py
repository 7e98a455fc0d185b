import json

import pytest
import yaml
from jsonschema import Draft202012Validator

from zejzl_ray.fleet.model import SCHEMA
from zejzl_ray.fleet.schema import json_schema

GOOD = """
schema: zejzl.fleet/1
machines:
  mainpc: {gpus: [{name: x, vram_mib: 24000}], environment: {A: 1}, error_bus_port: "${PORT_OFFSET}+7150"}
  pc2:
services:
  error_bus:
  security_gateway: {home: pc2}
agents:
  A: {kind: actor, entry: "m:C", port: "${P}+5001", required: "${R:-false} == 'false'", needs: {vram_mib: 1}}
  B: {port: 5002, config: {any: [thing]}, machine: ~}
  C:
"""


def test_the_schema_is_a_schema_and_plain_data() -> None:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema
    assert schema["properties"]["schema"]["const"] == SCHEMA


def test_good_files_pass() -> None:
    Draft202012Validator(json_schema()).validate(yaml.safe_load(GOOD))


@pytest.mark.parametrize(
    "text",
    [
        "agents: {}",
        "schema: zejzl.fleet/2",
        "{schema: zejzl.fleet/1, agnets: {}}",
        "{schema: zejzl.fleet/1, agents: {A: {prt: 1}}}",
        "{schema: zejzl.fleet/1, agents: {A: {port: 70000}}}",
        "{schema: zejzl.fleet/1, agents: {A: {port: many}}}",
        "{schema: zejzl.fleet/1, agents: {A: {kind: robot}}}",
        "{schema: zejzl.fleet/1, agents: {'a b': {}}}",
        "{schema: zejzl.fleet/1, services: {mail: {}}}",
    ],
)
def test_faulty_files_do_not(text: str) -> None:
    assert not Draft202012Validator(json_schema()).is_valid(yaml.safe_load(text))
