import pytest

from zejzl_ray.contracts import orchestrator as wire
from zejzl_ray.contracts.base import Contract
from zejzl_ray.errors import InvalidInput
from zejzl_ray.sdk.fields import AgentChanges, AgentFields, AgentFilters, build


@pytest.mark.parametrize(
    ("typed", "model", "given_apart"),
    [
        (AgentFields, wire.RegisterAgent, {"name"}),
        (AgentChanges, wire.UpdateAgent, {"name"}),
        (AgentFilters, wire.ListAgents, {"cursor", "limit"}),
    ],
)
def test_the_keyword_arguments_are_those_of_the_request(
    typed: type, model: type[Contract], given_apart: set[str]
) -> None:
    assert set(typed.__annotations__) | given_apart == set(model.model_fields)


def test_any_iterable_is_good_for_a_list() -> None:
    request = build(
        wire.RegisterAgent, {"name": "Scout", "capabilities": {"ocr"}, "aliases": (n for n in ("A", "B"))}
    )
    assert (request.capabilities, request.aliases) == (("ocr",), ("A", "B"))


def test_every_wrong_field_is_named_and_no_value_is_repeated() -> None:
    with pytest.raises(InvalidInput) as caught:
        build(wire.RegisterAgent, {"name": "no good", "port": 99999, "colour": "blue"})
    message = str(caught.value)
    assert message.startswith("RegisterAgent cannot be sent: ")
    assert all(f"{field}: " in message for field in ("name", "port", "colour"))
    assert "99999" not in message
