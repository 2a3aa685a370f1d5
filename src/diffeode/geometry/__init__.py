"""Grids, images, maps and their resampling."""
