"""What a host of agents tells everybody who wants to hear it."""

from typing import Any

from zejzl_ray.bus.message import Message
from zejzl_ray.bus.post_office import PostOffice
from zejzl_ray.errors import BusError
from zejzl_ray.log import get_logger

_log = get_logger("agent_host")


async def tell_subscribers(
    office: PostOffice, topic: str, message_type: str, content: dict[str, Any]
) -> None:
    """Publish in the name of one of the host's agents, since hosts have no mailbox; a host without agents is silent.

    Nobody is sent what they publish themselves. So it is an agent that did not subscribe; where all did, the one that
    speaks gets its copy too. Whoever cannot take it misses it.

    Raises:
        InvalidInput: the topic has wildcards or empty words.
    """
    agents = office.agents()
    if not agents:
        return
    here = set(office.local.topics.matching(topic))
    speaker = next((agent for agent in agents if agent not in here), agents[0])
    await office.publish(topic, Message(speaker, "all", message_type, content))
    if speaker in here:
        try:
            await office.send(Message(speaker, speaker, message_type, content, topic=topic))
        except BusError as error:
            _log.warning("news cannot be told", agent=speaker, topic=topic, reason=error.message)
