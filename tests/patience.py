"""Time limits for work that hangs on purpose: it must get as far as hanging, however busy the
machine is.
"""

LIMITS_S = (1.0, 5.0, 30.0, 150.0)
"""Tried one after the other until the work got far enough; an idle machine needs the first or the
second.
"""
