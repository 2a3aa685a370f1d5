"""Registration methods, one file each; :mod:`diffeode.registration.registry` finds them by their
presence.
"""
