#!/usr/bin/env bats
# The relay moves every byte, both ends and every reset, and sleeps otherwise.
# Client and target are in two namespaces with no link but nsfwd.

load helpers

MAP=ns1@8000=ns2@8080

# pair CLIENT SERVER: runs the steps of a client in ns1 and of its server in ns2.
# shellcheck disable=SC2086 # steps are words
pair() {
	peer_server ns2 server listen 8080 $2
	peer_start ns1 client connect 8000 $1
	reap client server
}

# when NAME STEP: prints the time at which a peer did a step.
when() {
	awk -v word="$2" '$1 == word { print $2; exit }' \
		"$BATS_TEST_TMPDIR/$1.out"
}

# took LOW HIGH NAME STEP NAME STEP: true if LOW to HIGH ms are between the steps;
# HIGH on a quiet machine.
took() {
	local span=$(($(when "$5" "$6") - $(when "$3" "$4")))
	if [ "$span" -lt "$1" ] || [ $((span / TEST_SLOW)) -gt "$2" ]; then
		fail "$span ms from $3 $4 to $5 $6, not $1 to $2"
	fi
}

# at_rest SECONDS TICKS: true if there are connections, and they rest.
at_rest() {
	local -a pids
	mapfile -t pids < <(connections | sort -u)
	[ "${#pids[@]}" -gt 0 ] && rests "$@" "${pids[@]}"
}

# still PID: true if the process used no time for 200 ms.
still() {
	local before
	before=$(cpu_ticks "$1")
	sleep 0.2
	[ "$(cpu_ticks "$1")" = "$before" ]
}

some_connection() {
	[ -n "$(connections)" ]
}

@test "T1 256 MiB each way at the same time, equal hashes" {
	local way sum
	start_nsfwd "$MAP"
	peer_server ns2 server --limit 120 listen 8080 bulk=268435456 fin eof
	peer_start ns1 client --limit 120 connect 8000 bulk=268435456 fin eof
	reap -t 120 client server
	for way in "client server" "server client"; do
		read -r from to <<<"$way"
		sum=$(when "$from" sent)
		[ "${#sum}" = 64 ]
		[ "$sum" = "$(when "$to" received)" ]
	done
}

@test "T3 segments of every size from 1 to 3000, none lost" {
	start_nsfwd "$MAP"
	pair "slices=1-3000 fin eof" "read=4501500 eof fin"
	pair "read=4501500 eof fin" "slices=1-3000 fin eof"
}

# bats test_tags=workers
@test "T4 half-close in four orders, 10 MiB in the open direction (gost 2)" {
	local n=10485760
	start_nsfwd -v "$MAP"
	# the client first, the server first, both at once, FIN behind data
	pair "fin recv=$n eof close" "eof send=$n fin"
	pair "eof send=$n fin" "fin recv=$n eof close"
	pair "post=$n recv=$n eof" "post=$n recv=$n eof"
	pair "more=100 fin recv=$n eof" "recv=100 eof send=$n fin"
	wait_until 2 logged "up=100 down=$n .*end=closed"
}

end_behind_full_pipe() {
	local n=8388608
	start_nsfwd "$MAP" ns1@8001=ns2@8081
	peer_server ns2 server1 listen 8080 sleep=2 recv=$n eof fin
	peer_server ns2 server2 listen 8081 send=$n fin eof
	peer_start ns1 client1 connect 8000 send=$n fin eof
	peer_start ns1 client2 connect 8001 sleep=2 recv=$n eof fin
	reap client1 client2 server1 server2
}

@test "T5 an end behind a full pipe comes after the last byte" {
	end_behind_full_pipe
}

# bats test_tags=workers
@test "T5 the same with small buffers" {
	small_buffers ns1
	small_buffers ns2
	end_behind_full_pipe
}

# The filter of a connection that relays has pipe2(2), splice(2) and shutdown(2).
@test "T5 the end of a spliced upload, where the target is a name" {
	local n=10485760
	start_nsfwd -v ns1@8000=ns2@localhost:8080
	peer_server ns2 server listen 8080 recv=$n eof send=$n fin
	peer_start ns1 client connect 8000 send=$n await="$BATS_TEST_TMPDIR/go" fin \
		recv=$n eof
	wait_until 10 splices
	touch "$BATS_TEST_TMPDIR/go"
	reap client server
	wait_until 2 logged "up=$n down=$n .*end=closed"
}

