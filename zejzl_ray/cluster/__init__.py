"""What the library knows of Ray: names, nodes, and calls over actor handles."""
