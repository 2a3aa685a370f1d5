"""Modules that are imported at their first use."""

import subprocess
import sys
from pathlib import Path

import pytest

LIB = Path(__file__).parents[2] / "workflow" / "lib"
BEGINNING = """
import sys
sys.path.insert(0, sys.argv[1])
from lazily import import_when_used
import_when_used("wave", "xml.sax", "nothing_of_this_name")
def is_loaded(name):
    return "__builtins__" in vars(sys.modules[name])
import wave
import wave as waves
from xml import sax
import xml.sax
assert not is_loaded("wave") and not is_loaded("xml.sax")
"""


@pytest.mark.parametrize(
    ("use", "loaded", "other"),
    [
        ("waves.Error", "wave", "xml.sax"),
        ("from wave import Error", "wave", "xml.sax"),
        ("sax.parse", "xml.sax", "wave"),
        ("import xml.sax.handler; xml.sax.handler.ContentHandler", "xml.sax", "wave"),
        ("from xml.sax.handler import ContentHandler", "xml.sax", "wave"),
    ],
)
def test_a_module_is_loaded_when_something_of_it_is_used(use, loaded, other):
    check = f"assert is_loaded({loaded!r}) and not is_loaded({other!r})"
    more = f"assert type(sys.modules[{loaded!r}]) is type(sys)"
    run(BEGINNING + "\n".join([use, check, more]))


def test_what_a_module_lacks_is_an_attribute_error():
    run(BEGINNING + "assert not hasattr(wave, 'nothing') and hasattr(wave, 'Error')")


def test_a_module_that_is_there_stays():
    beginning = BEGINNING.replace("assert", "#")
    run(f"import wave; known = wave.Error\n{beginning}\nassert wave.Error is known")


def run(code):
    command = [sys.executable, "-c", code, str(LIB)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
