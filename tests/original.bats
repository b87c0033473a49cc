#!/usr/bin/env bats
# The target "original": programs in "jail", a namespace that has nothing but lo, or
# behind it, reach what "vpn" reaches, by rules of `nsfwd --rules`.

bats_require_minimum_version 1.5.0
load helpers

HERE4=10.66.0.1 HERE6=fd00:66::1 # in vpn, where 10.66.0.1 to 10.66.0.50 are, too

setup() {
	needs nft
	ns jail vpn
	printf 'addr add 10.66.0.%s/32 dev lo\n' {1..50} | ip -n vpn -batch -
	ip -n vpn addr add "$HERE6/128" dev lo nodad
}

# rules [=tproxy] MAP...: sets up what the maps want.
rules() {
	local how=
	[[ $1 != =* ]] || { how=$1 && shift; }
	"$NSFWD" "--rules$how" "$@" >"$BATS_TEST_TMPDIR/rules" || return
	in_ns jail sh "$BATS_TEST_TMPDIR/rules" >"$BATS_TEST_TMPDIR/rules.out" 2>&1
	[ ! -s "$BATS_TEST_TMPDIR/rules.out" ] || {
		cat "$BATS_TEST_TMPDIR/rules" "$BATS_TEST_TMPDIR/rules.out"
		return 1
	}
}

# A page on both addresses of vpn.
web() {
	web_server vpn "$HERE4" 80
	spawn vpn web6 python3 -m http.server --bind "$HERE6" \
		--directory "$BATS_TEST_TMPDIR/web-vpn" 80
	wait_until 5 pages_are 2
}

pages_are() {
	[ "$(in_ns vpn ss -Hltn 'sport 80' | wc -l)" = "$1" ]
}

# A name server on every address of vpn, which knows one name.
name_server() {
	needs dnsmasq dig
	spawn vpn dns "$(command -v dnsmasq)" --keep-in-foreground \
		--conf-file=/dev/null --no-resolv --no-hosts --pid-file= \
		--user= --group= --local=/internal/ \
		--host-record=wiki.internal,$HERE4,$HERE6
	wait_until 5 eval '[ -n "$(in_ns vpn ss -Hlun "sport 53")" ]'
}

# link NEW NS: makes a namespace with a link to NS.
link() {
	ns "$1"
	ip link add name lan0 netns "$1" type veth peer name lan1 netns "$2"
	ip -n "$1" addr add 192.0.2.2/24 dev lan0
	ip -n "$2" addr add 192.0.2.1/24 dev lan1
	ip -n "$1" addr add fd00:1::2/64 dev lan0 nodad
	ip -n "$2" addr add fd00:1::1/64 dev lan1 nodad
	ip -n "$1" link set lan0 up
	ip -n "$2" link set lan1 up
}

# digs NS ARG...: asks once for wiki.internal.
digs() {
	in_ns "$1" dig +time=20 +tries=1 +short "${@:2}" wiki.internal 3>&-
}

