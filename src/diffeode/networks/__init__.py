"""Networks of the learned baselines, written from their papers: tensors in, fields in voxels out, no files and no frames."""
