#!/usr/bin/env bats
# What takes minutes: `make check-long`.

load helpers
load containers

MAP=ns1@8000=ns2@8080

setup_file() {
	"${CC:-cc}" -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra \
		-o "$BATS_FILE_TMPDIR/stream" "$BATS_TEST_DIRNAME/stream.c"
}

# Resident memory, in KiB. Counted, not estimated as in the status file.
rss() {
	awk '$1 == "Rss:" { print $2 }' "/proc/$1/smaps_rollup"
}

@test "T2 20 GiB on 8 connections, both ways, no byte differs" {
	# 8 connections * 2 ways * 1.25 GiB
	local length=1342177280
	start_nsfwd "$MAP"
	spawn_ready ns2 server "$BATS_FILE_TMPDIR/stream" listen 8080 8 $length
	spawn ns1 client "$BATS_FILE_TMPDIR/stream" connect 8000 8 $length
	reap -t 600 client server
}

@test "T21 100,000 short connections leave nothing behind" {
	local pid before after
	local -A rss=()
	# TIME_WAIT holds a client's port for a while.
	for pid in ns1 ns2; do
		in_ns "$pid" sh -c \
			'echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range'
	done
	start_nsfwd "$MAP"
	spawn_ready ns2 echo "$BATS_FILE_TMPDIR/stream" echo 8080
	spawn ns1 warm_up "$BATS_FILE_TMPDIR/stream" churn 8000 2000 16
	reap -t 60 warm_up
	wait_until 2 no_connections
	for pid in "$NSFWD_PID" $(mappers); do
		rss[$pid]=$(rss "$pid")
	done
	[ "${#rss[@]}" = 2 ]

	spawn ns1 client "$BATS_FILE_TMPDIR/stream" churn 8000 100000 16
	reap -t 600 client
	wait_until 2 no_connections
	for pid in "${!rss[@]}"; do
		before=${rss[$pid]}
		after=$(rss "$pid")
		echo "pid $pid: $before KiB, then $after KiB"
		[ $((after - before)) -le 64 ]
	done
	if logged "connection map="; then fail "connections failed"; fi
}

@test "T19 5000 idle connections answer after 30 s" {
	local sum
	start_nsfwd --max-conns 5000 "$MAP"
	spawn_ready self echo python3 "$BATS_TEST_DIRNAME/load.py" echo \
		ns2@127.0.0.1:8080
	spawn self idle python3 "$BATS_TEST_DIRNAME/load.py" idle 5000 30 \
		ns1@127.0.0.1:8000
	asked() {
		grep -q asked "$BATS_TEST_TMPDIR/idle.out"
	}
	wait_until 60 asked
	[ "$(connections | wc -l)" = 5000 ]
	# Its own share, and the page tables: KiB for each.
	sum=$(cd /proc && for pid in $(connections); do
		cat "$pid/smaps_rollup" "$pid/status"
	done | awk '$1 == "Pss:" || $1 == "VmPTE:" { n += $2 }
		END { print int(n / 5000) }')
	echo "$sum KiB for each connection"
	[ "$sum" -le 110 ]
	reap -t 60 idle
}

# What the relays of one user have of pipes is 1024 whole ones.
@test "T20 1500 bulk connections of an ordinary user: 70 % of what 100 do" {
	local conns bytes start n try best=0
	local -A rate=()
	[ "$(id -u)" = 0 ] || skip 'needs another user'
	cp "$NSFWD" "$BATS_FILE_TMPDIR/nsfwd"
	chmod 755 "$BATS_FILE_TMPDIR" "$BATS_FILE_TMPDIR/nsfwd"
	WRAP=(nsenter --net=/run/netns/ns2 -- setpriv --reuid 65534 --regid 65534
		--clear-groups --)
	NSFWD=$BATS_FILE_TMPDIR/nsfwd start_nsfwd --max-conns 2000 8000=8080
	for try in 1 2; do
		# 1.5 GiB each way in any case
		for conns in 100 1500; do
			bytes=$((1572864000 / conns))
			spawn_ready ns2 server prlimit --nofile=8192 \
				"$BATS_FILE_TMPDIR/stream" listen 8080 $conns $bytes
			start=$(now_ms)
			in_ns ns2 prlimit --nofile=8192 \
				"$BATS_FILE_TMPDIR/stream" connect 8000 $conns $bytes 3>&-
			reap -t 60 server
			rate[$conns]=$((3145728 / ($(now_ms) - start)))
			echo "$conns connections: ${rate[$conns]} MB/s"
		done
		n=$((100 * rate[1500] / rate[100]))
		[ "$n" -le "$best" ] || best=$n
	done
	[ "$best" -ge 70 ]
}

@test "T31 a namespace that is added and deleted 200 times in 20 s" {
	CHURN=200 "$BATS_TEST_DIRNAME/run" -f T31 "$BATS_TEST_DIRNAME/sandbox.bats"
}

@test "T37 10,000 connections during 50 reloads, none fails" {
	echo "127.0.0.1:8000=ns2@127.0.0.1:8080" >"$BATS_TEST_TMPDIR/conf"
	who ns2 here 8080
	start_nsfwd -c "$BATS_TEST_TMPDIR/conf"
	service self load 200 10000 127.0.0.1/8000 "$NSFWD_PID" 50
	logged 'reloaded: 1 map' 50
}

@test "20 restarts of a container, by name and by pid" {
	containers 20
}
