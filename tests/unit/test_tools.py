"""External programs: they are found in the order that a user expects, run under a limit, and their
failures are reported with their own last lines.
"""

import hashlib
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from patience import LIMITS_S
from standins import only_these, stand_in

from diffeode.errors import InputError, RegistrationError, ToolError
from diffeode.process.watch import watched
from diffeode.programs.tools import (
    MRI_NORMALIZE,
    REG_F3D,
    Limits,
    Tool,
    all_tools,
    find_program,
    identities,
    locate,
    run,
)
from diffeode.registration.registry import method_names, missing_needs

TOOL = Tool("tool", "Tools", "https://example.org/tools", ("--version",), ((1, 5), (3,)))


@pytest.fixture
def tools(tmp_path, monkeypatch):
    only_these(monkeypatch, tmp_path / "bin")
    return tmp_path / "bin"


def run_tool(tools, limits=Limits(), tool=TOOL, **heard):  # noqa: B008 (frozen)
    from nipype.interfaces.base import CommandLine

    out = tools / "out.txt"
    run(tool, CommandLine(command="tool", args=str(out)), [out], "The test", limits, **heard)
    return out


# ------------------------------------------------------------------------------------------ finding


def test_the_folders_of_the_variable_come_before_path(tmp_path, monkeypatch):
    for name in ("one", "two", "three"):
        stand_in(tmp_path / name, "tool", "")
    monkeypatch.setenv("PATH", str(tmp_path / "three"))
    assert locate("tool") == tmp_path / "three" / "tool"
    monkeypatch.setenv(
        "DIFFEODE_TOOLS", f"{tmp_path / 'none'}{os.pathsep}{tmp_path / 'two'}{os.pathsep}{tmp_path}"
    )
    assert locate("tool") == tmp_path / "two" / "tool"


def test_a_file_that_is_not_executable_is_no_program(tools):
    stand_in(tools, "tool", "").chmod(0o644)
    assert locate("tool") is None


def test_a_missing_program_is_one_sentence_of_who_what_and_where_to_get_it(tools):
    with pytest.raises(InputError) as error:
        find_program(TOOL, "Skull stripping")
    assert str(error.value) == (
        "Skull stripping cannot run: the program tool of Tools is neither in a folder of "
        "$DIFFEODE_TOOLS nor on PATH (get it from https://example.org/tools)."
    )


@pytest.mark.parametrize(
    ("said", "good"),
    [
        ("1.5.0", True),
        ("tool 2.9.12+3.abc", True),
        ("1.4.9", False),
        ("3.0.0", False),
        ("a developer's build", True),
    ],
)
def test_only_versions_in_range_serve(said, good, tools):
    stand_in(tools, "tool", f"print({said!r}); sys.exit(1)")
    if good:
        assert find_program(TOOL, "The test") == tools / "tool"
    else:
        with pytest.raises(
            InputError, match=rf"has version {said}, but it must be at least 1\.5 and below 3 \(get"
        ):
            find_program(TOOL, "The test")


def test_a_program_is_known_by_its_path_its_checksum_and_its_version_where_it_tells_one(tools):
    told, silent = stand_in(tools, "reg_f3d", "print('2.0.1')"), stand_in(tools, "deedsBCV", "")
    checksums = {
        program.name: hashlib.sha256(program.read_bytes()).hexdigest() for program in (told, silent)
    }
    assert identities(["reg_f3d", "deedsBCV", "reg_transform"]) == {
        "reg_f3d": {"path": str(told), "sha256": checksums["reg_f3d"], "version": "2.0.1"},
        "deedsBCV": {"path": str(silent), "sha256": checksums["deedsBCV"]},
    }


def test_freesurfer_needs_its_licence_before_it_is_started(tools, tmp_path, monkeypatch):
    started = tmp_path / "started"
    stand_in(tools, "mri_normalize", f"open({str(started)!r}, 'w')")
    monkeypatch.delenv("FS_LICENSE", raising=False)
    monkeypatch.setenv("FREESURFER_HOME", str(tmp_path))
    with pytest.raises(
        InputError,
        match=r"^The test cannot run: mri_normalize .*licence file, which is neither \$FS_",
    ):
        find_program(MRI_NORMALIZE, "The test")
    assert not started.exists()
    (tmp_path / "license.txt").write_text("someone", encoding="utf-8")
    assert find_program(MRI_NORMALIZE, "The test")
    (tmp_path / "license.txt").rename(tmp_path / "elsewhere.txt")
    monkeypatch.setenv("FS_LICENSE", str(tmp_path / "elsewhere.txt"))
    assert find_program(MRI_NORMALIZE, "The test")


def test_every_tool_says_where_to_get_it():
    for name, tool in all_tools().items():
        assert tool.executable == name
        assert tool.source.startswith("https://")


