"""deploy/kuberay.yaml is what Kubernetes and the KubeRay operator take; it was not tried on a cluster."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.unit.tools.raycluster_schema import RAY_CLUSTER
from zejzl_ray.settings import Settings

FILE = Path(__file__).parents[3] / "deploy" / "kuberay.yaml"
KUBERNETES = ("1.28", "1.37")  # what the operator is written against, and the newest that is known here
Document = dict[str, Any]


@pytest.fixture
def documents() -> list[Document]:
    return list(yaml.safe_load_all(FILE.read_text()))


@pytest.fixture
def ray_cluster(documents: list[Document]) -> Document:
    return next(document for document in documents if document["kind"] == "RayCluster")


def groups(ray_cluster: Document) -> list[Document]:
    """Return the groups of pods, the head first."""
    return [ray_cluster["spec"]["headGroupSpec"], *ray_cluster["spec"]["workerGroupSpecs"]]


def judge(document: Document, version: str) -> None:
    """Judge a document by the schemas: of Kubernetes, and of the operator for what is the operator's.

    Raises:
        jsonschema.ValidationError: says what is wrong.
    """
    if document["kind"] != "RayCluster":
        kubernetes_validate.validate(document, version, strict=True)
        return
    jsonschema.validate(document, RAY_CLUSTER)
    for group in groups(document):
        pod = {"apiVersion": "v1", "kind": "PodTemplate", "template": group["template"]}
        kubernetes_validate.validate(pod, version, strict=True)


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_document_fits_its_schema(documents: list[Document], version: str) -> None:
    for document in documents:
        judge(document, version)

    assert [document["kind"] for document in documents] == ["Service", "StatefulSet", "RayCluster"]


def _of_first_container(name: str, value: Any) -> Callable[[Document], None]:
    def spoil(cluster: Document) -> None:
        groups(cluster)[0]["template"]["spec"]["containers"][0][name] = value

    return spoil


SPOILT: dict[str, Callable[[Document], None]] = {
    "a misspelt field of the cluster": lambda cluster: cluster["spec"].update(rayVersoin="2.60.0"),
    "a misspelt field of a group": lambda cluster: groups(cluster)[1].update(replica=1),
    "a number where a text belongs": lambda cluster: groups(cluster)[0].update(
        rayStartParams={"num-cpus": 1}
    ),
    "no bounds of a group": lambda cluster: groups(cluster)[1].pop("maxReplicas"),
    "a name that is no name": lambda cluster: cluster["metadata"].update(name="Zejzl"),
    "a misspelt field of a container": _of_first_container("volumeMount", []),
    "a port that is a text": _of_first_container("ports", [{"containerPort": "6379"}]),
}


@pytest.mark.parametrize("name", SPOILT)
def test_the_schemas_notice_what_the_operator_would_refuse(ray_cluster: Document, name: str) -> None:
    spoilt = copy.deepcopy(ray_cluster)
    SPOILT[name](spoilt)

    with pytest.raises(jsonschema.ValidationError):
        judge(spoilt, KUBERNETES[-1])


def test_the_cluster_starts_as_every_other_and_says_that_it_was_not_tried(ray_cluster: Document) -> None:
    assert "NOT TRIED on a cluster" in FILE.read_text()
    head, worker = (group["template"]["spec"]["containers"][0] for group in groups(ray_cluster))
    client = Settings.model_fields["ray_client_port"].default
    assert {port["containerPort"] for port in head["ports"]} == {6379, client}
    assert "zejzl node start --head --machine mainpc" in head["args"][0]
    assert "--address $FQ_RAY_IP" in worker["args"][0]
    for spec in (group["template"]["spec"] for group in groups(ray_cluster)):
        volumes = {volume["name"] for volume in spec["volumes"]}
        assert {mount["name"] for mount in spec["containers"][0]["volumeMounts"]} <= volumes
    for group in groups(ray_cluster)[1:]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_the_health_check_that_the_operator_puts_before_a_worker_has_the_token(ray_cluster: Document) -> None:
    for group in groups(ray_cluster)[1:]:
        container = group["template"]["spec"]["containers"][0]
        given = {one["name"]: one.get("value") for one in container["env"]}

        assert given["RAY_AUTH_MODE"] == "token"
        mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert str(Path(given["RAY_AUTH_TOKEN_PATH"]).parent) in mounts


def test_the_ray_of_the_cluster_is_the_one_that_is_pinned(ray_cluster: Document) -> None:
    pinned = f"ray[default,serve]=={ray_cluster['spec']['rayVersion']}"

    assert pinned in (FILE.parents[1] / "pyproject.toml").read_text()
