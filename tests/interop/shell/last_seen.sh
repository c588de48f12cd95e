#!/bin/sh
# --- snippet ---
ask() { # a printf format and its arguments: what to send
    { printf "$@"; printf 'quit\r\n'; } |
        nc -w 1 "${MEMCACHE_SERVERS%:*}" "${MEMCACHE_SERVERS##*:}" | tr -d '\r'
}

seen() { # user [Unix seconds]; prints STORED
    at=${2:-$(date +%s)}
    ask 'set seen_%s 0 604800 %d\r\n%s\r\n' "$1" ${#at} "$at"
}

last_seen() { # user; prints nothing for a user without a record
    reply=$(ask 'get seen_%s\r\n' "$1")
    [ -n "$reply" ] || return 2 # memcached does not answer: unknown
    echo "$reply" | sed -n 2p
}

online() { # user; 0 is online, 1 is not, 2 is unknown
    last=$(last_seen "$1") || return 2
    [ -n "$last" ] && [ "$(date +%s)" -le $((last + 300)) ]
}

signed_out() { # user; prints nothing for a user without a record
    last=$(last_seen "$1") || return 2
    [ -n "$last" ] || return 0
    out=$(($(date +%s) - 305))
    [ "$last" -lt "$out" ] || last=$out
    ask 'replace seen_%s 0 604800 %d\r\n%s\r\n' "$1" ${#last} "$last"
}

forget() { # user; prints DELETED or NOT_FOUND
    ask 'delete seen_%s\r\n' "$1"
}
# --- end ---

set -f # a name may have a * in it

# Answers one command; python/commands.py lists them.
answer() {
    case $1 in
        seen) [ "$(seen "$2" "$3")" = STORED ] && echo ok ;;
        last_seen) last=$(last_seen "$2") && echo "${last:-none}" ;;
        online)
            online "$2"
            case $? in 0) echo true ;; 1) echo false ;; *) false ;; esac
            ;;
        signed_out) signed_out "$2" >/dev/null && echo ok ;;
        forget) [ "$(forget "$2")" = DELETED ] && echo true || echo false ;;
        naive)
            case $4 in
                date) value=$(LC_ALL=C date -d "@$3") ;;
                *) value=$(LC_ALL=C date "$4" -d "@$3") ;;
            esac
            ask 'set seen_%s 0 604800 %d\r\n%s\r\n' "$2" ${#value} "$value" >/dev/null && echo ok
            ;;
        version) nc -h 2>&1 | sed -n '1s/.*(\(.*\))/nc \1/p' ;;
        *) false ;;
    esac || echo "error: $*"
}

if [ $# -gt 0 ]; then
    answer "$@"
else
    while read -r line; do
        answer $line
    done
fi
