#!/bin/sh
# Runs a command with a throw-away PostgreSQL: with_postgres.sh COMMAND [ARG…]. POMONA_TEST_POSTGRES holds its URL, postgresql:///postgres?host=FOLDER&user=pomona: whoever
# wants a database makes one of his own. When it is set already, the command uses that one: so many tests share one cluster.
# 3: the cluster did not start. It lives in a temporary folder, listens on a unix socket only, and is gone afterwards.
set -eu
[ -z "${POMONA_TEST_POSTGRES:-}" ] || exec "$@"
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
[ -n "$bin" ] || { echo "1..0 # SKIP PostgreSQL is not installed"; exit 0; }
dir=$(mktemp -d /tmp/pomona-pg-XXXXXX)
# The programs of PostgreSQL want a folder that they may enter.
as() { (cd "$dir" && if [ "$(id -u)" = 0 ]; then exec setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@"; else exec "$@"; fi); }
stop() { as "$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$dir"; }
trap stop EXIT
trap 'exit 130' INT TERM
if [ "$(id -u)" = 0 ]; then chown postgres:postgres "$dir"; fi
as "$bin/initdb" -D "$dir/data" -U pomona -A trust -E UTF8 --locale=C --no-sync >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 3; }
# Nothing here must outlive a crash of the machine; hundreds of small databases come and go.
cat >>"$dir/data/postgresql.conf" <<END
listen_addresses = ''
unix_socket_directories = '$dir'
fsync = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
max_connections = 500
shared_buffers = 64MB
autovacuum = off
END
as "$bin/pg_ctl" -D "$dir/data" -w -l "$dir/server.log" start >/dev/null || { cat "$dir/server.log" >&2; exit 3; }
POMONA_TEST_POSTGRES="postgresql:///postgres?host=$dir&user=pomona" "$@"
