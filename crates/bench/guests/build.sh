#!/usr/bin/env bash
# Builds the guests that are written in C: NAME.wasm of NAME.c, NAME_*.c and guest.h.
set -euo pipefail

wanted=0.17.1

usage() {
    cat <<END
Usage: build.sh [--check | --native] [NAME...]

Builds the benchmark's guests that are written in C, all of them or those named, each from NAME.c
and the further translation units NAME_*.c.

  (no option)  writes NAME.wasm beside the source
  --check      builds elsewhere, and fails where a NAME.wasm would be another one
  --native     compiles for this machine, runs, and fails where an answer is not that in guests.txt

It takes Zig's C compiler, version $wanted, as the package ziglang on PyPI has it. Nothing is
installed here; for instance:

  python3 -m venv /tmp/zig && /tmp/zig/bin/pip install ziglang==$wanted
  ZIG="/tmp/zig/bin/python -m ziglang" crates/bench/guests/build.sh

ZIG is the command to run, "python3 -m ziglang" unless it is set.
END
}

mode=write
names=()
for argument in "$@"; do
    case $argument in
        -h | --help) usage; exit 0 ;;
        --check) mode=check ;;
        --native) mode=native ;;
        -*) echo "build.sh: unknown option $argument; see --help" >&2; exit 2 ;;
        *) names+=("${argument%.c}") ;;
    esac
done

cd "$(dirname "${BASH_SOURCE[0]}")"
read -ra zig <<<"${ZIG:-python3 -m ziglang}"
if ! found=$("${zig[@]}" version 2>/dev/null); then
    echo "build.sh: \`${zig[*]} version\` fails; --help says how to get it" >&2
    exit 1
fi
if [[ $found != "$wanted" && $mode != native ]]; then
    echo "build.sh: this is Zig $found; only $wanted makes the same bytes" >&2
    exit 1
fi

if [[ ${#names[@]} -eq 0 ]]; then
    for source in *.c; do
        # Further translation units of a guest have an underscore in their names.
        [[ $source == native.c || $source == *_*.c ]] || names+=("${source%.c}")
    done
fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

common=(-std=c17 -O2 -Wall -Wextra -Werror -ffp-contract=off -fno-sanitize=undefined -g0)
wasm=(-target wasm32-freestanding -mcpu=lime1 -nostdlib -Wl,--no-entry -Wl,-z,stack-size=65536 -s)
failed=0

for name in "${names[@]}"; do
    if [[ ! -f $name.c ]]; then
        echo "build.sh: there is no guest $name.c" >&2
        exit 2
    fi
    sources=("$name".c)
    for source in "$name"_*.c; do
        [[ ! -f $source ]] || sources+=("$source")
    done
    if [[ $mode == native ]]; then
        IFS='|' read -r _ _ parameter answer _ < <(grep "^$name *|" guests.txt | tr -d ' ') || true
        if [[ -z ${answer:-} ]]; then
            echo "$name: not in guests.txt" >&2
            failed=1
            continue
        fi
        "${zig[@]}" cc "${common[@]}" "${sources[@]}" native.c -lm -o "$out/$name"
        printed=$("$out/$name" "$parameter")
        if [[ $printed == "$answer" ]]; then
            echo "$name($parameter) = $printed"
        else
            echo "$name($parameter) = $printed; guests.txt has $answer" >&2
            failed=1
        fi
        continue
    fi
    features=()
    # Only these say SIMD; elsewhere the compiler would vectorize loops that are to stay loops.
    grep -q vector_size "$name.c" && features=(-msimd128)
    "${zig[@]}" cc "${common[@]}" "${wasm[@]}" "${features[@]}" "${sources[@]}" -o "$out/$name.wasm"
    if [[ $mode == write ]]; then
        mv "$out/$name.wasm" "$name.wasm"
        echo "$name.wasm: $(wc -c <"$name.wasm") bytes"
    elif cmp -s "$out/$name.wasm" "$name.wasm"; then
        echo "$name.wasm is what its source makes"
    else
        echo "$name.wasm is not what its source makes" >&2
        failed=1
    fi
done
exit $failed
