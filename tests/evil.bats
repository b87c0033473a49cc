#!/usr/bin/env bats
# What a process of nsfwd gets once a peer has taken it over: tests/evil has a build
# whose processes attack. Each test has one server, which many attacks do not end.

bats_require_minimum_version 1.5.0
load helpers

EVIL_PY=$BATS_TEST_DIRNAME/evil/evil.py
STAGES=(handshake dial relay names narrow forward associate worker)

# How an attack ends at each of the STAGES; without a row it is killed everywhere.
# Before a handshake, while names are resolved, and as long as plain HTTP is forwarded,
# files can be read (only).
expected() {
	rows <<-END
		fork | EAGAIN EAGAIN EAGAIN EAGAIN killed killed killed killed
		sockets | EMFILE EMFILE EMFILE EMFILE killed EMFILE EMFILE yes
		cont_mapper | yes yes yes yes killed killed killed killed
		write_log | yes yes yes yes killed yes yes yes
		write_stdout | yes yes yes yes killed yes yes yes
		send_log | ENOTSOCK ENOTSOCK ENOTSOCK ENOTSOCK ENOTSOCK ENOTSOCK ENOTSOCK ENOTSOCK
		shutdown_log | ENOTSOCK ENOTSOCK ENOTSOCK ENOTSOCK ENOTSOCK ENOTSOCK ENOTSOCK ENOTSOCK
		read_stdin | EBADF EBADF EBADF EBADF killed EBADF EBADF killed
		splice_stdin | EBADF EBADF EBADF EBADF EBADF EBADF EBADF EBADF
		open_read | yes killed killed yes killed yes yes killed
		open_write | EACCES killed killed EACCES killed EACCES EACCES killed
		open_create | EACCES killed killed EACCES killed EACCES EACCES killed
		open_mem | EACCES killed killed EACCES killed EACCES EACCES killed
		open_ns | EACCES killed killed EACCES killed EACCES EACCES killed
		connect | yes yes yes yes killed yes yes yes
		raw | EPERM EPERM EPERM EPERM killed EPERM EPERM EPERM
		scm_send | yes killed killed yes killed killed killed killed
		scm_recv | EAGAIN killed killed EAGAIN killed killed killed killed
		find_listener | EBADF EBADF EBADF EBADF killed EBADF EBADF yes
		find_channel | yes EBADF EBADF EBADF killed EBADF EBADF EBADF
		find_udp | EBADF EBADF EBADF EBADF EBADF EBADF yes EBADF
		raise_limit | EPERM EPERM EPERM EPERM killed killed killed killed
		scoreboard_used | EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT
		scoreboard_other | EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT
		scoreboard_own | EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT yes
		slots | EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT
		pids | EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT EFAULT
		reports | yes yes yes yes yes yes yes EFAULT
		report | yes yes yes yes yes yes yes yes
		failed_at | ENOENT yes yes ENOENT ENOENT ENOENT ENOENT yes
		channel | EBADF EBADF EBADF EBADF EBADF EBADF EBADF EBADF
		mmap | yes killed killed yes killed yes yes killed
		mprotect | ENOMEM killed killed ENOMEM killed ENOMEM ENOMEM killed
	END
}

# How many lines in the log the stages 1 to 6 have forged: only a worker writes there.
FORGED='0 0 0 0 0 1'

# Attacks that a build without filters refuses, too; others would succeed.
WITHOUT_FILTERS='send_log shutdown_log read_stdin splice_stdin find_listener find_udp
	scoreboard_used scoreboard_other slots pids report failed_at'

# Makes the program that attacks, once for this file, from the objects of $NSFWD.
setup_file() {
	local top=$BATS_TEST_DIRNAME/..
	export EVIL_NSFWD=$BATS_FILE_TMPDIR/nsfwd
	if [ ! "$NSFWD" -ef "$top/nsfwd" ] || [ ! -e "$top/obj/flags" ]; then
		skip "no objects of $NSFWD here"
	fi
	"$BATS_TEST_DIRNAME/evil/build" "$EVIL_NSFWD"
	chmod 755 "$EVIL_NSFWD"
}

setup() {
	ns ns1 ns2
	NSFWD=$EVIL_NSFWD
	named_server ns2 here 127.0.0.1/8080 127.0.0.1/8081
}

# start_evil MODE ARG...: starts it with the maps that evil.py wants.
start_evil() {
	local to=ns2@127.0.0.1:8080,ns2@127.0.0.1:8081
	export EVIL=$1
	start_nsfwd -v --max-conns 300 "ns1@127.0.0.1:8000=$to" \
		ns1@127.0.0.1:8001=ns2@proxy,reach=127.0.0.0/8 \
		"ns1@127.0.0.1:8002=$to,workers=80,max=100" \
		ns1@127.0.0.1:8010=ns2@127.0.0.1:8080 "${@:2}"
	unset EVIL
}

