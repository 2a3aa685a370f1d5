"""A page in a browser without a window: what stands in it after its scripts have run."""

import os
import shutil
import subprocess
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WITHOUT = "no Chromium is installed"


def opened(page: Path, profile: Path) -> str:
    """Return the document of ``page`` some seconds after it was opened.

    Args:
        profile: a folder for what the browser writes.
    """
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000"]
    found = subprocess.run(
        [str(CHROMIUM), *options, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        env={**os.environ, "HOME": str(profile)},
    )
    return found.stdout
