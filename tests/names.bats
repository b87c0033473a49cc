#!/usr/bin/env bats
# Names of targets, through nsfwd: which files and servers count, and what a failure
# is called. ns2 has the servers 10.53.0.1 (dnsmasq) and 10.53.0.2 (dns_server.py),
# and a link to the tests' own namespace, whose server 10.99.0.1 is the witness that
# no question gets out. tests/dns.bats has the resolver alone.

bats_require_minimum_version 1.5.0
load helpers

# One /etc for nsfwd and the tests, with what programs look for in it.
setup() {
	unshare -m true 2>/dev/null || skip "no mount namespace here"
	mkdir -p /run/etc
	mount -t tmpfs -o mode=755 etc /run/etc
	cp -dR /etc/{passwd,group,alternatives,ld.so.cache} /run/etc
	mkdir -p /run/etc/netns/ns2
	echo nameserver 10.99.0.1 >/run/etc/resolv.conf
	echo 127.0.0.1 localhost >/run/etc/hosts
	echo hosts: files >/run/etc/nsswitch.conf # of the tests; nsfwd reads none
	mount --bind /run/etc /etc
	ns ns1 ns2
	dns_link ns2
	OWN=/etc/netns/ns2/resolv.conf
	# The witness: any question is a line.
	hostile self witness four=10.66.6.6 10.99.0.1/53
	hostile ns2 two four=10.53.0.8 10.53.0.2/53
}

teardown() {
	local bad=0
	oracle || bad=1
	ip link del dns0 2>/dev/null
	umount -l /etc /run/etc || bad=1
	sed 's/^/a question got out: /' "$BATS_TEST_TMPDIR/witness"
	[ ! -s "$BATS_TEST_TMPDIR/witness" ] || bad=1
	return "$bad"
}

# hostile NS NAME ARG...: a tests/dns_server.py, whose log is NAME.
hostile() {
	: >"$BATS_TEST_TMPDIR/$2"
	spawn_ready "$1" "$2-server" python3 "$BATS_TEST_DIRNAME/dns_server.py" \
		"$BATS_TEST_TMPDIR/$2" "${@:3}"
}

# A real server at 10.53.0.1: all names below good.test have the address of the web
# server.
dnsmasq_start() {
	needs dnsmasq
	spawn ns2 dns "$(command -v dnsmasq)" --keep-in-foreground --no-daemon \
		--no-resolv --no-hosts --conf-file=/dev/null --pid-file= \
		--listen-address=10.53.0.1 --bind-interfaces --log-facility=- \
		--address=/good.test/10.53.0.8 --local=/test/ --log-queries \
		--txt-record=empty.test,text \
		--cname=alias.test,real.test --host-record=real.test,10.53.0.8
	wait_until 5 eval '[ -n "$(in_ns ns2 ss -Hlun "src 10.53.0.1:53")" ]'
}

# page NAME [PORT]: what the client of a proxy in ns1 gets from there.
page() {
	fetch ns1 -x "socks5h://127.0.0.1:${2:-1080}" "http://$1:8080/"
}

# answers SERVER NAME [PORT]: the page comes, and that server was asked for the name.
answers() {
	[ "$(page "$2" "${3:-}")" = 'this is ns2' ] || fail "no page: $2" || return
	case $1 in
	one) grep -qi "query.* $2 from" "$BATS_TEST_TMPDIR/dns.out" ;;
	two) grep -qi " $2 " "$BATS_TEST_TMPDIR/two" ;;
	none) ! grep -qi " $2 " "$BATS_TEST_TMPDIR"/{two,dns.out} ;;
	esac || fail "$2 was not asked of $1"
}

# refused NAME ERROR: no page, and the log has the words.
refused() {
	run ! page "$1"
	wait_until 2 logged "target=$1:8080 .* end=dial error=$2( |\$)"
}

@test "files: created late, by rename, sed -i, of the host, links, none at all" {
	dnsmasq_start
	web_server ns2 10.53.0.8 8080
	echo nameserver 10.53.0.2 >/etc/resolv.conf
	rmdir /etc/netns/ns2
	mkdir -p /run/systemd/resolve
	start_nsfwd -v ns1@1080=ns2@proxy,reach=10.0.0.0/8
	answers two ok.ok.1.test
	# A file of the namespace comes late; then nothing of the host's counts.
	mkdir /etc/netns/ns2
	echo nameserver 10.53.0.1 >"$OWN"
	answers one 1.good.test
	echo nameserver 10.99.0.1 >/etc/new
	mv /etc/new /etc/resolv.conf
	answers one 2.good.test
	echo nameserver 10.53.0.2 >/etc/new
	mv /etc/new "$OWN"
	answers two ok.ok.2.test
	sed -i 's/0\.2$/0.1/' "$OWN"
	answers one 3.good.test
	# hosts: of the namespace, or else of the host.
	echo 10.53.0.8 only.test >>/etc/hosts
	answers none only.test
	sed -i s/only/later/ /etc/hosts
	answers none later.test
	echo 10.53.0.8 inside.test >/etc/netns/ns2/hosts
	answers none inside.test
	refused later.test no-such-name
	chmod 0 "$OWN"
	[ "$(id -u)" != 0 ] || refused 4.good.test bad-resolv.conf-or-hosts
	# The host's file by a link, as of systemd-resolved, and by rename there.
	rm -r /etc/netns/ns2
	echo nameserver 10.53.0.1 >/run/systemd/resolve/stub-resolv.conf
	ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
	answers one 5.good.test
	echo nameserver 10.53.0.2 >/run/systemd/resolve/new
	mv /run/systemd/resolve/new /run/systemd/resolve/stub-resolv.conf
	answers two ok.ok.3.test
	rm -r /etc/resolv.conf /run/systemd/resolve
	refused 6.good.test no-answer
}

