#!/usr/bin/env bash
# Fuzzes what reads octets of others, each target for FUZZ_SECONDS (60), and tells what it did.
#
#   tests/fuzz.sh [room/target ...]        forwarder/wire, agent/topic, ...; all of them without
#
# Every run begins with seeds, which are written or are in the repository, and with what former
# runs found (ROOM/fuzz/corpus). An input that makes a target fail is left in ROOM/fuzz/artifacts,
# and the result is then 1. FUZZ_FLAGS are handed to libFuzzer.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo=${CARGO:-cargo}
seconds=${FUZZ_SECONDS:-60}
build=$(realpath -m "${CARGO_TARGET_DIR:-target}")/fuzz
rooms=(forwarder agent controller)
# Sanitizers and coverage are flags of nightly compilers; ours knows them too.
export RUSTC_BOOTSTRAP=1

tests/setup.sh build fuzz
if ! command -v cargo-fuzz >/dev/null; then
    echo "fuzz: installing cargo-fuzz with cargo, which takes some minutes"
    RUSTC_BOOTSTRAP=0 "$cargo" install cargo-fuzz --locked
fi

targets=("$@")
if [ $# = 0 ]; then
    for room in "${rooms[@]}"; do
        for target in $(cd "$room" && cargo fuzz list); do targets+=("$room/$target"); done
    done
fi

# The fuzz crates are workspaces of their own: without this they would take other dependencies.
for room in "${rooms[@]}"; do
    [ -e "$room/fuzz/Cargo.lock" ] || cp Cargo.lock "$room/fuzz/Cargo.lock"
done
seeds() {
    case $1 in
        forwarder/*) echo "$build/seeds/${1#*/}" ;;
        agent/*) echo "$PWD/agent/fuzz/seeds/${1#*/}" ;;
        controller/*) echo "$PWD/controller/examples" ;;
    esac
}
if [[ " ${targets[*]} " == *" forwarder/"* ]]; then
    echo "fuzz: writing the forwarder's seeds"
    rm -rf "$build/seeds"
    RUSTC_BOOTSTRAP=0 KC_FUZZ_SEEDS=$build/seeds "$cargo" test --quiet --package kc-forwarder \
        --test pipeline seeds_reach >/dev/null
fi

for room in "${rooms[@]}"; do
    if [[ " ${targets[*]}" == *" $room/"* ]]; then
        echo "fuzz: building the targets of $room"
        (cd "$room" && cargo fuzz build --target-dir "$build")
    fi
done

# Runs the target at hand. A function, because a subshell that is timed tells its time by its own
# standard error, which goes to the log.
run() {
    (cd "$room" && cargo fuzz run --target-dir "$build" "$target" "${starts[@]}" -- \
        -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=60 -print_final_stats=1 \
        ${FUZZ_FLAGS:-}) >"$log" 2>&1
}

logs=$build/logs
mkdir -p "$logs"
table=() failed=0
for name in "${targets[@]}"; do
    room=${name%%/*} target=${name#*/} log=$logs/${name/\//-}
    corpus=$room/fuzz/corpus/$target
    mkdir -p "$corpus"
    starts=("$(realpath "$corpus")")
    if [ -d "$(seeds "$name")" ]; then starts+=("$(seeds "$name")"); fi
    echo "fuzz: $name for $seconds s, told in $log"
    result=ok
    TIMEFORMAT='%R %U %S'
    { time run || result=FAILED; } 2>"$log.time"
    read -r wall user system <"$log.time"
    last=$(grep -a ' cov: ' "$log" | tail -n 1)
    field() { sed -nE "s|.* $1: ([0-9]+).*|\1|p" <<<"$last"; }
    executed=$(sed -nE 's/^#([0-9]+).*/\1/p' "$log" | tail -n 1)
    done_=$(sed -nE 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
    executed=${done_:-$executed}
    table+=("$(awk -v name="$name" -v wall="$wall" -v cpu="$user $system" -v executed="${executed:-0}" \
        -v cov="$(field cov)" -v ft="$(field ft)" -v corpus="$(field corp)" -v result="$result" 'BEGIN {
            split(cpu, part, " "); cpu = part[1] + part[2]
            printf "%-22s %7.0f %7.0f %10d %9.0f %7s %7s %7s  %s", name, wall, cpu, executed,
                executed / (cpu > 0 ? cpu : 1), cov, ft, corpus, result }')")
    if [ $result != ok ]; then
        failed=1
        grep -aE 'panicked at|SUMMARY|Test unit written|^ALARM|ERROR: libFuzzer|error:' "$log" | head -n 8 || true
    fi
done

printf '%-22s %7s %7s %10s %9s %7s %7s %7s\n' target wall-s cpu-s executed per-cpu-s cov ft corpus
printf '%s\n' "${table[@]}"
exit $failed
