"""Training: the loop, its data, the training of methods and of the descriptor."""
