#!/usr/bin/env bash
# Ends the Slurm that start.sh started: cancels its jobs, then stops the daemons by their pid files. Leaves the folder.
#
#   stop.sh folder
set -euo pipefail

if [ "$#" -ne 1 ] || [ ! -d "$1" ]; then
    printf 'usage: stop.sh folder (the one that start.sh was given or printed)\n' >&2
    exit 2
fi
folder=$(cd "$1" && pwd)
export SLURM_CONF=$folder/slurm.conf

runs() { # runs <pid file> <program>: the number in a pid file may be another process's by now
    local pid
    [ -s "$1" ] && pid=$(<"$1") && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ]
}

# Jobs first, while there is somebody to end them: a killed slurmd leaves its jobs running.
if runs "$folder/slurmctld.pid" slurmctld && runs "$folder/slurmd.pid" slurmd; then
    timeout 10 scancel --user="$(id -un)" 2>/dev/null || true
    for _ in $(seq 75); do # KillWait (5 s) and some
        [ -z "$(timeout 10 squeue --noheader 2>/dev/null || true)" ] && break
        sleep 0.2
    done
fi

# A daemon removes its pid file before it has ended, and stays as a zombie where nobody waits for orphans.
ended() { # ended <pid>
    ! grep -q '^State:[[:space:]]*[^ZX]' "/proc/$1/status" 2>/dev/null
}

for program in slurmd slurmctld munged; do
    pid_file=$folder/$program.pid
    runs "$pid_file" "$program" || continue
    pid=$(<"$pid_file")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 50); do
        ended "$pid" && break
        sleep 0.2
    done
    if ! ended "$pid"; then
        printf 'stop.sh: %s does not end; killed\n' "$program" >&2
        kill -KILL "$pid" 2>/dev/null || true
    fi
    rm -f "$pid_file"
done
