#!/usr/bin/env bats
# The listener "-", one connection on standard input and output of all kinds, and
# the UNIX sockets that a map makes.

bats_require_minimum_version 1.5.0
load helpers
load sshd

setup() {
	ns ns1 ns2
	cd "$BATS_TEST_TMPDIR" || return
	head -c 3000000 /dev/urandom >data
}

# Runs nsfwd for at most 20 s on a quiet machine, without the descriptors of bats.
stdio() {
	timeout -k 1 $((20 * TEST_SLOW)) "$NSFWD" "$@" 3>&- 4>&-
}

same() {
	cmp data "$1"
}

@test "-: files, pipes and sockets, 3 MB there and back, and the ends" {
	peer_server ns2 echo echo 127.0.0.1:8000
	stdio -=ns2@8000 <data >files
	same files
	# shellcheck disable=SC2002 # a pipe is wanted
	cat data | stdio - ns2@127.0.0.1:8000 | cat >pipes
	same pipes
	# Input and output are one socket; socat's half-close ends the input.
	socat -t $((10 * TEST_SLOW)) STDIO "EXEC:'$NSFWD -=ns2@8000'" <data >sockets 3>&-
	same sockets
	run -0 stdio -=ns2@8000 </dev/null
	[ -z "$output" ]
	run -0 bash -c 'exec timeout $((10 * TEST_SLOW)) "$1" -=ns2@8000 <&-' - "$NSFWD" 3>&-
	[ -z "$output" ]
	# A pipe that is not read for a while delays only its own direction.
	stdio -=ns2@8000 <data | { sleep 0.3 && cat; } >slow
	same slow
}

@test "-: a UNIX socket and a host name as target, IPv6" {
	peer_server ns2 echo echo unix:@echo
	stdio -=ns2@@echo <data >unix
	same unix
	peer_server ns2 six echo '[::1]:8000'
	stdio -=ns2@::1/8000 <data >six
	same six
	stdio -=ns2@8000 <data >second
	same second
	peer_server ns2 four echo 127.0.0.1:8001
	stdio -=ns2@localhost:8001 <data >name
	same name
}

@test "-: through proxies, with a PROXY header" {
	peer_server ns2 echo echo 127.0.0.1:8000
	start_nsfwd ns2@1080=ns2@proxy,auth=u:p,reach=127.0.0.0/8
	stdio -=127.0.0.1:8000,via=socks5:ns2@1080,via-auth=u:p <data >socks
	same socks
	stdio -=ns2@8000,via=http:localhost:1080,via-auth=u:p,via=socks5:1080,via-auth=u:p \
		<data >two
	same two
	run -1 stdio -=8000,via=http:ns2@1080,via-auth=u:wrong <data
	[[ $output == *'cannot reach the target: E'* ]]
	[ "$(echo data | stdio -=ns2@8000,proxy=1)" = $'PROXY UNKNOWN\r\ndata' ]
}

# says N: prints the first N bytes of the stream of `peer.py connect`.
says() {
	PYTHONPATH=$BATS_TEST_DIRNAME python3 -c 'import peer, sys
sys.stdout.buffer.write(peer.STREAMS["connect"][:int(sys.argv[1])])' "$1"
}

sized() {
	[ "$(stat -c %s "$1")" = "$2" ]
}

# start_stdio ARG...: starts nsfwd in the background; its input is descriptor 8.
start_stdio() {
	mkfifo in
	alone "$NSFWD" "$@" <in >out 2>err &
	PID=$!
	exec 8>in
}

# exits STATUS: true if nsfwd exits with STATUS within 5 s.
exits() {
	local status=0
	wait_until 5 ended "$PID"
	wait "$PID" || status=$?
	cat err
	[ "$status" = "$1" ]
}

@test "-: the output ends, the input goes on" {
	peer_server ns2 server listen 127.0.0.1:8000 send=1000 fin recv=5000 eof
	start_stdio -=ns2@8000
	wait_until 5 sized out 1000
	says 5000 >&8
	exec 8>&-
	exits 0
	reap server
	[ ! -s err ]
}

