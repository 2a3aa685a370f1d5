"""Figures. Each module draws one figure from tables and files; nothing is registered or measured
again here.
"""
