#!/bin/sh
# Runs redis-server as the official image does: options or a configuration file alone are enough, never as root,
# and reachable from other containers (protected mode is off there too).
set -eu

case "${1:-}" in
  -* | *.conf) set -- redis-server "$@" ;;
esac
if [ "${1:-}" = redis-server ]; then
  if [ "$(id -u)" = 0 ]; then
    chown -R redis:redis .
    exec setpriv --reuid=redis --regid=redis --init-groups "$0" "$@"
  fi
  shift
  case "${1:-}" in
    *.conf)
      configuration=$1
      shift
      set -- redis-server "$configuration" --protected-mode no "$@"
      ;;
    *) set -- redis-server --protected-mode no "$@" ;;
  esac
  umask 0077
fi
exec "$@"
