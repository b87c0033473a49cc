#!/usr/bin/env bats
# `make install` and uninstall, and a server whose program is replaced.

bats_require_minimum_version 1.5.0
load helpers

LISTENERS=$BATS_TEST_DIRNAME/listeners.py

setup() {
	ns ns1 ns2
	CONF=$BATS_TEST_TMPDIR/conf
	PROGRAM=$BATS_TEST_TMPDIR/bin/nsfwd
}

# with NS ARG...: runs listeners.py in that namespace
with() {
	in_ns "$1" python3 "$LISTENERS" "${@:2}" 3>&- 4>&-
}

# new_program [COMMAND...]: replaces the file, as dpkg(1) does.
new_program() {
	mkdir -p "${PROGRAM%/*}"
	if [ $# = 0 ]; then
		cp "$NSFWD" "$PROGRAM.new"
	else
		printf '#!/bin/sh\n%s\n' "$*" >"$PROGRAM.new"
		chmod 755 "$PROGRAM.new"
	fi
	mv -f "$PROGRAM.new" "$PROGRAM"
}

# True if the server runs the file that is there now.
runs_new() {
	[ "$(stat -Lc %i "/proc/$NSFWD_PID/exe")" = "$(stat -c %i "$PROGRAM")" ]
}

# True if the server has one tracker, that of the new program; sets TRACKER.
one_tracker() {
	TRACKER=$(for pid in $(mappers); do
		! grep -q '^nsfwd: docker' "/proc/$pid/cmdline" || echo "$pid"
	done)
	[[ $TRACKER =~ ^[0-9]+$ ]]
}

start_replaceable() {
	new_program
	spawn_ready ns2 target python3 "$LISTENERS" server here \
		tcp:127.0.0.1/8080 udp:127.0.0.1/8080
	NSFWD=$PROGRAM start_nsfwd "$@"
}

@test "make install: all that a system wants; uninstall takes all of it away" {
	local top=$BATS_TEST_DIRNAME/.. dest="$BATS_TEST_TMPDIR/a dest" file
	copy="$BATS_TEST_TMPDIR/a copy"
	mkdir "$copy"
	cp -r "$top"/{Makefile,README,contrib,man} "$copy"
	cp "$NSFWD" "$copy/nsfwd"
	# A directory may have a space in its name.
	echo 'extern int x;' >"$copy/x.c"
	make -s -C "$copy" CC=cc obj/x.o
	# The program is there, so that nothing is built.
	into() {
		make -s -C "$copy" SRC= "$1" DESTDIR="$dest" PREFIX=/opt/n -o nsfwd
	}
	mkdir -p "$dest/opt/n/bin"
	touch "$dest/opt/n/bin/other"
	find "$dest" >"$BATS_TEST_TMPDIR/before"
	into install
	for file in bin/nsfwd share/man/man1/{nsfwd,gost2nsfwd}.1 \
		share/man/man5/nsfwd.conf.5 share/man/man7/nsfwd-messages.7 \
		share/doc/nsfwd/README \
		share/bash-completion/completions/nsfwd lib/sysusers.d/nsfwd.conf \
		share/doc/nsfwd/examples/nsfwd.conf lib/systemd/user/nsfwd.service \
		lib/systemd/system/nsfwd{,@}.service; do
		[ -s "$dest/opt/n/$file" ] || fail "no $file"
	done
	run -0 grep -rhE '^Exec(Start|Reload)=.*nsfwd ' "$dest/opt/n/lib/systemd"
	[ "${#lines[@]}" = 6 ]
	[[ $output != *=/usr/local* ]]
	run ! grep -rlE '^Exec.*/usr/local' "$dest"
	[ "$("$dest/opt/n/bin/nsfwd" --version)" = "$("$NSFWD" --version)" ]
	into uninstall
	find "$dest" | diff "$BATS_TEST_TMPDIR/before" -
}

# bats test_tags=workers
@test "a new program at HUP: no client is refused, what is open goes on" {
	printf '%s\n' ns1@127.0.0.1:8000=ns2@127.0.0.1:8080 ns1@8001=ns2@8080 \
		"ns1@:8002=ns2@127.0.0.1:8080" "ns1@$BATS_TEST_TMPDIR/u=ns2@8080" \
		"ns1@@abstract=ns2@8080" udp:ns1@:8000=ns2@127.0.0.1:8080 >"$CONF"
	for_nobody
	start_replaceable -c "$CONF" -P /run/pid --stats 127.0.0.1:9100
	spawn ns1 held python3 "$LISTENERS" hold 127.0.0.1/8000
	wait_until 2 printed held here
	new_program
	spawn self status python3 "$LISTENERS" load 50 100 \
		"unix:/run/nsfwd/status.$NSFWD_PID" "$NSFWD_PID" 0
	spawn self stats python3 "$LISTENERS" load 50 100 tcp:127.0.0.1/9100 \
		"$NSFWD_PID" 0
	with ns1 load 300 240 tcp:127.0.0.1/8000 "$NSFWD_PID" 2
	reap status stats
	wait_until 5 runs_new
	wait_until 5 logged 'ready: 6 maps'
	[ "$(cat /run/pid)" = "$NSFWD_PID" ]
	kill -USR1 "$(pid_of held)"
	wait_until 2 printed held here 2
	with ns1 follow 2 here tcp:127.0.0.1/8000 tcp:127.0.0.1/8001 tcp:::1/8001 \
		tcp:::1/8002 udp:127.0.0.1/8000
	kill_spawned held
	# And once more, because a program that was handed listeners hands them on.
	new_program
	with ns1 load 300 120 tcp:127.0.0.1/8002 "$NSFWD_PID" 1
	wait_until 5 runs_new
	wait_until 5 logged 'ready: 6 maps' 3
	wait_until 5 mappers_are 6
	FDS=()
}

@test "a new program that is broken, or does not know the maps: the old one goes on" {
	echo ns1@127.0.0.1:8000=ns2@127.0.0.1:8080 >"$CONF"
	echo 127.0.0.1:8001=docker:none@80 >>"$CONF"
	export DOCKER_HOST=unix:///nonexistent
	start_replaceable -c "$CONF" --wait --drain 600 --stats "$BATS_TEST_TMPDIR/stats"
	# A new program is told of each mapper once, however often it fails.
	new_program "echo \$NSFWD_MAPPERS >'$BATS_TEST_TMPDIR/mappers'; exit 3"
	hup 'the old one goes on: it does not accept'
	hup 'the old one goes on: it does not accept'
	[ "$(wc -w <"$BATS_TEST_TMPDIR/mappers")" = 1 ]
	with ns1 follow 2 here tcp:127.0.0.1/8000
	# One that hangs is killed.
	new_program exec sleep 60
	kill -HUP "$NSFWD_PID"
	wait_until 7 logged 'the old one goes on' 3
	new_program
	echo ns1@127.0.0.1:8001=ns2@ >>"$CONF"
	hup 'the old one goes on: it does not accept'
	sed -i '$d' "$CONF"
	spawn self stats python3 "$LISTENERS" load 50 50 \
		"unix:$BATS_TEST_TMPDIR/stats" "$NSFWD_PID" 0
	hup 'ready: 1 of 2 maps'
	runs_new
	reap stats
	# TERM waits for old mappers, and for no other child: a tracker that hangs.
	wait_until 5 one_tracker
	spawn_ready self trap python3 "$LISTENERS" trap "$TRACKER"
	stop_nsfwd
	kill_spawned trap
}

@test "a new program keeps rights that are not root's, TERM waits for old mappers" {
	start_replaceable --drain 2 ns1@127.0.0.1:8000=ns2@127.0.0.1:8080
	spawn ns1 held python3 "$LISTENERS" hold 127.0.0.1/8000
	wait_until 2 printed held here
	grep CapPrm "/proc/$NSFWD_PID/status" >"$BATS_TEST_TMPDIR/rights"
	new_program
	hup 'ready: 1 map'
	runs_new
	grep CapPrm "/proc/$NSFWD_PID/status" | diff "$BATS_TEST_TMPDIR/rights" -
	grep -q '^CapAmb:\s0*$' "/proc/$NSFWD_PID/status"
	began=$(now_ms)
	stop_nsfwd 5
	[ $(($(now_ms) - began)) -ge 1900 ]
	kill_spawned held
}
