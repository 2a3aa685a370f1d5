"""Training: its loop, its data, and the training of methods and of the learned descriptor."""
