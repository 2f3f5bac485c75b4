#!/bin/bash
# Makes a database cluster in $PGDATA when there is none, then becomes the command: what the official image promises.
# Reads POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB (each also as …_FILE) and POSTGRES_INITDB_ARGS.
set -euo pipefail

read_setting() { # name, default: from the variable, or from the file that name_FILE names
  local file="$1_FILE"
  if [ -n "${!file:-}" ]; then cat "${!file}"; else printf %s "${!1:-$2}"; fi
}

run_scripts() {
  local script
  for script in /docker-entrypoint-initdb.d/*; do
    case "$script" in
      *.sh) if [ -x "$script" ]; then "$script"; else . "$script"; fi ;;
      *.sql) psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="$user" --dbname="$database" --file="$script" ;;
    esac
  done
}

# initdb wants to know its user by name, which one that a cluster chose has not.
name_user() {
  if getent passwd "$(id -u)" >/dev/null; then return; fi
  NSS_WRAPPER_PASSWD=$(mktemp) NSS_WRAPPER_GROUP=$(mktemp)
  echo "postgres:x:$(id -u):$(id -g)::$PGDATA:/bin/false" > "$NSS_WRAPPER_PASSWD"
  echo "postgres:x:$(id -g):" > "$NSS_WRAPPER_GROUP"
  LD_PRELOAD=libnss_wrapper.so
  export NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP LD_PRELOAD
}

make_cluster() {
  local password
  password=$(read_setting POSTGRES_PASSWORD "")
  user=$(read_setting POSTGRES_USER postgres)
  database=$(read_setting POSTGRES_DB "$user")
  if [ -z "$password" ]; then
    echo "The database is empty and no superuser password is set: give POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE." >&2
    exit 1
  fi
  # shellcheck disable=SC2086 # several arguments on purpose
  initdb --username="$user" --pwfile=<(printf '%s\n' "$password") ${POSTGRES_INITDB_ARGS:-} >/dev/null
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
  pg_ctl --wait --silent --options="-c listen_addresses=''" start
  if [ "$database" != postgres ]; then createdb --username="$user" --maintenance-db=postgres "$database"; fi
  export POSTGRES_USER="$user" POSTGRES_DB="$database" POSTGRES_PASSWORD="$password" PGUSER="$user"
  run_scripts
  unset PGUSER POSTGRES_PASSWORD
  pg_ctl --wait --silent --mode=fast stop
}

if [ "${1:0:1}" = - ]; then set -- postgres "$@"; fi
if [ "${1:-}" = postgres ]; then
  if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA"
    chown -R postgres:postgres "$PGDATA" /var/run/postgresql
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
  fi
  mkdir -p "$PGDATA"
  chmod 0700 "$PGDATA" 2>/dev/null || true # a mounted folder may belong to somebody else
  if [ ! -s "$PGDATA/PG_VERSION" ]; then
    name_user
    make_cluster
    unset LD_PRELOAD
  fi
fi
exec "$@"
