"""The command line ``zejzl``: one file a command."""
