from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import ValidationError
from ray import serve
from ray.serve.schema import ApplicationStatus

from serve_apps.ingress import DEPLOYMENT_OPTIONS, IngressOptions, build_ingress, wait_until_running
from zejzl_ray.cluster.names import INGRESS_APP
from zejzl_ray.errors import ClusterError


def test_the_application_is_built_without_a_cluster(tmp_path: Path) -> None:
    application = build_ingress(IngressOptions(credential_file=tmp_path / "token", replicas=3))
    deployment = application._bound_deployment
    assert deployment.name == "Ingress"
    assert deployment.num_replicas == 3
    assert deployment.max_queued_requests == DEPLOYMENT_OPTIONS["max_queued_requests"]
    # beside the proxy: replicas listen on loopback only
    assert (deployment.ray_actor_options or {})["resources"] == {"node:__internal_head__": 0.001}


def test_watchers_leave_room_for_requests(tmp_path: Path) -> None:
    config = IngressOptions(credential_file=tmp_path / "token").config
    assert config.max_watchers <= DEPLOYMENT_OPTIONS["max_ongoing_requests"] / 2


@pytest.mark.parametrize("wrong", [{"http_port": 0}, {"replicas": 0}, {"host": "0.0.0.0"}])
def test_options_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        IngressOptions.model_validate({"credential_file": tmp_path, **wrong})


class FakeStatus:
    """Stands for ``serve.status()``: the ingress is in one state after the other."""

    def __init__(self, *states: ApplicationStatus | None) -> None:
        self.states = list(states)

    def __call__(self) -> SimpleNamespace:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        found = (
            {} if state is None else {INGRESS_APP: SimpleNamespace(status=state, message="no place\nmore")}
        )
        return SimpleNamespace(applications=found)


def test_the_ingress_is_waited_for_until_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    status = FakeStatus(None, ApplicationStatus.DEPLOYING, ApplicationStatus.RUNNING)
    monkeypatch.setattr(serve, "status", status)
    wait_until_running(60, pause_s=0)
    assert status.states == [ApplicationStatus.RUNNING]


@pytest.mark.parametrize(
    ("state", "limit_s", "message"),
    [
        (ApplicationStatus.DEPLOYING, 0, "does not run: DEPLOYING: no place "),
        (ApplicationStatus.DEPLOY_FAILED, 60, "does not run: DEPLOY_FAILED: no place "),
        (None, 0, "does not run: absent "),
    ],
)
def test_an_ingress_that_does_not_run_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch, state: ApplicationStatus | None, limit_s: float, message: str
) -> None:
    monkeypatch.setattr(serve, "status", FakeStatus(state))
    with pytest.raises(ClusterError, match=message):
        wait_until_running(limit_s, pause_s=0)
