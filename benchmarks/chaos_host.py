"""A host of agents as the product starts it, that writes down its dead letters."""

from pathlib import Path

from benchmarks.chaos_agents import note_letter, own_note
from benchmarks.measured_host import MeasuredHostActor
from zejzl_ray.cluster.agent_host import AgentHostOptions


class ChaosHostActor(MeasuredHostActor):
    """The actor.

    Args:
        options: from the starter; the settings of each of its agents name the folder ``notes``.
    """

    def __init__(self, options: AgentHostOptions) -> None:
        super().__init__(options)
        note = own_note(Path(options.agents[0].settings["notes"]), options.name, "dead")
        self._host.office.dead_letters.on_letter(lambda letter: note_letter(note, letter))