# True if the connection has its second filter and a pipe.
splices() {
	local pid
	pid=$(connections)
	[ -n "$pid" ] || return
	sanitized || grep -q '^Seccomp_filters:[[:space:]]*2$' "/proc/$pid/status" || return
	readlink "/proc/$pid/fd/"* | grep -q ^pipe:
}

@test "T6 a reset during connect: the client's ends the dial" {
	start_nsfwd "$MAP"
	peer_server ns2 void void 8080
	peer_start ns1 client connect 8000 "await=$BATS_TEST_TMPDIR/go" rst
	wait_until 5 some_connection
	touch "$BATS_TEST_TMPDIR/go"
	reap client
	wait_until 1 no_connections
}

# bats test_tags=workers
@test "T6 a reset during connect: the target's refusal resets the client" {
	start_nsfwd "$MAP"
	peer ns1 --limit 1 connect 8000 reset=0
	wait_until 1 logged 'end=dial error=ECONNREFUSED'
}

# bats test_tags=workers
@test "T6 a reset of an idle connection, both ways" {
	start_nsfwd -v "$MAP"
	pair "send=1 recv=1 sleep=0.2 rst" "recv=1 send=1 reset=0"
	took 0 1000 client rst server reset
	wait_until 1 logged 'up=1 down=1 .*end=client-reset'
	pair "send=1 recv=1 reset=0" "recv=1 send=1 sleep=0.2 rst"
	took 0 1000 server rst client reset
	wait_until 1 logged 'up=1 down=1 .*end=target-reset'
}

# bats test_tags=workers,both
@test "T6 a reset amid bulk, both ways" {
	start_nsfwd -v "$MAP"
	pair "flood recv=3000000 rst" "flood reset"
	took 0 1000 client rst server reset
	wait_until 1 logged 'end=client-reset'
	pair "flood reset" "flood recv=3000000 rst"
	took 0 1000 server rst client reset
	wait_until 1 logged 'end=target-reset'
}

# bats test_tags=workers
@test "T6 a reset amid bulk that goes one way, from either side" {
	start_nsfwd "$MAP"
	pair "flood sleep=0.2 rst" reset
	took 0 1000 client rst server reset
	pair reset "flood sleep=0.2 rst"
	took 0 1000 server rst client reset
	pair "flood reset" "recv=3000000 rst"
	took 0 1000 server rst client reset
	pair "recv=3000000 rst" "flood reset"
	took 0 1000 client rst server reset
}

# bats test_tags=workers
@test "T6 a reset of a half-closed connection, both ways" {
	start_nsfwd "$MAP"
	pair "fin reset=0" "eof sleep=0.2 rst"
	took 0 1000 server rst client reset
	pair "eof sleep=0.2 rst" "fin reset=0"
	took 0 1000 client rst server reset
}

# bats test_tags=workers
@test "T6 a reset by the side that had closed its half" {
	local go=$BATS_TEST_TMPDIR/go
	start_nsfwd "$MAP"
	pair "fin await=$go.1 rst" "eof touch=$go.1 broken"
	took 0 1000 client rst server broken
	pair "eof touch=$go.2 broken" "fin await=$go.2 rst"
	took 0 1000 server rst client broken
}

# bats test_tags=workers
@test "T7 a reset behind queued bytes lets them through first" {
	local go=$BATS_TEST_TMPDIR/go
	start_nsfwd "$MAP"
	pair "--count 20 send=4096 sleep=0.05 rst" "--count 20 reset=4096"
	pair "--count 20 reset=4096" "--count 20 send=4096 sleep=0.05 rst"
	pair "send=4096 sleep=0.05 rst touch=$go.1" "await=$go.1 reset=4096"
	pair "await=$go.2 reset=4096" "send=4096 sleep=0.05 rst touch=$go.2"
}

# stopped SENDER OTHER: stops the connection while SENDER sends and resets, so that
# bytes and reset wait in the socket of the relay.
stopped() {
	local go=$BATS_TEST_TMPDIR/go.$1 pid
	wait_until 5 [ -e "$go.$2" ]
	pid=$(connections)
	freeze "$pid"
	touch "$go"
	reap "$1"
	thaw
	reap "$2"
	wait_until 1 no_connections
}

