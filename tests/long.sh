#!/bin/sh
# The longer runs, apart from ./check: 200 kills, faults of nodes and databases, the property of the queue with many seeds, and every fuzz target for a while.
#   tests/long.sh [KILLS] [SECONDS-PER-FUZZ-TARGET] [SEEDS]
set -eu
cd "$(dirname "$0")/.."
. tools/packages.sh
kills=${1:-200} seconds=${2:-60} seeds=${3:-50}
need $BUILD_PACKAGES $TEST_PACKAGES

build build pomona --buildtype=release
POMONA=build/pomona /usr/bin/python3 tests/kill.py "$kills"
POMONA=build/pomona POMONA_TEST_STORE=postgres /usr/bin/python3 tests/kill.py "$kills"
# Each fault for four times as long as a fuzz target has, node leases and all; the failover many times, because each run has one.
POMONA=build/pomona /usr/bin/python3 tests/nodes_faults.py --seconds $((seconds * 4))
for round in 1 2 3 4 5; do POMONA=build/pomona /usr/bin/python3 tests/nodes_faults.py --seconds 10 failover; done

build build src/service/command_queue_test
first=$(date +%s)
for seed in $(seq "$first" $((first + seeds - 1))); do
	POMONA_QUEUE_SEED=$seed POMONA_QUEUE_STEPS=20000 build/src/service/command_queue_test >build/command_queue.log 2>&1 || {
		echo "the property of the queue fails with POMONA_QUEUE_SEED=$seed POMONA_QUEUE_STEPS=20000 (build/command_queue.log)"
		exit 1
	}
done
echo "The property of the queue holds for $seeds seeds from $first on"

CC=clang
export CC
build build-fuzz all -Dfuzz=true -Dc_args=-fsanitize=fuzzer-no-link -Db_sanitize=address,undefined -Db_lundef=false
corpus=$(mktemp -d)
trap 'rm -rf "$corpus"' EXIT
for target in $(find build-fuzz/src -type f -name '*_fuzz' | sort); do
	name=$(basename "$target" _fuzz)
	name=${name#codec_}
	name=${name#keys_}
	mkdir -p "$corpus/$name"
	echo "Fuzzing $name for $seconds s …"
	# New inputs go into the first folder; the seeds are read only.
	"$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="$name-" "$corpus/$name" "tests/fuzz/seeds/$name" 2>&1 | grep -E 'stat::number_of_executed_units|ERROR|SUMMARY|Test unit written' || true
done
