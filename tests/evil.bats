#!/usr/bin/env bats
# What a process of nsfwd gets once a peer has hijacked it: tests/evil has a build
# whose processes attack. Each test has one server, which many attacks do not end.

bats_require_minimum_version 1.5.0
load helpers

EVIL_PY=$BATS_TEST_DIRNAME/evil/evil.py
STAGES=(handshake dial relay names narrow forward associate worker worker+names kept)

# How an attack ends at each of the STAGES; without a row it is killed everywhere.
# Before a handshake, while names are resolved, and as long as plain HTTP is forwarded,
# files can be read (only). No connection may connect its client's socket anew, which
# is one of the listen namespace. EISCONN, ENOTSOCK, EBADF: there is nothing to attack.
# To shut a listener down for writing does nothing. A process that is kept can read its
# next client (next_client), and sends nothing to those that it had (keep_client); one
# that was not hijacked has nothing of them (find_stream).
expected() {
	local sealed=EPERM
	[ "$(call 462 0 0 0)" != ENOSYS ] || sealed=yes # mseal(2)
	rows <<-END
		fork | killed EAGAIN EAGAIN killed killed killed killed killed killed killed
		cont_mapper | killed yes yes killed killed killed killed killed killed killed
		raise_limit | EPERM EPERM EPERM EPERM killed killed killed killed killed EPERM
		write_log | yes yes yes yes killed yes yes yes yes yes
		write_stdout | yes yes yes yes killed yes yes yes yes yes
		send_log | ENOTSOCK ENOTSOCK ENOTSOCK ENOTSOCK ENOTSOCK ENOTSOCK ENOTSOCK ENOTSOCK ENOTSOCK ENOTSOCK
		read_stdin | EBADF EBADF EBADF EBADF killed EBADF EBADF killed EBADF EBADF
		splice_stdin | EBADF EBADF EBADF EBADF EBADF EBADF killed EBADF EBADF EBADF
		open_read | yes killed killed yes killed yes yes killed yes yes
		open_write | EACCES killed killed EACCES killed EACCES EACCES killed EACCES EACCES
		open_create | EACCES killed killed EACCES killed EACCES EACCES killed EACCES EACCES
		open_mem | EACCES killed killed EACCES killed EACCES EACCES killed EACCES EACCES
		open_ns | EACCES killed killed EACCES killed EACCES EACCES killed EACCES EACCES
		find_listener | EBADF EBADF EBADF EBADF killed EBADF EBADF yes yes EBADF
		find_channel | yes EBADF EBADF EBADF killed EBADF yes EBADF EBADF yes
		find_udp | EBADF EBADF EBADF EBADF EBADF EBADF yes EBADF EBADF EBADF
		sockets | EMFILE EMFILE EMFILE EMFILE killed EMFILE EMFILE yes yes EMFILE
		connect | yes yes yes yes killed yes yes yes yes yes
		raw | EPERM EPERM EPERM EPERM killed EPERM EPERM EPERM EPERM EPERM
		scm_recv | EAGAIN killed killed EAGAIN killed killed killed killed killed EAGAIN
		channel | EBADF EBADF EBADF EBADF EBADF EBADF EBADF EBADF EBADF EBADF
		chan_shut | yes EBADF EBADF EBADF killed EBADF killed EBADF EBADF yes
		chan_block | EPIPE EBADF EBADF EBADF killed EBADF EPIPE EBADF EBADF EPIPE
		chan_take | EAGAIN EBADF EBADF EBADF killed EBADF EAGAIN EBADF EBADF EAGAIN
		life_shut | ENOTSOCK EBADF EBADF EBADF EBADF EBADF killed ENOTSOCK ENOTSOCK ENOTSOCK
		life_write | yes EBADF EBADF EBADF killed EBADF killed EBADF EBADF yes
		source_client | killed killed killed killed killed killed killed yes yes killed
		source_listener | EBADF EBADF EBADF EBADF killed EBADF EBADF yes yes EBADF
		source_fastopen | EISCONN EISCONN EISCONN EISCONN EISCONN EISCONN EISCONN EISCONN EISCONN EISCONN
		listener_shut | EBADF EBADF EBADF EBADF killed EBADF killed yes yes EBADF
		option_device | yes killed killed yes killed yes yes killed yes yes
		udp_connect | killed killed killed killed killed killed yes ENOTSOCK ENOTSOCK killed
		udp_unbind | killed killed killed killed killed killed yes ENOTSOCK ENOTSOCK killed
		option_rcvbuf | yes killed killed yes killed killed yes killed killed yes
		done_fill | yes EBADF EBADF EBADF killed EBADF killed EBADF EBADF yes
		next_client | ENOMSG EBADF EBADF EBADF killed EBADF killed EBADF EBADF yes
		keep_client | ENOMSG EBADF EBADF EBADF killed EBADF killed EBADF EBADF ECONNRESET
		ask_udp | yes EBADF EBADF EBADF killed EBADF killed EBADF EBADF yes
		find_stream | EBADF EBADF yes EBADF killed yes EBADF yes yes EBADF
		scoreboard_used | EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT
		scoreboard_other | EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT
		slots | EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT
		pids | EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT
		reports | yes yes yes yes yes yes yes EFAULT EFAULT yes
		report | yes yes yes yes yes yes yes yes yes yes
		failures | ENOENT yes yes ENOENT ENOENT ENOENT ENOENT yes ENOENT ENOENT
		mmap | yes killed killed yes killed yes yes killed killed yes
		mprotect | ENOMEM killed killed ENOMEM killed ENOMEM ENOMEM killed killed ENOMEM
		linger_write | $sealed killed killed $sealed killed $sealed $sealed killed killed $sealed
		linger_map | $sealed killed killed $sealed killed $sealed $sealed killed killed $sealed
		mprotect_other | ENOMEM killed killed ENOMEM killed ENOMEM ENOMEM killed killed ENOMEM
		silent | yes ENOENT ENOENT yes yes yes yes ENOENT yes yes
		shared | EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT yes yes EFAULT
		table | EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT yes yes EFAULT
		scoreboard_own | EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT yes yes EFAULT
	END
}

