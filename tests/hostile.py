"""Names that a shell, a page, a path or a format could take for more than a name."""

NAMES = {
    "space": "two words",
    "quotes": 'it\'s "so"',
    "semicolon": "a; touch pwned",
    "command": "$(touch pwned)",
    "backticks": "`touch pwned`",
    "pipe": "a | touch pwned & b > c",
    "variable": "$HOME",
    "newline": "two\nlines",
    "newline at the end": "ends\n",
    "carriage return": "a\rb",
    "tab": "a\tb",
    "braces": "{scan}",
    "unicode": "ünïcødé-\u202e名",
    "hyphen": "-rf",
    "option": "--config",
    "up": "../../outside",
    "absolute": "/tmp/outside",
    "backslash": "..\\outside",
    "dots": "..",
    "hidden": ".hidden",
    "NUL": "a\0b",
    "long": "x" * 5000,
    "rather long": "y" * 240,
    "glob": "*?[a]",
    "percent": "%s%n",
    "markup": "</script><script>alert(1)</script>",
    "image": "<img src=x onerror=alert(1)>",
    "LaTeX": "\\input{/etc/passwd}",
    "formula": '=HYPERLINK("x")',
    "link": "`x <javascript:alert(1)>`_",
    "directive": ".. include:: /etc/passwd",
    "underscores": "a__b",
    "empty": "",
}

FEW = (
    *("quotes", "command", "newline at the end", "braces", "unicode", "hyphen", "up", "absolute"),
    *("NUL", "long", "underscores"),
)
"""Some of the names, one of each kind, for tests that take long."""
