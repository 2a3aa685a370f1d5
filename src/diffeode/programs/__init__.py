"""Programs that pip does not install, and the package ANTs: how they are found and run, and how
their failures are reported.
"""