# How many lines in the log the stages 1 to 6 and 9 have forged: only a worker writes there.
FORGED='0 0 0 0 0 2 0'

# Attacks that a build without filters refuses, too; others would succeed.
WITHOUT_FILTERS='send_log read_stdin find_listener find_udp scoreboard_used
	scoreboard_other slots pids report failures shared table'

# Makes the program that attacks, once for this file, from the objects of $NSFWD.
# skip in setup_file counts as a failure in bats 1.8.
setup_file() {
	local top=$BATS_TEST_DIRNAME/..
	export EVIL_NSFWD=$BATS_FILE_TMPDIR/nsfwd
	[ "$NSFWD" -ef "$top/nsfwd" ] && [ -e "$top/obj/flags" ] || return 0
	"$BATS_TEST_DIRNAME/evil/build" "$EVIL_NSFWD"
	chmod 755 "$EVIL_NSFWD"
}

setup() {
	[ -e "$EVIL_NSFWD" ] || skip "no objects of $NSFWD here"
	ns ns1 ns2
	NSFWD=$EVIL_NSFWD
	named_server ns2 here 127.0.0.1/8080 127.0.0.1/8081
	udp_echo ns2 echo 127.0.0.1 8080
}

# True if landlock_create_ruleset(2) returns a version.
has_landlock() {
	[[ $(call 444 0 0 1) == [1-9]* ]]
}

# start_evil MODE ARG...: starts it with the maps that evil.py wants.
start_evil() {
	[ "$1" = old ] || sanitized || has_landlock || skip "no Landlock in this kernel"
	local to=ns2@127.0.0.1:8080,ns2@127.0.0.1:8081
	export EVIL=$1
	start_nsfwd -v --max-conns 600 "ns1@127.0.0.1:8000=$to" \
		ns1@127.0.0.1:8001=ns2@proxy,reach=127.0.0.0/8 \
		"ns1@127.0.0.1:8002=$to,workers=80,max=100" \
		ns1@127.0.0.1:8003=ns2@localhost:8080,workers=40,max=100 \
		ns1@127.0.0.1:8004=ns2@proxy,reach=127.0.0.0/8,workers=40 \
		ns1@127.0.0.1:8010=ns2@127.0.0.1:8080 "${@:2}"
	unset EVIL
}

# attempt STAGE...: prints a row for each attack: its name, and how it ended.
attempt() {
	in_ns ns1 timeout $((60 * TEST_SLOW)) python3 "$EVIL_PY" "$NSFWD" "$LOG" \
		8000,8001,8002,8003,9000,9200,8004 "$@" 3>&- 4>&-
}

# forged STAGE...: prints how many lines with an escape each stage has in the log.
forged() {
	local stage
	for stage; do
		grep -c "FORGED $stage" "$LOG" || true
	done | xargs
}

# Prints the expected rows of these attacks, or of all.
expected_of() {
	local -A rows=()
	local name row
	while IFS='|' read -r name row; do
		rows[$name]=$row
	done < <(expected)
	for name; do
		echo "$name ${rows[$name]:-${STAGES[*]/*/killed}}"
	done
}

