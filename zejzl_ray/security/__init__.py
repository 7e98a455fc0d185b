"""security_gateway: who is who, who may do what, and what is known of it."""
