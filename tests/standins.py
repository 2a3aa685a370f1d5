"""Stand-ins for programs that are not here: scripts that accept the documented options of the
program for which they stand.

A stand-in exits with status 64 where it is given an option that the program has not, one value too
few, or another value than the documented command line has; otherwise it writes a small file as the
program would.
"""

import os
import sys
from pathlib import Path

PROLOGUE = '''#!{python}
import os, signal, struct, sys, time

nan = float("nan")


def refuse(sentence):
    print("stand-in:", sentence, *sys.argv[1:])
    sys.exit(64)


def options(known, fixed=(), positional=0):
    """Values by option; known: option to number of values, fixed: what the documented command line has."""
    given, rest = {{}}, sys.argv[1:]
    while rest and rest[0] in known:
        name = rest.pop(0)
        given[name] = [rest.pop(0) for _ in range(known[name])]
    if len(rest) != positional:
        refuse(f"left over: {{rest}}")
    for name, value in dict(fixed).items():
        if name not in given or given[name] != value and [float(v) for v in given[name]] != [float(v) for v in value]:
            refuse(f"{{name}} must be {{value}}")
    return {{name: values[0] if len(values) == 1 else values for name, values in given.items()}}, rest


def load(path):
    import nibabel
    return nibabel.load(path)


def save(data, affine, path):
    import nibabel
    nibabel.save(nibabel.Nifti1Image(data, affine), path)


'''


def stand_in(folder: Path, name: str, body: str) -> Path:
    """Write the program ``name`` into ``folder``."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    numbers = "import numpy as np\n" if "np." in body else ""
    program.write_text(PROLOGUE.format(python=sys.executable) + numbers + body, encoding="utf-8")
    program.chmod(0o755)
    return program


def only_these(monkeypatch, folder: Path) -> None:
    """Find programs in ``folder`` and nowhere else, apart from those of the system."""
    monkeypatch.setenv("DIFFEODE_TOOLS", str(folder))
    monkeypatch.setenv("PATH", os.pathsep.join(["/usr/bin", "/bin"]))


# ----------------------------------------------------------------------------------------- NiftyReg

# -sx 10 --nmi -pad 0 are the paper's, the rest the defaults of NiftyReg 2.0
REG_F3D = """
if sys.argv[1:] == ["--version"]:
    print("2.0.0+7.d518b8ac")
    sys.exit()
known = {"-ref": 1, "-flo": 1, "-cpp": 1, "-res": 1, "-sx": 1, "-be": 1, "-le": 1, "-ln": 1, "-maxit": 1, "--nmi": 0}
known.update({"-pad": 1, "-omp": 1, "-voff": 0, "-vel": 0, "--rbn": 1, "--fbn": 1})
fixed = {"-sx": ["10"], "--nmi": [], "-pad": ["0"], "-be": ["0.001"], "-le": ["0.01"], "-ln": ["3"], "-maxit": ["150"]}
given, _ = options(known, fixed)
assert load(given["-ref"]).shape == load(given["-flo"]).shape
for level in (1, 2, 3):
    print(f"[NiftyReg INFO] Current level: {level} / 3")
    print("[NiftyReg INFO] Initial objective function: 1.1 = (wSIM)1.1 - (wBE)0 - (wLE)0 - (wJAC)0 - (wLAN)0")
    print(f"[NiftyReg INFO] [10] Current objective function: 1.{level}5 = (wSIM)1.{level}6 - (wBE)0.01 [+ 6 mm]")
save(np.zeros((5, 5, 5, 1, 3), np.float32), np.eye(4), given["-cpp"])
"""

# the displacement is in RAS mm on the reference's grid, a 5-D file
REG_TRANSFORM = """
if sys.argv[1:] == ["--version"]:
    print("2.0.0+7.d518b8ac")
    sys.exit()
