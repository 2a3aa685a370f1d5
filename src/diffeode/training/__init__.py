"""Training of networks: one loop, its checkpoints, and what it is told."""
