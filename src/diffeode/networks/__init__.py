"""Networks of the learned baselines, from tensors to fields in voxels.

They know no files and no frames.
"""
