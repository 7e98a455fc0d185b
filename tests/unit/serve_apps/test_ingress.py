from pathlib import Path

import pytest
from pydantic import ValidationError

from serve_apps.ingress import DEPLOYMENT_OPTIONS, IngressOptions, build_ingress


def test_the_application_is_built_without_a_cluster(tmp_path: Path) -> None:
    application = build_ingress(IngressOptions(token_file=tmp_path / "token", replicas=3))
    deployment = application._bound_deployment
    assert deployment.name == "Ingress"
    assert deployment.num_replicas == 3
    assert deployment.max_queued_requests == DEPLOYMENT_OPTIONS["max_queued_requests"]
    # beside the proxy: replicas listen on loopback only
    assert (deployment.ray_actor_options or {})["resources"] == {"node:__internal_head__": 0.001}


def test_watchers_leave_room_for_requests(tmp_path: Path) -> None:
    config = IngressOptions(token_file=tmp_path / "token").config
    assert config.max_watchers <= DEPLOYMENT_OPTIONS["max_ongoing_requests"] / 2


@pytest.mark.parametrize("wrong", [{"http_port": 0}, {"replicas": 0}, {"host": "0.0.0.0"}])
def test_options_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        IngressOptions.model_validate({"token_file": tmp_path, **wrong})
