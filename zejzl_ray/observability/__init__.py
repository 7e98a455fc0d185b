"""Logic of the observability hub: deadlocks, performance, logs of machines. No Ray in it."""
