"""Coarse-to-fine optimisation of a velocity field."""