# poll(2) reports the end of a UNIX socket over and over.
@test "-: a UNIX target that closes ends it, without spinning" {
	local -a pids
	peer_server ns2 server listen unix:@closes send=1000 close
	start_stdio -=ns2@@closes
	reap server
	exits 0
	sized out 1000
	exec 8>&-
	# After a half-close the input goes on.
	rm in
	peer_server ns2 half listen unix:@half send=1000 fin recv=5000 eof
	start_stdio -=ns2@@half
	wait_until 5 sized out 1000
	read -ra pids < <(children "$PID")
	rests 0.5 2 "${pids[@]}"
	says 5000 >&8
	exec 8>&-
	exits 0
	reap half
}

@test "-: bytes before a reset are written, however slow the reader" {
	peer_server ns2 server listen 127.0.0.1:8000 send=100000 recv=1 \
		send=50000 sleep=0.2 rst touch=reset
	mkfifo slow
	{
		head -c 1000
		wait_until 5 test -e reset
		sleep 2
		cat
	} <slow >got &
	says 1048573 >period
	for _ in {1..30}; do
		cat period
	done >input
	alone "$NSFWD" -=ns2@8000 <input >slow 2>err &
	PID=$!
	exits 1
	wait_until 5 sized got 150000
	grep -q 'the connection broke: ECONNRESET' err
	reap server
}

@test "-: an urgent byte of standard input stays in line" {
	spawn_ready ns2 server python3 -c 'import os, socket
sock = socket.create_server(("127.0.0.1", 8000))
os.write(9, b"ready\n")
os.close(9)
client = sock.accept()[0]
got = b""
while data := client.recv(100):
    got += data
print(got.decode())'
	run -0 python3 -c 'import socket, subprocess, sys
here, there = socket.socketpair()
here.send(b"abc")
try:
    here.send(b"U", socket.MSG_OOB)
except OSError:  # before Linux 5.15
    here.send(b"U")
here.send(b"def")
here.shutdown(socket.SHUT_WR)
sys.exit(subprocess.run(sys.argv[2:], stdin=there, stdout=there,
                        timeout=10 * int(sys.argv[1])).returncode)' \
		"$TEST_SLOW" "$NSFWD" -=ns2@8000 3>&-
	reap server
	[ "$(cat server.out)" = abcUdef ]
}

@test "-: the input ends, the output goes on" {
	peer_server ns2 server listen 127.0.0.1:8000 recv=5000 eof send=3000000
	says 5000 | stdio -=ns2@8000 >out
	sized out 3000000
	reap server
}

@test "-: a reset by the target is an error, after all its bytes" {
	peer_server ns2 server listen 127.0.0.1:8000 send=100000 recv=10 rst
	start_stdio -=ns2@8000
	wait_until 5 sized out 100000
	says 10 >&8
	exits 1
	exec 8>&-
	grep -q 'the connection broke: ECONNRESET' err
	reap server
}

@test "-: the target sees a reset when nsfwd fails or is killed" {
	# A signal,
	for name in TERM KILL; do
		peer_server ns2 "server-$name" listen 127.0.0.1:8000 recv=100 \
			touch="$name" reset=0
		rm -f in
		start_stdio -=ns2@8000
		says 100 >&8
		wait_until 5 test -e "$name"
		kill -s "$name" "$PID"
		wait_until 5 ended "$PID"
		reap "server-$name"
		exec 8>&-
	done
	# an input that cannot be read,
	peer_server ns2 input listen 127.0.0.1:8000 reset=0
	run -1 stdio -=ns2@8000 </
	[[ $output == *'the connection broke: EISDIR' ]]
	reap input
	# an output that nobody reads, or that is full.
	peer_server ns2 output listen 127.0.0.1:8000 flood reset
	run -1 bash -c 'timeout $((10 * TEST_SLOW)) "$1" -=ns2@8000 </dev/ptmx |
		head -c 1 >/dev/null; exit "${PIPESTATUS[0]}"' - "$NSFWD" 3>&-
	[[ $output == *'the connection broke: E'* ]]
	reap output
	peer_server ns2 full listen 127.0.0.1:8000 flood reset
	run -1 bash -c 'exec "$1" -=ns2@8000 </dev/ptmx >/dev/full' - "$NSFWD" 3>&-
	[[ $output == *'the connection broke: ENOSPC' ]]
	reap full
}

