#!/bin/sh
# Makes one snapshot: make.sh SERVER NAME. The server's own files stay in a temporary directory.
set -eu
server=$1 name=$2 here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'kill $pid 2>/dev/null || true; wait $pid 2>/dev/null || true; rm -rf "$dir"' EXIT
"$server" --port 0 --unixsocket "$dir/s" --dir "$dir" --save '' --appendonly no >"$dir/log" 2>&1 &
pid=$!
cli() { redis-cli -s "$dir/s" "$@" >/dev/null; }
i=0
until [ "$(redis-cli -s "$dir/s" ping 2>/dev/null)" = PONG ]; do sleep 0.1; i=$((i + 1)); [ $i -lt 50 ]; done
cli set string:int 12345
cli set string:small hello
cli set string:raw "$(printf 'x%.0s' $(seq 100))"
cli set string:packed "$(printf 'abcabcabc%.0s' $(seq 200))"
cli set string:ttl soon EX 86400
redis-cli -s "$dir/s" eval "redis.call('set', 'bin:\255\0\n', '1')" 0 >/dev/null
cli rpush list:small a b c
cli rpush list:large $(seq 1 2500)
cli sadd set:ints 1 2 3 4 5
cli sadd set:small a b c
cli sadd set:table $(seq -f 'member:%g' 1 600)
cli hset hash:small f1 v1 f2 v2
cli hset hash:table $(seq 1 600 | sed 's/.*/field:& value:&/')
cli zadd zset:small 1 a 2.5 b
cli zadd zset:table $(seq 1 600 | sed 's/.*/&.5 member:&/')
for n in 1 2 3 4 5; do cli xadd stream:groups "$n-0" kind login user "$n"; done
cli xgroup create stream:groups workers 0
cli xreadgroup group workers one count 2 streams stream:groups '>'
cli hset hash:expiring f1 v1 f2 v2
cli hexpire hash:expiring 3600 fields 1 f1 || true
cli -n 5 set other:db 1
cli save
cp "$dir/dump.rdb" "$here/$name"
