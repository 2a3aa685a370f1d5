#!/bin/sh
# Makes programs of a container look like programs of this machine: one small script each, in a folder to be named in
# DIFFEODE_TOOLS. Each runs in a clean environment that sees the temporary folder, the working directory and, where
# FS_LICENSE names it, FreeSurfer's licence. For a GPU: export APPTAINER_NV=1.
set -eu
if [ $# -lt 3 ]; then
  echo "usage: sh envs/wrap.sh IMAGE FOLDER PROGRAM..." >&2
  echo "e.g.   sh envs/wrap.sh docker://freesurfer/freesurfer:7.4.1 tools mri_synthstrip mri_synthseg" >&2
  exit 2
fi
image=$1 folder=$2
shift 2
mkdir -p "$folder"
for program in "$@"; do
  cat > "$folder/$program" <<SCRIPT
#!/bin/sh
licence=\${FS_LICENSE:-}
exec apptainer exec --cleanenv --bind "\${TMPDIR:-/tmp}" \\
  \${licence:+--bind "\$licence" --env "FS_LICENSE=\$licence"} \\
  --env "OMP_NUM_THREADS=\${OMP_NUM_THREADS:-1}" "$image" "$program" "\$@"
SCRIPT
  chmod 755 "$folder/$program"
done
