"""Time limits for work that hangs on purpose, long enough that it gets as far as hanging on a busy
machine.
"""

LIMITS_S = (1.0, 5.0, 30.0, 150.0)
"""These limits are tried one after the other until the work got far enough; an idle machine needs
the first or the second.
"""
