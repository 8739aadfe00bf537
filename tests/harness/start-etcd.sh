#!/bin/bash
# etcd 3.4 on loopback, 1 or more nodes, any user, no systemd.
# apt-get install --no-install-recommends etcd-server
#   start-etcd.sh start DIR PORT [NODES]   node I: clients on PORT+2I, peers on PORT+2I+1
#   start-etcd.sh stop DIR                 data stay; start on the same DIR goes on
#   start-etcd.sh node DIR I               starts node I again (after a kill)
# May be sourced instead: etcd_start DIR PORT [NODES]; etcd_stop DIR.  Pids: DIR/I.pid
# Environment: CERTS=DIR with ca.pem, server.pem and server.key: clients come with TLS, and with a certificate of that authority

srv_alive() {   # running, and not a zombie that nobody has reaped
    case $(sed -n 's/^State:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null) in Z*|X*|'') return 1 ;; esac
}
srv_end() {     # srv_end PIDFILE: SIGTERM, 10 s, SIGKILL
    local p i
    p=$(cat "$1" 2>/dev/null) || return 0
    rm -f "$1"
    kill "$p" 2>/dev/null
    for ((i = 0; i < 100; i++)); do srv_alive "$p" || return 0; sleep 0.1; done
    kill -9 "$p" 2>/dev/null
    while srv_alive "$p"; do sleep 0.1; done
}
etcd_stop() {   # all nodes get the signal at once: a leader left alone waits for a successor
    local f p
    for f in "$1"/*.pid; do [ -e "$f" ] && kill "$(cat "$f")" 2>/dev/null; done
    for f in "$1"/*.pid; do [ -e "$f" ] && srv_end "$f"; done
    return 0
}
etcd_node() {   # DIR I
    local d i=$2 port n k all= me tls=()
    d=$(cd "$1" && pwd) && read -r port n <"$d/ports" || return 1
    for ((k = 0; k < n; k++)); do all+="${all:+,}n$k=http://127.0.0.1:$((port + 2 * k + 1))"; done
    me=127.0.0.1:$((port + 2 * i))
    if [ -n "${CERTS:-}" ]; then
        tls=(--cert-file "$CERTS/server.pem" --key-file "$CERTS/server.key" --client-cert-auth --trusted-ca-file "$CERTS/ca.pem")
        me=https://$me
    else
        me=http://$me
    fi
    env -u ETCD_NAME -u ETCD_DATA_DIR etcd --name "n$i" --data-dir "$d/n$i" --logger zap --log-level warn \
        --listen-client-urls "$me" --advertise-client-urls "$me" \
        --listen-peer-urls "http://127.0.0.1:$((port + 2 * i + 1))" \
        --initial-advertise-peer-urls "http://127.0.0.1:$((port + 2 * i + 1))" \
        --initial-cluster "$all" --initial-cluster-state new --initial-cluster-token "$d" \
        --heartbeat-interval "${HEARTBEAT:-100}" --election-timeout "${ELECTION:-1000}" \
        "${tls[@]}" </dev/null >>"$d/n$i.log" 2>&1 &
    echo $! >"$d/$i.pid"
}
etcd_start() {  # DIR PORT [NODES]
    local d n=${3:-1} i k scheme=http tls=()
    [ -z "${CERTS:-}" ] || scheme=https tls=(--cacert "$CERTS/ca.pem" --cert "$CERTS/server.pem" --key "$CERTS/server.key")
    mkdir -p "$1" && d=$(cd "$1" && pwd) || return 1
    [ -e "$d/ports" ] || echo "$2 $n" >"$d/ports"
    for ((i = 0; i < n; i++)); do etcd_node "$d" "$i"; done
    for ((i = 0; i < n; i++)); do
        for ((k = 0; k < 300; k++)); do   # ready: a linearizable read answers
            curl -s -m 2 -o /dev/null -w '%{http_code}' "${tls[@]}" -d '{"key":"AA=="}' "$scheme://127.0.0.1:$(($2 + 2 * i))/v3/kv/range" |
                grep -q '[24]00' && break   # 400: it wants to know who asks
            srv_alive "$(cat "$d/$i.pid")" || k=300
            sleep 0.05
        done
        [ "$k" -lt 300 ] || { tail -3 "$d/n$i.log" >&2; etcd_stop "$d"; return 1; }
    done
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    case $1 in
    start) etcd_start "$2" "${3:-2379}" "${4:-1}" ;;
    stop) etcd_stop "$2" ;;
    node) etcd_node "$2" "$3" ;;
    *) echo "usage: $0 start DIR PORT [NODES] | stop DIR | node DIR I" >&2; exit 2 ;;
    esac
fi
