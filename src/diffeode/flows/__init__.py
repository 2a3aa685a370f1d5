"""Velocity fields and their flows."""
