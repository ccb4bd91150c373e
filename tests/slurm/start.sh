#!/usr/bin/env bash
# A real Slurm on this machine, for tests: munged, slurmctld and slurmd of one node, on loopback, without systemd.
#
#   start.sh [folder]     folder: configuration, keys, state, logs and pid files; default: a new temporary one
#
# The last line printed is SLURM_CONF=<folder>/slurm.conf: export it, and sbatch, srun and submitit find this cluster.
# Run again with the same folder, it finds the daemons that run and starts only those that do not. stop.sh ends them.
# Exit code 3: Slurm is not installed and cannot be installed here. Exit code 1: a daemon did not come up.
set -euo pipefail

say() { printf '%s\n' "$*"; }
cannot_install() {
    say "start.sh: Slurm is not installed, and $1; install slurm-wlm and munge by hand" >&2
    exit 3
}

# The daemons live in sbin, which is not on every user's path.
PATH="$PATH:/usr/sbin:/sbin:/usr/local/sbin"

install_if_missing() {
    local program missing=()
    for program in munged slurmctld slurmd sinfo sbatch srun; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    [ "${#missing[@]}" -eq 0 ] && return
    command -v apt-get >/dev/null || cannot_install "there is no apt-get (not Debian or Ubuntu)"
    [ "$(id -u)" -eq 0 ] || cannot_install "only root may install it"
    say "installing slurm-wlm and munge (missing: ${missing[*]})"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2 || true # an old index may still do; the next line is what counts
    apt-get install -y -qq --no-install-recommends slurm-wlm munge >&2 || cannot_install "apt-get failed"
}

# A pid file may outlive its process, and its number may be another's by now: the name is compared as well.
runs() { # runs <pid file> <program>
    local pid
    [ -s "$1" ] && pid=$(<"$1") && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ]
}

free_port() { # below the range from which the kernel takes ports for outgoing connections
    local port
    for _ in $(seq 100); do
        port=$((20000 + RANDOM % 10000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            say "$port"
            return
        fi
    done
    return 1
}

write_configuration() {
    local host user cpus total memory ctld_port slurmd_port version
    host=$(hostname -s)
    user=$(id -un)
    cpus=$(nproc)
    total=$(awk '/^MemTotal:/ {print int($2 / 1024)}' /proc/meminfo)
    memory=$((total - 2000 > 1000 ? total - 2000 : 1000))
    ctld_port=$(free_port)
    slurmd_port=$(free_port)
    while [ "$slurmd_port" = "$ctld_port" ]; do slurmd_port=$(free_port); done

    # Written whole under another name and then renamed: a start that was interrupted leaves no half of it behind.
    cat >"$folder/slurm.conf.new" <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$ctld_port
SlurmdPort=$slurmd_port
# Everything belongs to who starts it.
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
# cred_expire is also how long a requeued job waits before it starts again: 120 s by default.
AuthInfo=socket=$folder/munge.socket,cred_expire=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
MailProg=/bin/true
# No cgroups: a container seldom may write them.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
# CPUs and memory are handed out, as on a real cluster; a job that names no memory gets its CPUs' share.
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=$((memory / cpus))
# config_overrides: believe the line NodeName, whatever slurmd makes of a virtual machine's sockets and threads.
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
KillWait=5
OverTimeLimit=0
# Batch jobs start at once instead of up to 3 s later, and what had to wait is looked at every second instead of every 60 s.
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=test Nodes=$host Default=YES MaxTime=INFINITE DefaultTime=10 State=UP
END
    # From 24.05 on, slurmd looks for cgroups even if no plugin uses them, unless told not to; older ones lack the word.
    version=$(slurmctld -V | awk '{print $2}')
    if [ "$(printf '%s\n' 24.05 "$version" | sort -V | head -n 1)" = 24.05 ]; then
        say "CgroupPlugin=disabled" >"$folder/cgroup.conf"
    fi
    mv "$folder/slurm.conf.new" "$folder/slurm.conf"
}

# Own input and output, or a caller that reads this script's output through a pipe would wait for the daemons to end. The
# descriptor of the lock is closed for the same reason.
start_daemon() { # start_daemon <program> <arguments>
    local program=$1
    runs "$folder/$program.pid" "$program" && return
    say "starting $program"
    rm -f "$folder/$program.pid"
    "$@" </dev/null >>"$folder/$program.out" 2>&1 9>&- || fail "$program did not start"
}

fail() {
    local log
    say "start.sh: $1" >&2
    for log in "$folder"/*.out "$folder"/*.log; do
        [ -s "$log" ] || continue
        say "--- last lines of $log" >&2
        tail -n 15 "$log" >&2
    done
    exit 1
}

wait_until_idle() {
    # A node of an earlier start may be down until slurmd has registered again. mixed and allocated: jobs run on it.
    local deadline=$((SECONDS + 60)) state=""
    while [ "$SECONDS" -lt "$deadline" ]; do
        state=$(timeout 10 sinfo --noheader --format=%T 2>/dev/null || true)
        case $state in
            idle | mixed | allocated | completing) return ;;
        esac
        sleep 0.3
    done
    fail "the node is not idle after 60 s (sinfo says '${state:-nothing}')"
}

install_if_missing
if [ "$#" -gt 0 ]; then
    mkdir -p "$1"
    folder=$(cd "$1" && pwd)
else
    folder=$(mktemp -d)
    say "folder: $folder"
fi
case $folder in
    *[[:space:],#%=]*) fail "slurm.conf cannot hold this folder's name: $folder" ;;
esac
# A Unix socket's path has at most 107 bytes, and Slurm makes its own below the spool folder.
[ "${#folder}" -le 80 ] || fail "the folder's path is longer than 80 bytes, too long for sockets in it: $folder"

exec 9>"$folder/lock"
flock 9 # two processes of one test run may come here at the same time

mkdir -p "$folder/state" "$folder/spool"
[ -s "$folder/slurm.conf" ] || write_configuration
export SLURM_CONF=$folder/slurm.conf

# An own munged with an own key: neither depends on one that runs already nor lets another machine's messages in.
if [ ! -s "$folder/munge.key" ]; then
    (umask 077 && head -c 1024 /dev/urandom >"$folder/munge.key.new" && mv "$folder/munge.key.new" "$folder/munge.key")
fi
# --force: a temporary folder is often closed to other users, which munged otherwise refuses.
start_daemon munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
    --log-file="$folder/munged.log" --seed-file="$folder/munge.seed"
start_daemon slurmctld -f "$SLURM_CONF"
start_daemon slurmd -f "$SLURM_CONF"
wait_until_idle
say "SLURM_CONF=$SLURM_CONF"
