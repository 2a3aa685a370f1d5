"""Units of work on disk: what lies in the folder of a prepared scan, an aligned pair and a
registration.

A unit is a folder with a receipt that lists its files (:mod:`diffeode.provenance.receipt`). The
names of the files are here and nowhere else; so are their reading and checking and, of scans and
pairs, their writing.
"""