# bats test_tags=workers,both
@test "T7 a reset behind bytes that the relay has not read yet" {
	local go=$BATS_TEST_TMPDIR/go
	start_nsfwd "$MAP"
	peer_server ns2 server listen 8080 send=1 recv=1 \
		"touch=$go.client.server" reset=4096
	peer_start ns1 client connect 8000 send=1 recv=1 \
		"await=$go.client" send=4096 rst
	stopped client server
	peer_server ns2 server listen 8080 send=1 recv=1 \
		"await=$go.server" send=4096 rst
	peer_start ns1 client connect 8000 send=1 recv=1 \
		"touch=$go.server.client" reset=4096
	stopped server client
}

# answers_early MAP...: a target sends and resets before nsfwd reads the result of
# its connect(2); the client must get the bytes. connect(2) waits at first, because
# the queue of the target is full.
answers_early() {
	local go=$BATS_TEST_TMPDIR/go.early pids
	# Long, because the next target would be tried after half of it.
	start_nsfwd -v --connect-timeout 60 "$@"
	peer_server ns2 server late "$go" 8080 send=4096 rst
	peer_start ns1 client connect 8000 reset=4096
	wait_until 5 connecting
	mapfile -t pids < <(connections)
	freeze "${pids[@]}"
	touch "$go"
	reap server
	thaw
	reap client
	wait_until 1 logged ' target=127.0.0.1:8080 up=0 down=4096 .*end=target-reset error=ECONNRESET$'
	wait_until 1 no_connections
	stop_nsfwd
	rm "$go"
}

# True if a connection to the target waits for an answer.
connecting() {
	[ "$(in_ns ns2 ss -Htn state syn-sent 'dport = :8080' | wc -l)" = 2 ]
}

# bats test_tags=workers,both
@test "T7 a reset behind bytes before the relay knows that it is connected" {
	answers_early "$MAP"
	# The next target is not tried, because it would send other bytes.
	peer_server ns2 next listen 8081 send=1 "await=$BATS_TEST_TMPDIR/never"
	answers_early ns1@8000=ns2@8080,8081
}

@test "T7 the same in front of a PROXY header, and through a proxy" {
	answers_early "$MAP,proxy=2"
	answers_early ns1@8000=ns1@127.0.0.1:8080,via=socks5:127.0.0.1:1080 \
		ns1@1080=ns2@proxy,reach=127.0.0.0/8
}

# All bytes are in the relay and its sockets when the reset comes.
# bats test_tags=workers,both
@test "T7 a reset behind bytes that a slow reader takes later" {
	local go=$BATS_TEST_TMPDIR/go n=90000
	small_buffers ns1
	start_nsfwd "$MAP"
	peer_server ns2 server listen 8080 send=1 recv=1 send=$n \
		"await=$go.all" rst "touch=$go"
	peer_start ns1 client connect 8000 recv=1 send=1 "await=$go" reset=$n
	wait_until 5 all_sent
	touch "$go.all"
	reap server client
}

# True if the send queue of the target is empty and that of the relay is not.
all_sent() {
	in_ns ns2 ss -Htn state established 'sport = :8080' |
		awk '$2 == 0 { found = 1 } END { exit !found }' &&
		in_ns ns1 ss -Htn state established 'sport = :8000' |
		awk '$2 > 0 { found = 1 } END { exit !found }'
}

# bats test_tags=workers
@test "T7 an end in front of a reset stays an end" {
	start_nsfwd "$MAP"
	pair "--count 30 flood recv=5000 eof" "--count 30 recv=1 send=5000 fin rst"
	pair "--count 30 recv=1 send=5000 fin rst" "--count 30 flood recv=5000 eof"
}

# bats test_tags=workers,both
@test "T8 a reset while the other peer does not read ends the connection" {
	local go=$BATS_TEST_TMPDIR/go
	start_nsfwd "$MAP"
	peer_server ns2 server listen 8080 "await=$go.1" reset
	peer_start ns1 client connect 8000 flood sleep=1 rst
	reap client
	wait_until 3 no_connections
	touch "$go.1"
	reap server

	peer_server ns2 server listen 8080 flood sleep=1 rst
	peer_start ns1 client connect 8000 "await=$go.2" reset
	reap server
	wait_until 3 no_connections
	touch "$go.2"
	reap client
}

