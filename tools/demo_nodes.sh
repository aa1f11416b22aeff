#!/bin/sh
# The demonstration behind ./start --postgres: a private PostgreSQL, two nodes of Pomona over it, HAProxy in front, and simulated devices that go on when a node dies. All of it is in
# ./data-nodes and on loopback. demo_nodes.sh [fresh]
set -eu
pomona=${POMONA_DEMO_POMONA:-build/pomona}
data=${POMONA_DEMO_NODES_DATA:-data-nodes}
url=${POMONA_DEMO_URL:-https://localhost:8443}
admin=${POMONA_DEMO_ADMIN:-127.0.0.1:8081}
address=127.0.0.1:${url##*:}
sim=$data/simulated
# HAProxy tells the nodes whose each connection is.
balanced="--set proxy.addresses=127.0.0.1 --set proxy.protocol=device"
root=$data/node-a/root-ca.pem log="$data/node-a.log and $data/node-b.log"
. tools/demo_lib.sh

postgres_pid="" proxy_pid="" pid_a="" pid_b="" apns_pid="" postgres=""
finish() {
	trap '' INT TERM HUP
	# The devices first, the database last: each would complain if what it needs were gone.
	end $device_pids
	end $proxy_pid
	end $pid_a $pid_b
	end $apns_pid
	[ -z "$postgres_pid" ] || { kill -INT "$postgres_pid" 2>/dev/null && wait "$postgres_pid" 2>/dev/null || true; }
}
trap 'finish; exit 0' INT TERM HUP
trap finish EXIT
fail() { echo "$1" >&2; [ -z "${2:-}" ] || tail -n 5 "$2" >&2; exit 1; }

bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
haproxy=$(PATH=$PATH:/usr/sbin command -v haproxy) || fail "HAProxy is not installed (apt-get install haproxy)."
[ -n "$bin" ] || fail "PostgreSQL is not installed (apt-get install postgresql-15)."

# as COMMAND…: as the user of PostgreSQL, which refuses to run as root.
if [ "$(id -u)" = 0 ]; then as() { setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@"; }; else as() { "$@"; }; fi

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
random() { od -An -tx1 -N16 /dev/urandom | tr -d ' \n'; }
secret() { (umask 077 && cat >"$1"); }

# place: where the cluster is. The user of PostgreSQL may not be let into this folder, as when it is below /root.
place() {
	whole=$(cd "$data" && pwd)
	postgres=$whole/postgres
	if [ "$(id -u)" = 0 ] && ! (cd / && as test -x "$whole"); then
		postgres=/var/lib/postgresql/pomona-demo-$(printf %s "$whole" | cksum | cut -d' ' -f1)
	fi
}

# stop_left: an end that was none (kill -9) leaves PostgreSQL running.
stop_left() {
	[ -f "$postgres/postmaster.pid" ] || return 0
	(cd / && as "$bin/pg_ctl" -D "$postgres" -m fast -w stop) >/dev/null 2>&1 || true
}

umask 022
mkdir -p "$data"
place
if [ "${1:-}" ]; then
	stop_left
	rm -rf "$data" "$postgres"
	mkdir -p "$data"
fi
mkdir -p -m 700 "$sim"
echo "$postgres" >"$data/postgres.place"

# make_postgres: a cluster with one database for Pomona alone, UTF-8, and a role that owns nothing else.
make_postgres() {
	rm -rf "$postgres"
	mkdir -p -m 700 "$postgres"
	random | secret "$data/postgres.password"
	{ printf '*:*:*:*:' && random; } | secret "$data/pgpass"
	[ "$(id -u)" != 0 ] || chown postgres:postgres "$postgres"
	# initdb reads the password from a file that its own user can read.
	secret "$postgres.initdb" <"$data/postgres.password"
	[ "$(id -u)" != 0 ] || chown postgres:postgres "$postgres.initdb"
	(cd / && as "$bin/initdb" -D "$postgres" -U postgres -A scram-sha-256 --pwfile="$postgres.initdb" -E UTF8 --locale=C) >"$data/postgres.log" 2>&1 || fail "The PostgreSQL cluster could not be made:" "$data/postgres.log"
	rm -f "$postgres.initdb"
	free_port >"$data/postgres.port"
}

start_postgres() {
	# A session of its own: Ctrl-C is for us, and the database ends after those who use it.
	(cd / && exec setsid $(if [ "$(id -u)" = 0 ]; then echo setpriv --reuid=postgres --regid=postgres --clear-groups --; fi) "$bin/postgres" -D "$postgres" -c listen_addresses=127.0.0.1 \
		-c port="$(cat "$whole/postgres.port")" -c unix_socket_directories="$postgres") >>"$data/postgres.log" 2>&1 &
	postgres_pid=$!
	n=0
	until "$bin/pg_isready" -q -h 127.0.0.1 -p "$(cat "$data/postgres.port")"; do
		kill -0 "$postgres_pid" 2>/dev/null && [ $n -lt 600 ] || fail "PostgreSQL did not start:" "$data/postgres.log"
		n=$((n + 1))
		sleep 0.1
	done
}

# make_database: the password travels over standard input, not in arguments.
make_database() {
	password=$(sed 's/.*://' "$data/pgpass")
	PGPASSWORD=$(cat "$data/postgres.password") "$bin/psql" -qX -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$(cat "$data/postgres.port")" -U postgres -d postgres >>"$data/postgres.log" 2>&1 <<SQL || fail "The database could not be made:" "$data/postgres.log"
DROP DATABASE IF EXISTS pomona;
DROP ROLE IF EXISTS pomona;
CREATE ROLE pomona LOGIN PASSWORD '$password';
CREATE DATABASE pomona OWNER pomona ENCODING 'UTF8' TEMPLATE template0;
SQL
}

if [ -f "$data/node-b/pomona.conf" ]; then
	echo "Taking up the data in $data (./start --postgres --fresh begins anew)."
	stop_left
	start_postgres
else
	echo "Making $data: a private PostgreSQL with a database for Pomona, a password in $data/pgpass."
	stop_left
	rm -rf "$data/node-a" "$data/node-b" "$data/node-a.new" "$data/node-b.new" "$sim"
	mkdir -p -m 700 "$sim"
	make_postgres
	start_postgres
	make_database
	store="postgresql://pomona@127.0.0.1:$(cat "$data/postgres.port")/pomona?passfile=$whole/pgpass"
	echo "Making node a (pomona init --store postgresql://…): encryption key, certificate authority, admin token."
	$pomona init --data "$data/node-a" --url "$url" --org "Example Organization" --store "$store" --node a --json >/dev/null
	echo "Making node b (pomona init --join): the same encryption key; the settings come from the database."
	$pomona init --data "$data/node-b" --join --store "$store" --seal-key "$data/node-a/seal.key" --node b --json >/dev/null
fi
echo "PostgreSQL runs at 127.0.0.1:$(cat "$data/postgres.port") (its log: $data/postgres.log)."
start_apns

# serve NAME DEVICE-PORT ADMIN-PORT: starts a node, at the ports that it had before, and waits until it is ready; sets server_pid, device_port, admin_port.
serve() {
	rm -f "$data/node-$1/serve.json"
	$pomona serve --data "$data/node-$1" --listen "127.0.0.1:$2" --admin-listen "127.0.0.1:$3" --apns-url "https://127.0.0.1:$port" --apns-root "$sim/root.pem" --set node.lease_seconds=5 $balanced 2>>"$data/node-$1.log" &
	server_pid=$!
	wait_for "$data/node-$1/serve.json" "$server_pid" || { end "$server_pid"; fail "Node $1 did not start:" "$data/node-$1.log"; }
	device_port=$(field device_port <"$data/node-$1/serve.json")
	admin_port=$(field admin_port <"$data/node-$1/serve.json")
}
serve a 0 0
pid_a=$server_pid device_a=$device_port admin_a=$admin_port
serve b 0 0
pid_b=$server_pid device_b=$device_port admin_b=$admin_port
echo "Node a serves at 127.0.0.1:$device_a, node b at 127.0.0.1:$device_b (their logs: $data/node-a.log, $data/node-b.log)."

# HAProxy, with the example of the documentation: only addresses are others here.
sed -e "s/bind :443/bind $address/" -e "s/bind 127.0.0.1:8081/bind $admin/" -e "s/192.0.2.11:443/127.0.0.1:$device_a/" -e "s/192.0.2.12:443/127.0.0.1:$device_b/" \
	-e "s/192.0.2.11:8081/127.0.0.1:$admin_a/" -e "s/192.0.2.12:8081/127.0.0.1:$admin_b/" -e 's/maxconn 20000/maxconn 500/' docs/examples/haproxy-nodes.cfg >"$data/haproxy.cfg"
setsid "$haproxy" -db -q -f "$data/haproxy.cfg" >"$data/haproxy.log" 2>&1 &
proxy_pid=$!

# await_admin TEXT: until the admin API behind HAProxy answers.
n=0
until curl -s -o /dev/null -f "http://$admin/readyz"; do
	kill -0 "$proxy_pid" 2>/dev/null && [ $n -lt 300 ] || fail "HAProxy did not start:" "$data/haproxy.log"
	n=$((n + 1))
	sleep 0.1
done
echo "HAProxy passes $url on to both nodes (its configuration: $data/haproxy.cfg)."

# What this script asks, it asks one node; devices ask whichever HAProxy gives them.
node=$data/node-a server_pid=$pid_a
$pomona push-cert import --data "$node" "$sim/push.pem" >/dev/null
echo "Imported a simulated push certificate, by node a."
for kind in iphone mac appletv; do
	if [ -d "$sim/$kind" ]; then
		echo "Starting the simulated $kind that enrolled before."
		start "$kind" none
	else
		link=$($pomona enroll new --data "$node" --user "Demo user" --device "Simulated $kind" --json | field profile_url)
		echo "Made an enrollment link for a simulated $kind."
		start "$kind" "$link"
	fi
done
await_enrolled 3
ask $(ids)

echo
echo "Now node a dies (kill -9 $pid_a)."
kill -9 "$pid_a"
wait "$pid_a" 2>/dev/null || true
pid_a=""
node=$data/node-b server_pid=$pid_b patience=600
ask $(ids)
echo "All devices were woken by, and answered, node b."
echo
echo "Node a comes back."
serve a "$device_a" "$admin_a"
pid_a=$server_pid
n=0
until [ "$($pomona node list --data "$node" --json | grep -c '"state": "working"')" = 2 ] || [ $n -ge 300 ]; do n=$((n + 1)); sleep 0.1; done
echo "\$ pomona node list --data $node"
$pomona node list --data "$node"
echo "(silent is the process of node a that was killed. What a node alone does, as the jobs on the right, others take over.)"

device=$($pomona device list --data "$node" --query 'model.family = "iPhone"' --json | sed -n 's/^ *"id": "\(.*\)",$/\1/p' | head -n 1)
cat <<TXT

Pomona runs on two nodes. Ctrl-C stops all of it; the data stays in $data.

  devices connect to   $url        (HAProxy; trust root: $root)
  admin API            http://$admin   (HAProxy; token: $data/node-a/admin.token)
  nodes                a: 127.0.0.1:$device_a, process $pid_a      b: 127.0.0.1:$device_b, process $pid_b

Next, in another terminal:
  build/pomona node list --data $data/node-a
  kill -9 $pid_b        (node b dies: everything goes on by node a …)
  build/pomona command send --data $data/node-a $device DeviceInformation 'Queries=["OSVersion"]'
  build/pomona device timeline --data $data/node-a $device
  build/pomona serve --data $data/node-b --listen 127.0.0.1:$device_b --admin-listen 127.0.0.1:$admin_b --apns-url https://127.0.0.1:$port --apns-root $sim/root.pem --set node.lease_seconds=5 $balanced        (… and comes back)
  build/pomona device list --server http://$admin --token-file $data/node-a/admin.token        (whichever node HAProxy gives)
  docs/nodes.md        (the same for real)
TXT
wait "$proxy_pid"
