# What the demonstrations share: sourced by demo.sh and demo_nodes.sh, which set pomona, sim, node (the data directory that is asked), root, wake and log.
pids="" device_pids=""

# end PID…: ends them and waits.
end() {
	[ $# -gt 0 ] || return 0
	kill "$@" 2>/dev/null || true
	for pid in "$@"; do wait "$pid" 2>/dev/null || true; done
}

# wait_for FILE PID: until FILE is there; fails when PID has ended.
wait_for() {
	n=0
	while [ ! -s "$1" ]; do
		kill -0 "$2" 2>/dev/null || return 1
		n=$((n + 1))
		[ $n -lt 300 ] || return 1
		sleep 0.1
	done
}

# field NAME: the value of "NAME" in JSON on standard input (strings and numbers on lines of their own or not).
field() { tr ',{}' '\n\n\n' | sed -n "s/^ *\"$1\": *\"\{0,1\}\([^\"]*\)\"\{0,1\} *\$/\1/p" | head -n 1; }

# start_apns: the simulated APNs.
start_apns() {
	rm -f "$sim/apns.json"
	$pomona sim apns --dir "$sim" &
	apns_pid=$!
	pids=$apns_pid
	wait_for "$sim/apns.json" "$apns_pid" || { echo "The simulated APNs did not start." >&2; exit 1; }
	port=$(field port <"$sim/apns.json")
	wake=$(field wake_port <"$sim/apns.json")
}

# start KIND LINK: the simulated device; it has a state directory if it enrolled before.
start() {
	kind=$1 link=$2
	shift 2
	$pomona sim device --kind "$kind" --ca-file "$root" --apns "127.0.0.1:$wake" --state "$sim/$kind" "$@" "$link" &
	device_pids="$device_pids $!"
}

# await_enrolled N
await_enrolled() {
	n=0
	while [ "$($pomona device list --data "$node" --json | grep -c '"enrolled": true')" -lt "$1" ]; do
		n=$((n + 1))
		[ $n -lt 300 ] || { echo "The simulated devices did not enroll in 30 seconds; see $log" >&2; exit 1; }
		kill -0 "$server_pid" 2>/dev/null || { echo "The server ended; see $log" >&2; exit 1; }
		sleep 0.1
	done
	sleep 0.5
}

# ask ID...: each device is sent a command; its answer shows that the whole way works.
ask() {
	uuids=""
	for id in "$@"; do
		uuid=$($pomona command send --data "$node" "$id" DeviceInformation 'Queries=["DeviceName","OSVersion","ProductName","SerialNumber","IsSupervised"]' --json | field command_uuid)
		uuids="$uuids $uuid"
		echo "Queued DeviceInformation for device $id and asked (simulated) APNs to wake it."
	done
	for uuid in $uuids; do
		n=0
		while [ "$($pomona command show --data "$node" "$uuid" --json | field status)" = Queued ]; do
			n=$((n + 1))
			[ $n -lt "${patience:-200}" ] || break
			sleep 0.1
		done
		status=$($pomona command show --data "$node" "$uuid" --json | field status)
		name=$($pomona command show --data "$node" "$uuid" --json | field DeviceName)
		os=$($pomona command show --data "$node" "$uuid" --json | field OSVersion)
		echo "Answer: $status by \"$name\", OS $os (simulated)."
	done
}

# ids: of all devices, one a line.
ids() { $pomona device list --data "$node" --json | sed -n 's/^ *"id": "\(.*\)",$/\1/p'; }
