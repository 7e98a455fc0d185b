"""Back-ups: one file that holds every namespace of a store, of whatever kind, and the way back from it."""
