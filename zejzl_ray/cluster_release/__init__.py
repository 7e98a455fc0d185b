"""The release of all machines of a cluster: carried over ssh, changed together, and gone back from."""
