"""Networks of the learned baselines: tensors in, fields in voxels out; no files, no frames."""
