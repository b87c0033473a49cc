#!/usr/bin/env bats
# Listeners are opened anew when the owner of the namespace destroyed the socket,
# or when the file, interface or address under it was replaced; --wait starts
# without them; and a reload that fails closes none.

bats_require_minimum_version 1.5.0
load helpers

LISTENERS=$BATS_TEST_DIRNAME/listeners.py

setup() {
	ns ns1 ns2
	CONF=$BATS_TEST_TMPDIR/conf
}

# with NS ARG...: runs listeners.py in that namespace
with() {
	in_ns "$1" python3 "$LISTENERS" "${@:2}" 3>&- 4>&-
}

# answers NS SECONDS WHERE...: each WHERE answers within SECONDS.
answers() {
	with "$1" follow "$2" here "${@:3}"
}

# Spawns the target of most maps here.
target() {
	spawn_ready ns2 target python3 "$LISTENERS" server here \
		tcp:127.0.0.1/8080 udp:127.0.0.1/8080
}

# destroy NS PORT [OPTION]: destroys the sockets that are bound to the port.
destroy() {
	local -a which=(-Hn "${3:--lt}" "sport = :$2")
	in_ns "$1" ss "${which[@]}" | grep -q ":$2 " ||
		fail "nobody listens on port $2" || return
	in_ns "$1" ss -K "${which[@]}" | grep -q ":$2 " || skip "no ss -K here"
}

# settled N: true if the old mappers have exited and N new ones serve.
settled() {
	wait_until 3 mappers_are "$1" && record_fds
}

# made_anew NS: makes or replaces the interface d0, with a link-local address.
made_anew() {
	ip -n "$1" link del d0 2>/dev/null || true
	ip -n "$1" link add d0 type veth peer name d1
	ip -n "$1" link set d1 up
	ip -n "$1" link set d0 up
	ip -n "$1" addr add fe80::1/64 dev d0 nodad
}

# Destroyed listeners.

# bats test_tags=workers,both
@test "ss -K on a listener: it listens again, connections go on" {
	local i
	target
	start_nsfwd ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
	spawn ns1 one python3 "$LISTENERS" hold tcp:127.0.0.1/8000
	wait_until 2 printed one here
	for i in 1 2 3; do
		destroy ns1 8000
		answers ns1 2 tcp:127.0.0.1/8000
	done
	wait_until 3 logged 'serves again' 3
	logged 'a listening socket was destroyed'
	run ! logged 'its mapper|a worker'
	kill -USR1 "$(pid_of one)"
	wait_until 2 printed one here 2
	kill_spawned one
	settled 1
}

# bats test_tags=workers
@test "ss -K in a loop disturbs one map only" {
	local starts
	target
	start_nsfwd --stats /run/stats ns1@127.0.0.1:8000-8019=ns2@127.0.0.1:8080-8099 \
		ns1@127.0.0.1:9000=ns2@127.0.0.1:8080
	destroy ns1 8001
	spawn ns1 kills python3 "$LISTENERS" kills 3 8001
	spawn ns1 other python3 "$LISTENERS" load 100 250 tcp:127.0.0.1/9000 0 0
	spawn ns1 range python3 "$LISTENERS" load 100 250 tcp:127.0.0.1/8000 0 0
	reap kills other range
	output_of kills
	starts=$(grep -c 'serves again' "$LOG")
	echo "# $(output_of kills | xargs), mapper starts: $starts" >&3
	[ "$starts" -le 5 ]
	run ! logged 'its mapper|a worker'
	answers ns1 2 tcp:127.0.0.1/8000
	wait_until 3 in_ns ns1 bash -c 'ss -Hltn | grep -q :8001'
	settled 2
}

@test "ss -K on a UDP listener, of a link-local address too" {
	target
	made_anew ns1
	start_nsfwd udp:ns1@127.0.0.1:8000=ns2@127.0.0.1:8080 \
		'udp:ns1@fe80::1%d0/8000=ns2@127.0.0.1:8080'
	destroy ns1 8000 -lu
	answers ns1 2 udp:127.0.0.1/8000 udp:fe80::1%d0/8000
	# The new socket is bound to the interface, too.
	wait_until 3 in_ns ns1 bash -c 'ss -Hlun | grep -q "%d0.*:8000"'
	settled 2
}

