"""What Ray is told that a machine has, and the labels that name its cards."""

from pathlib import Path

import pytest

from zejzl_ray.cluster.launched_node import plan_node
from zejzl_ray.cluster.node_resources import node_resources
from zejzl_ray.cluster.node_start import NodeRole, ray_start_command
from zejzl_ray.cluster.secret_file import ensure_token
from zejzl_ray.machine.gpu_tags import gpu_tags, label_value
from zejzl_ray.machine.vram import VramSource, VramTotal
from zejzl_ray.settings import Settings

TWO = "mainpc=NVIDIA GeForce RTX 4090:24564,RTX 3060:12288"


def settings(tmp_path: Path, **values: str) -> Settings:
    return Settings.model_validate({"data_dir": tmp_path, "gpu_cards": "none", "ray_tls": "off", **values})


def test_the_largest_card_names_the_machine(tmp_path: Path) -> None:
    found = node_resources(settings(tmp_path, simulated_gpus=TWO), "mainpc", cpus=3)

    assert found.labels == {
        "zejzl.io/machine": "mainpc",
        "zejzl.io/gpus": "2",
        "zejzl.io/gpu-model": "RTX-4090",
        "zejzl.io/gpu-memory": "24g",
        "zejzl.io/gpu-simulated": "true",
    }
    assert (found.cpus, found.vram_mib, found.vram_source) == (3, 36852, VramSource.SIMULATED)
    assert found.resources == {
        "vram_mib": 36852,
        "vram_mib:GPU-sim-mainpc-0": 24564,
        "vram_mib:GPU-sim-mainpc-1": 12288,
    }


def test_a_machine_without_cards_offers_none_and_says_why(tmp_path: Path) -> None:
    found = node_resources(settings(tmp_path), "pc2")

    assert (found.vram_mib, found.resources, found.tags) == (0, {}, {"zejzl.io/gpus": "0"})
    assert "set to have no cards" in found.note
    assert found.cpus >= 1


def test_a_card_that_does_not_say_what_it_is_gets_no_such_label() -> None:
    unknown = VramTotal(0, VramSource.FOUND, cards={"GPU-1": 0}, models={"GPU-1": ""})

    assert gpu_tags(unknown) == {"zejzl.io/gpus": "1"}


@pytest.mark.parametrize(
    ("text", "value"),
    [("RTX 4090", "RTX-4090"), ("A100-SXM4/80GB (x)", "A100-SXM4-80GB-x"), ("x" * 80, "x" * 63), ("()", "")],
)
def test_a_name_becomes_a_label_that_ray_takes(text: str, value: str) -> None:
    assert label_value(text) == value


def test_the_start_tells_ray_just_that(tmp_path: Path) -> None:
    own = settings(tmp_path, simulated_gpus=TWO)
    ensure_token(tmp_path / "ray_token")
    plan = plan_node(
        own, machine="mainpc", role=NodeRole.HEAD, head_address="10.0.0.1:6379", node_ip="10.0.0.1", cpus=3
    )
    offered = node_resources(own, "mainpc", 3)

    argv = ray_start_command(plan).argv

    assert "--labels=" + ",".join(f"{name}={value}" for name, value in offered.labels.items()) in argv
    assert (plan.cpus, plan.vram_mib, plan.cards) == (offered.cpus, offered.vram_mib, offered.cards)