# attempt STAGE...: prints a row for each attack: its name, and how it ended.
attempt() {
	in_ns ns1 timeout 60 python3 "$EVIL_PY" "$NSFWD" "$LOG" 8000,8001,8002,9000 \
		"$@" 3>&- 4>&-
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

@test "a connection or worker that was taken over gets what the manual says, nobody notices" {
	local names before
	mapfile -t names < <(EVIL=list "$NSFWD")
	[ "${#names[@]}" -ge 85 ]
	# shellcheck disable=SC2206 # words
	! sanitized || names=($WITHOUT_FILTERS)
	start_evil on
	before=$(mappers | sort)
	PEER=$FAULTS peer_start ns1 crowd crowd 10 127.0.0.1/8010
	wait_until 5 crowd_is crowd 'served=10'
	ATTACKS="${names[*]}" attempt "${STAGES[@]}" >"$BATS_TEST_TMPDIR/got"
	expected_of "${names[@]}" >"$BATS_TEST_TMPDIR/want"
	! sanitized || sed -i 's/killed/EBADF/g' "$BATS_TEST_TMPDIR/want"
	diff "$BATS_TEST_TMPDIR/want" "$BATS_TEST_TMPDIR/got"
	sanitized || [ "$(forged 1 2 3 4 5 6)" = "$FORGED" ]
	crowd_is crowd 'served=10 .*reset=0'
	kill_spawned crowd
	undisturbed "$before"
}

# undisturbed MAPPERS: others are served by the same mappers, the log has no control
# byte, and nsfwd ends in order.
undisturbed() {
	asks ns1 127.0.0.1/8000=here 127.0.0.1/8010=here
	kill -USR1 "$NSFWD_PID"
	wait_until 5 logged ' table: .*8010='
	"$NSFWD" --status >"$BATS_TEST_TMPDIR/status"
	grep -qE '^[^ ]*8010=.* ok ' "$BATS_TEST_TMPDIR/status"
	"$NSFWD" --status=80 >>"$BATS_TEST_TMPDIR/status"
	run ! grep -a '[^[:print:]]' "$BATS_TEST_TMPDIR/status"
	[ "$(mappers | sort)" = "$1" ]
	wait_until 5 no_flows
	no_zombies
	grep -av FORGED "$LOG" | run ! grep -a '[[:cntrl:]]'
	stop_nsfwd
	# The oracle takes them for filters that are too narrow.
	sed -i '/signal[ =]31$/d' "$LOG"
}

# Reports that no connection wrote, counters of others, replies that no command
# asked for. The mappers are others than those that serve.
@test "a mapper that was taken over cannot harm the server or another map" {
	local names=(write_log send_log shutdown_log find_channel scoreboard_used
		scoreboard_other channel scoreboard_own) i before others
	for i in "${!names[@]}"; do
		others+=("ns1@127.0.0.1:$((9000 + i))=ns2@127.0.0.1:8080,max=5"
			"udp:ns1@127.0.0.1:$((9000 + i))=ns2@127.0.0.1:8080,udp-one-way-timeout=1")
	done
	start_evil on "${others[@]}"
	before=$(mappers | sort)
	ATTACKS="${names[*]}" attempt udp mapper >"$BATS_TEST_TMPDIR/got"
	diff - "$BATS_TEST_TMPDIR/got" <<-END
		write_log yes yes
		send_log ENOTSOCK ENOTSOCK
		shutdown_log ENOTSOCK ENOTSOCK
		find_channel yes yes
		scoreboard_used EFAULT EFAULT
		scoreboard_other EFAULT EFAULT
		channel yes yes
		scoreboard_own yes yes
	END
	undisturbed "$before"
}

# Without Landlock the filters alone keep others from signals; files are as the user
# may open them, for those that resolve names.
@test "without Landlock no signal goes out" {
	local names=(kill_mapper stop_mapper kill_all tgkill cont_mapper open_write
		open_mem open_ns)
	local before
	! sanitized || skip "a build without filters"
	start_evil old
	before=$(mappers | sort)
	ATTACKS="${names[*]}" attempt "${STAGES[@]}" >"$BATS_TEST_TMPDIR/got"
	expected_of "${names[@]}" | sort >"$BATS_TEST_TMPDIR/want"
	sed -i '/^open_write/s/EACCES/yes/g' "$BATS_TEST_TMPDIR/want"
	sort "$BATS_TEST_TMPDIR/got" | diff "$BATS_TEST_TMPDIR/want" -
	undisturbed "$before"
}

# may ATTACK: prints "yes" or "no" for each kind in the table of the manual.
may() {
	local -a forged got
	read -ra forged <<<"$FORGED"
	if [ "$1" = forge ]; then
		got=("${forged[1]}" "${forged[0]}" "${forged[2]}" "${forged[4]}"
			"${forged[5]}")
	else
		read -ra got < <(expected_of "$1")
		got=("${got[2]}" "${got[1]}" "${got[5]}" "${got[7]}" "${got[8]}")
	fi
	printf '%s\n' "${got[@]}" | sed 's/^1$/yes/; /^yes$/!s/.*/no/' | xargs
}

@test "the table in SECURITY CONSIDERATIONS is what the attacks find" {
	local words attack n=0
	local -A row=()
	while IFS='|' read -r words attack; do
		row[$words]=$attack
	done < <(awk -F ' Ta ' '/^\.It Sy may Ta/ { on = 1; next } /^\.El/ { on = 0 }
		on { print substr($1, 5) "|" $2, $3, $4, $5, $6 }' \
		"$BATS_TEST_DIRNAME/../man/nsfwd.1")
	while IFS='|' read -r words attack; do
		echo "$words"
		[ "${row[$words]}" = "$(may "$attack")" ] ||
			fail "$words: ${row[$words]}, but $(may "$attack")"
		n=$((n + 1))
	done < <(rows <<-'END'
		connect to other targets | connect
		accept other clients | find_listener
		send to the source namespace | find_udp
		read the files of names | open_read
		write files | open_write
		write to the log | forge
		falsify what is logged of it | report
		start a process | fork
		continue a stopped process | cont_mapper
		end, stop or trace a process | kill_mapper
		end, stop or trace a process | stop_mapper
		end, stop or trace a process | ptrace
		change counters of other maps | scoreboard_other
	END
	)
	[ "$n" = 13 ] && [ "${#row[@]}" -ge 12 ]
}
