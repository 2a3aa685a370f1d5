"""Names of the files in the folder of a training; this module imports no torch."""

LAST = "last.safetensors"
"""The checkpoint from which the training resumes."""
BEST = "best.safetensors"
"""The weights that were best on validation."""
CURVES = "curves.tsv"
"""The curves, one row for each validation."""
