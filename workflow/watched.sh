# Functions for the recipes of the Makefile that run studies; the shell of a recipe, bash, reads
# this file. An interrupt (Ctrl-C, `kill -INT`) or a kill of make, of this shell or of Snakemake
# ends all three, so that no other study begins.

child=

# Whether make, which is the parent of this shell, catches interrupts. It does from its start, and
# no longer once it was interrupted: then it only waits until this shell ends. The first signal but
# one is the interrupt, and so its bit is the second one.
make_catches_interrupts() {
  local last
  last=$(sed -n 's/^SigCgt:.*\(.\)$/\1/p' "/proc/$PPID/status" 2> /dev/null)
  [[ $last == [2367abef] ]]
}

# Interrupt what runs, wait until it has ended, and end with exit code $1. A second signal kills it.
stop() {
  trap 'kill -KILL -- "-$child" 2> /dev/null; exit '"$1" INT TERM HUP
  if [ -n "$child" ] && kill -INT -- "-$child" 2> /dev/null; then
    while kill -0 "$child" 2> /dev/null; do wait "$child"; done
  fi
  exit "$1"
}

# Run a command, such as Snakemake, and return its exit code; end where it is interrupted or killed,
# which its exit code tells (128 and the number of the signal), or where make is.
watched() {
  local code caught=false
  make_catches_interrupts && caught=true
  # It gets a process group of its own. In that of this shell, interrupts are ignored by commands in
  # the background, and this shell hears of a signal only once a command in the foreground has ended.
  set -m
  "$@" &
  child=$!
  set +m
  while kill -0 "$child" 2> /dev/null; do
    if $caught && ! make_catches_interrupts; then stop 130; fi
    sleep 0.5
  done
  wait "$child"
  code=$?
  child=
  if [ "$code" -gt 128 ]; then
    echo "The study was interrupted or killed (exit code $code); the same command goes on from what is finished." >&2
    exit "$code"
  fi
  return "$code"
}

# Say for how long something ran that began $1 seconds after this shell.
took() {
  local seconds=$((SECONDS - $1))
  printf '%d:%02d:%02d' $((seconds / 3600)) $((seconds / 60 % 60)) $((seconds % 60))
}

trap 'stop 130' INT
trap 'stop 143' TERM
trap 'stop 129' HUP
