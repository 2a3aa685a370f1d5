"""Write the page with every table and figure of the papers, from the studies that have been run.

    python workflow/paper_page.py [--small]

With --small the page shows the studies at a reduced size (config/small). It is written to
results/paper or results/paper-small, and its path is printed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
# A clone works without installation, and with its own code where another one is installed.
sys.path.insert(0, str(REPOSITORY / "src"))

from diffeode.errors import InputError  # noqa: E402
from diffeode.registration.runs import load_run, run_names  # noqa: E402
from diffeode.statistics.paper_page import write_paper_page  # noqa: E402


def main() -> int:
    """Write the page; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--small", action="store_true", help="show the studies at a reduced size (config/small)"
    )
    small = parser.parse_args().small
    out = REPOSITORY / "results" / ("paper-small" if small else "paper") / "index.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        titles = {name: load_run(name).title for name in run_names()}
        description = REPOSITORY / "config" / "pages" / "paper.yaml"
        write_paper_page(description, REPOSITORY, small, out, titles)
    except InputError as error:
        print(f"paper_page: {error}", file=sys.stderr)
        return 2
    print(f"Page:    {out.relative_to(Path.cwd()) if out.is_relative_to(Path.cwd()) else out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
