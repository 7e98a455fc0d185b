"""What core_orchestrator answers without changing anything; ``service.py`` adds the commands."""

from zejzl_ray.clock import Clock
from zejzl_ray.commands.serving import require_serving
from zejzl_ray.commands.watchers import Watchers
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.machines import Machine
from zejzl_ray.contracts.orchestrator import (
    SERVICE,
    Agent,
    AgentExplanation,
    AgentPage,
    ExplainAgent,
    GetAgent,
    GetHistory,
    GetMachine,
    GetRegistryStatus,
    GetSnapshot,
    History,
    ListAgents,
    ListMachines,
    MachineList,
    RegistrySnapshot,
    RegistryStatus,
    WatchAgents,
    WatchBatch,
)
from zejzl_ray.errors import MachineNotFound
from zejzl_ray.ids import new_id
from zejzl_ray.orchestrator.journal import Journal
from zejzl_ray.orchestrator.queries import explain_agent, find_agent, get_history, get_status, list_agents
from zejzl_ray.orchestrator.registry import Registry
from zejzl_ray.orchestrator.upkeep import Upkeep


class RegistryAnswers:
    """The questions of core_orchestrator. They see committed state only and never wait for the store."""

    def __init__(self, journal: Journal, upkeep: Upkeep, watchers: Watchers, clock: Clock) -> None:
        self._journal = journal
        self._upkeep = upkeep
        self._watchers = watchers
        self._clock = clock
        self._boot = new_id("boot")
        self._is_serving = False

    @property
    def is_fenced(self) -> bool:
        """Whether another instance has taken over; this one must end."""
        return self._journal.is_fenced

    @property
    def registry(self) -> Registry:
        """The committed registry, for reading; another object after a reload."""
        return self._journal.registry

    async def get_agent(self, request: GetAgent, call: CallContext) -> Agent:
        """Return an agent by name or alias.

        Raises:
            AgentNotFound: with near names where there are some.
        """
        self._require_ready()
        return find_agent(self.registry, request.name)

    async def list_agents(self, request: ListAgents, call: CallContext) -> AgentPage:
        """Return one page of agents that match all filters, in the order of their names."""
        self._require_ready()
        return list_agents(self.registry, request)

    async def explain_agent(self, request: ExplainAgent, call: CallContext) -> AgentExplanation:
        """Return why an agent is in its state."""
        self._require_ready()
        return explain_agent(self.registry, request, self._upkeep.pending)

    async def watch_agents(self, request: WatchAgents, call: CallContext) -> WatchBatch:
        """Wait until there are changes after a revision, and return them in order.

        Raises:
            RevisionCompacted: read the snapshot again and watch from its revision.
            Overloaded: too many callers wait.
        """
        while True:
            self._require_ready()
            registry = self.registry
            changes = registry.history.after(request.from_revision, request.limit, registry.revision)
            if changes:
                events = tuple(change.to_event() for change in changes)
                return WatchBatch.model_construct(events=events, revision=changes[-1].revision)
            if not request.timeout_s or not await self._watchers.wait(request.timeout_s):
                return WatchBatch(events=(), revision=registry.revision)

    async def get_history(self, request: GetHistory, call: CallContext) -> History:
        """Return past changes, newest first."""
        self._require_ready()
        return get_history(self.registry, request)

    async def get_snapshot(self, request: GetSnapshot, call: CallContext) -> RegistrySnapshot:
        """Return all agents and machines at one revision, in the order of their names."""
        self._require_ready()
        registry = self.registry
        agents = (registry.agent(name) for name in registry.names.ordered())
        return RegistrySnapshot(
            agents=tuple(agent for agent in agents if agent is not None),
            machines=registry.machines.listed(self._clock.now_s()),
            revision=registry.revision,
            boot=self._boot,
        )

    async def get_registry_status(self, request: GetRegistryStatus, call: CallContext) -> RegistryStatus:
        """Return how many agents are in which state."""
        self._require_ready()
        return get_status(self.registry, self._upkeep.alarm)

    async def list_machines(self, request: ListMachines, call: CallContext) -> MachineList:
        """Return all machines that ever reported, in the order of their names."""
        self._require_ready()
        return MachineList(machines=self.registry.machines.listed(self._clock.now_s()))

    async def get_machine(self, request: GetMachine, call: CallContext) -> Machine:
        """Return one machine.

        Raises:
            MachineNotFound: names the machines that are known.
        """
        self._require_ready()
        machine = self.registry.machines.get(request.name, self._clock.now_s())
        if machine is None:
            known = ", ".join(self.registry.machines.names()[:10]) or "none yet"
            raise MachineNotFound(f"No machine is called {request.name}.", f"Known machines: {known}.")
        return machine

    def _require_ready(self) -> None:
        require_serving(SERVICE, is_serving=self._is_serving, is_fenced=self.is_fenced)
