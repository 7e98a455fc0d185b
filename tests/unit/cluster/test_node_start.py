"""The command that starts a Ray node, as data."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.unit.cluster.nodes import a_head, a_worker
from zejzl_ray.cluster.node_start import (
    MARKER,
    NodePorts,
    NodeStart,
    client_environment,
    node_marker,
    ray_start_command,
)
from zejzl_ray.tls.credentials import TlsFiles


def _node(**changes: Any) -> NodeStart:
    return a_head(**{"cpus": 4, "vram_mib": 24564, **changes})


def _worker(**changes: Any) -> NodeStart:
    return a_worker(**{"cpus": 4, "vram_mib": 24564, **changes})


def test_the_head_listens_on_its_port_and_keeps_the_dashboard_on_loopback() -> None:
    argv = ray_start_command(_node()).argv

    assert argv[:3] == ("ray", "start", "--head")
    assert "--port=6379" in argv
    assert "--dashboard-host=127.0.0.1" in argv
    assert not [argument for argument in argv if argument.startswith("--address")]


def test_a_worker_joins_the_head_and_gets_no_option_that_only_a_head_may_have() -> None:
    argv = ray_start_command(_worker()).argv

    assert "--address=10.0.0.1:6379" in argv
    for option in ("--head", "--port=", "--dashboard-host", "--dashboard-port", "--ray-client-server-port"):
        assert not [argument for argument in argv if argument.startswith(option)]


@pytest.mark.parametrize("node", [_node(), _worker()])
def test_every_node_carries_its_label_its_resources_and_its_marker(node: NodeStart) -> None:
    command = ray_start_command(node)

    assert f"--labels=zejzl.io/machine={node.machine}" in command.argv
    assert '--resources={"vram_mib": 24564}' in command.argv
    assert "--num-cpus=4" in command.argv
    assert command.environment[MARKER] == node_marker("c1", node.machine) == f"c1/{node.machine}"


def test_a_machine_without_cards_declares_no_video_memory() -> None:
    argv = ray_start_command(_node(vram_mib=0)).argv

    resources = next(argument for argument in argv if argument.startswith("--resources="))
    assert json.loads(resources.partition("=")[2]) == {}


def test_each_card_is_a_resource_of_its_own() -> None:
    argv = ray_start_command(_node(vram_mib=36, cards={"GPU-a": 24, "GPU-b": 12})).argv

    resources = next(argument for argument in argv if argument.startswith("--resources="))
    assert json.loads(resources.partition("=")[2]) == {
        "vram_mib": 36,
        "vram_mib:GPU-a": 24,
        "vram_mib:GPU-b": 12,
    }


def test_token_authentication_is_on_and_only_the_path_of_the_token_is_passed() -> None:
    command = ray_start_command(_node())

    assert command.environment["RAY_AUTH_MODE"] == "token"
    assert command.environment["RAY_AUTH_TOKEN_PATH"] == "/home/me/ray_token"
    assert command.environment.items() >= client_environment(Path("/home/me/ray_token")).items()
    assert "ray_token" not in " ".join(command.argv)


def test_the_first_autoscaler_is_chosen_since_the_second_starts_no_local_worker() -> None:
    command = ray_start_command(_node(autoscaling_config=Path("/home/me/ray_bootstrap_config.yaml")))

    assert command.environment["RAY_enable_autoscaler_v2"] == "0"
    assert "--autoscaling-config=/home/me/ray_bootstrap_config.yaml" in command.argv


def test_a_head_that_ray_up_has_started_does_not_wait_long_before_it_starts_workers() -> None:
    launched = ray_start_command(_node(autoscaling_config=Path("/home/me/ray_bootstrap_config.yaml")))

    assert launched.environment["AUTOSCALER_UPDATE_INTERVAL_S"] == "1"
    assert "AUTOSCALER_UPDATE_INTERVAL_S" not in ray_start_command(_node()).environment


def test_the_health_check_is_set_so_that_a_lost_machine_is_noticed_in_seconds() -> None:
    environment = ray_start_command(_node()).environment

    names = ("period_ms", "timeout_ms", "failure_threshold", "initial_delay_ms")
    assert [environment[f"RAY_health_check_{name}"] for name in names] == ["300", "1500", "3", "1000"]


def test_threads_share_two_heaps_so_that_memory_does_not_grow_for_hours() -> None:
    for node in (_node(), _worker()):
        assert ray_start_command(node).environment["MALLOC_ARENA_MAX"] == "2"


def test_the_control_store_keeps_few_tasks_so_that_its_memory_does_not_grow_for_hours() -> None:
    environment = ray_start_command(_node()).environment

    assert int(environment["RAY_task_events_max_num_task_in_gcs"]) <= 10_000
    assert int(environment["RAY_task_events_max_dropped_task_attempts_tracked_per_job_in_gcs"]) <= 10_000


def test_only_the_head_is_told_where_the_state_of_the_control_store_lies() -> None:
    head = ray_start_command(_node(redis_address="10.0.0.1:6380")).environment
    worker = ray_start_command(_worker(redis_address="10.0.0.1:6380")).environment

    assert head["RAY_REDIS_ADDRESS"] == "10.0.0.1:6380"
    assert head["RAY_external_storage_namespace"] == "c1"
    assert "RAY_REDIS_ADDRESS" not in worker


def test_workers_take_any_free_port_unless_a_range_is_given() -> None:
    assert "--min-worker-port=0" in ray_start_command(_node()).argv
    argv = ray_start_command(_node(ports=NodePorts(worker_ports=(20000, 20999)))).argv
    assert {"--min-worker-port=20000", "--max-worker-port=20999"} <= set(argv)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temp_dir": Path("relative")}, "must be absolute"),
        ({"temp_dir": Path("/tmp/" + "x" * 60)}, "sockets would not fit"),
        ({"ports": NodePorts(dashboard=6379)}, "share a port"),
        ({"ports": NodePorts(worker_ports=(10000, 19999))}, "inside worker_ports 10000-19999: ray_client"),
        ({"head_address": "10.0.0.1"}, "head_address"),
        ({"cpus": -1}, "cpus"),
    ],
)
def test_a_start_that_cannot_work_is_refused_with_the_reason(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        _node(**changes)


def test_ports_of_a_head_do_not_matter_to_a_worker() -> None:
    assert _worker(ports=NodePorts(dashboard=6379)).gcs_port == 6379


def test_the_fingerprint_tells_whether_a_running_node_is_still_the_wanted_one() -> None:
    assert _node().fingerprint == _node().fingerprint
    assert _node().fingerprint != _node(vram_mib=12288).fingerprint


_TLS = TlsFiles(
    certificate=Path("/t/pc2.pem"), key=Path("/t/pc2.key"), authority=Path("/t/ca.pem"), fingerprint="0"
)


def test_tls_reaches_the_processes_of_a_node_and_its_clients_alike() -> None:
    expected = {
        "RAY_USE_TLS": "1",
        "RAY_TLS_SERVER_CERT": "/t/pc2.pem",
        "RAY_TLS_SERVER_KEY": "/t/pc2.key",
        "RAY_TLS_CA_CERT": "/t/ca.pem",
    }

    assert ray_start_command(_worker(tls=_TLS)).environment.items() >= expected.items()
    assert client_environment(Path("/t/token"), _TLS).items() >= expected.items()


def test_on_one_machine_ray_stays_on_loopback() -> None:
    near = ray_start_command(_worker(node_ip="127.0.0.1", ray_executable="/venv/bin/ray"))
    far = ray_start_command(_worker(node_ip="10.0.0.2", ray_executable="/venv/bin/ray"))

    assert near.environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert near.argv[:4] == ("/venv/bin/python", "-m", "zejzl_ray.cluster.loopback_node", "start")
    assert far.environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "1"
    assert far.argv[:2] == ("/venv/bin/ray", "start")
    assert client_environment(Path("/t/token"), on_loopback=True).items() <= near.environment.items() | {
        ("RAY_AUTH_TOKEN_PATH", "/t/token")
    }


def test_pages_of_figures_without_a_token_are_not_served() -> None:
    environment = ray_start_command(_node()).environment

    assert environment["RAY_enable_metrics_collection"] == "0"
    assert environment["AUTOSCALER_METRIC_PORT"] == environment["DASHBOARD_METRIC_PORT"] == "-1"


def test_rays_own_page_of_figures_is_served_where_it_is_asked_for_and_the_others_are_not() -> None:
    command = ray_start_command(_node(ports=NodePorts(metrics=8090)))

    assert "--metrics-export-port=8090" in command.argv
    assert command.environment["RAY_enable_metrics_collection"] == "1"
    assert (
        command.environment["AUTOSCALER_METRIC_PORT"] == command.environment["DASHBOARD_METRIC_PORT"] == "-1"
    )


def test_without_tls_a_variable_of_the_users_shell_does_not_switch_it_on() -> None:
    assert ray_start_command(_worker()).environment["RAY_USE_TLS"] == "0"
    assert client_environment(Path("/t/token"))["RAY_USE_TLS"] == "0"


def test_a_renewed_certificate_is_another_plan() -> None:
    renewed = _TLS.model_copy(update={"fingerprint": "1"})

    assert _worker(tls=_TLS).fingerprint == _worker(tls=_TLS).fingerprint
    assert len({_worker(tls=tls).fingerprint for tls in (None, _TLS, renewed)}) == 3


def test_ray_gets_a_user_without_a_secret_a_place_of_its_own_and_the_certificate_of_the_machine() -> None:
    tls = TlsFiles(
        certificate=Path("/d/mainpc.pem"),
        key=Path("/d/mainpc.key"),
        authority=Path("/d/ca.pem"),
        fingerprint="f",
    )
    kept = {"redis_address": "rediss://10.0.0.1:6380", "redis_namespace": "c1-ab12", "redis_tls": tls}

    command = ray_start_command(_node(**kept))

    assert {"--redis-username=ray", "--redis-password=certificate"} <= set(command.argv)
    assert {name: command.environment[name] for name in command.environment if "redis" in name.lower()} == {
        "RAY_REDIS_ADDRESS": "rediss://10.0.0.1:6380",
        "RAY_REDIS_CA_CERT": "/d/ca.pem",
        "RAY_REDIS_CLIENT_CERT": "/d/mainpc.pem",
        "RAY_REDIS_CLIENT_KEY": "/d/mainpc.key",
    }
    assert command.environment["RAY_external_storage_namespace"] == "c1-ab12"
    assert not [part for part in ray_start_command(_node()).argv if "redis" in part]
