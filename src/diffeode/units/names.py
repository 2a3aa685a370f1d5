"""Names of the files that a prepared scan and the units of its single steps share.

A step's unit holds one of these files, under the name that it has in the unit of the prepared scan.
The names have a file of their own, so that a step's results do not depend on the rest of
:mod:`diffeode.units.scan`.
"""

IMAGE = "image.nii.gz"
MASK = "mask.nii.gz"
TO_SCAN = "to_scan.txt"
LABELS = "labels.nii.gz"
