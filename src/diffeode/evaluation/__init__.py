"""Metrics of a registration, from its map, the scans and the label maps.

The code never sees the method that made the map, so it cannot favour one.
"""
