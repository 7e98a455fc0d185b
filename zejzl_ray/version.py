"""The version of the project, read by the packaging too."""

__version__ = "0.1.0"