# bats test_tags=workers
@test "T9 urgent bytes stay in line and wake nobody for long" {
	local go=$BATS_TEST_TMPDIR/go n
	start_nsfwd "$MAP" ns1@8001=ns2@8081
	# The second time after 4 MB of bulk.
	for n in 0 4000000; do
		peer_server ns2 server1 listen 8080 recv=$n recv=1100 \
			touch="$go.$n.1" eof fin
		peer_server ns2 server2 listen 8081 send=$n oob=100 \
			await="$go.$n" fin eof
		peer_start ns1 client1 connect 8000 send=$n oob=100 \
			await="$go.$n" fin eof
		peer_start ns1 client2 connect 8001 recv=$n recv=1100 \
			touch="$go.$n.2" eof fin
		wait_until 5 [ -e "$go.$n.1" ]
		wait_until 5 [ -e "$go.$n.2" ]
		at_rest 1 2
		touch "$go.$n"
		reap client1 client2 server1 server2
	done
}

@test "T9 urgent bytes to a reader that stopped" {
	local go=$BATS_TEST_TMPDIR/go
	small_buffers ns2
	start_nsfwd "$MAP"
	peer_server ns2 server listen 8080 recv=1000000 "await=$go" \
		recv=101100 eof fin
	peer_start ns1 client connect 8000 send=1000000 sleep=0.2 send=50000 \
		oob=100 send=50000 fin eof
	wait_until 5 some_connection
	sleep 0.5
	wait_until 5 still "$(pid_of client)"
	at_rest 1 2
	touch "$go"
	reap client server
}

# bats test_tags=workers
@test "T10 200,000 one-byte segments and a reader that stopped" {
	local go=$BATS_TEST_TMPDIR/go
	small_buffers ns2
	start_nsfwd "$MAP"
	peer_server ns2 server listen 8080 "await=$go" recv=200000 eof fin
	peer_start ns1 client connect 8000 ones=200000 fin eof
	wait_until 5 some_connection
	sleep 0.5
	wait_until 30 still "$(pid_of client)"
	at_rest 2.5 5
	touch "$go"
	reap client server
}

# strace makes epoll_wait report the client as readable over and over, as only a
# fault of the kernel could.
@test "T67 a relay that is woken without cause over and over ends" {
	local pid epoll=epoll_wait,epoll_pwait got=$BATS_TEST_TMPDIR/got
	peer_server ns2 server listen 8080 recv=5 "touch=$got" reset=0
	start_nsfwd --no-sandbox "$MAP"
	peer_start ns1 client connect 8000 send=5 reset=0
	wait_until 5 test -e "$got"
	pid=$(connections)
	spawn self spin strace -qq -o /dev/null -e "trace=$epoll" -e \
		"inject=$epoll:retval=1:poke_exit=@arg2=01$(printf '0%.0s' {1..30})" \
		-p "$pid"
	reap client server
	wait_until 1 logged 'end=local error=ELOOP$'
}

# A fault would delay messages by 40 or 200 ms every time. A delay that comes once
# is that of another process that had the processor.
prompt() {
	local try
	for try in {1..5}; do
		! pair "$@" || return 0
	done
	return 1
}

@test "T11 small messages pass without delay" {
	start_nsfwd "$MAP"
	prompt ping=1000 pong=1000
}

@test "T11 small messages pass without delay after bulk, too" {
	local n=4000000
	start_nsfwd "$MAP"
	prompt "send=$n recv=$n ping=1000" "recv=$n send=$n pong=1000"
}

# bats test_tags=workers
@test "T66 a map whose target is its own listener stays bounded" {
	local how
	# nsfwd refuses the same map if both namespaces are spelled alike.
	start_nsfwd --max-conns 50 --half-close-timeout 1 \
		ns1@8000=/run/netns/ns1@8000
	for how in rst close; do
		peer_start ns1 client connect 8000 send=1000 \
			"await=$BATS_TEST_TMPDIR/$how" $how
		wait_until 5 connections_are 50
		at_rest 1 2
		connections_are 50
		touch "$BATS_TEST_TMPDIR/$how"
		reap client
		wait_until 4 no_connections
	done
	kill -0 "$NSFWD_PID"
}

@test "a killed connection is reset at both ends" {
	local go=$BATS_TEST_TMPDIR/go
	start_nsfwd "$MAP"
	# One way only, because closing with unread bytes resets anyway.
	peer_server ns2 server listen 8080 recv=3000000 "touch=$go" reset
	peer_start ns1 client connect 8000 flood reset
	wait_until 5 [ -e "$go" ]
	kill -KILL "$(connections)"
	reap client server
	wait_until 1 logged 'end=killed signal=9'
}

