"""Nobody gets in who has no right: every method of every live actor, every route, and what the proxy itself answers.

What is called here comes from the running system, not from the list of operations that drives the check: from the
methods that Ray's own handles name, and from the routes that the application has.
"""

import asyncio
from typing import Any

import httpx2
import pytest
import ray

from serve_apps.app import create_app
from serve_apps.config import IngressConfig
from serve_apps.registry_replica import RegistryReplica
from tests.cluster.system import System
from tests.unit.serve_apps.one_token_door import OneTokenDoor
from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster.actor_caller import ActorCaller
from zejzl_ray.cluster.names import SERVICES, node_agent_name
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.orchestrator import GetRegistryStatus
from zejzl_ray.contracts.services import BY_SERVICE
from zejzl_ray.contracts.tokens import CredentialGrant, IssueToken
from zejzl_ray.errors import Forbidden, Unauthenticated, ZejzlError
from zejzl_ray.sdk.connect import connect_async

# Read by a person: who has no token may do this, and nothing else.
PUBLIC_METHODS = {
    ("security_gateway", "issue_token"),
    ("security_gateway", "refresh_tokens"),
    ("security_gateway", "get_keys"),
    ("security_gateway", "request_enrolment"),
}
PUBLIC_ROUTES = {
    ("GET", "/healthz"),
    ("POST", "/v1/auth/token"),
    ("POST", "/v1/auth/refresh"),
    ("GET", "/.well-known/jwks.json"),
    ("POST", "/v1/auth/enrolments"),
}
NARROW = ("nobody:nothing:read",)


async def token(system: System, **wanted: Any) -> str:
    """Return an access token of the administrator, narrowed."""
    async with connect_async(system.info["ingress"], token_file=system.data_dir / "token") as client:
        grant = CredentialGrant(credential=(system.data_dir / "token").read_text().strip())
        return (
            await client.security.issue_token(IssueToken(grant=grant, **wanted))
        ).access_token.get_secret_value()


async def bad_calls(system: System, service: str) -> dict[str, CallContext]:
    """Return calls that a service has to refuse, by what is wrong with them."""
    other = "error_bus" if service != "error_bus" else "resource_manager"
    expired = await token(system, lifetime_s=1)
    found = {
        "none": CallContext(),
        "garbage": CallContext(token="x.y.z"),
        "other audience": CallContext(token=await token(system, audience=other)),
        "no scope": CallContext(token=await token(system, scopes=NARROW)),
        "expired": CallContext(token=expired),
    }
    await asyncio.sleep(1.1)  # until the short one has expired
    return found


def methods_of(handle: Any) -> list[str]:
    """Return every method that Ray lets a holder of the handle call, but for Ray's own."""
    return [name for name in handle._ray_method_signatures if not name.startswith("__")]


@pytest.mark.parametrize("name", [*SERVICES, node_agent_name("mainpc")])
async def test_every_method_of_every_live_actor_refuses_who_has_no_right(
    ray_cluster: System, name: str
) -> None:
    service = name.partition(":")[0]
    handle = await asyncio.to_thread(ray.get_actor, name, ray_cluster.info["namespace"])
    methods = methods_of(handle)
    assert set(methods) == set(BY_SERVICE[service])
    calls = await bad_calls(ray_cluster, service)
    for method in methods:
        if (service, method) in PUBLIC_METHODS:
            continue
        operation = BY_SERVICE[service].get(method)
        request = None if operation is None else operation.request.model_construct()
        for what, call in calls.items():
            with pytest.raises((Unauthenticated, Forbidden)) as caught:
                await getattr(handle, method).remote(request, call)
            expected = Forbidden if what == "no scope" else Unauthenticated
            assert isinstance(caught.value, expected), (method, what, caught.value)


async def test_refused_calls_have_done_nothing(ray_cluster: System) -> None:
    caller = ActorCaller(ray_cluster.info["namespace"], timeout_s=10)
    client = connect_async("ray", token_file=ray_cluster.data_dir / "token")
    async with client:
        before = await client.registry_status()
        for operation in BY_SERVICE["core_orchestrator"].values():
            with pytest.raises((Unauthenticated, Forbidden)):
                await caller.call(operation, operation.request.model_construct(), CallContext())
        after = await client.registry_status()
    assert after.agents == before.agents
    status = BY_SERVICE["core_orchestrator"]["get_registry_status"]
    with pytest.raises(Unauthenticated):
        await caller.call(status, GetRegistryStatus(), CallContext())


def routes_of_the_application() -> list[tuple[str, str]]:
    clock = SystemClock()
    caller: Any = None
    config = IngressConfig()
    app = create_app(caller, RegistryReplica(caller, clock, config), config, clock, OneTokenDoor("t" * 40))
    return [
        (method, str(getattr(route, "path", "")))
        for route in app.router.routes
        for method in sorted(getattr(route, "methods", None) or {"GET"})
        if method != "HEAD"
    ]


async def test_every_route_refuses_who_has_no_right(running_system: System) -> None:
    routes = routes_of_the_application()
    assert len(routes) > 60
    tokens = {
        "none": None,
        "garbage": "x.y.z",
        "no scope": await token(running_system, scopes=NARROW),
        "expired": await token(running_system, lifetime_s=1),
    }
    await asyncio.sleep(1.1)
    async with httpx2.AsyncClient(base_url=running_system.info["ingress"], timeout=20) as client:
        for method, path in routes:
            if (method, path) in PUBLIC_ROUTES:
                continue
            place = path.replace("{subject}", "agent:Nobody").replace("{service}", "error_bus")
            for field in ("name", "session", "credential_id", "machine", "user"):
                place = place.replace("{" + field + "}", "nobody")
            for what, text in tokens.items():
                headers = {} if text is None else {"authorization": f"Bearer {text}"}
                answer = await client.request(method, place, headers=headers)
                # A right request of a caller without the scope is 403; a wrong one may be refused for its form.
                expected = {403, 415, 422} if what == "no scope" else {401}
                assert answer.status_code in expected, (method, path, what, answer.text)
                assert answer.headers["content-type"].startswith("application/problem+json")


async def test_what_the_proxy_answers_by_itself_says_nothing(running_system: System) -> None:
    async with httpx2.AsyncClient(base_url=running_system.info["ingress"], timeout=20) as client:
        for path in ("/-/routes", "/-/healthz", "/", "/docs", "/stats", "/haproxy?stats", "/api/actors"):
            answer = await client.get(path)
            assert answer.status_code in {401, 404}, (path, answer.status_code)
            assert "core_orchestrator" not in answer.text


async def test_a_holder_of_the_ray_token_can_go_past_the_check_which_is_why_it_is_for_owners(
    ray_cluster: System,
) -> None:
    """Ray answers its own methods on every actor; no check inside of a service can stop that."""
    handle: Any = await asyncio.to_thread(ray.get_actor, "error_bus", ray_cluster.info["namespace"])
    with pytest.raises(ZejzlError):
        await handle.health.remote(BY_SERVICE["error_bus"]["health"].request(), CallContext())
    name = await handle.__ray_call__.remote(lambda actor: type(actor).__name__)
    assert name == "ErrorBusActor"
