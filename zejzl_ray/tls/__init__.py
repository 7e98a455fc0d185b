"""A private certificate authority for the machines of one cluster."""
