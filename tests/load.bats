#!/usr/bin/env bats
# Load: lossy links, slow readers, many connections.

load helpers
LOAD=$BATS_TEST_DIRNAME/load.py

# line NAME NS=ADDR NS=ADDR: makes a link with 50 ms of delay and 20 ms of jitter
# that loses 1 % of the packets and doubles 1 %.
line() {
	local name=$1
	shift
	spawn_ready self "$name" python3 "$BATS_TEST_DIRNAME/impair.py" "$@" \
		50 20 1 1 || {
		grep -q 'impair.py: ' "$BATS_TEST_TMPDIR/$name.out" &&
			skip 'no TUN device'
		return 1
	}
}

# Clients in ns3 and targets in ns4 are behind such links.
lines() {
	ns ns3 ns4
	line line1 ns3=10.9.1.2/30 ns1=10.9.1.1/30
	line line2 ns2=10.9.2.1/30 ns4=10.9.2.2/30
	# As slow as the lines are on this machine.
	start_nsfwd -q --udp-timeout "$TEST_SLOW" --udp-one-way-timeout "$TEST_SLOW" \
		tcp+udp:ns1@10.9.1.1:8000-8004=ns2@10.9.2.2:8080-8084
}

# bad_pair N CLIENT SERVER: spawns peers with these steps on the Nth port.
# shellcheck disable=SC2086 # steps are words
bad_pair() {
	peer_server ns4 "server$1" listen "10.9.2.2:808$1" $3
	peer_start ns3 "client$1" connect "10.9.1.1:800$1" $2
}

bytes_sent() {
	awk '$1 == "sent" || $1 == "received" { print $2 }' \
		"$BATS_TEST_TMPDIR/$1.out" | sort
}

@test "T64 lossy links to client and target: T1 and T4, equal hashes, all ends" {
	local n=100000
	lines
	bad_pair 0 "bulk=$n fin eof" "bulk=$n fin eof"
	bad_pair 1 "fin recv=$n eof close" "eof send=$n fin"
	bad_pair 2 "eof send=$n fin" "fin recv=$n eof close"
	bad_pair 3 "post=$n recv=$n eof" "post=$n recv=$n eof"
	bad_pair 4 "more=100 fin recv=$n eof" "recv=100 eof send=$n fin"
	reap {client,server}{0,1,2,3,4}
	[ "$(bytes_sent client0 | wc -l)" = 2 ]
	[ "$(bytes_sent client0)" = "$(bytes_sent server0)" ]
	kill -TERM "$(pid_of line1)" "$(pid_of line2)"
	reap line1 line2
	output_of line1
	output_of line2
}

@test "T64 lossy links to client and target: T42, no datagram of another flow" {
	lines
	spawn_ready self echo python3 "$LOAD" echo ns4@10.9.2.2:8080
	timeout $((90 * TEST_SLOW)) python3 "$LOAD" flows 16 60 85 ns3@10.9.1.1:8000 3>&-
	wait_until 5 no_flows
}

@test "T12 16 slow readers, writers without a limit: bounded memory" {
	local -a most
	local pid before after limit fifo=$BATS_TEST_TMPDIR/stay
	start_nsfwd ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
	before=$(memory "$(mappers)")
	mkfifo "$fifo"
	spawn self slow bash -c 'exec "$@" <"$0"' "$fifo" python3 "$LOAD" \
		slow 16 2 ns1@127.0.0.1:8000 ns2@127.0.0.1:8080
	exec 8>"$fifo"
	has_said() {
		grep -q '^[0-9]' "$BATS_TEST_TMPDIR/slow.out"
	}
	wait_until 20 has_said
	# All four buffers at their maximum, and a pipe of 1 MiB.
	limit=$(($(in_ns ns1 awk '{ n += 2 * $3 } END { print n }' \
		/proc/sys/net/ipv4/tcp_rmem /proc/sys/net/ipv4/tcp_wmem) + 1048576))
	most=$(cat "$BATS_TEST_TMPDIR/slow.out")
	echo "at most $most bytes on their way, allowed $limit"
	[ "$most" -le "$limit" ]
	connections_are 16
	for pid in $(grep -q libasan "$NSFWD" || connections); do
		awk -v p="$pid" '$1 == "Private_Dirty:" { print p, $2, "KiB"
			exit $2 > 160 }' "/proc/$pid/smaps_rollup"
	done
	after=$(memory "$(mappers)")
	echo "mapper: $before KiB, then $after KiB"
	# A sanitizer's shadow memory counts, too.
	sanitized || [ $((after - before)) -le 64 ]
	[ $((after - before)) -le 256 ]
	exec 8>&-
	reap slow
}

# Reads minflt and cminflt of proc(5).
page_faults() {
	awk '{ sub(/.*\) /, ""); print $8 + $9 }' "/proc/$(mappers)/stat"
}

# 6 of the connection and 1 of the mapper; the margin is for other kernels.
@test "a connection of the static build costs few page faults" {
	local before faults n
	needs readelf
	! readelf -l "$NSFWD" | grep -q INTERP || skip 'a dynamic build'
	start_nsfwd ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
	spawn_ready self echo python3 "$LOAD" echo ns2@127.0.0.1:8080
	# Again, if the kernel took pages back meanwhile.
	for n in 10 200 200 200; do
		before=$(page_faults)
		in_ns ns1 python3 -c '
import socket, sys
for _ in range(int(sys.argv[1])):
    with socket.create_connection(("127.0.0.1", 8000)) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
        s.shutdown(socket.SHUT_WR)
        assert s.recv(1) == b""' "$n"
		wait_until 5 no_connections
		faults=$((($(page_faults) - before) * 10 / n))
		echo "page faults of a connection: ${faults%?}.${faults: -1}"
		[ "$n" = 10 ] || [ "$faults" -gt 105 ] || break
	done
	[ "$faults" -le 105 ]
}