@test "-: a target that cannot be reached is an error" {
	local start_stdio
	run -1 stdio -=ns2@8000 </dev/null
	[ "$output" = "nsfwd: '-=ns2@8000': cannot reach the target: ECONNREFUSED (nothing listens on 127.0.0.1:8000 in ns2)" ]
	run -2 stdio -=missing@8000 </dev/null
	[[ $output == *"cannot enter namespace 'missing' (ip netns list shows them)" ]]
	run -1 stdio -=ns2@no-such-name.invalid:8000,connect-timeout=700ms </dev/null
	[[ $output == *'cannot reach the target: no '* ]]
	# The queue of the listener is full, so that connect gets no answer.
	peer_server ns2 void void 127.0.0.1:8000
	begin=$(now_ms)
	run -1 stdio -=ns2@8000,connect-timeout=500ms </dev/null
	[[ $output == *'cannot reach the target: ETIMEDOUT ('*')' ]]
	[ "$(since "$begin")" -lt 3000 ]
}

# True if nsfwd waits for the target; prints the process that dials, which is the
# last one below PID.
dialing() {
	local pid=$1 child
	[ "$(ip netns exec ns2 ss -Htn state syn-sent | wc -l)" = 2 ] || return
	while child=$(pgrep -P "$pid"); do
		pid=$child
	done
	echo "$pid"
}

# As T7 in relay.bats: the target resets before the result of connect(2) is read.
@test "-: what a target sends that resets at once" {
	local pid child status=0
	peer_server ns2 server late go 127.0.0.1:8000 send=4096 rst
	stdio -=ns2@8000 <data >out 2>err &
	pid=$!
	wait_until 5 dialing "$pid" >child
	child=$(tail -1 child)
	kill -STOP "$child"
	touch go
	reap server
	kill -CONT "$child"
	wait "$pid" || status=$?
	[ "$status" = 1 ]
	grep -q 'the connection broke: ECONNRESET' err
	[ "$(wc -c <out)" = 4096 ]
}

@test "-: the options of a server are refused" {
	local option
	for option in --wait --pin --daemon --syslog --pidfile=pid --stats=./sock \
		--ready-fd=1; do
		run -2 stdio "$option" -=ns2@8000 </dev/null
		[ "$output" = "nsfwd: '-=ns2@8000': an option that is for a server" ]
	done
	[ ! -e pid ] && [ ! -e sock ]
}

@test "-: a name server that does not answer is a time-out" {
	unshare -m true 2>/dev/null || skip "no mount namespace here"
	echo 'nameserver 127.0.0.1' >resolv
	peer_server ns2 dns void 127.0.0.1:53
	spawn_ready ns2 silent python3 -c 'import os, socket, time
sock = socket.socket(type=socket.SOCK_DGRAM)
sock.bind(("127.0.0.1", 53))
os.write(9, b"ready\n")
os.close(9)
time.sleep(30)'
	run -1 unshare -m --propagation private bash -c '
		mount --bind resolv /etc/resolv.conf
		exec timeout $((10 * TEST_SLOW)) "$1" -=ns2@name.test:80,connect-timeout=700ms' \
		- "$NSFWD" </dev/null 3>&-
	[[ $output == *': no answer from name server 127.0.0.1: within its time' ]]
}

@test "-: time limits" {
	local key
	for key in idle-timeout half-close-timeout; do
		peer_server ns2 "$key" listen 127.0.0.1:8000 fin reset
		run -1 bash -c 'exec timeout $((10 * TEST_SLOW)) "$1" "$2" </dev/ptmx' - "$NSFWD" \
			"-=ns2@8000,$key=300ms" 3>&-
		[[ $output == *'the connection broke: ETIMEDOUT' ]]
		reap "$key"
	done
}

