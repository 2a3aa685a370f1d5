"""Similarities and regularisers, each a small function of tensors.

A function whose name ends in ``_to`` takes the fixed image and returns the loss as a function of
the moving image. What depends on the fixed image alone is so computed once, not in every iteration.
"""
