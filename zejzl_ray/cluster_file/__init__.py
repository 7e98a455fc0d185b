"""The file that `ray up` starts a cluster from: read with places, checked, and filled in from a few values."""
