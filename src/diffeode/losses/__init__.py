"""Similarities and regularisers, each a small function of tensors."""
