"""Records of what finished files were made from, and the search for files that are stale."""
