"""What keeps the machines of a cluster from being one: facts gathered over ssh, judged here, each with its remedy."""
