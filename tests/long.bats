#!/usr/bin/env bats
# Tests that take minutes: `make check-long`.

# bats file_tags=long

load helpers

MAP=ns1@8000=ns2@8080

setup_file() {
	"${CC:-cc}" -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra \
		-o "$BATS_FILE_TMPDIR/stream" "$BATS_TEST_DIRNAME/stream.c"
}

@test "T2 20 GiB on 8 connections, both ways, no byte differs" {
	# 8 connections * 2 ways * 1.25 GiB
	local length=1342177280
	start_nsfwd "$MAP"
	spawn_ready ns2 server "$BATS_FILE_TMPDIR/stream" listen 8080 8 $length
	spawn ns1 client "$BATS_FILE_TMPDIR/stream" connect 8000 8 $length
	reap -t 600 client server
}

@test "T21 100,000 short connections leave nothing behind (gost 1)" {
	local pid before after
	local -A rss=()
	# TIME_WAIT keeps a client's port busy for a while.
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
		rss[$pid]=$(memory "$pid")
	done
	[ "${#rss[@]}" = 2 ]

	spawn ns1 client "$BATS_FILE_TMPDIR/stream" churn 8000 100000 16
	reap -t 600 client
	wait_until 2 no_connections
	for pid in "${!rss[@]}"; do
		before=${rss[$pid]}
		after=$(memory "$pid")
		echo "pid $pid: $before KiB, then $after KiB"
		[ $((after - before)) -le 64 ]
	done
	if logged "nsfwd: .*connection from"; then fail "connections failed"; fi
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
	# Private memory and page tables, KiB of each connection.
	sum=$(cd /proc && for pid in $(connections); do
		cat "$pid/smaps_rollup" "$pid/status"
	done | awk '$1 == "Pss:" || $1 == "VmPTE:" { n += $2 }
		END { print int(n / 5000) }')
	echo "$sum KiB for each connection"
	[ "$sum" -le 110 ]
	reap -t 60 idle
}

# The kernel gives the pipes of one user 1024 times 64 KiB.
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
		# 1.5 GiB each way in both cases
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

# fails_well N ARG...: with the Nth allocation failing, nsfwd exits with 0, or with
# 1 or 2 and a message.
fails_well() {
	local status=0
	FAIL=$1 timeout --preserve-status -k 5 1 "$BATS_FILE_TMPDIR/unlucky" "${@:2}" \
		</dev/null >"$BATS_TEST_TMPDIR/said" 2>&1 3>&- || status=$?
	if [ "$status" -gt 2 ] || grep -E 'Sanitizer|runtime error' \
		"$BATS_TEST_TMPDIR/said" || { [ "$status" != 0 ] &&
		! grep -q '^nsfwd: ' "$BATS_TEST_TMPDIR/said"; }; then
		cat "$BATS_TEST_TMPDIR/said"
		fail "FAIL=$*: status $status"
		return
	fi
	reached=
	! grep -q '^fail: ' "$BATS_TEST_TMPDIR/said" || reached=yes
}

@test "T29 each allocation fails: a message, and no sanitizer report" {
	local top=$BATS_TEST_DIRNAME/.. conf=$BATS_TEST_TMPDIR/conf n word wrap reached
	local -a words=(
		"tcp+udp:ns1@127.0.0.1:80=ns2@10.0.0.2:80,[fd00::2]:81,a.example:82,max=9"
		"ns1@fe80::1%lo/80=10.0.1.11:8000,via=http:ns2@10.0.1.1:8080,proxy=2"
		"1080=ns2@proxy,auth=me:secret,allow=10.0.0.0/8,deny=fd00::/8"
		"-L tcp://10.0.0.1:80/10.0.1.1:80?netns=ns1&netns.out=ns2"
		"-F socks5://me:secret@10.0.0.1:1080"
	)
	for word in malloc calloc realloc reallocarray strdup strndup mmap \
		fopen open_memstream asprintf; do
		wrap+=,--wrap=$word
	done
	# shellcheck disable=SC2046 # one word each
	cc -std=c11 -D_GNU_SOURCE -DVERSION='"0"' -DNO_SECCOMP -g "-I$top" \
		-fsanitize=address,undefined -fno-sanitize-recover=all "-Wl$wrap" \
		-o "$BATS_FILE_TMPDIR/unlucky" $(program_sources) \
		"$top/nsfwd.c" "$top/tests/fail.c"
	printf '%s\n' "${words[@]:0:3}" >"$conf"
	# Copying the environment may fail.
	echo leak:proctitle_init >"$BATS_TEST_TMPDIR/known"
	export LSAN_OPTIONS=suppressions=$BATS_TEST_TMPDIR/known:print_suppressions=0
	# shellcheck disable=SC2086 # two words
	for word in "-c $conf" "${words[@]:3:1}" "${words[3]} ${words[4]}"; do
		for ((n = 1; n < 500; n++)); do
			fails_well $n --check=syntax $word
			[ "$reached" ] || break
		done
		echo "$word: $n"
		[ "$n" -gt 5 ]
		[ "$n" -lt 500 ]
		"$BATS_FILE_TMPDIR/unlucky" --check=syntax $word >/dev/null
	done
	# A server that has started gets TERM after a second. The leak check is off,
	# because it sometimes hangs in a process with children.
	export ASAN_OPTIONS=detect_leaks=0
	for ((n = 1; n < 500; n++)); do
		fails_well $n -v tcp+udp:ns1@80=ns2@80
		[ "$reached" ] || break
	done
	echo "serving: $n"
	[ "$n" -gt 5 ]
}