@test "each error of AAAA beside a good A, TC, aliases, search, a dead server first" {
	local error words
	dnsmasq_start
	web_server ns2 10.53.0.8 8080
	echo nameserver 10.53.0.2 >"$OWN"
	start_nsfwd -v ns1@1080=ns2@proxy,reach=10.0.0.0/8 \
		"ns1@1081=ns2@proxy,reach=10.0.0.0/8,dns=10.53.0.1/53,src=10.53.0.9"
	while read -r error words; do
		answers two "ok.$error.test"
		refused "$error.$error.test" "$words server=10.53.0.2:53"
	done <<-'END'
		nxdomain no-such-name
		nodata no-address
		servfail name-server-failed
		formerr name-server-failed
		notimp name-server-failed
		refused name-server-refused
	END
	answers two tc.nodata.test
	grep -q '^tcp tc.nodata.test A ' "$BATS_TEST_TMPDIR/two"
	answers two chain-8.nodata.test
	# dns= stands in for the file; questions have the source address of the map.
	answers one 1.good.test 1081
	answers one alias.test 1081
	grep -qi 'query.* 1.good.test from 10.53.0.9' "$BATS_TEST_TMPDIR/dns.out"
	echo nameserver 10.53.0.1 >"$OWN"
	refused empty.test no-address
	printf 'nameserver 10.53.0.1\nsearch no.test good.test\noptions ndots:2\n' \
		>"$OWN"
	[ "$(page bare)" = 'this is ns2' ]
	grep -qi 'query.* bare.good.test from' "$BATS_TEST_TMPDIR/dns.out"
	# A server that is silent costs its time once; all processes know it then.
	printf 'nameserver 10.53.0.7\nnameserver 10.53.0.1\n' >"$OWN"
	hostile ns2 mute mute 10.53.0.7/53
	answers one 2.good.test
	answers one 3.good.test
	[ "$(wc -l <"$BATS_TEST_TMPDIR/mute")" = 2 ]
}

@test "IPv6 that leads nowhere costs a quarter second, and is tried again" {
	local begin
	needs nft
	hostile ns2 three four=10.53.0.8 six=fd00::8 10.53.0.3/53
	echo nameserver 10.53.0.3 >"$OWN"
	ip -n ns2 addr add fd00::8/128 dev lo nodad
	web_server ns2 10.53.0.8 8080
	web_server ns2 fd00::8 8081
	in_ns ns2 nft -f - <<-'END'
		table inet t {
			chain c {
				type filter hook input priority 0
				ip6 daddr fd00::8 tcp dport 8080 drop
				ip6 daddr fd00::8 tcp dport 8081 quota until 100 bytes drop
			}
		}
	END
	start_nsfwd -v ns1@8001=ns2@ok.ok.test:8080 ns1@8002=ns2@ok.ok.test:8081
	begin=$(now_ms)
	[ "$(fetch ns1 http://127.0.0.1:8001/)" = 'this is ns2' ]
	echo "$(($(now_ms) - begin)) ms"
	[ $(($(now_ms) - begin)) -ge 250 ]
	[ "$(since "$begin")" -lt 900 ]
	# No other address answers, and the first one only after a packet was lost.
	[ "$(fetch ns1 http://127.0.0.1:8002/)" = 'this is ns2' ]
	logged 'map=.ns1@8001.* target=10.53.0.8:8080 .* end=closed'
	logged 'map=.ns1@8002.* target=\[?fd00::8\]?.8081 .* end=closed'
}

