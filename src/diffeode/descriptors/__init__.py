"""Descriptors: functions from an image to channels that depend little on its contrast."""
