"""A map, scans and label maps in; numbers out. Sees files and transforms, never the method that
made them.
"""
