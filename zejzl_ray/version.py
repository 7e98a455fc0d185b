"""The version of the project, read by the packaging too."""

__version__ = "0.1.0"

# What the services keep in the store; raised by a release whose state the release before it cannot read.
STATE_FORMAT = 1
