"""The fields of a RayCluster (ray.io/v1), as a JSON schema: names, types and what is required.

Compared with the custom resource definition and the API reference of KubeRay v1.6.2. Pod templates are Kubernetes' own
and are judged by its schema; parts that deploy/kuberay.yaml has no use for are taken as they come.
"""

from typing import Any, Final

KUBERAY_VERSION: Final = "v1.6.2"

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_TEXTS: Final[Schema] = {"type": "object", "additionalProperties": _TEXT}
_FLAG: Final[Schema] = {"type": "boolean"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
_ANY: Final[Schema] = {"type": "object"}


def _object(required: tuple[str, ...], **properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_HEAD_GROUP: Final = _object(
    ("template",),
    template=_ANY,
    headService=_ANY,
    enableIngress=_FLAG,
    resources=_TEXTS,
    labels=_TEXTS,
    rayStartParams=_TEXTS,
    serviceType={"enum": ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]},
)
_WORKER_GROUP: Final = _object(
    ("groupName", "minReplicas", "maxReplicas", "template"),  # both bounds: nothing scales it
    template=_ANY,
    groupName=_TEXT,
    suspend=_FLAG,
    replicas=_COUNT,
    minReplicas=_COUNT,
    maxReplicas=_COUNT,
    numOfHosts=_COUNT,
    idleTimeoutSeconds=_COUNT,
    resources=_TEXTS,
    labels=_TEXTS,
    rayStartParams=_TEXTS,
    scaleStrategy=_object((), workersToDelete={"type": "array", "items": _TEXT}),
)
RAY_CLUSTER: Final = _object(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayCluster"},
    # a name that services can have too, as the operator demands
    metadata=_object(
        ("name",),
        name={"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63},
        namespace=_TEXT,
        labels=_TEXTS,
        annotations=_TEXTS,
    ),
    spec=_object(
        ("headGroupSpec",),
        headGroupSpec=_HEAD_GROUP,
        workerGroupSpecs={"type": "array", "items": _WORKER_GROUP},
        rayVersion=_TEXT,
        enableInTreeAutoscaling=_FLAG,
        suspend=_FLAG,
        managedBy=_TEXT,
        headServiceAnnotations=_TEXTS,
        authOptions=_object(
            (), mode={"enum": ["disabled", "token"]}, secretName=_TEXT, enableK8sTokenAuth=_FLAG
        ),
        autoscalerOptions=_ANY,
        gcsFaultToleranceOptions=_ANY,
        upgradeStrategy=_object((), type={"enum": ["Recreate", "None"]}),
    ),
)
