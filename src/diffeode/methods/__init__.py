"""Registration methods: one file each, found by their presence
(:mod:`diffeode.registration.registry`).
"""
