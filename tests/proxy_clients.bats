#!/usr/bin/env bats
# Real clients and hops of nsfwd as a proxy: a part of `make check-long`.

# bats file_tags=long

bats_require_minimum_version 1.5.0
load helpers
load proxy

setup() {
	ns ns1 ns2
	ip -n ns2 addr add "$FAR/32" dev lo
}

# tests/proxy-clients without a name compares other proxies.
@test "every client that is installed does with nsfwd what it does" {
	needs openssl ssh-keygen git curl dnsmasq
	[ "$(awk '$1 == 0 { print $2 }' /proc/self/uid_map)" = 0 ] ||
		skip "servers change their user: that takes root"
	run -0 unshare -nm --propagation private "$BATS_TEST_DIRNAME/proxy-clients" nsfwd 3>&-
	echo "$output"
	[[ $output == *"| nsfwd |"* ]]
}

@test "squid, tinyproxy, danted, microsocks and privoxy as hops" {
	local hops=() n=0 hop port
	web_server ns2 "$FAR" 8000
	start_hop() {
		local program=$1 kind=$2
		shift 2
		command -v "$program" >/dev/null || return 0
		spawn ns2 "$program" "$@"
		wait_until 10 listens ns2 "$((3128 + n))"
		hops+=("ns1@$((8000 + n))=$FAR:8000,via=$kind:ns2@$((3128 + n))")
	}
	cat >"$BATS_TEST_TMPDIR/squid" <<-END
		http_port 127.0.0.1:3128
		pid_filename none
		cache deny all
		memory_cache_shared off
		access_log none
		cache_log /dev/null
		cache_effective_user nobody
		http_access allow all
	END
	for_nobody
	mount -t tmpfs tmpfs /dev/shm
	start_hop squid http squid -N -f "$BATS_TEST_TMPDIR/squid"
	n=1
	printf 'Port 3129\nListen 127.0.0.1\n' >"$BATS_TEST_TMPDIR/tinyproxy"
	start_hop tinyproxy http tinyproxy -d -c "$BATS_TEST_TMPDIR/tinyproxy"
	n=2
	cat >"$BATS_TEST_TMPDIR/danted" <<-END
		internal: 127.0.0.1 port = 3130
		external: $FAR
		socksmethod: none
		clientmethod: none
		client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
		socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
	END
	start_hop danted socks5 danted -f "$BATS_TEST_TMPDIR/danted"
	n=3
	start_hop microsocks socks5 microsocks -i 127.0.0.1 -p 3131
	n=4
	printf 'listen-address 127.0.0.1:3132\n' >"$BATS_TEST_TMPDIR/privoxy"
	start_hop privoxy http privoxy --no-daemon "$BATS_TEST_TMPDIR/privoxy"
	[ "${#hops[@]}" != 0 ] || skip "no proxy here"
	start_nsfwd "${hops[@]}"
	for hop in "${hops[@]}"; do
		port=${hop#ns1@} port=${port%%=*}
		[ "$(fetch ns1 "http://127.0.0.1:$port/")" = "this is ns2" ]
	done
	umount -l /dev/shm
}