def test_a_method_without_its_program_says_what_to_get(tools):
    (first, second) = missing_needs("niftyreg")
    assert "reg_f3d of NiftyReg" in first
    assert "reg_transform of NiftyReg" in second
    assert REG_F3D.source in first
    assert {"niftyreg", "deedsbcv", "synthmorph"} <= {
        name for name in method_names() if missing_needs(name)
    }


# ------------------------------------------------------------------------------------------ running


def test_all_it_says_is_told_line_by_line(tools):
    stand_in(
        tools,
        "tool",
        "if sys.argv[1:] == ['--version']: sys.exit()\n"
        "print('one', flush=True); print('two', file=sys.stderr, flush=True)\n"
        "print('threads', os.environ['OMP_NUM_THREADS']); open(sys.argv[-1], 'w').write('x')",
    )
    heard = []
    run_tool(tools, Limits(threads=3), on_line=heard.append)
    assert heard == ["one", "two", "threads 3"]


FAILURES = {
    "sys.exit('no such "
    "scan.')": r"tool of Tools failed with exit status 1; its last lines: no such scan\.$",
    "print('a', 'b', 'c', 'd', sep='\\n'); "
    "sys.exit(3)": r"exit status 3; its last lines: b \| c \| d\.$",
    "sys.exit(3)": r"failed with exit status 3; it printed nothing\.$",
    "os.kill(os.getpid(), "
    "9)": r"was killed by SIGKILL, as happens when memory runs out; it printed nothing\.$",
    "sys.exit(137)": r"was killed by SIGKILL, as happens when memory runs out",
    "os.kill(os.getpid(), signal.SIGSEGV)": r"was killed by SIGSEGV; ",
    "print('done')": r"ended well but wrote no out\.txt; its last lines: done\.$",
    "open(sys.argv[-1], 'w')": r"ended well but wrote an empty out\.txt",
}


@pytest.mark.parametrize(("body", "sentence"), FAILURES.items())
def test_what_went_wrong_is_one_sentence_with_its_last_lines(body, sentence, tools):
    stand_in(tools, "tool", f"if sys.argv[1:] != ['--version']:\n    {body}")
    with pytest.raises(ToolError) as error:
        run_tool(tools)
    assert re.search(sentence, str(error.value))
    assert "\n" not in str(error.value)
    assert str(tools / "tool") in error.value.__notes__[0]


def test_what_cannot_be_started_says_so(tools):
    stand_in(tools, "tool", "").write_bytes(b"\x7fELF nothing")
    with pytest.raises(ToolError, match=r"^tool of Tools could not be started \("):
        run_tool(tools)


def test_at_the_time_limit_of_the_work_it_is_stopped_with_its_children(tools, tmp_path):
    child = tmp_path / "child"
    stand_in(
        tools,
        "tool",
        "import subprocess\n"
        "if sys.argv[1:] == ['--version']: sys.exit()\n"
        f"open({str(child)!r}, 'w').write(str(subprocess.Popen(['sleep', '600']).pid))\n"
        "time.sleep(600)",
    )
    for limit_s in LIMITS_S:
        with pytest.raises(RegistrationError, match="It took longer than its time limit"):
            watched(lambda: run_tool(tools), limit_s / 60)
        if child.exists():
            break
    assert ended(int(child.read_text(encoding="utf-8")))


def ended(process, patience_s=300):
    """Return whether a process has ended or ends soon; a zombie counts as ended."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        try:
            with open(f"/proc/{process}/stat", encoding="utf-8") as handle:
                if handle.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


# --------------------------------------------------------------------------------------- containers

WRAP = Path(__file__).resolve().parents[2] / "envs" / "wrap.sh"


def test_a_wrapped_program_of_a_container_runs_like_any_other(tools, tmp_path, monkeypatch):
    stand_in(
        tmp_path / "system",
        "apptainer",
        "print(*sys.argv[1:-1]); open(sys.argv[-1], 'w').write('x')",
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'system'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.setenv("FS_LICENSE", str(tmp_path / "my licence.txt"))
    subprocess.run(["sh", WRAP, "docker://some/image:1", tools, "tool", "other"], check=True)
    heard = []
    run_tool(
        tools, Limits(threads=2), Tool("tool", "Tools", "https://example.org"), on_line=heard.append
    )
    licence = f"--bind {tmp_path}/my licence.txt --env FS_LICENSE={tmp_path}/my licence.txt"
    assert heard == [
        f"exec --cleanenv --bind {tmp_path}/scratch {licence} --env OMP_NUM_THREADS=2 "
        "docker://some/image:1 tool"
    ]
    assert os.access(tools / "other", os.X_OK)


def test_the_wrapper_says_how_it_is_used(tmp_path):
    told = subprocess.run(
        ["sh", WRAP, "image"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert told.returncode == 2
    assert told.stderr.startswith("usage: sh envs/wrap.sh IMAGE FOLDER PROGRAM...")
    assert list(tmp_path.iterdir()) == []
