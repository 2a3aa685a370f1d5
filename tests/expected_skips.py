"""No test is skipped silently: ``expected_skips.tsv`` lists each skip, with its reason and number.

A test session fails where a test was skipped that the table does not list, or was skipped more
often than it says. A session of all tests also fails where the number is not that of the table; 0
is always right, because the program, package or GPU that a test needs may be here.
"""

import csv
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_TABLE = Path(__file__).with_suffix(".tsv")
_CHOSEN_BY = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "maxfail")
"""Options with which a session does not run all tests."""


@dataclass(frozen=True)
class Expected:
    """A row of the table.

    Attributes:
        test: its name with its file, without parameters, or ``FILE::*`` for all tests of a file.
        reason: the beginning of the skip's reason.
        with_data: number of its cases that are skipped where the real scans are here.
        without_data: number of its cases that are skipped where they are not.
    """

    test: str
    reason: str
    with_data: int
    without_data: int

    def number(self, with_data: bool) -> int:
        return self.with_data if with_data else self.without_data

    def knows(self, test: str, reason: str) -> bool:
        return test.startswith(self.test.removesuffix("*")) and reason.startswith(self.reason)


def read_table(path: Path = _TABLE) -> list[Expected]:
    with path.open(encoding="utf-8", newline="") as handle:
        rows = csv.DictReader(handle, delimiter="\t")
        return [
            Expected(row["test"], row["reason"], int(row["with_data"]), int(row["without_data"]))
            for row in rows
        ]


def complaints(
    skipped: list[tuple[str, str]], table: list[Expected], with_data: bool, all_ran: bool
) -> list[str]:
    """Return what is wrong with these skips, one sentence each.

    Args:
        skipped: the test's name without parameters, and the reason, of each skipped case.
        all_ran: whether no test was left out.
    """
    found, said = Counter(), []
    for test, reason in skipped:
        row = next((row for row in table if row.knows(test, reason)), None)
        if row is None:
            said.append(f"{test} was skipped, which {_TABLE.name} does not know: {reason}")
        found[row] += 1
    for row in table:
        number = row.number(with_data)
        if found[row] > number or (all_ran and found[row] not in (0, number)):
            said.append(
                f"{row.test} was skipped {found[row]} times, {_TABLE.name} says {number}, because: "
                f"{row.reason}"
            )
    return said


class SkipWatch:
    """Collects the skips of a session and fails it where they are not those that are expected."""

    def __init__(self, config: pytest.Config, with_data: bool, table: Path = _TABLE) -> None:
        self._config, self._with_data, self._table = config, with_data, table
        self._skipped: list[tuple[str, str]] = []
        self._said: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = (
                report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            )
            self._skipped.append(
                (re.sub(r"\[.*", "", report.nodeid), reason.removeprefix("Skipped: "))
            )

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        table, all_ran = (
            read_table(self._table),
            exitstatus == pytest.ExitCode.OK and self._all_were_asked_for(),
        )
        self._said = complaints(self._skipped, table, self._with_data, all_ran)
        if self._said and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _all_were_asked_for(self) -> bool:
        option = self._config.option
        narrowed = any(getattr(option, name, None) for name in _CHOSEN_BY)
        return self._config.args_source is pytest.Config.ArgsSource.TESTPATHS and not narrowed

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._said:
            terminalreporter.section("unexpected skips", red=True, bold=True)
            for sentence in self._said:
                terminalreporter.line(sentence)