given, (out,) = options({"-ref": 1, "-disp": 1, "-omp": 1}, positional=1)
assert load(given["-disp"]).shape[3:] == (1, 3)
reference = load(given["-ref"])
field = np.zeros((*reference.shape, 1, 3), np.float32)
field[...] = %s
save(field, reference.affine, out)
"""


def niftyreg(folder: Path, shift_mm) -> None:
    """A NiftyReg that finds ``shift_mm``, RAS, whatever it is given."""
    stand_in(folder, "reg_f3d", REG_F3D)
    stand_in(folder, "reg_transform", REG_TRANSFORM % list(map(float, shift_mm)))


# ----------------------------------------------------------------------------------------- deedsBCV

# three blocks of float32, along array axis Y, X and Z, X fastest; written byte by byte
DEEDSBCV = """
given, _ = options({"-F": 1, "-M": 1, "-O": 1, "-a": 1, "-l": 1, "-G": 1, "-L": 1, "-Q": 1, "-S": 1, "-A": 1})
lists = [[int(n) for n in given[option].split("x")] for option in ("-G", "-L", "-Q")]
if len({len(values) for values in lists}) != 1 or len(lists[0]) < 5:
    refuse("five or more levels, as many in each list")
if not given["-F"].endswith(".nii.gz") or not given["-M"].endswith(".nii.gz"):
    refuse("images must have nii.gz format")
fixed, moving = load(given["-F"]), load(given["-M"])
if fixed.shape != moving.shape:
    refuse("Inconsistent image sizes (must have same dimensions)")
if np.asarray(fixed.dataobj).max() < 100:
    refuse("intensities that adding 1024 would flatten")
for level, spacing in enumerate(lists[0]):
    print(f"Level {level} grid={spacing} with sizes: hw={lists[1][level]} quant={lists[2][level]}")
