#!/bin/sh
# What the containers of deploy/compose.yaml and deploy/kuberay.yaml run: one word says which part.
#   init       once: certificates and secrets of both machines, into their data directories
#   redis      the store, beside the head
#   head       the Ray node of MainPC and the services
#   worker     the Ray node of PC2
#   healthy X  for a health check: 0 when the part X is up
# HEAD_ADDRESS and WORKER_ADDRESS say where they are, ZEJZL_DATA_DIR which data directory is whose.
set -eu
umask 077
head_data=${MACHINES_DIR:-/machines}/mainpc
worker_data=${MACHINES_DIR:-/machines}/pc2
redis_dir=${REDIS_DIR:-/var/lib/zejzl-redis}

make_secrets() {
    export ZEJZL_DATA_DIR=$head_data
    zejzl node token
    zejzl tls init --machine mainpc --address "$HEAD_ADDRESS" --address 127.0.0.1
    if [ ! -e $worker_data/tls/machine ]; then
        mkdir -p $worker_data/tls
        zejzl tls issue pc2 --address "$WORKER_ADDRESS" --force
        cp $head_data/tls/ca.pem $head_data/tls/pc2.pem $worker_data/tls/
        mv $head_data/tls/pc2.key $worker_data/tls/
        printf pc2 >$worker_data/tls/machine
    fi
    for name in token ray_token redis_password security_key; do
        cp $head_data/$name $worker_data/$name
    done
}

run_redis() {
    sed -e "s#^bind .*#bind $HEAD_ADDRESS 127.0.0.1#" -e "s#/home/zejzl/.local/share/zejzl#$ZEJZL_DATA_DIR#" \
        -e "s#^dir .*#dir $redis_dir#" "${REDIS_CONF:-/usr/local/lib/zejzl/redis.conf}" >/tmp/redis.conf
    exec redis-server /tmp/redis.conf
}

# A container that stops is no wish to stop the cluster: the supervisor ends its node in order and keeps the intent.
end_node() {
    kill "$standing_by" 2>/dev/null || true
    pid=$(sed -n 's/^ *"pid": *\([0-9]*\),*$/\1/p' "$ZEJZL_DATA_DIR/node.json" 2>/dev/null || true)
    if [ -n "$pid" ] && kill -TERM "$pid" 2>/dev/null; then
        while kill -0 "$pid" 2>/dev/null; do sleep 0.2; done
    fi
    exit 0
}

keep_node() {
    standing_by=
    trap end_node TERM INT
    zejzl node start "$@" &
    wait $!
    zejzl node run &
    standing_by=$!
    wait $standing_by
}

case "${1:-}" in
init) make_secrets ;;
redis) run_redis ;;
head) keep_node --head --machine mainpc --node-ip "$HEAD_ADDRESS" ;;
worker) keep_node --machine pc2 --node-ip "$WORKER_ADDRESS" --address "$HEAD_ADDRESS" ;;
healthy)
    case "${2:-}" in
    redis)
        tls=$ZEJZL_DATA_DIR/tls
        REDISCLI_AUTH=$(cat "$ZEJZL_DATA_DIR/redis_password") redis-cli --no-auth-warning --tls -p 6380 \
            --cacert "$tls/ca.pem" --cert "$tls/mainpc.pem" --key "$tls/mainpc.key" ping | grep -q PONG
        ;;
    node) zejzl node state ;;
    *) exit 2 ;;
    esac
    ;;
*)
    echo "error: say init, redis, head or worker" >&2
    exit 2
    ;;
esac
