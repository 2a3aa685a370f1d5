"""Lets ``python -m diffeode`` run the program ``diffeode``."""

from diffeode.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