@test "a container by its process: the files of its root; a hop, -, and warnings" {
	local pid
	dnsmasq_start
	web_server ns2 10.53.0.8 8080
	spawn_ready ns2 container unshare -m sh -c '
		mkdir -p /run/root/etc
		echo nameserver 10.53.0.1 >/run/root/etc/resolv.conf
		echo 10.53.0.8 hosted.test >/run/root/etc/hosts
		mount --bind /run/root/etc /etc
		echo ready >&9
		exec 9>&-
		exec sleep 60'
	pid=$(pid_of container)
	echo nameserver 127.0.0.9 >"$OWN"
	start_nsfwd -v "ns1@1080=pid:$pid@proxy,reach=10.0.0.0/8" \
		"ns1@1081=/proc/$pid/ns/net@proxy,reach=10.0.0.0/8" \
		ns1@1082=ns2@proxy \
		ns1@8003=10.53.0.8:8080,via=http:ns2@hop.test:3128,dns=10.53.0.1 \
		ns1@8004=ns2@localhost:1
	logged "^nsfwd: 'ns1@1082=ns2@proxy': names may not resolve in ns2: no answer from name server 127.0.0.9: nothing listens there"
	logged 'names may not resolve' && ! logged 'names may not resolve' 2
	answers one 1.good.test
	answers one 2.good.test 1081
	answers none hosted.test
	# Replaced in its own mount namespace, which nobody else sees.
	nsenter -m -t "$pid" sh -c 'echo nameserver 10.53.0.2 >/etc/new
		mv /etc/new /etc/resolv.conf'
	answers two ok.nodata.1.test
	answers two ok.nodata.2.test 1081
	run ! fetch ns1 http://127.0.0.1:8003/
	wait_until 2 logged 'map=.ns1@8003.* error=no-such-name server=10.53.0.1:53'
	wait_until 2 logged 'why="name server 10.53.0.1:53 knows no such name: dns= or /etc/netns/ns2/resolv.conf chooses another"$'
	run -1 "$NSFWD" --test 1=ns2@no.no.test:8080,dns=127.0.0.9 3>&-
	[[ $output == *': no-answer (name server 127.0.0.9:53 did not answer in ns2: see dns= or /etc/netns/ns2/resolv.conf)' ]]
	echo 'GET /' | "$NSFWD" "-=pid:$pid@ok.nodata.3.test:8080" | grep 'this is ns2'
	run -1 "$NSFWD" "-=pid:$pid@no.no.test:8080" </dev/null 3>&-
	[[ $output == *': cannot reach the target: no such name, says 10.53.0.2' ]]
}

# No flow is open, and no name is looked up.
mappers_rest() {
	local pid
	for pid in $(mappers); do
		[ "$(fds "$pid")" -le 10 ] || return
	done
}

scene() {
	python3 "$BATS_TEST_DIRNAME/names.py" "$@" 3>&- 4>&- >&2
}

@test "UDP: datagrams wait for their own name only, and arrive in order" {
	local dead=silent.silent.dead.test
	hostile ns2 three four=10.53.0.8 ttl=1 10.53.0.3/53
	printf 'nameserver 10.53.0.3\noptions timeout:1 attempts:1\n' >"$OWN"
	echo 10.53.0.8 moving.test >/etc/netns/ns2/hosts
	start_nsfwd --udp-timeout 1 --udp-one-way-timeout 1 \
		"udp:ns1@127.0.0.1:5001=ns2@$dead:7,ns2@ok.nodata.live.test:7" \
		udp:ns1@127.0.0.1:5002=ns2@slow.nodata.late.test:7 \
		udp:ns1@127.0.0.1:5003=ns2@moving.test:7
	scene waiting 127.0.0.1/5002 10.53.0.8/7
	wait_until 4 logged "no address of '$dead'"
	wait_until 4 mappers_rest && record_fds
	scene flows 127.0.0.1/5001 10.53.0.8/7 200
	# Once a second at most, and only while there are datagrams.
	[ "$(grep -c live.test "$BATS_TEST_TMPDIR/three")" -le $((8 * TEST_SLOW)) ]
	scene flows 127.0.0.1/5003 10.53.0.8/7 3
	sed -i s/0.8/0.9/ /etc/netns/ns2/hosts
	scene moved 127.0.0.1/5003 10.53.0.8/7 10.53.0.9/7 5
	wait_until 6 no_flows
}

@test "UDP: a datagram that waits for a name costs no processor time" {
	local ticks
	hostile ns2 mute mute 10.53.0.7/53
	echo nameserver 10.53.0.7 >"$OWN"
	start_nsfwd udp:ns1@127.0.0.1:5001=ns2@dead.test:7
	ticks=$(cpu_ticks "$(mappers)")
	in_ns ns1 python3 -c 'import socket, time
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 5001))
time.sleep(2.5)'
	ticks=$(($(cpu_ticks "$(mappers)") - ticks))
	echo "$ticks ticks"
	[ "$ticks" -le 20 ]
	FDS=()
}

@test "UDP over SOCKS5: 200 datagrams to two names are four questions; a dead one" {
	hostile ns2 three four=10.53.0.8 10.53.0.3/53
	echo nameserver 10.53.0.3 >"$OWN"
	start_nsfwd ns1@127.0.0.1:1080=ns2@proxy,reach=10.0.0.0/8
	scene associate 127.0.0.1/1080 ok.nodata.a.test/7=10.53.0.8/7 \
		ok.nodata.b.test/8=10.53.0.8/8
	# Up to three times, if another process had the processor.
	[ "$(wc -l <"$BATS_TEST_TMPDIR/three")" -le 12 ]
	scene associate 127.0.0.1/1080 silent.silent.c.test/9 \
		ok.nodata.d.test/8=10.53.0.8/8
}
