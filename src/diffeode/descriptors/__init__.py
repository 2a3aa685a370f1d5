"""Descriptors: an image to channels that do not depend on its contrast."""
