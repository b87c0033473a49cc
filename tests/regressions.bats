#!/usr/bin/env bats
# Faults that were found once and have no numbered test.

bats_require_minimum_version 1.5.0
load helpers
REGRESSIONS=$BATS_TEST_DIRNAME/regressions.py

# True if curl is reset, in connect, send or receive: the map works.
is_reset() {
	run in_ns ns1 curl -s -m $((5 * TEST_SLOW)) http://127.0.0.1:8000/
	[[ $status =~ ^(7|55|56)$ ]]
}

@test "an urgent byte and an end behind spliced data: nothing is lost" {
	start_nsfwd 127.0.0.1:8000=127.0.0.1:8001
	python3 "$REGRESSIONS" urgent 8000 8001 3>&-
}

@test "a busy direction does not starve the other" {
	# The better of two runs counts, because of noise.
	ASAN_OPTIONS=detect_leaks=0 python3 "$REGRESSIONS" starve "$NSFWD" 3>&-
}

@test "a log that nobody reads stops nothing" {
	python3 "$REGRESSIONS" unread "$NSFWD" 3>&-
}

@test "a log pipe that fills up between poll and write stops nothing" {
	needs strace
	local fifo=$BATS_TEST_TMPDIR/fifo mapper
	mkfifo "$fifo"
	exec {keep}<>"$fifo"
	# shellcheck disable=SC2016 # for the inner shell
	WRAP=(bash -c 'exec "$@" 2>"$0"' "$fifo")
	start_nsfwd -v ns1@127.0.0.1:8000=ns2@127.0.0.1:1
	mapper=$(mappers)
	spawn self tracer strace -qq -o /dev/null -p "$mapper" \
		-e trace=poll,ppoll -e inject=poll,ppoll:delay_exit=1000000
	wait_until 5 traced "$mapper"
	is_reset
	# The mapper is in poll or ppoll.
	wait_until 5 grep -qE '^(7|73|271) ' "/proc/$mapper/syscall"
	python3 -c 'import os, sys
pipe = os.open(sys.argv[1], os.O_WRONLY | os.O_NONBLOCK)
try:
    while True:
        os.write(pipe, b"x" * 4096)
except BlockingIOError:
    pass' "$fifo"
	is_reset
	is_reset
	exec {keep}>&-
}

@test "a mapper dies while another's namespace is half gone: both are replaced" {
	ns late
	start_nsfwd 127.0.0.1:8000=127.0.0.1:1 127.0.0.1:8001=late@1
	python3 "$REGRESSIONS" replace "$NSFWD_PID" late 3>&-
	local pid
	forget_mappers
}

@test "a mapper that cannot be set up is a failed start" {
	WRAP=(env ASAN_OPTIONS=detect_leaks=0 strace -f -qq -o /dev/null
		-e trace=epoll_ctl -e inject=epoll_ctl:error=EMFILE)
	start_fails 1 "^nsfwd: '8000=ns2@80': no mapper in 'ns2' \(EMFILE\)" \
		8000=ns2@80
	start_fails 1 "^nsfwd: 'udp:8000=ns2@80': no mapper in 'ns2' \(EMFILE\)" \
		udp:8000=ns2@80
}

@test "a namespace in the making is waited for" {
	needs strace
	NAMESPACES+=(late)
	# "ip netns add" makes the file first, then mounts the namespace on it.
	touch /run/netns/late
	# nsfwd looks 20 times; its pauses of 50 ms become 300 ms.
	spawn self it env ASAN_OPTIONS=detect_leaks=0 strace -D -f -qq -o /dev/null \
		-e inject=nanosleep,clock_nanosleep:delay_exit=250000 \
		"$NSFWD" 127.0.0.1:8000=late@127.0.0.1:1
	sleep 0.3
	unshare --net=/run/netns/late ip link set lo up
	LOG=$BATS_TEST_TMPDIR/it.out
	wait_until 5 logged 'ready: 1 map'
	kill -TERM "$(pid_of it)"
	reap it
}

@test "--wait: a namespace that is deleted while it is checked" {
	spawn self it env ASAN_OPTIONS=detect_leaks=0 strace -D -f -qq \
		-o /dev/null -P /run/netns/ns1 \
		-e inject=openat2,openat,open:error=ENOENT:when=3+ \
		"$NSFWD" --wait /run/netns/ns1@127.0.0.1:8000=ns2@127.0.0.1:1
	LOG=$BATS_TEST_TMPDIR/it.out
	wait_until 5 logged 'ready: 0 of 1 map \(.* waits'
	logged "waits for namespace '/run/netns/ns1'"
	kill -TERM "$(pid_of it)"
	reap it
}

@test "no descriptor left for a reader of --stats: the server does not spin" {
	local ticks
	start_nsfwd --stats /run/stats ns1@127.0.0.1:8000=ns2@127.0.0.1:1
	prlimit --pid "$NSFWD_PID" --nofile="$(fds "$NSFWD_PID"):"
	ticks=$(cpu_ticks "$NSFWD_PID")
	python3 -c 'import socket
s = socket.socket(socket.AF_UNIX)
s.connect("/run/stats")
s.settimeout(1.5)
try: s.recv(1)
except TimeoutError: pass'
	wait_until 2 logged ' --stats: '
	[ $(($(cpu_ticks "$NSFWD_PID") - ticks)) -lt 50 ]
}

