"""Programs and packages that pip may not bring: found, run, blamed."""
