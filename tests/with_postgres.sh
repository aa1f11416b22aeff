#!/bin/sh
# Runs a command with a throw-away PostgreSQL: with_postgres.sh COMMAND [ARG…]. POMONA_TEST_POSTGRES holds the connection string.
# The cluster lives in a temporary folder, listens on a unix socket only, and is gone afterwards.
set -eu
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
[ -n "$bin" ] || { echo "1..0 # SKIP PostgreSQL is not installed"; exit 0; }
dir=$(mktemp -d /tmp/pomona-pg-XXXXXX)
as() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@"; else "$@"; fi; }
stop() { as "$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$dir"; }
trap stop EXIT INT TERM
if [ "$(id -u)" = 0 ]; then chown postgres:postgres "$dir"; fi
# initdb wants a folder that it may enter; the command may have been named from here.
case $1 in /*) ;; */*) command=$PWD/$1; shift; set -- "$command" "$@" ;; esac
cd "$dir"
as "$bin/initdb" -D "$dir/data" -U pomona -A trust -E UTF8 --locale=C --no-sync >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
as "$bin/pg_ctl" -D "$dir/data" -w -l "$dir/server.log" -o "-c listen_addresses='' -c unix_socket_directories='$dir' -c fsync=off" start >/dev/null || { cat "$dir/server.log" >&2; exit 1; }
POMONA_TEST_POSTGRES="host=$dir user=pomona dbname=postgres" "$@"
