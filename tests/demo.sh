#!/bin/sh
# ./start's demonstration, twice: new data, then the same data taken up again. TAP. It must say "simulated", get four answers, and end on Ctrl-C.
set -u
cd "$(dirname "$0")/.."
dir=$(mktemp -d /tmp/pomona-demo-XXXXXX)
trap 'rm -rf "$dir"' EXIT
free() { /usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
export POMONA_DEMO_DATA="$dir/data" POMONA_DEMO_ADMIN="127.0.0.1:$(free)" POMONA_DEMO_POMONA="${POMONA:-build/pomona}"
POMONA_DEMO_URL="https://localhost:$(free)"
export POMONA_DEMO_URL
n=0
result() { n=$((n + 1)); if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; sed 's/^/# /' "$dir/out"; fi; }

echo "1..8"
for round in new again; do
	# Emptied here: the program in the background might do it only after the first look at what the round before left.
	: >"$dir/out"
	setsid tools/demo.sh >"$dir/out" 2>&1 &
	pid=$!
	i=0
	while ! grep -q '^Pomona runs' "$dir/out" && kill -0 $pid 2>/dev/null && [ $i -lt 900 ]; do i=$((i + 1)); sleep 0.1; done
	grep -q '^Pomona runs' "$dir/out"
	result $? "$round: runs"
	[ "$(grep -c '^Answer: Acknowledged' "$dir/out")" = 4 ]
	result $? "$round: four answers"
	[ "$(grep -c simulated "$dir/out")" -ge 6 ]
	result $? "$round: says what is simulated"
	kill -INT -$pid 2>/dev/null || kill -TERM $pid
	i=0
	while kill -0 $pid 2>/dev/null && [ $i -lt 200 ]; do i=$((i + 1)); sleep 0.1; done
	! kill -0 $pid 2>/dev/null
	result $? "$round: ends on Ctrl-C"
done
