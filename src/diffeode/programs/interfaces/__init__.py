"""Command lines, as nipype describes them, of programs for which nipype itself has no interface or
half of one.
"""
