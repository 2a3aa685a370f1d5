"""A registration or a training at a desk: files in, files out; the workflow does the same by its
rules.
"""
