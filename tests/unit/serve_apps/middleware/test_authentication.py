import hashlib

import pytest
from pydantic import SecretStr

from serve_apps.middleware.authentication import public_routes
from tests.unit.serve_apps.running import Ingress, StartIngress
from zejzl_ray.auth.signed_requests import sign_request, write_header
from zejzl_ray.contracts.services import OPERATIONS
from zejzl_ray.errors import Forbidden, RateLimited

SECRET = SecretStr("5a" * 32)
NONCE = "n" * 22


def signed(method: str, target: str, body: bytes = b"") -> dict[str, str]:
    grant = sign_request("ab" * 8, SECRET, method, target, body, at_s=1_000, nonce=NONCE)
    return {"authorization": write_header(grant)}


def test_only_liveness_and_public_operations_want_no_token() -> None:
    public = public_routes(OPERATIONS)
    assert public["/healthz"] == {"GET"}
    assert public["/.well-known/jwks.json"] == {"GET"}
    assert set(public) - {"/healthz"} == {operation.path for operation in OPERATIONS if operation.is_public}
    assert not any("{" in path for path in public)


async def test_a_public_path_is_public_with_its_own_method_only(ingress: Ingress) -> None:
    answer = await ingress.client.delete("/v1/auth/token", headers={"authorization": ""})
    assert answer.status_code == 401


async def test_an_address_that_may_not_come_in_gets_no_further(ingress: Ingress) -> None:
    ingress.door.entry_error = Forbidden("Calls from 192.0.2.7 are not taken.")
    answer = await ingress.client.get("/v1/registry", headers={"x-forwarded-for": "192.0.2.7"})
    assert answer.status_code == 403
    assert ingress.door.entered[-1] == "192.0.2.7"
    assert (await ingress.client.get("/healthz")).status_code == 200


async def test_who_calls_too_often_is_told_when_to_come_back(ingress: Ingress) -> None:
    ingress.door.entry_error = RateLimited("Too many calls.", "Slow down.", 2.2)
    answer = await ingress.client.get("/v1/registry")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")


async def test_a_signed_request_is_exchanged_and_its_body_still_arrives(ingress: Ingress) -> None:
    body = b'{"name": "Coder", "kind": "process", "host": "127.0.0.1"}'
    headers = {**signed("POST", "/v1/agents", body), "content-type": "application/json"}
    answer = await ingress.client.post("/v1/agents", content=body, headers=headers)
    assert answer.status_code == 201
    (grant,) = ingress.door.signatures
    assert grant.body_digest == hashlib.sha256(body).hexdigest()
    assert grant.target == "/v1/agents"
    # a repetition is the same command to the service
    assert answer.headers["x-request-id"] == f"sig-{'ab' * 8}-{NONCE}"


async def test_the_signed_target_is_the_one_that_was_sent(ingress: Ingress) -> None:
    target = "/v1/agents?limit=5&name_prefix=a%20b"
    await ingress.client.get(target, headers=signed("GET", target))
    assert ingress.door.signatures[0].target == target


@pytest.mark.parametrize(
    "header", ["ZEJZL-HMAC-SHA256 x", "ZEJZL-HMAC-SHA256 credential=, at=, nonce=, signature="]
)
async def test_a_malformed_signature_is_refused(ingress: Ingress, header: str) -> None:
    answer = await ingress.client.get("/v1/registry", headers={"authorization": header})
    assert answer.status_code == 401


async def test_what_the_ingress_answers_itself_wants_its_scope(ingress: Ingress) -> None:
    ingress.door.refused_scopes = {
        "core_orchestrator:agents:read",
        "core_orchestrator:machines:read",
        "core_orchestrator:fleet:read",
        "ingress:health:read",
        "ingress:metrics:read",
        "ingress:api:read",
    }
    for path in (
        "/v1/agents", "/v1/agents/Coder", "/v1/machines", "/v1/machines/pc2", "/v1/fleet", "/v1/watch/agents",
        "/readyz", "/metrics", "/openapi.json",
    ):  # fmt: skip
        answer = await ingress.client.get(path)
        assert answer.status_code == 403, path


async def test_websockets_are_closed(ingress: Ingress) -> None:
    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    async def receive() -> dict[str, object]:
        return {"type": "websocket.connect"}

    await ingress.app({"type": "websocket", "path": "/", "headers": []}, receive, send)  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_without_the_check_every_answer_says_so(ingress: Ingress, start_ingress: StartIngress) -> None:
    open_one = await start_ingress(is_required=False)
    await open_one.settle()
    del open_one.client.headers["authorization"]
    for path, status in (("/healthz", 200), ("/v1/registry", 200), ("/nowhere", 404)):
        answer = await open_one.client.get(path)
        assert (answer.status_code, answer.headers["zejzl-auth"]) == (status, "off")
        assert "zejzl-auth" not in (await ingress.client.get(path)).headers
    (_, call), *_ = open_one.registry.calls_of("get_registry_status")
    assert call.token is None


async def test_a_client_that_goes_away_before_its_signed_body_is_there_does_nothing(ingress: Ingress) -> None:
    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}  # it went away

    headers = [(b"authorization", signed("POST", "/v1/agents")["authorization"].encode())]
    scope = {"type": "http", "method": "POST", "path": "/v1/agents", "query_string": b"", "headers": headers}
    await ingress.app(scope, receive, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 503
    assert ingress.door.signatures == []
