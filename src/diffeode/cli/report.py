"""The command ``diffeode report``: make the page about a registration from its folder."""

from __future__ import annotations

import argparse
from typing import Any

from diffeode.cli.arguments import add_overwrite, path, with_examples
from diffeode.desk.delivery import require_new


def add(commands: Any) -> None:
    """Add the command to the parser's ``commands``."""
    report = commands.add_parser(
        "report",
        help="make the page about a registration",
        description="Write report.html, a page with pictures and scores, to the folder of a "
        "registration ('diffeode register ... -o OUT'). The two scans must still lie "
        "where they lay when they were registered. The page is one file that needs no network.",
        **with_examples(
            ("the page OUT/report.html, to open in a browser", "diffeode report OUT"),
        ),
    )
    report.add_argument("folder", type=path, metavar="OUT", help="folder of the registration")
    add_overwrite(report)
    report.set_defaults(command=_report)


def _report(options: argparse.Namespace) -> None:
    from diffeode.desk.outputs import REPORT
    from diffeode.desk.report import page_of_folder

    require_new([options.folder / REPORT], options.overwrite)
    print(page_of_folder(options.folder))
