"""Descriptions of command lines for nipype, of programs for which nipype itself has no interface or
an incomplete one.
"""