@test "fork fails for a reader of --stats: a message" {
	needs strace
	start_nsfwd --stats /run/stats 8000=ns2@80
	spawn self tracer strace -qq -o /dev/null -p "$NSFWD_PID" \
		-e trace=fork,clone -e inject=fork,clone:error=EAGAIN
	wait_until 5 traced "$NSFWD_PID"
	python3 -c 'import socket
s = socket.socket(socket.AF_UNIX)
s.settimeout(5)
s.connect("/run/stats")
assert s.recv(1) == b""'
	wait_until 2 logged ' --stats: '
	kill -TERM "$(pid_of tracer)"
	wait "$(pid_of tracer)" || true
	unset "SPAWNED[tracer]"
}

@test "started with CHLD and ALRM ignored and blocked" {
	WRAP=(python3 -c 'import os, signal, sys
for s in (signal.SIGCHLD, signal.SIGALRM):
    signal.signal(s, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [s])
os.execvp(sys.argv[1], sys.argv[1:])')
	start_nsfwd -v ns1@127.0.0.1:8000=ns2@127.0.0.1:1
	is_reset
	wait_until 2 logged 'end=dial error=ECONNREFUSED'
	# The mapper ignores neither, and does not block ALRM.
	local ignored blocked
	ignored=0x$(awk '/^SigIgn:/ { print $2 }' "/proc/$(mappers)/status")
	blocked=0x$(awk '/^SigBlk:/ { print $2 }' "/proc/$(mappers)/status")
	[ $((ignored & (1 << 16 | 1 << 13))) = 0 ]
	[ $((blocked & 1 << 13)) = 0 ]
}

@test "nohup: an ignored HUP stays ignored" {
	WRAP=(env -u TERM nohup)
	start_nsfwd ns1@127.0.0.1:8000=ns2@127.0.0.1:1
	kill -HUP "$NSFWD_PID"
	is_reset
	kill -0 "$NSFWD_PID"
	run ! logged stopp
}

@test "two maps on one UNIX path: the second is refused" {
	local path=$BATS_TEST_TMPDIR/u other=$BATS_TEST_TMPDIR/same/u
	ln -s . "$BATS_TEST_TMPDIR/same"
	start_fails 1 "cannot listen on $other: somebody listens there" \
		"$path=ns2@1" "$other=ns2@2"
	[ ! -e "$path" ]
}

@test "a UNIX socket that replaced that of nsfwd is not removed" {
	local path=$BATS_TEST_TMPDIR/u
	start_nsfwd "$path=ns2@1"
	# The server is stopped, so that the other program comes first.
	kill -STOP "$NSFWD_PID"
	rm "$path"
	spawn_ready self other python3 "$BATS_TEST_DIRNAME/listeners.py" \
		server other "unix:$path"
	kill -CONT "$NSFWD_PID"
	stop_nsfwd
	[ -S "$path" ]
}

@test "a log file at RLIMIT_FSIZE does not end the server" {
	WRAP=(prlimit --fsize=64)
	start_nsfwd ns1@127.0.0.1:8000=ns2@127.0.0.1:1
	for _ in 1 2 3; do
		is_reset
	done
	kill -0 "$NSFWD_PID"
}

# udp_asks PORT N SECONDS: true if one of N datagrams from ns1 is answered in time.
udp_asks() {
	in_ns ns1 python3 -c 'import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.bind(("127.0.0.1", 7777))
    s.connect(("127.0.0.1", int(sys.argv[1])))
    s.settimeout(float(sys.argv[3]))
    for _ in range(int(sys.argv[2])):
        try:
            s.send(b"hello")
            s.recv(9)
            sys.exit(0)
        except (socket.timeout, ConnectionRefusedError):
            pass
sys.exit(1)' "$@" 3>&-
}

@test "a UDP flow goes on when its namespace gets another address" {
	ns ns3
	ip -n ns2 link add v2 type veth peer name v3 netns ns3
	ip -n ns2 addr add 10.1.0.2/24 dev v2
	ip -n ns3 addr add 10.1.0.1/24 dev v3
	ip -n ns2 link set v2 up
	ip -n ns3 link set v3 up
	udp_echo ns3 echo 10.1.0.1 9001
	start_nsfwd udp:ns1@127.0.0.1:9000=ns2@10.1.0.1:9001,udp-timeout=2s
	udp_asks 9000 3 5
	ip -n ns2 addr del 10.1.0.2/24 dev v2
	ip -n ns2 addr add 10.1.0.3/24 dev v2
	udp_asks 9000 3 5
	wait_until 4 no_flows
}

@test "a UDP flow never answers itself" {
	in_ns ns2 sysctl -qw net.ipv4.ip_local_port_range='40000 40001'
	start_nsfwd udp:ns1@127.0.0.1:9000=ns2@127.0.0.1:40000,udp-one-way-timeout=200ms
	local _
	for _ in 1 2 3 4 5 6; do
		run ! udp_asks 9000 1 0.3
		wait_until 2 no_flows
	done
}