@test "ss -K while another program takes the port: the map waits" {
	target
	start_nsfwd ns1@127.0.0.1:8000=ns2@127.0.0.1:8080 \
		ns1@127.0.0.1:9000=ns2@127.0.0.1:8080
	destroy ns1 8000
	wait_until 3 logged 'serves again'
	# The server is stopped, so that the other program comes first.
	kill -STOP "$NSFWD_PID"
	destroy ns1 8000
	spawn_ready ns1 other python3 "$LISTENERS" server other tcp:127.0.0.1/8000
	kill -CONT "$NSFWD_PID"
	wait_until 3 logged "8000=.*cannot listen on 127.0.0.1:8000: the port is taken"
	with ns1 follow 0 other tcp:127.0.0.1/8000
	answers ns1 0.5 tcp:127.0.0.1/9000
	sleep 1.5
	[ "$(grep -c 'port is taken' "$LOG")" = 1 ]
	kill_spawned other
	answers ns1 3 tcp:127.0.0.1/8000
	settled 2
}

# bats test_tags=workers
@test "ss -K on a socket of systemd: the same socket listens again" {
	local status=0
	target
	WRAP=(python3 "$LISTENERS" handed tcp:127.0.0.1/8000 web)
	start_nsfwd systemd:web=ns2@127.0.0.1:8080
	destroy self 8000
	answers self 2 tcp:127.0.0.1/8000
	settled 1
}