# reaches NS: a page of vpn, by both families.
reaches() {
	[ "$(fetch "$1" "http://$HERE4/")" = 'this is vpn' ] &&
		[ "$(fetch "$1" "http://[$HERE6]/")" = 'this is vpn' ]
}

# is_reset NS URL: true if that connection is reset, or refused.
is_reset() {
	local status=0
	in_ns "$1" curl -gsS -m $((30 * TEST_SLOW)) -o /dev/null "$2" 3>&- || status=$?
	[[ $status =~ ^(7|55|56)$ ]] || fail "curl $2: status $status"
}

# bats test_tags=both,workers
@test "TCP by REDIRECT and by TPROXY, of both families; the port itself is refused" {
	local way
	web
	start_nsfwd -v jail@:12345=vpn@original
	run -7 fetch jail "http://$HERE4/"
	for way in '' =tproxy; do
		rules $way jail@:12345=vpn@original
		rules $way jail@:12345=vpn@original
		reaches jail
		is_reset jail http://127.0.0.1:12345/
		is_reset jail 'http://[::1]:12345/'
		is_reset jail http://169.254.169.254/
		is_reset jail http://100.100.100.200/
		is_reset jail 'http://[fd00:ec2::254]/'
		is_reset jail http://10.66.0.2/
	done
	wait_until 5 logged "target=\"?$HERE4:80\"? .* end=closed" 2
	wait_until 5 logged "target=\"?$HERE6/80\"? .* end=closed" 2
	logged 'refused 127.0.0.1:[0-9]+: it was not redirected: it came to the port itself'
	wait_until 5 logged 'target=169.254.169.254:80 .* end=dial error=EACCES why="reach=169.254.169.254 would allow it"'
	wait_until 5 logged 'target=10.66.0.2:80 .* end=dial error=ECONNREFUSED why="nothing listens'
}

@test "allow, deny, max-source, reach and src are those of original, too" {
	web
	ip -n vpn addr add 169.254.169.254/32 dev lo
	spawn vpn metadata python3 -m http.server --bind 169.254.169.254 80
	wait_until 5 pages_are 3
	start_nsfwd -v jail@:1=vpn@original,deny=127.0.0.0/8 \
		jail@:2=vpn@original,reach=169.254.0.0/16,src=10.66.0.7
	rules jail@:1=vpn@original
	is_reset jail "http://$HERE4/"
	reaches_six() { [ "$(fetch jail "http://[$HERE6]/")" = 'this is vpn' ]; }
	reaches_six
	rules jail@:2=vpn@original
	fetch jail http://169.254.169.254/ -o /dev/null
	fetch jail "http://$HERE4/" -o /dev/null
	is_reset jail "http://[$HERE6]/"
	output_of web-vpn-80 | grep -q '10.66.0.7 - - '
	logged "refused 127.0.0.1:[0-9]+: it is not allowed"
}

@test "UDP by TPROXY: 1,000 queries to 50 addresses, each answered by the one asked" {
	local server
	name_server
	start_nsfwd -v udp:jail@:53=vpn@original tcp:jail@:12345=vpn@original
	rules udp:jail@:53=vpn@original tcp:jail@:12345=vpn@original
	for server in 10.66.0.9 "$HERE6"; do
		[ "$(digs jail "@$server")" = "$HERE4" ]
		[ "$(digs jail +tcp "@$server" AAAA)" = "$HERE6" ]
	done
	# Connected sockets hear nothing from another address.
	in_ns jail python3 - <<-'END' 3>&-
	import select, socket
	query = bytes.fromhex("0001010000010000000000000477696b6908696e7465726e616c0000010001")
	open_sockets = {}
	poll = select.epoll()
	for i in range(1000):
	    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
	    s.connect((f"10.66.0.{i % 50 + 1}", 53))
	    s.send(i.to_bytes(2, "big") + query[2:])
	    open_sockets[s.fileno()] = s, i
	    poll.register(s, select.EPOLLIN)
	    if len(open_sockets) < 50 and i < 999:
	        continue
	    while open_sockets:
	        events = poll.poll(30)
	        assert events, f"{len(open_sockets)} of the queries up to {i} unanswered"
	        for fd, _ in events:
	            s, n = open_sockets.pop(fd)
	            assert int.from_bytes(s.recv(512)[:2], "big") == n
	            s.close()
	END
	run -9 digs jail @169.254.169.254 +time=1
	run -9 digs jail @127.0.0.1 +time=1
	wait_until 5 logged "a datagram of 127.0.0.1:[0-9]+ to 169.254.169.254:53: not redirected, or reach= forbids it"
	wait_until 5 eval 'kill -USR1 "$NSFWD_PID"; logged "10.66.0.50:53"'
	stop_nsfwd
	logged 'udp map=.* flows=100[0-9] .* limit=0 up=0 down=0'
}

@test "what a link brings is redirected, too, and the gateway's own stays" {
	local way
	web
	name_server
	link lan jail
	ip -n lan route add default via 192.0.2.1
	ip -n lan route add default via fd00:1::1
	in_ns jail sh -c 'cd /proc/sys/net && echo 1 >ipv4/ip_forward &&
		echo 1 >ipv6/conf/all/forwarding'
	start_nsfwd -v jail@:12345=vpn@original udp:jail@:53=vpn@original
	for way in '' =tproxy; do
		rules $way jail@:12345=vpn@original udp:jail@:53=vpn@original
		wait_until 5 reaches lan
		reaches jail
		[ "$(digs lan @10.66.0.3)" = "$HERE4" ]
		[ "$(digs lan "@$HERE6")" = "$HERE4" ]
		[ "$(digs jail @10.66.0.3)" = "$HERE4" ]
		is_reset lan http://192.0.2.1:12345/
		is_reset lan http://192.0.2.1:80/
	done
	run -9 digs lan @192.0.2.1 +time=1
	logged 'refused 192.0.2.2:[0-9]+: it was not redirected'
	stop_nsfwd
}

# bats test_tags=long
@test "through tinyproxy and danted; git and apt" {
	needs tinyproxy danted git apt-get
	web
	local dir=$BATS_TEST_TMPDIR/web-vpn
	for_nobody
	(
		cd "$dir" && git init -q --initial-branch=main git && cd git &&
			echo one >file && git add file &&
			git -c user.name=a -c user.email=a@b commit -qm one &&
			git update-server-info
	)
	mkdir "$dir/repo" "$BATS_TEST_TMPDIR/lists"
	printf 'Package: none\nVersion: 1\nArchitecture: all\nFilename: ./none.deb\nSize: 1\n\n' \
		>"$dir/repo/Packages"
	printf '%s\n' 'Port 3128' 'Listen 127.0.0.1' >"$BATS_TEST_TMPDIR/tiny.conf"
	spawn vpn tiny tinyproxy -d -c "$BATS_TEST_TMPDIR/tiny.conf"
	cat >"$BATS_TEST_TMPDIR/danted.conf" <<-END
		logoutput: stderr
		internal: 127.0.0.1 port = 1080
		external.protocol: ipv4 ipv6
		external: $HERE4
		external: $HERE6
		socksmethod: none
		clientmethod: none
		client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
		socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
		socks pass { from: 0.0.0.0/0 to: ::/0 }
	END
	spawn vpn dante danted -f "$BATS_TEST_TMPDIR/danted.conf"
	wait_until 5 listens vpn 3128
	wait_until 5 listens vpn 1080
	start_nsfwd -v jail@:1=vpn@original,via=http:3128 \
		jail@:2=vpn@original,via=socks5:1080 jail@:3=vpn@original
	for port in 1 2 3; do
		in_ns jail nft flush ruleset
		rules "jail@:$port=vpn@original"
		reaches jail
		git_clones "$port"
	done
	cat >"$BATS_TEST_TMPDIR/apt.conf" <<-END
		Dir::Etc::sourcelist "$BATS_TEST_TMPDIR/sources.list";
		Dir::Etc::sourceparts "-";
		Dir::State::lists "$BATS_TEST_TMPDIR/lists/";
		Dir::Cache "$BATS_TEST_TMPDIR/cache";
		APT::Sandbox::User "root";
		Acquire::http::Timeout "10";
	END
	echo "deb [trusted=yes] http://$HERE4/repo ./" >"$BATS_TEST_TMPDIR/sources.list"
	mkdir -p "$BATS_TEST_TMPDIR/cache/archives/partial"
	run -0 in_ns jail env APT_CONFIG="$BATS_TEST_TMPDIR/apt.conf" apt-get -q update 3>&-
	grep -q "^Get:.* http://$HERE4/repo ./ Packages" <<<"$output"
	is_reset jail http://127.0.0.1:3/
	wait_until 5 logged "map=\"?jail@:1=.* target=$HERE4:80 .* end=closed"
	wait_until 5 logged "map=\"?jail@:2=.* target=$HERE6/80 .* end=closed"
}

git_clones() {
	GIT_CONFIG_NOSYSTEM=1 HOME=$BATS_TEST_TMPDIR in_ns jail \
		git clone -q "http://$HERE4/git/.git" "$BATS_TEST_TMPDIR/clone$1" 3>&- &&
		[ "$(cat "$BATS_TEST_TMPDIR/clone$1/file")" = one ]
}

# Runs the lines as they stand, with /etc and the program in other places.
@test "the recipe of the man page: curl by name, in a namespace without a link" {
	local page=$BATS_TEST_DIRNAME/../man/nsfwd.1 pid
	needs curl
	mkdir -p /run/etc/netns "$BATS_TEST_TMPDIR/bin"
	cp -dR /etc/{passwd,group,nsswitch.conf,alternatives,ld.so.cache} /run/etc
	: >/run/etc/resolv.conf
	mount --bind /run/etc /etc
	ip netns del jail
	NAMESPACES=(vpn)
	web
	name_server
	printf '#!/bin/sh\nexec %s -P /run/pid "$@"\n' "$NSFWD" \
		>"$BATS_TEST_TMPDIR/bin/nsfwd"
	chmod +x "$BATS_TEST_TMPDIR/bin/nsfwd"
	awk '/^.Sh REDIRECTED/ { found = 1 }
		/^.Ed/ { in_block = 0; if (found) exit }
		found && in_block { print }
		/^.Bd/ { in_block = 1 }' "$page" |
		sed "s/10\.8\.0\.1/$HERE4/" >"$BATS_TEST_TMPDIR/recipe"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/recipe")" = 6 ]
	run -0 env PATH="$BATS_TEST_TMPDIR/bin:$PATH" bash -e "$BATS_TEST_TMPDIR/recipe" 3>&-
	pid=$(cat /run/pid)
	NAMESPACES=(vpn jail)
	grep -qF 'this is vpn' <<<"$output"
	[ "$(ip netns exec jail dig +short +time=20 +tries=1 wiki.internal)" = "$HERE4" ]
	[ "$(ip netns exec jail dig +tcp +short +time=20 +tries=1 wiki.internal)" = "$HERE4" ]
	kill "$pid"
	wait_until 5 eval "! kill -0 $pid 2>/dev/null"
	umount -l /etc
}

@test "a namespace is not redirected into itself, and mark= lets nsfwd pass" {
	local way
	ln -s jail /run/netns/same
	start_fails 2 "original, in the namespace that the map listens in" \
		jail@:1=jail@original
	start_fails 2 "its target original, .*'jail' and '/run/netns/same' are one namespace" \
		jail@:1=/run/netns/same@original
	start_fails 2 "original, in the namespace that the map listens in" :1=original
	rm /run/netns/same
	link lan jail
	start_nsfwd -v jail@:12345=jail@original,mark=5 \
		udp:jail@:53=jail@original,mark=5,reach=127.0.0.0/8+::/96
	for way in 127.0.0.1 ::1; do
		in_ns jail bash -c 'echo >"/dev/udp/$1/53"' - "$way"
	done
	wait_until 5 logged 'dropped a datagram of .* to 127.0.0.1:53: not redirected'
	web_server lan 192.0.2.2 80
	for way in '' =tproxy; do
		rules $way jail@:12345=jail@original,mark=5
		[ "$(fetch jail http://192.0.2.2/)" = 'this is lan' ]
	done
	wait_until 5 logged 'target=192.0.2.2:80 .* end=closed' 2
	run ! logged opened 3
	stop_nsfwd
	logged 'udp map=.* flows=0 .* dropped: source=2'
}

@test "a port that is taken, and rights that are missing, are named with the cure" {
	name_server
	start_fails 1 'cannot listen on 127.0.0.1:53: the port is taken by dnsmasq' \
		udp:vpn@:53=jail@original
	start_fails 1 'cannot listen on 127.0.0.1:53' udp:vpn@0.0.0.0:53=jail@original
	start_fails 1 'cannot listen on ::1/53' 'udp:vpn@[::]:53=jail@original'
	WRAP=(setpriv '--bounding-set=-net_admin,-net_raw')
	start_fails 1 "TPROXY needs CAP_NET_ADMIN there \(tproxy=off" \
		jail@:1=vpn@original
	start_fails 1 "TPROXY needs CAP_NET_ADMIN there: EPERM" \
		udp:jail@:53=vpn@original
	web
	start_nsfwd jail@:1=vpn@original,tproxy=off
	WRAP=()
	rules jail@0.0.0.0:1=vpn@original
	fetch jail "http://$HERE4/" -o /dev/null
	run -7 fetch jail "http://[$HERE6]/"
	rules jail@:1=vpn@original
	reaches jail
}

# bats test_tags=once
@test "--rules wants maps to original, of one namespace" {
	start_fails 2 "'jail@1=2': --rules: only maps to original" --rules jail@1=2
	start_fails 2 "'b@:1=vpn@original': --rules: one namespace at a time" \
		--rules jail@:1=vpn@original b@:1=vpn@original
	start_fails 2 "'jail@:2=v@original': --rules: one map of tcp" \
		--rules jail@:1=vpn@original jail@:2=v@original
	start_fails 2 "option '--rules': 'x': tproxy, or no value at all" \
		--rules=x jail@:1=vpn@original
	run -0 "$NSFWD" --rules=tproxy tcp+udp:jail@10.0.0.1:53=vpn@original,mark=1
	grep -qF 'meta nfproto ipv4 meta l4proto tcp meta mark set 2 tproxy ip to 10.0.0.1:53 accept' <<<"$output"
	grep -qF 'meta nfproto ipv4 udp dport 53 meta mark set 2 tproxy ip to 10.0.0.1 accept' <<<"$output"
	run ! grep -qF -e 'tproxy ip6' -e 'ip -6' <<<"$output"
	# The mark of one map is not that of another one's routes.
	run -0 "$NSFWD" --rules jail@0.0.0.0:1=jail@original,mark=1 \
		'jail@[::]:1=jail@original,mark=2' udp:jail@:53=vpn@original
	grep -qF 'ip rule add fwmark 3 lookup' <<<"$output"
	run ! grep -qE 'mark set [12]' <<<"$output"
}
