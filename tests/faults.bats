#!/usr/bin/env bats
# Faults: targets that refuse or do not answer, clients that leave, processes that
# are killed, descriptors and processes that run out, and wrong starts of nsfwd.

bats_require_minimum_version 1.5.0
load helpers
export PEER=$BATS_TEST_DIRNAME/faults.py

# veth NS DEV ADDR NS DEV ADDR: makes a pair of interfaces with these addresses.
veth() {
	ip -n "$1" link add "$2" type veth peer name "$5" netns "$4"
	while [ $# -gt 0 ]; do
		ip -n "$1" link set "$2" addrgenmode none up
		ip -n "$1" addr add "$3" dev "$2" nodad
		shift 3
	done
}

# Makes a namespace as `ip netns add` does: lo is down.
fresh() {
	ip netns add "$1"
	NAMESPACES+=("$1")
}

# inject NAME PID FAULT: strace injects FAULT into PID and the processes that it
# forks, until `relieve NAME`, which also waits for the output. It replaces the system
# call by one that the filters do not know, so nsfwd needs --no-sandbox.
inject() {
	spawn self "$1" strace -f -qq -o "$BATS_TEST_TMPDIR/$1.trace" \
		-e "trace=${3%%:*}" -e "inject=$3" -p "$2"
	wait_until 5 traced "$2"
}

relieve() {
	kill_spawned "$1" TERM
}

# True if no TCP socket listens in any namespace.
unbound() {
	local where
	for where in self "${NAMESPACES[@]}"; do
		[ -z "$(in_ns "$where" ss -Hltn)" ] ||
			fail "$where: $(in_ns "$where" ss -Hltn)" || return
	done
}

# start_nsfwd and start_fails run as root without this capability.
without() {
	WRAP=(setpriv "--bounding-set=-$1" "--inh-caps=-$1")
}

# Targets.

# bats test_tags=workers
@test "a refused connection is a reset and one line (T13)" {
	start_nsfwd ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
	peer ns1 try 1 reset 0-1000 127.0.0.1/8000
	wait_until 1 logged ' error=ECONNREFUSED'
	[ "$(grep -c connection "$LOG")" = 1 ]
	logged 'map=.ns1@127.0.0.1:8000=ns2@127.0.0.1:8080. client=127.0.0.1:[0-9]+ target=127.0.0.1:8080 up=0 down=0 ms=[0-9]+ end=dial error=ECONNREFUSED why="nothing listens on 127.0.0.1:8080 in ns2"$'
	peer ns1 try 5 reset 0-100 127.0.0.1/8000
}

# bats test_tags=workers
@test "each way of having no route is a reset and its name in the log (T14)" {
	local port
	ip -n ns2 route add unreachable 10.8.0.1
	ip -n ns2 route add prohibit 10.8.0.2
	ip -n ns2 route add blackhole 10.8.0.3
	start_nsfwd ns1@8001=ns2@10.8.0.1:80 ns1@8002=ns2@10.8.0.2:80 \
		ns1@8003=ns2@10.8.0.3:80 ns1@8004=ns2@10.8.0.4:80
	for port in 8001 8002 8003 8004; do
		peer ns1 try 3 reset 0-100 "127.0.0.1/$port"
	done
	wait_until 1 logged 'map=.ns1@8001=.* end=dial error=EHOSTUNREACH' 3
	wait_until 1 logged 'map=.ns1@8002=.* end=dial error=EACCES' 3
	wait_until 1 logged 'map=.ns1@8003=.* end=dial error=EINVAL' 3
	wait_until 1 logged 'map=.ns1@8004=.* end=dial error=ENETUNREACH' 3
}

@test "lo of the target namespace is down: the start succeeds, the dial logs it" {
	fresh new
	start_nsfwd ns1@8000=new@8080
	peer ns1 try 5 reset 0-100 127.0.0.1/8000
	wait_until 1 logged ' end=dial error=ENETUNREACH'
}

# bats test_tags=workers
@test "a target that does not answer: reset at the connect timeout (T15)" {
	veth ns2 v2 10.9.0.1/24 ns1 v1 10.9.0.3/24
	ip -n ns2 neigh add 10.9.0.2 lladdr 02:00:00:00:00:09 dev v2
	named_server ns2 ns2 127.0.0.1/8080
	start_nsfwd --connect-timeout 2 ns1@8000=ns2@10.9.0.2:80 \
		ns1@8001=ns2@10.9.0.2:80,127.0.0.1:8080,connect-timeout=4
	# The first of two targets gets half of the time; both tests run at once.
	peer_start ns1 second try 1 ns2 2000-3000 127.0.0.1/8001
	peer ns1 try 1 reset 1700-2300 127.0.0.1/8000
	reap second
	wait_until 1 logged 'map=.ns1@8000=.* end=dial error=ETIMEDOUT'
}

# bats test_tags=workers,both
@test "50 connects that hang delay nobody (T16)" {
	peer_server ns2 hole hole 127.0.0.1/8000
	named_server ns2 ns2 127.0.0.1/8001
	start_nsfwd ns1@8000-8001=ns2@127.0.0.1:8000-8001
	peer_start ns1 crowd crowd 50 127.0.0.1/8000
	wait_until 5 connections_are 50
	peer ns1 try 9 ns2 0-50 127.0.0.1/8001
	crowd_is crowd 'waiting=50'
	connections_are 50
}

# bats test_tags=workers,both
@test "a client that leaves before the connect is done (T17)" {
	peer_server ns2 hole hole 127.0.0.1/8080
	start_nsfwd ns1@8000=ns2@127.0.0.1:8080 \
		ns1@8001=ns2@127.0.0.1:8080,connect-timeout=1
	peer_start ns1 rst gone rst 10 127.0.0.1/8000
	wait_until 2 connections_are 10
	kill -USR1 "$(pid_of rst)"
	reap rst
	wait_until 1 no_connections
	wait_until 1 logged 'map=.ns1@8000=.* end=client-reset' 10

	# A request may precede the end of stream, so that connection waits on.
	peer ns1 gone fin 10 127.0.0.1/8001
	wait_until 1.5 logged 'map=.ns1@8001=.* ms=[1-9][0-9]{3} end=dial error=ETIMEDOUT' 10
}

# bats test_tags=workers
@test "a client that half-closes before the connect is done (T18)" {
	peer_server ns2 hole hole 127.0.0.1/8080
	start_nsfwd ns1@8000=ns2@127.0.0.1:8080
	peer_start ns1 small early 10 127.0.0.1/8000
	peer_start ns1 large early 50000 127.0.0.1/8000
	wait_until 2 connections_are 2
	sleep 0.2
	connections_are 2
	kill -USR1 "$(pid_of hole)"
	reap small large -t 5
}

# bats test_tags=workers
@test "the first of two targets refuses: the first client is served" {
	named_server ns2 ns2 127.0.0.1/8080
	start_nsfwd ns1@8000=ns2@127.0.0.1:1,127.0.0.1:8080
	peer ns1 try 1 ns2 0-1000 127.0.0.1/8000
	peer ns1 try 5 ns2 0-100 127.0.0.1/8000
}

# Processes.

@test "500 connections killed in one loop (T22)" {
	local killed
	named_server ns2 ns2 127.0.0.1/8080
	start_nsfwd ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
	peer_start ns1 first crowd 500 127.0.0.1/8000
	wait_until 20 crowd_is first 'served=500'
	killed=$(connections)
	[ "$(wc -w <<<"$killed")" = 500 ]
	# shellcheck disable=SC2086 # one kill with all of them
	kill -KILL $killed
	wait_until 20 no_connections
	wait_until 20 crowd_is first 'served=0 .*reset=500'
	wait_until 20 logged ' end=killed signal=9$' 500
	peer_start ns1 second crowd 500 127.0.0.1/8000
	wait_until 20 crowd_is second 'served=500'
	kill -USR1 "$(pid_of second)"
	wait_until 5 crowd_is second 'done=500'
}

@test "a mapper killed twice: 20 clients wait and are served" {
	local server old pid
	named_server ns2 ns2 127.0.0.1/8080
	start_nsfwd ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
	server=$NSFWD_PID
	old=$(mappers)
	peer ns1 orphan "$server" 2 10 ns2 127.0.0.1/8000
	[ "$server" = "$NSFWD_PID" ]
	[ "$(mappers)" != "$old" ]
	logged 'ns1@127.0.0.1:8000=.*killed by signal 9' 2
	forget_mappers
	# The server reaps the connections of a killed mapper.
	wait_until 5 no_zombies
}

# True if the process has exited; process 1 may not have reaped it yet.
gone() {
	! grep -s '^State:' "/proc/$1/status" | grep -qv Z
}

listening() {
	in_ns ns1 ss -Hltn | grep -q ':8000 '
}

not_listening() {
	! listening
}

@test "the server killed: connections finish, a restart binds at once" {
	local first
	peer_server ns2 bulk bulk 127.0.0.1/8080 4000000 3
	start_nsfwd ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
	first=$(mappers)
	peer_start ns1 swap swap 4000000 3 127.0.0.1/8000
	wait_until 2 connections_are 1
	listening
	kill -KILL "$NSFWD_PID"
	wait_until 1 not_listening
	wait_nsfwd 1
	named_server ns2 ns2 127.0.0.1/8081
	start_nsfwd ns1@127.0.0.1:8000=ns2@127.0.0.1:8081
	peer ns1 try 1 ns2 0-1000 127.0.0.1/8000
	reap swap
	grep -q 'exact 4000000' "$BATS_TEST_TMPDIR/swap.out"
	wait_until 1 gone "$first"
}

@test "TERM, INT and HUP to a mapper or a connection do nothing" {
	named_server ns2 ns2 127.0.0.1/8080
	start_nsfwd ns1@8000=ns2@127.0.0.1:8080
	peer_start ns1 crowd crowd 3 127.0.0.1/8000
	wait_until 2 crowd_is crowd 'served=3'
	for signal in TERM INT HUP; do
		# shellcheck disable=SC2046 # one word each
		kill "-$signal" $(mappers) $(connections)
	done
	sleep 0.2
	connections_are 3
	crowd_is crowd 'served=3'
	peer ns1 try 1 ns2 0-1000 127.0.0.1/8000
}

# Descriptors and processes run out.

lowest_free_fd() {
	local n=0
	while [ -e "/proc/$1/fd/$n" ]; do
		n=$((n + 1))
	done
	echo "$n"
}

# strace keeps the mapper between accept(2) and fork(2), where the first signal that
# ends connections finds none. Three times, because another process may have had the
# processor until SIGKILL, 1 s later.
@test "a second TERM ends a client that was accepted, but not forked for" {
	named_server ns2 ns2 127.0.0.1/8080
	ends_late 1 || ends_late 2 || ends_late 3
}

ends_late() {
	: >"$LOG"
	start_nsfwd -v ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
	inject "late$1" "$(mappers)" clone:delay_enter=150000
	peer_start ns1 "crowd$1" crowd 1 127.0.0.1/8000
	wait_until 5 logged ' opened '
	kill -TERM "$NSFWD_PID"
	kill -INT "$NSFWD_PID"
	wait_nsfwd 5
	logged ' connection .*client=.*end=stopped'
}

@test "no descriptor left in the mapper: accept pauses and recovers (T25)" {
	local mapper hard began n
	named_server ns2 ns2 127.0.0.1/8080
	# Without CAP_SYS_RESOURCE, prlimit(1) works on processes of its user only.
	start_nsfwd --user root ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
	mapper=$(mappers)
	hard=$(awk '/^Max open files/ { print $5 }' "/proc/$mapper/limits")
	prlimit --pid "$mapper" "--nofile=$(lowest_free_fd "$mapper"):"
	spawn self trace strace -qq -e trace=accept,accept4 \
		-o "$BATS_TEST_TMPDIR/accepts" -p "$mapper"
	wait_until 5 traced "$mapper"
	peer_start ns1 crowd crowd 50 127.0.0.1/8000
	wait_until 2 crowd_is crowd 'waiting=50'
	began=$(now_ms)
	: >"$BATS_TEST_TMPDIR/accepts"
	sleep 1.5
	relieve trace
	crowd_is crowd 'served=0 waiting=50'
	cat "$BATS_TEST_TMPDIR/accepts"
	n=$(grep -c EMFILE "$BATS_TEST_TMPDIR/accepts")
	[ "$n" -le $((1 + ($(now_ms) - began) / 100)) ]
	[ "$n" -ge 2 ]
	logged EMFILE
	[ "$(grep -c EMFILE "$LOG")" -le $((2 + ($(now_ms) - began) / 1000)) ]
	prlimit --pid "$mapper" "--nofile=$hard:"
	wait_until 1 crowd_is crowd 'served=50'
	[ "$(mappers)" = "$mapper" ]
}

# bats test_tags=workers
@test "a connection to which TERM leaves no time is stopped, not killed" {
	named_server ns2 ns2 127.0.0.1/8080
	start_nsfwd --drain 100ms ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
	peer_start ns1 crowd crowd 4 127.0.0.1/8000
	wait_until 5 crowd_is crowd 'served=4'
	stop_nsfwd
	logged ' end=stopped$' 4
	run ! logged killed
}

@test "no descriptor left in the connection (T26)" {
	local mapper fault
	peer_server ns2 bulk bulk 127.0.0.1/8080 3000000 0
	start_nsfwd --no-sandbox ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
	mapper=$(mappers)
	for fault in socket:error=EMFILE socket:error=ENFILE \
		epoll_create1:error=EMFILE; do
		inject "$fault" "$mapper" "$fault"
		peer ns1 try 3 reset 0-1000 127.0.0.1/8000
		relieve "$fault"
		grep -q INJECTED "$BATS_TEST_TMPDIR/$fault.trace"
		peer ns1 swap 3000000 0 127.0.0.1/8000
	done
	wait_until 1 logged ' error=EMFILE' 6
	wait_until 1 logged ' error=ENFILE' 3
	# Without a pipe the relay copies.
	for fault in pipe2:error=EMFILE pipe2:error=ENFILE; do
		inject "$fault" "$mapper" "$fault"
		peer ns1 swap 3000000 0 127.0.0.1/8000
		relieve "$fault"
		grep -q INJECTED "$BATS_TEST_TMPDIR/$fault.trace"
	done
	[ "$(mappers)" = "$mapper" ]
}

@test "fork fails: the client is reset, the mapper goes on (T27)" {
	local mapper fault
	named_server ns2 ns2 127.0.0.1/8080
	start_nsfwd --no-sandbox ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
	mapper=$(mappers)
	for fault in EAGAIN ENOMEM; do
		inject "$fault" "$mapper" "?fork,?vfork,?clone,?clone3:error=$fault"
		peer ns1 try 3 reset 0-1000 127.0.0.1/8000
		relieve "$fault"
		grep -q INJECTED "$BATS_TEST_TMPDIR/$fault.trace"
		peer ns1 try 1 ns2 0-1000 127.0.0.1/8000
	done
	logged 'fork: EAGAIN'
	[ "$(mappers)" = "$mapper" ]
}

@test "a paused listener is watched again, even if the first attempt fails" {
	local mapper
	named_server ns2 ns2 127.0.0.1/8080
	start_nsfwd --no-sandbox ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
	mapper=$(mappers)
	spawn self trace strace -qq -o "$BATS_TEST_TMPDIR/trace" \
		-e 'inject=?fork,?vfork,?clone,?clone3:error=EAGAIN:when=1' \
		-e inject=epoll_ctl:error=ENOMEM:when=2 -p "$mapper"
	wait_until 5 traced "$mapper"
	# The second client waits when the first one makes accept pause.
	peer ns1 bursts 1 1 2 1 127.0.0.1/8000 "$NSFWD_PID" "$mapper"
	relieve trace
	[ "$(grep -c INJECTED "$BATS_TEST_TMPDIR/trace")" = 2 ]
	[ "$(mappers)" = "$mapper" ]
}

# bats test_tags=workers,both
@test "at a limit the next client is served when one leaves" {
	local i
	named_server ns2 ns2 127.0.0.1/8080
	start_nsfwd ns1@127.0.0.1:8000=ns2@127.0.0.1:8080,max=1
	for i in 1 2 3; do
		peer_start ns1 "try$i" try 30 ns2 0-70 127.0.0.1/8000
	done
	reap try1 try2 try3
	logged '1 connection, the limit'
}

# Descriptors of a connection.

# Prints the targets of all descriptors from 3 on.
links() {
	local fd
	for fd in "/proc/$1/fd/"*; do
		[ "${fd##*/}" -le 2 ] || readlink "$fd"
	done
}

bulk_is_spliced() {
	[ "$(links "$1" | grep -c '^pipe:')" = 4 ]
}

@test "a connection holds its sockets, pipes and epoll, no more (T57)" {
	local connection inode
	# shellcheck disable=SC2016 # for the inner shell
	local leaks='for n in {20..69}; do eval "exec $n<$0"; done
		exec 70</run/netns/ns2; exec "$@"'
	touch "$BATS_TEST_TMPDIR/leak"
	WRAP=(bash -c "$leaks" "$BATS_TEST_TMPDIR/leak")
	peer_server ns2 bulk bulk 127.0.0.1/8080 100000000000 0
	start_nsfwd ns1@8000=fd:70@127.0.0.1:8080
	peer_start ns1 swap swap 100000000000 0 127.0.0.1/8000
	wait_until 2 connections_are 1
	connection=$(connections)
	wait_until 2 bulk_is_spliced "$connection"
	links "$connection"
	[ "$(links "$connection" | wc -l)" = 7 ]
	[ "$(links "$connection" | grep -c '^socket:')" = 2 ]
	[ "$(links "$connection" | grep -c 'eventpoll')" = 1 ]
	{
		in_ns ns1 ss -Hltne
		in_ns ns2 ss -Hltne
	} >"$BATS_TEST_TMPDIR/listening"
	for inode in $(links "$connection" | tr -dc '0-9\n'); do
		run ! grep "ino:$inode " "$BATS_TEST_TMPDIR/listening"
	done
	run ! grep -E 'leak|^net:' <<<"$(links "$(mappers)")"
	run ! grep leak <<<"$(links "$NSFWD_PID")"
	# The stream is endless: end it.
	kill -KILL "$(pid_of swap)"
	wait_until 2 no_connections
}

# IPv6.

@test "both families, mapped addresses, zones (T49)" {
	ns ns3
	# Gives the two interfaces different indexes.
	ip -n ns2 link add x0 type veth peer name x1
	veth ns1 v1 fe80::1/64 ns3 v3 fe80::3/64
	veth ns2 v2 fe80::2/64 ns3 w3 fe80::30/64
	ip -n ns2 -o link show v2 | grep -q '^4:'
	run ! grep '^4:' <<<"$(ip -n ns1 -o link show v1)"
	named_server ns2 ns2 127.0.0.1/8080 ::1/8080
	named_server ns3 ns3 fe80::30%w3/8080
	start_nsfwd -v ns1@::1/8001=ns2@::1/8080 \
		ns1@::1/8002=ns2@127.0.0.1:8080 \
		ns1@127.0.0.1:8003=ns2@::1/8080 \
		ns1@8004=ns2@fe80::30%v2/8080 \
		ns1@fe80::1%v1/8005=ns2@fe80::30%v2/8080 \
		ns1@:8006=ns2@8080 \
		ns1@::/8007=ns2@8080 \
		'ns1@[::1]:8009=ns2@[::1]:8080' \
		ns1@8010=ns2@fe80::30%nope/8080
	peer ns1 ask ::1/8001=ns2 ::1/8002=ns2 127.0.0.1/8003=ns2 \
		127.0.0.1/8004=ns3 127.0.0.1/8006=ns2 ::1/8006=ns2 \
		127.0.0.1/8007=refused ::1/8007=ns2 ::1/8009=ns2 \
		127.0.0.1/8010=reset
	peer ns3 ask fe80::1%v3/8005=ns3
	wait_until 1 logged ' target=fe80::30%nope/8080 .* end=dial error=ENODEV'
	logged 'map=.ns1@:8006=ns2@8080. client=127\.0\.0\.1:'
	logged 'map=.ns1@:8006=ns2@8080. client=::1/'
	stop_nsfwd
	start_fails 1 "fe80::1%nope/8000=.*nope.*ENODEV" \
		ns1@fe80::1%nope/8000=ns2@8080
	start_fails 2 "::ffff:127.0.0.1'.*IPv4" ns1@8008=ns2@::ffff:127.0.0.1/80
	[ -z "$(in_ns ns1 ss -Hltn)" ]
}

# Wrong starts.

@test "a port that is taken" {
	named_server ns1 other 127.0.0.1/8000
	start_fails 1 "'ns1@8000=ns2@8080'.*127.0.0.1:8000.*taken.*EADDRINUSE" \
		ns1@8001=ns2@8080 ns1@8000=ns2@8080
	[ "$(in_ns ns1 ss -Hltn | wc -l)" = 1 ]
	start_fails 2 "'ns1@127.0.0.1:8002=ns2@81'.*where 'ns1@8002=ns2@80' does" \
		ns1@8002=ns2@80 ns1@127.0.0.1:8002=ns2@81
	[ "$(in_ns ns1 ss -Hltn | wc -l)" = 1 ]
	peer ns1 try 1 other 0-1000 127.0.0.1/8000
}

@test "lo of the source namespace is down" {
	fresh new
	start_fails 1 "'new@8000=ns2@8080'.*ip -n new link set lo up" \
		new@8000=ns2@8080
	start_fails 1 'ip -n new link set lo up' new@::1/8000=ns2@8080
	start_fails 1 "/run/netns/new.*link set lo up" \
		/run/netns/new@8000=ns2@8080
	unbound
	ip -n new link set lo up
	start_nsfwd new@8000=ns2@8080
}

@test "no such address, and no permission" {
	start_fails 1 "'ns1@10.1.2.3:80=ns2@80'.*10\.1\.2\.3:80.*EADDRNOTAVAIL" \
		ns1@10.1.2.3:80=ns2@80
	without sys_admin
	start_fails 1 "'8000=ns2@80'.*ns2.*CAP_SYS_ADMIN" 8000=ns2@80
	start_fails 1 "'ns1@8000=8080'.*ns1.*CAP_SYS_ADMIN" ns1@8000=8080
	without net_bind_service
	start_fails 1 "'ns1@80=ns2@80'.*:80.*net.ipv4.ip_unprivileged_port_start" \
		ns1@80=ns2@80
	in_ns ns1 sysctl -qw net.ipv4.ip_unprivileged_port_start=80
	start_nsfwd ns1@80=ns2@80
	stop_nsfwd
	unbound
}

@test "one map wrong: the others are never bound" {
	local second
	for second in ns1@8001=nope@80 nope@8001=ns2@80 ns1@0=ns2@80 \
		ns1@8001=ns2@80,max=x ns1@8001; do
		start_fails 2 "'$second'" ns1@8000=ns2@80 "$second"
	done
	unbound
	# The leak check of a sanitizer does not work under strace.
	WRAP=(strace -f -qq -E ASAN_OPTIONS=detect_leaks=0
		-o "$BATS_TEST_TMPDIR/binds" -e "trace=bind,listen")
	start_fails 2 "no namespace 'nope' \(ip netns list shows them; --wait" \
		ns1@8000=ns2@80 ns1@8001=nope@80
	run ! grep bind "$BATS_TEST_TMPDIR/binds"
	# The ports of the other maps were bound, but never listened.
	named_server ns1 other 127.0.0.1/8000
	start_fails 1 EADDRINUSE ns1@8001=ns2@80 ns1@8000=ns2@80
	grep bind "$BATS_TEST_TMPDIR/binds"
	run ! grep listen "$BATS_TEST_TMPDIR/binds"
}

@test "a config that cannot be read" {
	local conf=$BATS_TEST_TMPDIR/conf
	start_fails 2 "$conf" -c "$conf"
	start_fails 2 "$BATS_TEST_TMPDIR" -c "$BATS_TEST_TMPDIR"
	echo 'ns1@8000=ns2@80' >"$conf"
	chmod 0 "$conf"
	without dac_override,-dac_read_search
	start_fails 2 "$conf" -c "$conf"
	WRAP=()
	printf '# one\nns1@8000=ns2@80\nns1@8001=nope\n' >"$conf"
	chmod 600 "$conf"
	start_fails 2 "^nsfwd: $conf:3: 'ns1@8001=nope': column 10: 'nope': " -c "$conf"
	unbound
}

@test "a path or name that is no namespace is refused in time (T61)" {
	local dead long name
	mkfifo /run/netns/fifo "$BATS_TEST_TMPDIR/fifo"
	echo text >/run/netns/file
	mkdir /run/netns/dir
	ln -s /nowhere /run/netns/dangling
	ln -s loop /run/netns/loop
	sh -c : &
	dead=$!
	wait "$dead"
	long=$(printf 'x%.0s' {1..4096})
	for name in nope .. . fifo dir dangling loop "pid:$dead" \
		pid:0 pid:x pid:99999999999 fd:77 fd:0 fd:x "$long" "/$long" \
		"$BATS_TEST_TMPDIR/fifo" /proc/self/ns/mnt /proc/self/ns/user \
		/dev/null /nowhere/ns "/proc/$dead/ns/net" /etc/passwd/ns; do
		start_fails 2 "^nsfwd: '8000=" "8000=$name@80"
		start_fails 2 "^nsfwd: '" "$name@8000=80"
	done
	unbound
	rm -r /run/netns/{fifo,dir,dangling,loop}
	# An empty or plain file may be a namespace in the making: retried for 1 s.
	start_fails 2 "^nsfwd: '8000=file@80'.*'file' is not a network namespace" 8000=file@80
	start_fails 2 "^nsfwd: '8000=fd:77@80'.*fd:77.*not open" 8000=fd:77@80
	start_fails 2 "^nsfwd: '8000=pid:$dead@80'.*pid:$dead" "8000=pid:$dead@80"
	rm /run/netns/file
}
