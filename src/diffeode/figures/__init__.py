"""Figures: tables and files in, one file out; one file, one figure; nothing is registered or
measured again here.
"""
