"""Mail between agents, without a broker: mailboxes, routing, delivery, history. No Ray in it."""
