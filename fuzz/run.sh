#!/usr/bin/env bash
# Builds the fuzz targets, writes the seeds, and runs each target for so many seconds, several at a
# time; says of each how many inputs were executed. Fails if one of them found something.
#
#   fuzz/run.sh [--seconds N] [--seeds N] [--jobs N] [--build] [TARGET ...]
#
# TARGET is translate, differential, suspend, frames, artifact or api; without, all of them are run.
# --build builds them only. Each starts with all seeds, or with N of them: all seeds are run before the
# seconds count. Logs are in fuzz/target/logs, what was found in fuzz/artifacts.
set -euo pipefail

usage() {
    sed -n '2,9s/^# \{0,1\}//p' "$0"
}

# Says what is wrong with the arguments.
wrong() {
    echo "$1" >&2
    echo >&2
    usage >&2
    exit 2
}

# The number behind an option. 0 would mean without a limit.
number() {
    [[ ${2-} =~ ^[1-9][0-9]*$ ]] || wrong "$1 takes a number from 1 on"
}

all=(translate differential suspend frames artifact api)
seconds=60
seeds=
jobs=$(nproc)
build_only=
targets=()
while (($#)); do
    case $1 in
    --seconds) number "$@" && seconds=$2 && shift 2 ;;
    --seeds) number "$@" && seeds=$2 && shift 2 ;;
    --jobs) number "$@" && jobs=$2 && shift 2 ;;
    --build) build_only=yes && shift ;;
    -h | --help) usage && exit ;;
    -*) wrong "there is no option $1" ;;
    *)
        [[ " ${all[*]} " == *" $1 "* ]] || wrong "there is no target $1"
        targets+=("$1") && shift
        ;;
    esac
done
((${#targets[@]})) || targets=("${all[@]}")
cd "$(dirname "${BASH_SOURCE[0]}")"

# Coverage without a sanitizer needs no nightly compiler.
cargo fuzz --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-fuzz@0.13.2
cargo fuzz build --sanitizer none
[[ -z $build_only ]] || exit 0

# In the workspace's own configuration, so that CI compiles nothing again.
(cd .. && cargo run --quiet --locked --package stillframe-fuzzing --example seeds -- fuzz/corpus $seeds)

mkdir -p target/logs
run() {
    local target=$1 log=target/logs/$1.log
    mkdir -p "artifacts/$target"
    # Two minutes for one input are a hang, and 4 GiB an explosion.
    if cargo fuzz run --sanitizer none "$target" -- \
        -max_total_time="$seconds" -timeout=120 -rss_limit_mb=4096 -max_len=65536 \
        -print_final_stats=1 >"$log" 2>&1; then
        echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs," \
            "$(find "corpus/$target" -type f | wc -l) in the corpus"
    else
        echo "$target: FAILED" && tail -n 40 "$log"
        return 1
    fi
}
export -f run
export seconds
printf '%s\n' "${targets[@]}" | xargs --max-procs="$jobs" --replace bash -c 'run {}'