@test "a socket of systemd goes on listening when its map is removed" {
	local held
	target
	echo 'systemd:web=ns2@127.0.0.1:8080' >"$CONF"
	# This process holds the socket, as systemd would.
	python3 "$LISTENERS" handed tcp:127.0.0.1/8000 web /usr/bin/sleep 60 4>&- &
	held=$!
	wait_until 5 listens self 8000
	WRAP=(python3 -c 'import os, sys
fd = os.pidfd_open(int(sys.argv[1]))
import ctypes
sock = ctypes.CDLL(None).syscall(438, fd, 3, 0)
os.dup2(sock, 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="web")
os.execv(sys.argv[2], sys.argv[2:])' "$held")
	start_nsfwd -c "$CONF"
	answers self 1 tcp:127.0.0.1/8000
	echo '127.0.0.1:8001=ns2@127.0.0.1:8080' >"$CONF"
	hup 'reloaded: 1 map'
	listens self 8000
	echo 'systemd:web=ns2@127.0.0.1:8080' >"$CONF"
	hup 'reloaded: 1 map'
	destroy self 8000
	answers self 2 tcp:127.0.0.1/8000
	run ! logged 'not watched'
	stop_nsfwd
	listens self 8000
	kill "$held"
}

@test "--pin: a destroyed listener listens again" {
	target
	spawn_ready self own python3 "$LISTENERS" server here tcp:127.0.0.1/8080
	start_nsfwd --pin 127.0.0.1:8000=127.0.0.1:8080
	destroy self 8000
	answers self 2 tcp:127.0.0.1/8000
	settled 1
}

# Files and interfaces of listeners.

# bats test_tags=workers
@test "an interface made anew: its link-local listeners are opened anew" {
	local where=(tcp:fe80::1%d0/8000 udp:fe80::1%d0/8000) proto=tcp+udp n=2
	# UDP has no workers.
	[ -z "$WORKERS" ] || where=("${where[0]}") proto=tcp n=1
	target
	made_anew ns1
	echo "$proto:ns1@fe80::1%d0/8000=ns2@127.0.0.1:8080" >"$CONF"
	start_nsfwd -c "$CONF"
	answers ns1 1 "${where[@]}"
	made_anew ns1
	answers ns1 2 "${where[@]}"
	logged 'its interface was removed or replaced' "$n"
	# The interface is missing for a while.
	ip -n ns1 link del d0
	wait_until 3 logged 'waits to listen on d0: no such interface there' "$n"
	made_anew ns1
	answers ns1 2 "${where[@]}"
	# HUP checks at once.
	made_anew ns1
	hup 'nsfwd: .*reloaded: 1 map$'
	answers ns1 0 "${where[@]}"
	settled "$n"
}

# bats test_tags=workers
@test "a directory made anew, a file removed: the UNIX listener is opened anew" {
	local dir=$BATS_TEST_TMPDIR/d
	target
	mkdir "$dir"
	echo "$dir/u=ns2@127.0.0.1:8080,mode=600" >"$CONF"
	start_nsfwd -c "$CONF"
	spawn self one python3 "$LISTENERS" hold "unix:$dir/u"
	wait_until 2 printed one here
	rm -r "$dir"
	mkdir "$dir"
	answers self 2 "unix:$dir/u"
	[ "$(stat -c %a "$dir/u")" = 600 ]
	rm "$dir/u"
	answers self 2 "unix:$dir/u"
	# The directory is absent for a while.
	rm -r "$dir"
	wait_until 3 logged "waits to listen on $dir/u: no such directory: ENOENT"
	mkdir "$dir"
	answers self 2 "unix:$dir/u"
	# HUP checks at once. The old connection was not touched.
	rm "$dir/u"
	hup 'nsfwd: .*reloaded: 1 map$'
	answers self 0 "unix:$dir/u"
	kill -USR1 "$(pid_of one)"
	wait_until 2 printed one here 2
	kill_spawned one
	stop_nsfwd
	[ ! -e "$dir/u" ]
}

@test "a UNIX listener is not taken from a program that listens there now" {
	local path=$BATS_TEST_TMPDIR/u
	target
	start_nsfwd "$path=ns2@127.0.0.1:8080"
	# The server is stopped, so that the other program comes first.
	kill -STOP "$NSFWD_PID"
	rm "$path"
	spawn_ready self other python3 "$LISTENERS" server other "unix:$path"
	kill -CONT "$NSFWD_PID"
	wait_until 3 logged "cannot listen on $path: somebody listens there"
	sleep 1.5
	with self follow 0 other "unix:$path"
	# nsfwd does not even connect to it.
	printed other accepted 1
	[ "$(grep -c 'somebody listens' "$LOG")" = 1 ]
	kill_spawned other
	answers self 2 "unix:$path"
	# A plain file stays, too.
	rm "$path"
	echo mine >"$path"
	wait_until 3 logged "cannot listen on $path: that file is no socket: remove it"
	[ "$(cat "$path")" = mine ]
	rm "$path"
	answers self 2 "unix:$path"
	settled 1
}

@test "the socket of --stats is made anew" {
	start_nsfwd --stats "$BATS_TEST_TMPDIR/stats" 127.0.0.1:8000=ns2@1
	rm "$BATS_TEST_TMPDIR/stats"
	wait_until 3 test -S "$BATS_TEST_TMPDIR/stats"
	[ "$(stat -c %a "$BATS_TEST_TMPDIR/stats")" = 700 ]
	curl -s -m $((5 * TEST_SLOW)) --unix-socket "$BATS_TEST_TMPDIR/stats" http://x/ | grep -q nsfwd_
	rm "$BATS_TEST_TMPDIR/stats"
	kill -HUP "$NSFWD_PID"
	wait_until 1 test -S "$BATS_TEST_TMPDIR/stats"
	record_fds
}

undisturbed() {
	local before
	before=$(switches "$NSFWD_PID")
	with ns1 load 50 100 tcp:127.0.0.1/8000 0 0
	sleep 1
	[ "$(switches "$NSFWD_PID")" = "$before" ]
}

@test "files are checked once a second; without files the server sleeps" {
	local began before n
	start_nsfwd "$BATS_TEST_TMPDIR/u=ns2@1" ns1@127.0.0.1:8000=ns2@1
	before=$(switches "$NSFWD_PID")
	began=$(now_ms)
	sleep 3
	n=$(($(switches "$NSFWD_PID") - before))
	echo "$n switches in $(($(now_ms) - began)) ms"
	[ "$n" -ge 1 ] && [ "$n" -le $((1 + ($(now_ms) - began) / 1000)) ]
	stop_nsfwd
	target
	start_nsfwd '@nsfwd-u=ns2@1' ns1@127.0.0.1:8000=ns2@127.0.0.1:8080 ns1@:8001=ns2@1
	# Clients do not wake the server, although it watches the listeners.
	undisturbed || undisturbed
}

# Addresses, interfaces and files that are missing at the start.

@test "--wait: addresses, interfaces and lo that come later, TCP and UDP" {
	local ready=$BATS_TEST_TMPDIR/ready
	target
	ip netns add ns3
	NAMESPACES+=(ns3)
	spawn_ready self notify python3 "$BATS_TEST_DIRNAME/server.py" notify \
		"$BATS_TEST_TMPDIR/notify"
	WRAP=(env "NOTIFY_SOCKET=$BATS_TEST_TMPDIR/notify")
	start_nsfwd --wait tcp+udp:ns1@10.9.9.9:8000=ns2@127.0.0.1:8080 \
		'tcp+udp:ns1@fe80::1%d0/8000=ns2@127.0.0.1:8080' \
		ns3@8000=ns2@127.0.0.1:8080 \
		"$BATS_TEST_TMPDIR/dir/u=ns2@127.0.0.1:8080" \
		ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
	logged "^nsfwd: ready: 1 of 5 maps \('.*' waits .*, and 3 more\)$"
	wait_until 2 printed notify "STATUS=1 of 5 maps ('.*' waits .*, and 3 more)"
	logged "'tcp.*9:8000=.*': waits to listen on 10.9.9.9:8000: no such address there"
	logged "'.*fe80::1%d0.*': waits to listen on d0: no such interface there"
	logged "'ns3@8000=.*': waits to listen on .*: lo is down \(ip -n ns3 link set lo up\)"
	logged "waits to listen on $BATS_TEST_TMPDIR/dir/u: no such directory"
	answers ns1 0.5 tcp:127.0.0.1/8000
	ip -n ns3 link set lo up
	answers ns3 2 tcp:127.0.0.1/8000
	ip -n ns1 addr add 10.9.9.9/32 dev lo
	answers ns1 2 tcp:10.9.9.9/8000 udp:10.9.9.9/8000
	made_anew ns1
	answers ns1 2 tcp:fe80::1%d0/8000 udp:fe80::1%d0/8000
	mkdir "$BATS_TEST_TMPDIR/dir"
	answers self 2 "unix:$BATS_TEST_TMPDIR/dir/u"
	wait_until 2 printed notify 'STATUS=5 maps'
	settled 7
}

# tentative N: makes an interface whose address stays tentative for N probes.
tentative() {
	ip -n ns1 link add v1 type veth peer name v2
	in_ns ns1 sysctl -qw net.ipv6.conf.v1.dad_transmits="$1"
	ip -n ns1 link set v2 up
	ip -n ns1 link set v1 up
	ip -n ns1 addr add fd09::1/64 dev v1
	ip -n ns1 addr show dev v1 | grep -q 'fd09::1.*tentative'
}

@test "an IPv6 address that is tentative: the message says so, --wait waits" {
	target
	tentative 30
	start_fails 1 "cannot listen on fd09::1/8000: the address is still tentative \(--wait waits for it\): EADDRNOTAVAIL" \
		ns1@fd09::1/8000=ns2@127.0.0.1:8080
	start_fails 1 "cannot listen on fd09::2/8000: no such address there" \
		ns1@fd09::2/8000=ns2@127.0.0.1:8080
	start_nsfwd --wait tcp+udp:ns1@fd09::1/8000=ns2@127.0.0.1:8080
	logged "waits to listen on fd09::1/8000: the address is still tentative" 2
	logged 'ready: 0 of 1 map \(.* waits'
	ip -n ns1 addr del fd09::1/64 dev v1
	ip -n ns1 addr add fd09::1/64 dev v1 nodad
	answers ns1 2 tcp:fd09::1/8000 udp:fd09::1/8000
	settled 2
}

@test "an IPv6 address that another host has: the message says so" {
	ip -n ns1 link add v1 type veth peer name v2 netns ns2
	ip -n ns2 addr add fd09::1/64 dev v2 nodad
	ip -n ns2 link set v2 up
	ip -n ns1 link set v1 up
	ip -n ns1 addr add fd09::1/64 dev v1
	dad_failed() {
		ip -n ns1 addr show dev v1 | grep -q 'fd09::1.*dadfailed'
	}
	wait_until 10 dad_failed
	start_fails 1 "another host has that address \(dadfailed\): EADDRNOTAVAIL" \
		ns1@fd09::1/8000=ns2@1
}

@test "a name of another mount namespace: the message says so, --wait waits" {
	touch /run/netns/elsewhere
	start_fails 2 "no namespace 'elsewhere' \(an empty file: the name was made in another mount namespace; --wait" \
		127.0.0.1:8000=elsewhere@127.0.0.1:8080
	start_nsfwd --wait 127.0.0.1:8000=elsewhere@127.0.0.1:8080
	logged "waits for namespace 'elsewhere' \(an empty file"
	# Then the name is mounted here.
	mount --bind /run/netns/ns2 /run/netns/elsewhere
	target
	answers self 2 tcp:127.0.0.1/8000
	umount /run/netns/elsewhere
	wait_until 2 logged "waits for namespace 'elsewhere'" 2
	rm /run/netns/elsewhere
	settled 0
}

@test "--pin --wait: privileges are dropped when nothing waits; no spinning" {
	spawn_ready self own python3 "$LISTENERS" server here tcp:127.0.0.1/8080
	spawn_ready self docker python3 "$LISTENERS" server here "unix:$BATS_TEST_TMPDIR/docker"
	export DOCKER_HOST=unix://$BATS_TEST_TMPDIR/docker
	for_nobody
	printf '%s\n' ns1@127.0.0.1:8000=127.0.0.1:8080 \
		127.0.0.1:8001=late@127.0.0.1:8080 \
		late@127.0.0.1:8002=127.0.0.1:8080 >"$CONF"
	start_nsfwd --pin --wait -c "$CONF" --stats later@127.0.0.1:9100
	rests 1 3 "$NSFWD_PID"
	logged 'pin: privileges are kept until nothing waits'
	run ! grep -q '^CapEff:.0*$' "/proc/$NSFWD_PID/status"
	ns late
	spawn_ready late there python3 "$LISTENERS" server here tcp:127.0.0.1/8080
	answers self 2 tcp:127.0.0.1/8001
	answers late 2 tcp:127.0.0.1/8002
	run ! grep -q '^CapEff:.0*$' "/proc/$NSFWD_PID/status"
	ns later
	wait_until 2 logged 'pin: mappers of other namespaces are not replaced, deleted namespaces not followed'
	grep -q '^CapEff:.0*$' "/proc/$NSFWD_PID/status"
	# The socket of --stats is mended without privileges.
	wait_until 2 fetch later -o /dev/null http://127.0.0.1:9100/metrics
	destroy later 9100
	wait_until 2 fetch later -o /dev/null http://127.0.0.1:9100/metrics
	# The server has no tracker now, and does not ask in its place.
	echo 127.0.0.1:8003=docker:web@80 >>"$CONF"
	hup 'reloaded: 3 of 4 maps'
	logged "waits for namespace 'docker:web' \(--pin has ended its tracker\)"
	[ ! -s "$BATS_TEST_TMPDIR/docker.out" ]
	# Mappers that cannot be replaced do not make the server spin.
	# shellcheck disable=SC2046 # one word each
	kill -KILL $(mappers)
	wait_until 2 logged 'no new mapper: EPERM \(--pin dropped the privileges: restart nsfwd\)$'
	rests 1 3 "$NSFWD_PID"
	stop_nsfwd
}

# Reloads.

# bats test_tags=workers
@test "a reload that fails because of one map refuses no client of another" {
	local line n=0
	target
	mkdir "$BATS_TEST_TMPDIR/locked"
	spawn_ready ns1 taken python3 "$LISTENERS" server other tcp:127.0.0.1/9000
	echo 'ns1@127.0.0.1:8000=ns2@127.0.0.1:8080' >"$CONF"
	start_nsfwd -c "$CONF"
	for line in ns1@10.9.9.9:8001=ns2@1 ns1@127.0.0.1:9000=ns2@1 \
		"/proc/nowhere=ns2@1"; do
		# The first line conflicts with the listener in force.
		printf '%s\n' ns1@:8000=ns2@127.0.0.1:8080 "$line" >"$CONF"
		with ns1 load 300 240 tcp:127.0.0.1/8000 "$NSFWD_PID" 2
		wait_until 5 logged 'not reloaded' $((n += 2))
	done
	run ! logged 'serves again'
	settled 1
}

@test "a reload that fails loses no datagram of another map" {
	target
	echo 'udp:ns1@127.0.0.1:8000=ns2@127.0.0.1:8080' >"$CONF"
	start_nsfwd -c "$CONF"
	printf '%s\n' udp:ns1@:8000=ns2@127.0.0.1:8080 \
		udp:ns1@10.9.9.9:8001=ns2@1 >"$CONF"
	with ns1 load 100 150 udp:127.0.0.1/8000 "$NSFWD_PID" 2
	wait_until 5 logged 'not reloaded' 2
	run ! logged 'serves again'
	settled 1
}

# bats test_tags=workers
@test "a listener that was closed for a reload that fails is back at once" {
	local proto=tcp+udp n=2
	[ -z "$WORKERS" ] || proto=tcp n=1
	target
	ip -n ns1 addr add 10.9.9.9/32 dev lo
	spawn_ready ns1 other python3 "$LISTENERS" server other \
		tcp:10.9.9.9/8000 udp:10.9.9.9/8000
	echo "$proto:ns1@127.0.0.1:8000=ns2@127.0.0.1:8080" >"$CONF"
	start_nsfwd -c "$CONF"
	spawn ns1 one python3 "$LISTENERS" hold tcp:127.0.0.1/8000
	wait_until 2 printed one here
	# The conflict with another program appears only when the old listener is closed.
	echo "$proto:ns1@:8000=ns2@127.0.0.1:8080" >"$CONF"
	with ns1 load 200 200 tcp:127.0.0.1/8000 "$NSFWD_PID" 1 90
	wait_until 5 logged 'not reloaded'
	logged 'cannot listen on .*8000: the port is taken'
	[ -n "$WORKERS" ] || answers ns1 0.3 udp:127.0.0.1/8000
	kill -USR1 "$(pid_of one)"
	wait_until 2 printed one here 2
	kill_spawned one
	settled "$n"
}

@test "two maps exchange their addresses in one reload" {
	target
	spawn_ready ns2 second python3 "$LISTENERS" server second \
		tcp:127.0.0.1/8081 udp:127.0.0.1/8081
	ip -n ns1 addr add 10.9.9.9/32 dev lo
	printf 'tcp+udp:ns1@%s=ns2@%s\n' 127.0.0.1:8000 127.0.0.1:8080 \
		:8001 127.0.0.1:8081 >"$CONF"
	start_nsfwd -c "$CONF"
	printf 'tcp+udp:ns1@%s=ns2@%s\n' :8000 127.0.0.1:8081 \
		127.0.0.1:8001 127.0.0.1:8080 >"$CONF"
	hup 'reloaded: 2 maps'
	answers ns1 0 tcp:127.0.0.1/8001 udp:127.0.0.1/8001
	with ns1 follow 0 second tcp:10.9.9.9/8000 udp:10.9.9.9/8000
	settled 4
}

@test "HUP with --wait: a map whose address is not there holds back none" {
	target
	echo ns1@127.0.0.1:8000=ns2@127.0.0.1:8080 >"$CONF"
	start_nsfwd --wait -c "$CONF"
	echo ns1@10.9.9.9:8000=ns2@127.0.0.1:8080 >>"$CONF"
	hup 'nsfwd: .*reloaded: 1 of 2 maps \(.* waits .*\)$'
	ip -n ns1 addr add 10.9.9.9/32 dev lo
	hup 'nsfwd: .*reloaded: 2 maps$'
	answers ns1 0 tcp:10.9.9.9/8000
	settled 2
}
