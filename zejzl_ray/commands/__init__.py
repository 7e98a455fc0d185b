"""How a service runs commands: one after the other, committed in groups, each once."""