@test "a hijacked connection or worker gets what the manual says, nobody notices" {
	local names before
	mapfile -t names < <(EVIL=list "$NSFWD")
	[ "${#names[@]}" -ge 137 ]
	# shellcheck disable=SC2206 # words
	! sanitized || names=($WITHOUT_FILTERS)
	start_evil on
	before=$(others)
	PEER=$FAULTS peer_start ns1 crowd crowd 10 127.0.0.1/8010
	wait_until 5 crowd_is crowd 'served=10'
	ATTACKS="${names[*]}" attempt "${STAGES[@]}" >"$BATS_TEST_TMPDIR/got"
	expected_of "${names[@]}" >"$BATS_TEST_TMPDIR/want"
	! sanitized || sed -i 's/killed/EBADF/g' "$BATS_TEST_TMPDIR/want"
	diff "$BATS_TEST_TMPDIR/want" "$BATS_TEST_TMPDIR/got"
	sanitized || [ "$(forged 1 2 3 4 5 6 9)" = "$FORGED" ]
	crowd_is crowd 'served=10 .*reset=0'
	kill_spawned crowd
	undisturbed "$before"
}

# Prints the mappers that attacks leave alone.
others() {
	local pid
	for pid in $(mappers); do
		! grep -aq 'map ns1@127\.0\.0\.1:80' "/proc/$pid/cmdline" || echo "$pid"
	done | sort
}

# undisturbed MAPPERS: others are served by the same mappers, the log has no control
# byte, and nsfwd reloads and ends in order.
undisturbed() {
	asks ns1 127.0.0.1/8000=here 127.0.0.1/8010=here
	kill -USR1 "$NSFWD_PID"
	wait_until 5 logged ' table: .*8010='
	"$NSFWD" --status >"$BATS_TEST_TMPDIR/status"
	grep -qE '^[^ ]*8010=.* ok ' "$BATS_TEST_TMPDIR/status"
	"$NSFWD" --status=80 >>"$BATS_TEST_TMPDIR/status"
	run ! grep -a '[^[:print:]]' "$BATS_TEST_TMPDIR/status"
	[ "$(others)" = "$1" ]
	wait_until 5 eval '"$NSFWD" --status | grep -q "8004=.* ok  *0 "'
	# shellcheck disable=SC2046 # one word each
	kill -KILL $(kept 8004) 2>&1 || true # their descriptors are the mapper's, too
	wait_until 5 no_flows
	no_zombies
	grep -av FORGED "$LOG" | run ! grep -a '[[:cntrl:]]'
	hup
	asks ns1 127.0.0.1/8000=here 127.0.0.1/8010=here
	stop_nsfwd
	# The oracle takes them for filters that are too narrow.
	sed -i '/signal[ =]31$/d' "$LOG"
}

# How an attack ends in mappers of UDP and of TCP, then in that of a proxy. The
# attacks called udp_ are of its listener: that of TCP is then opened anew.
expected_of_mappers() {
	cat <<-END
		write_log yes yes
		send_log ENOTSOCK ENOTSOCK
		find_channel yes yes
		scoreboard_used EFAULT EFAULT
		scoreboard_other EFAULT EFAULT
		channel yes yes
		scoreboard_own yes yes
		chan_shut killed yes
		chan_block yes yes
		listener_shut killed yes
		source_listener EBADF yes
		udp_connect yes EISCONN
		udp_unbind yes yes
		shared ENOENT yes
		table ENOENT yes
		mprotect_other killed killed
		chan_shut_both killed killed
		option_lock killed killed
		option_device killed killed
		option_filter killed killed
		option_rcvbuf ENOTSOCK killed
		listener_shut_both killed killed
		udp_shut killed killed
		set_flags killed killed
		scoreboard_other EFAULT
		mprotect_other EACCES
		option_filter killed
	END
}

# succeed N: kills the N mappers of each protocol that attacked; their successors serve.
succeed() {
	local pid i asks=()
	for pid in $(comm -13 <(others) <(mappers | sort)); do
		kill -KILL "$pid" || true
	done
	forget_mappers
	for ((i = 9000; i < 9000 + $1; i++)); do
		asks+=("127.0.0.1/$i=here")
	done
	asks ns1 "${asks[@]}"
	in_ns ns1 python3 - "$1" <<-'END'
		import socket, sys
		for port in range(9000, 9000 + int(sys.argv[1])):
		    with socket.socket(type=socket.SOCK_DGRAM) as s:
		        s.settimeout(10)
		        s.sendto(b"x", ("127.0.0.1", port))
		        assert s.recv(9) == b"x", port
	END
}