@test "-: the relaying process has no rights and no inherited descriptor" {
	local child
	peer_server ns2 echo echo 127.0.0.1:8000
	exec 7<data
	start_stdio -=ns2@8000
	exec 7<&-
	echo one >&8
	wait_until 5 sized out 4
	child=$(children "$PID")
	[ "$(readlink "/proc/$child/ns/net")" = \
		"$(in_ns ns2 readlink /proc/self/ns/net)" ]
	[ "$(fds "$child")" = 4 ]
	grep -E '^(Cap|NoNewPrivs|Seccomp:|Uid|Groups)' "/proc/$child/status"
	run ! grep -E '^Cap.*:.*[1-9a-f]' "/proc/$child/status"
	grep -q '^NoNewPrivs:.1' "/proc/$child/status"
	# A build with sanitizers has no filter.
	grep -aq 'built for tests' "$NSFWD" ||
		grep -q '^Seccomp:.2' "/proc/$child/status"
	exec 8>&-
	exits 0
}

@test "-: ssh goes through it" {
	sshd_start "$PWD"
	remote() {
		"${SSH[@]}" -p 2222 -o "ProxyCommand=$NSFWD -=ns2@%h:%p" \
			root@127.0.0.1 "$@" 3>&-
	}
	ssh_works "$PWD"
}

# UNIX listeners.

@test "a UNIX socket has its mode and owner from the first moment" {
	umask 022
	peer_server ns2 echo echo 127.0.0.1:8000
	start_nsfwd "$PWD/plain=ns2@8000" "$PWD/open=ns2@8000,mode=0666" \
		"$PWD/shut=ns2@8000,mode=600"
	[ "$(stat -c %a plain open shut | xargs)" = '755 666 600' ]
	[ "$(echo word | socat -t $((5 * TEST_SLOW)) - "UNIX-CONNECT:$PWD/open" 3>&-)" = word ]
	stop_nsfwd
	[ ! -e open ]
	if [ "$(id -u)" = 0 ] && chown 1:2 data 2>/dev/null; then
		chmod 755 .
		start_nsfwd "$PWD/a=ns2@8000,owner=daemon,mode=660" \
			"$PWD/b=ns2@8000,owner=12345:54321" \
			"$PWD/c=ns2@8000,owner=nobody:adm,mode=0620"
		[ "$(stat -c %U:%g:%a a)" = "daemon:$(id -g daemon):660" ]
		[ "$(stat -c %u:%g:%a b)" = 12345:54321:755 ]
		[ "$(stat -c %U:%G:%a c)" = nobody:adm:620 ]
	else
		run -1 stdio "$PWD/a=ns2@8000,owner=12345"
		[[ $output =~ "cannot listen on $PWD/a: "[a-z].*": E"(PERM|INVAL)$ ]]
		[ ! -e a ]
	fi
}

@test "only a socket file that nobody listens on is replaced" {
	local name said
	echo kept >file
	mkdir dir
	mkfifo fifo
	ln -s file link
	ln -s "$PWD/gone" dangling
	for name in file dir fifo link dangling; do
		run -1 stdio "$PWD/$name=80"
		said="cannot listen on $PWD/$name: that file is no socket: remove it, or name another path"
		[[ $output == *"$said: ENOTSOCK" ]]
	done
	[ "$(cat file link)" = $'kept\nkept' ]
	[ -d dir ] && [ -p fifo ] && [ -L link ] && [ -L dangling ]
	# Socket files: stale, of a full queue, of datagrams.
	python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("stale")'
	spawn_ready self full python3 -c 'import os, socket, time
sock = socket.socket(socket.AF_UNIX)
sock.bind("full")
sock.listen(0)
other = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
other.bind("datagram")
held = [socket.socket(socket.AF_UNIX) for _ in range(2)]
for one in held:
    one.setblocking(False)
    try:
        one.connect("full")
    except BlockingIOError:
        pass
os.write(9, b"ready\n")
os.close(9)
time.sleep(30)'
	run -1 stdio "$PWD/full=80"
	[[ $output == *"full: somebody listens there: EADDRINUSE" ]]
	run -1 stdio "$PWD/datagram=80"
	[[ $output == *"datagram: somebody listens there: EADDRINUSE" ]]
	start_nsfwd "$PWD/stale=80,mode=0640"
	[ "$(stat -c %a stale)" = 640 ]
}