m, n, o = (size // lists[0][-1] for size in fixed.shape)
along_x, along_y, along_z = %s
with open(given["-O"] + "_displacements.dat", "wb") as file:
    for along in (along_y, along_x, along_z):
        for k in range(o):
            for j in range(n):
                for i in range(m):
                    file.write(struct.pack("<f", along(i, j, k)))
"""


def deedsbcv(folder: Path, along_x: str, along_y: str, along_z: str) -> None:
    """A deedsBCV that finds these displacements, voxels along the array axes: expressions in
    control points i, j, k.
    """
    functions = ", ".join(
        f"lambda i, j, k: {expression}" for expression in (along_x, along_y, along_z)
    )
    stand_in(folder, "deedsBCV", DEEDSBCV % f"({functions})")


# --------------------------------------------------------------------------------------- SynthMorph

_WRITE_SHIFT = """
def write(image, shift, path):
    field = np.zeros((*image.shape, 3), np.float32)
    field[...] = shift
    save(field, image.affine, path)

"""

SYNTHMORPH = (
    _WRITE_SHIFT
    + """
if sys.argv[1:] == ["-h"]:
    print("-r lambda: regularization parameter in the open interval (0, 1)")
    sys.exit()
known = dict.fromkeys(["-m", "-o", "-O", "-t", "-T", "-i", "-j", "-r", "-n", "-e", "-w"], 1)
known.update({"-g": 0, "-H": 0, "-M": 0})
given, (moving, fixed) = options(known, {"-r": ["%(weight)s"], "-e": ["256"]}, positional=2)
if given["-m"] != "deform":
    refuse("the pair is aligned: -m deform")
write(load(fixed), %(shift)s, given["-t"])
write(load(moving), [-v for v in %(shift)s], given["-T"])
"""
)

# neither -r nor -T; the choices of -s are whole numbers, so that no value on the command line fits
SYNTHMORPH_OLDER = (
    _WRITE_SHIFT
    + """
if "-h" in sys.argv:
    print("-s, --smooth SMOOTH: Regularization parameter for deformable registration (1,)")
    sys.exit(1)
given, (moving, fixed) = options({"-m": 1, "-o": 1, "-t": 1, "-i": 1, "-j": 1, "-e": 1, "-w": 1, "-g": 0}, positional=2)
write(load(fixed), %(shift)s, given["-t"])
"""
)


def synthmorph(folder: Path, shift_mm, weight: float = 0.5, older: bool = False) -> None:
    """A SynthMorph that finds ``shift_mm``, RAS, whatever it is given."""
    body = SYNTHMORPH_OLDER if older else SYNTHMORPH
    stand_in(
        folder, "mri_synthmorph", body % {"shift": list(map(float, shift_mm)), "weight": weight}
    )


# --------------------------------------------------------------------------------------- FreeSurfer

# recon-all's log: --no-rescale --i orig.mgz --o orig_nu.mgz --n 1 --proto-iters 1000 --distance 50
NU_CORRECT = """
if sys.argv[1:] == ["--version"]:
    print("mri_nu_correct.mni 7.4.1")
    sys.exit(1)
known = {"--i": 1, "--o": 1, "--n": 1, "--proto-iters": 1, "--distance": 1, "--no-rescale": 0, "--cm": 0, "--mask": 1}
fixed = {"--n": ["1"], "--proto-iters": ["1000"], "--distance": ["50"], "--no-rescale": [], "--cm": []}
given, _ = options(known, fixed)
scan = load(given["--i"])
save((scan.get_fdata() / 2).astype(np.float32), scan.affine, given["--o"])
"""

# recon-all's log: -g 1 -seed 1234 -mprage nu.mgz T1.mgz, with -noconform where voxels are not 1 mm
NORMALIZE = """
if sys.argv[1:] == ["--version"]:
    print("mri_normalize freesurfer 7.4.1")
    sys.exit()
known = {"-g": 1, "-seed": 1, "-mprage": 0, "-noconform": 0, "-mask": 1}
given, (scan, out) = options(known, {"-g": ["1"], "-seed": ["1234"], "-noconform": []}, positional=2)
if ("-mprage" in given) is not %(mprage)s:
    refuse("-mprage belongs to T1w and to nothing else")
scan = load(scan)
if scan.get_data_dtype() != np.uint8:
    refuse("not 8 bits")
data = scan.get_fdata()
if "-mask" in given:
    data = data * (load(given["-mask"]).get_fdata() > 0)
save(np.minimum(data, 110).astype(np.uint8), scan.affine, out)
"""

SYNTHSTRIP = """
given, _ = options({"-i": 1, "-o": 1, "-m": 1, "-b": 1, "-g": 0, "--model": 1})
scan = load(given["-i"])
save((scan.get_fdata() > %(above)s).astype(np.uint8), scan.affine, given["-m"])
"""

SYNTHSEG = """
known = dict.fromkeys(["--i", "--o", "--vol", "--qc", "--post", "--resample", "--crop", "--threads", "--photo"], 1)
known.update(dict.fromkeys(["--parc", "--robust", "--fast", "--ct", "--autocrop", "--cpu", "--v1", "--keepgeom"], 0))
given, _ = options(known, {"--keepgeom": [], "--cpu": [], "--threads": ["2"]})
scan = load(given["--i"])
inside = scan.get_fdata() > 0
labels = np.zeros(scan.shape)
labels[inside] = np.sort(np.resize(%(labels)s, inside.sum()))
save(labels.astype(np.int32), scan.affine, given["--o"])
"""


# -------------------------------------------------------------------------------------- any program

RECORD = """
import json
if sys.argv[1:] not in (["--version"], ["-h"]):
    with open(%(into)r, "a") as file:
        line = [%(name)r, *sys.argv[1:]], os.environ["OMP_NUM_THREADS"], sys.stdin.read()
        print(json.dumps(line), file=file)
    for option in %(writes)r:
        with open(sys.argv[sys.argv.index(option) + 1], "w") as file:
            file.write("something")
    sys.exit(%(status)d)
"""


def recorder(folder: Path, name: str, writes: tuple[str, ...] = (), status: int = 7) -> Path:
    """Write a program ``name`` that records how it was called, writes a file behind each option of
    ``writes``, and ends.

    Returns: the file to which it writes a line of JSON for each call, ``[[name, *arguments],
    threads by OMP_NUM_THREADS,
            standard input]``.
    """
    into = folder / "recorded.jsonl"
    stand_in(
        folder, name, RECORD % {"into": str(into), "name": name, "writes": writes, "status": status}
    )
    return into