# Reports that no connection wrote, counters of others, replies that no command
# asked for, what stays of a listener. The mappers are others than those that serve.
# A mapper that was killed afterwards has a successor with the same listeners.
@test "a hijacked mapper cannot harm the server, another map or its successor" {
	local names=(write_log send_log find_channel scoreboard_used scoreboard_other
		channel scoreboard_own chan_shut chan_block listener_shut source_listener
		udp_connect udp_unbind shared table mprotect_other chan_shut_both
		option_lock option_device option_filter option_rcvbuf listener_shut_both
		udp_shut set_flags) i before maps=()
	! sanitized || names=(write_log scoreboard_other channel chan_shut udp_connect)
	for i in "${!names[@]}"; do
		maps+=("ns1@127.0.0.1:$((9000 + i))=ns2@127.0.0.1:8080,max=5"
			"udp:ns1@127.0.0.1:$((9000 + i))=ns2@127.0.0.1:8080,udp-timeout=1,udp-one-way-timeout=1")
	done
	for i in {0..2}; do
		maps+=("ns1@127.0.0.1:$((9200 + i))=ns2@proxy,reach=127.0.0.0/8,max=5,udp-ports=$((9300 + i))")
	done
	start_evil on "${maps[@]}"
	before=$(others)
	ATTACKS="${names[*]}" attempt udp mapper >"$BATS_TEST_TMPDIR/got"
	sanitized || ATTACKS="scoreboard_other mprotect_other option_filter" \
		attempt proxy >>"$BATS_TEST_TMPDIR/got"
	sanitized || expected_of_mappers | diff - "$BATS_TEST_TMPDIR/got"
	succeed "${#names[@]}"
	undisturbed "$before"
}

# Without Landlock the filters alone keep others from signals; files are as the user
# may open them, for those that resolve names.
@test "without Landlock only files can be opened that the user may open" {
	local -a names=() before
	mapfile -t names < <(EVIL=list "$NSFWD" | grep -vx open_create)
	! sanitized || skip "a build without filters"
	start_evil old
	before=$(others)
	ATTACKS="${names[*]}" attempt handshake relay worker >"$BATS_TEST_TMPDIR/got"
	expected_of "${names[@]}" | cut -d' ' -f1,2,4,9 |
		sed '/^open_write/s/EACCES/yes/g' | diff - "$BATS_TEST_TMPDIR/got"
	undisturbed "$before"
}

# may ATTACK...: prints "yes" or "no" for each kind in the table of the manual: "yes"
# if one of the attacks succeeds.
may() {
	local attack
	for attack; do
		may_by "$attack"
	done | awk '{ for (i = 1; i <= NF; i++) if ($i == "yes") yes[i] = 1; n = NF }
		END { for (i = 1; i <= n; i++) printf "%s ", yes[i] ? "yes" : "no" }' | xargs
}

may_by() {
	local -a forged got
	read -ra forged <<<"$FORGED"
	if [ "$1" = forge ]; then
		got=("${forged[1]}" "${forged[0]}" "${forged[2]}" "${forged[4]}"
			"${forged[5]}" "${forged[6]}")
	else
		read -ra got < <(expected_of "$1")
		# That of a map with names or hops, but without a proxy, may do so, too.
		[ "$1" != cont_mapper ] || got[1]=${got[2]}
		got=("${got[2]}" "${got[1]}" "${got[5]}" "${got[7]}" "${got[8]}"
			"${got[10]}")
	fi
	printf '%s\n' "${got[@]}" | sed 's/^[12]$/yes/; /^yes$/!s/.*/no/' | xargs
}

@test "the table in SECURITY CONSIDERATIONS is what the attacks find" {
	local words attack n=0
	local -A row=()
	while IFS='|' read -r words attack; do
		row[$words]=$attack
	done < <(awk -F ' Ta ' '/^\.It Sy may Ta/ { on = 1; next } /^\.El/ { on = 0 }
		on { print substr($1, 5) "|" $2, $3, $4, $5, $6, $7 }' \
		"$BATS_TEST_DIRNAME/../man/nsfwd.1")
	while IFS='|' read -r words attack; do
		echo "$words"
		# shellcheck disable=SC2086 # words
		[ "${row[$words]}" = "$(may $attack)" ] ||
			fail "$words: ${row[$words]}, but $(may $attack)"
		n=$((n + 1))
	done < <(rows <<-'END'
		connect to other targets | connect
		get other clients | find_listener next_client
		send to the listen namespace | find_udp source_client source_listener source_fastopen ask_udp next_client
		read hosts and resolv.conf | open_read
		write files | open_write
		write to the log | forge
		falsify its report for the log | report
		start a process | fork
		continue a process (Linux < 6.12) | cont_mapper
		end, stop or trace a process | kill_mapper stop_mapper kill_all tgkill ptrace
		change counters of other maps | scoreboard_other
	END
	)
	[ "$n" = 11 ] && [ "${#row[@]}" -ge 12 ]
}