# bats test_tags=workers
@test "a killed idle connection is reset at both ends" {
	local go=$BATS_TEST_TMPDIR/go
	start_nsfwd "$MAP"
	peer_server ns2 server listen 8080 recv=1 send=1 reset=0
	peer_start ns1 client connect 8000 send=1 recv=1 "touch=$go" reset=0
	wait_until 5 [ -e "$go" ]
	kill -KILL "$(connections)"
	reap client server
}

@test "100 idle connections: no wake-up in 5 s in any process" {
	local -a pids
	start_nsfwd "$MAP"
	peer_server ns2 echo echo 8080
	peer_server ns1 hold hold 100 8000
	connections_are 100
	mapfile -t pids < <(tree)
	[ "${#pids[@]}" -ge 102 ]
	sleep 0.5
	sleep_on 5 "${pids[@]}"
}

# bats test_tags=workers
@test "the half-close timeout resets both ends" {
	start_nsfwd --half-close-timeout 1 "$MAP"
	pair "send=1 fin reset=0" "recv=1 eof broken"
	took 900 2000 client fin client reset
	wait_until 1 logged 'up=1 down=0 .*end=idle'
	pair "eof broken" "fin reset=0"
	took 900 2000 server fin server reset
	wait_until 1 logged 'end=idle' 2
}

# bats test_tags=workers,both
@test "the idle timeout counts from the last byte and resets both ends" {
	start_nsfwd "$MAP,idle-timeout=1"
	pair "send=1 sleep=0.7 send=1 recv=1 sleep=0.7 send=1 note reset=0" \
		"recv=2 send=1 recv=1 reset=0"
	took 900 2000 client note client reset
	wait_until 1 logged 'up=3 down=1 .*end=idle'
}

# bats test_tags=workers
@test "the line of a connection counts every byte" {
	start_nsfwd -v "$MAP"
	pair "send=1234567 fin recv=7654321 eof" "recv=1234567 eof send=7654321 fin"
	wait_until 1 logged \
		"map=.$MAP. client=127.0.0.1:[0-9]+ target=127.0.0.1:8080 up=1234567 down=7654321 ms=[0-9]+ end=closed"
	pair "fin eof" "fin eof"
	wait_until 1 logged 'up=0 down=0 ms=[0-9]+ end=closed'
	[ "$(grep -c 'nsfwd: .*connection from' "$LOG")" = 2 ]
}

# bats test_tags=workers,both
@test "UNIX sockets at either end: every byte and both ends of stream" {
	local dir=$BATS_TEST_TMPDIR n=3000000 way
	for_nobody
	start_nsfwd -v "ns1@$dir/in=ns2@8080" "ns1@8000=ns2@$dir/out" \
		"ns1@@in=ns2@@out"
	for way in "unix:$dir/in 8080" "8000 unix:$dir/out" \
		"unix:@in unix:@out"; do
		unix_pair "$way" "send=$n fin recv=$n eof" "recv=$n eof send=$n fin"
		unix_pair "$way" "recv=$n eof send=$n fin" "send=$n fin recv=$n eof"
		unix_pair "$way" "send=$n recv=$n fin eof" "recv=$n send=$n fin eof"
		unix_pair "$way" "slices=1-300 fin eof" "read=45150 eof fin"
	done
	wait_until 2 logged "up=$n down=$n .*end=closed" 9
}

# accept(2) does not inherit SO_OOBINLINE on UNIX sockets.
# bats test_tags=workers,both
@test "UNIX sockets at either end: urgent bytes stay in line" {
	local dir=$BATS_TEST_TMPDIR n way
	for_nobody
	start_nsfwd -v "ns1@$dir/in=ns2@8080" "ns1@8000=ns2@$dir/out" \
		"ns1@@in=ns2@@out"
	for n in 0 100000; do
		for way in "unix:$dir/in 8080" "8000 unix:$dir/out" \
			"unix:@in unix:@out"; do
			unix_pair "$way" "send=$n oob=30 fin eof" \
				"recv=$n recv=330 eof fin"
			unix_pair "$way" "recv=$n recv=330 eof fin" \
				"send=$n oob=30 fin eof"
		done
	done
}

# shellcheck disable=SC2086 # steps are words
unix_pair() {
	local from to
	read -r from to <<<"$1"
	[ "${to#unix:/}" = "$to" ] || rm -f "${to#unix:}"
	peer_server ns2 server listen "$to" $3
	peer_start ns1 client connect "$from" $2
	reap client server
}
