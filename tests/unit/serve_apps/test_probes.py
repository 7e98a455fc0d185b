from prometheus_client.parser import text_string_to_metric_families

from tests.unit.serve_apps.fake_registry import FakeRegistry
from tests.unit.serve_apps.running import Ingress, StartIngress
from zejzl_ray.contracts.problems import Problem
from zejzl_ray.errors import ServiceUnavailable


async def test_liveness_answers_whatever_stands_behind_it(start_ingress: StartIngress) -> None:
    registry = FakeRegistry()
    registry.failure = ServiceUnavailable("away")
    ingress = await start_ingress(registry=registry)
    answer = await ingress.client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


async def test_a_ready_ingress_says_what_it_has_checked(ingress: Ingress) -> None:
    answer = await ingress.client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["is_ready"] is True
    checks = {check["name"]: (check["status"], check["reason"]) for check in answer.json()["checks"]}
    assert checks == {
        "registry_copy": ("ok", ""),
        "core_orchestrator": ("ok", ""),
        "core_orchestrator.store": ("degraded", "slow"),
    }


async def test_an_ingress_that_is_not_ready_says_every_reason(start_ingress: StartIngress) -> None:
    registry = FakeRegistry()
    registry.failure = ServiceUnavailable("core_orchestrator is away.")
    ingress = await start_ingress(registry=registry)
    answer = await ingress.client.get("/readyz")
    problem = Problem.model_validate_json(answer.content)
    assert (problem.status, answer.headers["retry-after"]) == (503, "1")
    assert [place.place for place in problem.errors] == ["registry_copy", "core_orchestrator"]
    assert "core_orchestrator is away." in problem.errors[1].message


async def test_a_service_that_is_not_ready_makes_the_ingress_not_ready(ingress: Ingress) -> None:
    ingress.registry.is_ready = False
    problem = Problem.model_validate_json((await ingress.client.get("/readyz")).content)
    assert [(place.place, place.message) for place in problem.errors] == [("core_orchestrator", "not ready")]


async def test_metrics_count_by_route_template_and_stay_bounded(ingress: Ingress) -> None:
    ingress.registry.put("Coder")
    await ingress.settle()
    for name in ("Coder", "Coder", "Nobody1", "Nobody2"):
        await ingress.client.get(f"/v1/agents/{name}")
    await ingress.client.request("BREW", "/v1/coffee")
    answer = await ingress.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    counted = {
        (sample.labels["method"], sample.labels["route"], sample.labels["status"]): sample.value
        for sample in families["zejzl_http_requests"].samples
        if sample.name.endswith("_total")
    }
    assert counted[("GET", "/v1/agents/{name}", "200")] == 2
    assert counted[("GET", "/v1/agents/{name}", "404")] == 2
    assert counted[("other", "unmatched", "404")] == 1
    assert families["zejzl_registry_copy_agents"].samples[0].value == 1
    assert families["zejzl_registry_copy_revision"].samples[0].value == 1
    assert families["zejzl_registry_copy_staleness_seconds"].samples[0].value < 5
    assert families["zejzl_http_watchers"].samples[0].value == 0
