"""What a host of agents tells everybody who wants to hear it."""

from typing import Any

from zejzl_ray.bus.message import Message
from zejzl_ray.bus.post_office import PostOffice


async def tell_subscribers(office: PostOffice, topic: str, message_type: str, content: dict[str, Any]) -> None:
    """Publish in the name of one of the host's agents, since hosts have no mailbox; a host without agents is silent.

    Nobody is sent what they publish themselves. So it is an agent that did not subscribe; where all did, the one that
    speaks gets its copy too.

    Raises:
        InvalidInput: the topic has wildcards or empty words.
        BusClosed: the bus is closed.
    """
    agents = office.agents()
    if not agents:
        return
    here = set(office.local.topics.matching(topic))
    speaker = next((agent for agent in agents if agent not in here), agents[0])
    await office.publish(topic, Message(speaker, "all", message_type, content))
    if speaker in here:
        await office.send(Message(speaker, speaker, message_type, content, topic=topic))
