"""The wire: frozen models of commands, events and states, one module a service."""
