#!/bin/bash
# Prints, as a Markdown table, the client's address as it is seen behind a map
# with proxy=1 and proxy=2, over IPv4 and IPv6, by HAProxy, nginx and a server
# in Python. Fails if one of them sees something else. To be run in a world of
# its own, as tests/run makes one: unshare -nm tests/proxy-table.sh
set -eu

tests=$(cd "$(dirname "$0")" && pwd)
: "${NSFWD:=$tests/../nsfwd}"
PATH=$PATH:/usr/sbin:/sbin
dir=$(mktemp -d)
pids=()
# shellcheck disable=SC2317 # called by the trap
finish() {
	kill "${pids[@]}" 2>/dev/null
	wait
	ip netns del table-a 2>/dev/null
	ip netns del table-b 2>/dev/null
	rm -rf "$dir"
}
trap finish EXIT

mountpoint -q /run || mount -t tmpfs tmpfs /run
for ns in table-a table-b; do
	ip netns add "$ns"
	ip -n "$ns" link set lo up
done
ip -n table-a addr add 10.0.1.1/32 dev lo
ip -n table-a addr add fd00:1::1/128 dev lo nodad
inside() {
	nsenter --net=/run/netns/table-b -- "$@"
}
# A function in the background is a shell, whose end is not that of the program.
serve() {
	nsenter --net=/run/netns/table-b -- "$@" &
	pids+=($!)
}

cat >"$dir/haproxy.cfg" <<-'END'
	defaults
	 mode http
	 timeout connect 5s
	 timeout client 5s
	 timeout server 5s
	frontend f
	 bind 127.0.0.1:8001 accept-proxy
	 http-request return status 200 content-type text/plain lf-string "%[src] %[src_port]\n"
END
cat >"$dir/nginx.conf" <<-END
	daemon off;
	master_process off;
	user root;
	error_log $dir/nginx.log;
	pid $dir/nginx.pid;
	events { }
	http {
	 access_log off;
	 client_body_temp_path $dir/b;
	 proxy_temp_path $dir/p;
	 fastcgi_temp_path $dir/f;
	 uwsgi_temp_path $dir/u;
	 scgi_temp_path $dir/s;
	 server {
	  listen 127.0.0.1:8002 proxy_protocol;
	  return 200 "\$proxy_protocol_addr \$proxy_protocol_port\n";
	 }
	}
END
names=(Python)
ports=(8003)
if command -v nginx >/dev/null; then
	serve nginx -p "$dir" -c "$dir/nginx.conf" 2>/dev/null
	names=(nginx "${names[@]}")
	ports=(8002 "${ports[@]}")
fi
if command -v haproxy >/dev/null; then
	serve haproxy -db -q -f "$dir/haproxy.cfg"
	names=(HAProxy "${names[@]}")
	ports=(8001 "${ports[@]}")
fi
mkfifo "$dir/ready"
READY_FD=9 nsenter --net=/run/netns/table-b -- \
	python3 "$tests/proxy.py" show 127.0.0.1:8003 9>"$dir/ready" &
pids+=($!)
read -rt 5 _ <"$dir/ready"
for port in "${ports[@]}"; do
	for _ in {1..100}; do
		inside bash -c ": </dev/tcp/127.0.0.1/$port" 2>/dev/null && break
		sleep 0.05
	done
done

maps=()
for i in "${!ports[@]}"; do
	for version in 1 2; do
		for addr in 10.0.1.1: fd00:1::1/; do
			maps+=("table-a@${addr}70$version$i=table-b@${ports[i]},proxy=$version")
		done
	done
done
mkfifo "$dir/up"
"$NSFWD" -q --ready-fd 8 "${maps[@]}" 8>"$dir/up" &
pids+=($!)
read -rt 5 _ <"$dir/up"

status=0
port=40000
echo "| map | family | client | ${names[*]/%/ |}"
echo "|---|---|---|$(printf -- '---|%.0s' "${names[@]}")"
for version in 1 2; do
	for family in 4 6; do
		addr=10.0.1.1 to=10.0.1.1
		[ "$family" = 4 ] || addr=fd00:1::1 to="[fd00:1::1]"
		port=$((port + 10))
		line="| proxy=$version | IPv$family | $addr $port+N |"
		for i in "${!ports[@]}"; do
			own=$((port + i)) where=$to:70$version$i
			ask=(curl -sS -m 5 --interface "$addr" --local-port "$own"
				"http://$where/")
			[ "${names[i]}" != Python ] ||
				ask=(python3 "$tests/proxy.py" ask "$where"
					"$to:$own")
			seen=$(nsenter --net=/run/netns/table-a -- \
				"${ask[@]}") || seen=nothing
			[ "${seen%% from *}" = "$addr $((port + i))" ] || status=1
			line="$line $seen |"
		done
		echo "$line"
	done
done
exit "$status"
