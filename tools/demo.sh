#!/bin/sh
# The demonstration behind ./start: a real server in ./data; APNs and the devices are simulated: an iPhone that enrolls over the air, a Mac, an Apple TV, and the iPhone's
# watch. demo.sh [fresh]
set -eu
pomona=${POMONA_DEMO_POMONA:-build/pomona}
data=${POMONA_DEMO_DATA:-data}
url=${POMONA_DEMO_URL:-https://localhost:8443}
admin=${POMONA_DEMO_ADMIN:-127.0.0.1:8081}
sim=$data/simulated
node=$data root=$data/root-ca.pem log=$data/serve.log
. tools/demo_lib.sh

if [ "${1:-}" ]; then rm -rf "$data"; fi

finish() {
	trap '' INT TERM
	# The devices first: they would complain about an APNs that is gone.
	end $device_pids
	end $pids
}
trap 'finish; exit 0' INT TERM
trap finish EXIT

if [ -f "$data/pomona.conf" ]; then echo "Taking up the data in $data (./start --fresh begins anew)."; else echo "Making $data: encryption key, database, certificate authority, admin token."; fi
$pomona init --data "$data" --url "$url" --org "Example Organization" --json >/dev/null
mkdir -p -m 700 "$sim"

start_apns

rm -f "$data/serve.json"
$pomona serve --data "$data" --admin-listen "$admin" --apns-url "https://127.0.0.1:$port" --apns-root "$sim/root.pem" 2>>"$data/serve.log" &
server_pid=$!
pids="$server_pid $pids"
wait_for "$data/serve.json" "$server_pid" || { echo "The server did not start:" >&2; tail -n 5 "$data/serve.log" >&2; exit 1; }
echo "The server runs at $url (its log: $data/serve.log)."
$pomona push-cert import --data "$data" "$sim/push.pem" >/dev/null
echo "Imported a simulated push certificate."

if [ ! -d "$sim/factory" ]; then
	$pomona sim factory-ca --dir "$sim/factory" --like-apple >/dev/null
	$pomona device-ca add --data "$data" "$sim/factory/device-ca.pem" --name "Simulated factory" >/dev/null
	echo "Made a simulated factory of iPhones, and told the server of its device CA."
fi
for kind in iphone mac appletv watch; do
	if [ -d "$sim/$kind" ]; then
		echo "Starting the simulated $kind that enrolled before."
		start "$kind" none
	elif [ "$kind" != watch ]; then
		# The iPhone tells who it is, signed by its factory, before it gets its profile; the others are given theirs.
		form=profile_url
		[ "$kind" = iphone ] && form=ota_url
		link=$($pomona enroll new --data "$data" --user "Demo user" --device "Simulated $kind" --json | field $form)
		echo "Made an enrollment link for a simulated $kind."
		if [ "$kind" = iphone ]; then start iphone "$link" --supervised --factory-ca "$sim/factory"; else start "$kind" "$link"; fi
	fi
done
if [ -d "$sim/watch" ]; then
	await_enrolled 4
	ask $(ids)
else
	await_enrolled 3
	ask $(ids)
fi
# Only now does the server know that the iPhone is supervised and may bring its watch. One that earlier versions made is not.
if [ ! -d "$sim/watch" ] && [ -f "$sim/iphone/factory.pem" ]; then
	known=$(ids)
	echo "The simulated iPhone is paired with a simulated watch."
	start watch "$url/watch" --phone "$sim/iphone" --factory-ca "$sim/factory"
	await_enrolled 4
	for id in $(ids); do
		case $known in *"$id"*) ;; *) ask "$id" ;; esac
	done
fi

# The iPhone: an Apple TV takes no passcode.
device=$($pomona device list --data "$data" --query 'model.family = "iPhone"' --json | sed -n 's/^ *"id": "\(.*\)",$/\1/p' | head -n 1)
cat <<TXT

Pomona runs. Ctrl-C stops it; the data stays in $data.

  devices connect to   $url        (trust root: $data/root-ca.pem)
  admin API            http://$admin   (token: $data/admin.token)

Next, in another terminal:
  build/pomona device list --data $data
  build/pomona device timeline --data $data $device        (every step, and the verdict)
  build/pomona doctor --data $data        (what devices would refuse of this server)
  build/pomona command send --data $data $device InstalledApplicationList
  build/pomona command list --data $data $device --done
  build/pomona apply --data $data --owner demo -f docs/examples/config        (declarations from files …)
  build/pomona set assign example --data $data --device $device        (… for a device …)
  build/pomona device declarations --data $data $device        (… and what it says of them)
  build/pomona enroll new --data $data --user "Your name"        (its url is the page that people see)
  curl -H "Authorization: Bearer \$(cat $data/admin.token)" http://$admin/api/v1/devices
TXT
wait "$server_pid"
