"""Stands for the few functions of Ray that the shells use: one process on pc2, no cluster."""

from types import SimpleNamespace
from typing import Any

from zejzl_ray.cluster.names import MACHINE_LABEL


class FakeRay:
    """Starts nothing; keeps the options it was given."""

    def __init__(self) -> None:
        self.options_given: dict[str, Any] = {}
        self.alive = {"127.0.0.1": True}

    def remote(self, actor: type[Any]) -> Any:
        def options(**given: Any) -> Any:
            self.options_given = given
            return SimpleNamespace(remote=lambda *arguments: (actor, arguments))

        return SimpleNamespace(options=options)

    def nodes(self) -> list[dict[str, Any]]:
        nodes = [
            {"NodeManagerAddress": at, "Alive": is_alive, "NodeID": "n1", "Resources": {"vram_mib": 512.0}}
            for at, is_alive in self.alive.items()
        ]
        return [*nodes, *nodes]  # two nodes a machine

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_labels=lambda: {MACHINE_LABEL: "pc2"}, get_node_id=lambda: "n1")
