"""One real call through every operation of every service of a running cluster, changing nothing for others."""
