# Sourced by ./start and ./check: makes sure that Debian packages are installed. need PACKAGE…
BUILD_PACKAGES="gcc libc6-dev meson ninja-build pkg-config libglib2.0-dev libevent-dev libssl-dev libsqlite3-dev libexpat1-dev libjansson-dev
 libnghttp2-dev libcurl4-openssl-dev zlib1g-dev libqrencode-dev libpq-dev ca-certificates python3"
# What ./start --postgres runs besides.
START_POSTGRES_PACKAGES="postgresql-15 haproxy curl"
TEST_PACKAGES="clang libclang-rt-14-dev python3-cryptography python3-asn1crypto openssl curl postgresql-15 strongswan-pki libstrongswan-standard-plugins
 libstrongswan-extra-plugins nghttp2-client nghttp2-server scep certmonger dbus softhsm2 opensc libengine-pkcs11-openssl procps groff-base libxml2-utils strace zbar-tools librsvg2-bin
 chromium fonts-dejavu-core nginx-light libnginx-mod-stream haproxy pgbouncer python3-psycopg2"

is_installed() { dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed; }

need() {
	missing=""
	for package in "$@"; do is_installed "$package" || missing="$missing $package"; done
	[ -n "$missing" ] || return 0
	echo "Installing:$missing"
	sudo=""
	if [ "$(id -u)" != 0 ]; then sudo=$(command -v sudo) || { echo "Run this as root once, or install these packages yourself:$missing" >&2; return 1; }; fi
	log=$(mktemp)
	export DEBIAN_FRONTEND=noninteractive
	# The lists of a fresh system are empty or old; no service of a test package needs to start by itself.
	{ $sudo apt-get update && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1 ||
		{ tail -n 20 "$log" >&2; echo "The packages could not be installed." >&2; return 1; }
	rm -f "$log"
}

# What drives the browser in the tests, from the npm registry that npm is set up with: exactly what the lock file says, and only when it says something new.
need_browser_tools() {
	{ command -v node && command -v npm; } >/dev/null || need nodejs npm || return 1
	lock=tests/browser/package-lock.json
	cmp -s "$lock" tests/browser/node_modules/.installed-lock && return 0
	echo "Installing what drives the browser (npm) …"
	log=$(mktemp)
	(cd tests/browser && npm ci --ignore-scripts) >"$log" 2>&1 && cp "$lock" tests/browser/node_modules/.installed-lock || { tail -n 20 "$log" >&2; return 1; }
	rm -f "$log"
}

# build DIR TARGET [MESON-OPTION…]: configures once, then builds TARGET ("all" for everything); says only what goes wrong.
build() {
	dir=$1
	target=$2
	shift 2
	log=$(mktemp)
	[ -f "$dir/build.ninja" ] || meson setup "$dir" "$@" >"$log" 2>&1 || { cat "$log" >&2; rm -rf "$dir"; return 1; }
	ninja -C "$dir" "$target" >"$log" 2>&1 || { grep -v '^\[' "$log" | tail -n 60 >&2; return 1; }
	rm -f "$log"
}
