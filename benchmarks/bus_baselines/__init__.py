"""What the bus is measured against: other ways to carry the same message."""
