"""Trained networks of others by name, their files, and how they are fetched."""
