"""Units of work on disk: the folders of a prepared scan, an aligned pair and a registration.

A unit is a folder with a receipt that lists its files (:mod:`diffeode.provenance.receipt`). The
names of the files are written here and nowhere else. Files are read and checked here. The files of
scans and pairs, and the velocity of a registration, are written here, too.
"""
