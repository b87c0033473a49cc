#!/usr/bin/env bats
# --status, --top, --stats over TCP, and the metrics: what a running server shows.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
	export XDG_RUNTIME_DIR=$BATS_FILE_TMPDIR/user
	mkdir -m 700 "$XDG_RUNTIME_DIR"
}

# The fields of a row of --status=json, for the map that begins with $1.
row() {
	"$NSFWD" --status=json >"$BATS_TEST_TMPDIR/json" &&
		python3 - "$BATS_TEST_TMPDIR/json" "$@" <<-'END'
	import json, sys
	rows = [row for row in json.load(open(sys.argv[1]))
	        if row["map"].startswith(sys.argv[2])]
	print(*(row[name] for row in rows for name in sys.argv[3:]))
	END
}

row_is() {
	[ "$(row "${@:2}")" = "$1" ] || row "${@:2}"
}

metric() {
	curl --silent --show-error --max-time $((5 * TEST_SLOW)) "http://127.0.0.1:$1/metrics" |
		sed -nE "s/^$2 //p"
}

metric_is() {
	[ "$(metric "$1" "$2")" = "$3" ]
}

# bats test_tags=workers
@test "--status: maps, what is open, JSON, and a table on no terminal" {
	named_server ns2 here 127.0.0.1/8080
	udp_echo ns2 echo 127.0.0.1 8053
	start_nsfwd -q --wait 127.0.0.1:8000=ns2@127.0.0.1:8080 127.0.0.1:8001=ns2@127.0.0.1:1 \
		udp:127.0.0.1:8002=ns2@127.0.0.1:8053 127.0.0.1:8003=gone@1 \
		127.0.0.1:8004=ns2@127.0.0.1:8080,deny=127.0.0.1 127.0.0.1:8005=ns2@8080,max=1
	[ "$(stat -c %a "/run/nsfwd/status.$NSFWD_PID")" = 700 ]
	exec 5<>/dev/tcp/127.0.0.1/8000 6<>/dev/udp/127.0.0.1/8002 7<>/dev/tcp/127.0.0.1/8005
	echo hello >&5
	echo hello >&7
	read -rt $((5 * TEST_SLOW)) <&5
	read -rt $((5 * TEST_SLOW)) <&7
	echo data >&6
	timeout $((5 * TEST_SLOW)) dd bs=64 count=1 status=none <&6 | grep -q data
	run ! asks self 127.0.0.1/8001=here
	run ! asks self 127.0.0.1/8004=here
	# Bytes of open connections count; every map has its row.
	wait_until 5 row_is 'tcp self ns2 ok 1 1 0 0 6 5 None ' 127.0.0.1:8000 \
		proto from to state open total failed refused up down error_ms error
	wait_until 5 row_is 'down 0 1 ECONNREFUSED (nothing listens on 127.0.0.1:1 in ns2)' \
		127.0.0.1:8001 state open failed error
	wait_until 5 row_is 'udp ok 1 1 5 5' udp: proto state open total up down
	row_is "waits None waits for namespace 'gone'" 127.0.0.1:8003 state error_ms error
	row_is 'ok 1' 127.0.0.1:8004 state refused
	row_is 'full 1 0' 127.0.0.1:8005 state targets targets_down
	run -0 "$NSFWD" --status
	[[ ${lines[0]} =~ ^MAP\ +PROTO\ +FROM\ +TO\ +STATE\ +OPEN\ +TOTAL\ +FAILED\ +REFUSED\ +UP\ +DOWN\ +AGO\ +LAST\ ERROR$ ]]
	[ "${#lines[@]}" = 7 ]
	[ "$("$NSFWD" --top | wc -l)" = 7 ]
	[[ ${lines[6]} =~ ^127.0.0.1:8005.*\ full\ +1\  ]]
	run -0 "$NSFWD" --status=8000 "/run/nsfwd/status.$NSFWD_PID"
	[[ ${lines[1]} =~ ^127.0.0.1:[0-9]+\ +127.0.0.1:8080\ +6\ +5\ +[0-9]+m?s\ +127.0.0.1:8000=ns2 ]]
	run -0 "$NSFWD" --status=udp
	[[ ${lines[1]} =~ ^127.0.0.1:[0-9]+\ +127.0.0.1:8053\ +5\ +5\ +[0-9]+m?s\ +udp ]]
	run -1 "$NSFWD" --status=9000
	[[ $output == "nsfwd: --status: no map has '9000' in it" ]]
	[ "$("$NSFWD" --status=8002,json | python3 -c 'import json, sys; print(*map(list, json.load(sys.stdin)))')" = \
		"['client', 'target', 'up', 'down', 'age_ms', 'map']" ]
	[ "$("$NSFWD" --status=all,json | grep -c '"client": ')" = 3 ]
	exec 5>&- 6>&- 7>&-
	# All rows, over several pages, and none after the clients have gone.
	faults peer_start self crowd crowd 70 127.0.0.1/8000
	wait_until 5 crowd_is crowd 'served=70'
	[ "$("$NSFWD" --status=8000 | wc -l)" = 71 ]
	kill_spawned crowd
	wait_until 5 row_is 0 127.0.0.1:8000 open
	wait_until 5 eval '"$NSFWD" --status=8000 | grep -qx "none open"'
	run -0 "$NSFWD" --status=8000
	[[ ${#lines[@]} = 2 && ${lines[0]} == CLIENT* && ${lines[1]} == 'none open' ]]
	[ "$("$NSFWD" --status=8000,json | tr -d '\n')" = '[]' ]
	FDS=()
}

faults() {
	PEER=$FAULTS "$@"
}

# bats test_tags=workers
@test "several targets, and a range: each that is down is shown, and logged once" {
	local i what name cure
	named_server ns2 here 127.0.0.1/8080
	start_nsfwd -q 127.0.0.1:8000=ns2@1,2 127.0.0.1:8010=ns2@3,8080 \
		127.0.0.1:8100-8102=ns2@8079-8081 127.0.0.1:8110-8111=ns2@4-5,8080
	# While the connection is open that the second target took.
	exec 5<>/dev/tcp/127.0.0.1/8010
	wait_until 5 logged "'127.0.0.1:8010=.*': target 127.0.0.1:3 is down: ECONNREFUSED \(nothing listens on 127.0.0.1:3 in ns2\)$"
	row_is 'ok 2 1 1 0 ECONNREFUSED (nothing listens on 127.0.0.1:3 in ns2)' \
		127.0.0.1:8010 state targets targets_down open failed error
	"$NSFWD" --status | grep -qE ' ok \(1 of 2\) +1 +1 '
	# A port within a range names its map; one that no map listens on does not.
	for i in 8100 8101 8102; do
		[[ $("$NSFWD" --status="$i") == CLIENT* ]]
	done
	while read -r name cure; do
		run -1 "$NSFWD" --status="$name"
		[ "$output" = "nsfwd: --status: no map has '$name' in it${cure:+: write $cure}" ] ||
			fail "$name $cure: $output"
	done <<-END
		8103
		/run/none
		/run/nsfwd/status.$NSFWD_PID --status /run/nsfwd/status.$NSFWD_PID
		jsn --status=json
		8101,JSON --status=8101,json
		8101,jsn --status=8101,json
		8101,max=9
	END
	exec 5>&-
	for i in 1 2; do
		asks self 127.0.0.1/{8000,8100,8102}=reset 127.0.0.1/{8010,8101}=here
	done
	asks self 127.0.0.1/8110=here
	wait_until 5 row_is 'ok 3 1' 127.0.0.1:8110 state targets targets_down
	wait_until 5 row_is 'down 2 2 2' 127.0.0.1:8000 state targets targets_down failed
	wait_until 5 row_is 'ok 2 4 6 ECONNREFUSED (nothing listens on 127.0.0.1:8081 in ns2)' \
		127.0.0.1:8100 state targets_down failed total error
	named_server ns2 back 127.0.0.1/3 127.0.0.1/8081
	kill_spawned here
	exec 5<>/dev/tcp/127.0.0.1/8102
	wait_until 5 logged "8102=.*': target 127.0.0.1:8081 is reached again, after [0-9]+ s$"
	wait_until 5 row_is 'ok 1 1' 127.0.0.1:8100 state targets_down open
	exec 5>&-
	for i in 1 2; do
		asks self 127.0.0.1/{8010,8102}=back 127.0.0.1/8101=reset
	done
	wait_until 5 logged 'reached again' 2
	stop_nsfwd
	for what in '8000=.*: target 127.0.0.1:1 is down' '8000=.*: target 127.0.0.1:2 is down' \
		'8010=.*: target 127.0.0.1:3 is reached again' '8102=.*: target 127.0.0.1:8079 is down' \
		'8102=.*: target 127.0.0.1:8080 is down' '8102=.*: target 127.0.0.1:8081 is down'; do
		logged "$what"
	done
	# 8080 of 8010 is tried only while 3 is in backoff.
	[ "$(grep ': target .* is ' "$LOG" | grep -vc '8010=.*: target 127.0.0.1:8080')" = 9 ]
}

@test "a dev= or src= that --wait starts without: the targets are down until one is reached" {
	named_server ns2 here 127.0.0.1/8080
	start_nsfwd -q --wait 127.0.0.1:8000-8001=ns2@127.0.0.1:8080-8081,dev=dev7 \
		udp:127.0.0.1:8002=ns2@8053,src=127.9.9.9 127.0.0.1:8003=ns2@8080,src=10.7.7.7
	row_is 'down 0 ENODEV (no such interface in ns2: ip -n ns2 link)' 127.0.0.1:8000 \
		state failed error
	row_is 'ok None' udp: state error_ms
	row_is 'down 0 EADDRNOTAVAIL (src= is not there, or no port is free: ip -n ns2 addr)' \
		127.0.0.1:8003 state failed error
	ip -n ns2 addr add 10.7.7.7/32 dev lo
	asks self 127.0.0.1/8003=here
	wait_until 5 row_is ok 127.0.0.1:8003 state
	wait_until 5 logged "8003=.*': target 127.0.0.1:8080 is reached again, after"
}

sends() {
	echo data >"/dev/udp/127.0.0.1/$1"
}

# udp_ping PORT: sends a datagram, and reads the answer.
udp_ping() {
	local fd
	exec {fd}<>"/dev/udp/127.0.0.1/$1"
	echo data >&"$fd"
	timeout $((5 * TEST_SLOW)) dd bs=64 count=1 status=none <&"$fd" | grep -q data
	exec {fd}>&-
}

@test "a UDP target that refuses is down until it answers; refusals are counted" {
	udp_echo ns2 echo 127.0.0.1 8052
	start_nsfwd -q --stats :9100 udp:127.0.0.1:8002=ns2@99 \
		udp:127.0.0.1:8010-8011=ns2@127.0.0.1:8051-8052 udp:127.0.0.1:8020=ns2@97,8052 \
		udp:127.0.0.1:8031-8032=ns2@127.0.0.1:8051-8052,127.0.0.2:8051-8052
	udp_echo ns2 second 127.0.0.2 8051
	row_is 'ok 0' udp:127.0.0.1:8002 state failed
	sends 8002
	wait_until 5 row_is 'down 1 ECONNREFUSED (nothing listens on 127.0.0.1:99 in ns2)' \
		udp:127.0.0.1:8002 state failed error
	wait_until 5 logged "8002=.*': target 127.0.0.1:99 refuses datagrams"
	metric_is 9100 'nsfwd_target_up\{proto="udp",index="1",target="99",.*\}' 0
	metric_is 9100 'nsfwd_dropped_datagrams_total\{proto="udp",reason="refused",map="udp:127.0.0.1:8002.*\}' 1
	# Of a range, the port; a datagram that the next target got is not lost.
	udp_ping 8011
	sends 8010
	wait_until 5 row_is 'ok (1 of 2) 1' udp:127.0.0.1:8010 state failed
	metric_is 9100 'nsfwd_target_up\{.*map="udp:127.0.0.1:8010.*\}' 1
	metric_is 9100 'nsfwd_target_ports_down\{.*map="udp:127.0.0.1:8010.*\}' 1
	udp_ping 8020
	wait_until 5 row_is 'ok (1 of 2) 0' udp:127.0.0.1:8020 state failed
	# The second target serves the closed port alone.
	udp_ping 8031
	udp_ping 8032
	"$NSFWD" --status=8031 | grep -q ' 127.0.0.2:8051 '
	"$NSFWD" --status=8031 | grep -q ' 127.0.0.1:8052 '
	udp_echo ns2 back 127.0.0.1 99
	udp_ping 8002
	wait_until 5 row_is 'ok 1' udp:127.0.0.1:8002 state failed
	metric_is 9100 'nsfwd_target_up\{proto="udp",index="1",target="99",.*\}' 1
	FDS=()
}

@test "the socket of --status: several servers, a killed one, HUP, TERM, no directory" {
	local first path killed
	start_nsfwd -q 127.0.0.1:8000=ns2@1
	first=$NSFWD_PID
	path=/run/nsfwd/status.$first
	"$NSFWD" -q 127.0.0.1:8001=ns2@2 </dev/null 3>&- &
	killed=$!
	wait_until 5 eval '"$NSFWD" --status | grep -q 8001=ns2@2'
	run -0 "$NSFWD" --status
	[ "${#lines[@]}" = 6 ] # bats leaves the empty one out
	[[ $output == *"$path:
MAP "*8000=ns2@1* && $output == *"/run/nsfwd/status.$killed:
MAP "*8001=ns2@2* ]]
	grep '^/run' <<<"$output" | sort --version-sort --check
	run -0 "$NSFWD" --status=8001
	[ "${lines[0]}" = "/run/nsfwd/status.$killed:" ]
	[[ ${#lines[@]} = 3 && ${lines[2]} == 'none open' ]]
	run -1 "$NSFWD" --status=8002
	[ "$output" = "nsfwd: --status: no map has '8002' in it" ]
	# A program gets one document, so that it has to name the server.
	run -1 "$NSFWD" --status=8001,json
	[ "$(grep -cx "nsfwd: several servers run: nsfwd --status=8001,json /run/nsfwd/status\.[0-9]*" <<<"$output")" = 2 ]
	run -2 "$NSFWD" --top=8001
	[ "$output" = "nsfwd: option '--top' takes no value: write --status=8001 --top" ]
	run -0 "$NSFWD" --status "$path"
	[[ $output == *8000=ns2@1* ]]
	# The socket of a killed server is no obstacle, and goes at the next start.
	kill -KILL $killed
	wait $killed || true
	wait_until 5 eval '"$NSFWD" --status | grep -q 8000=ns2@1'
	[ -S "/run/nsfwd/status.$killed" ]
	hup
	"$NSFWD" --status | grep -q 8000=ns2@1
	stop_nsfwd
	[ ! -e "$path" ]
	run -1 "$NSFWD" --status
	[[ $output == *'no server runs'* ]]
	start_nsfwd -q 127.0.0.1:8000=ns2@1
	[ ! -e "/run/nsfwd/status.$killed" ]
	stop_nsfwd
	# No directory: the server starts, and uses that of the user.
	rm -r /run/nsfwd
	touch /run/nsfwd
	start_nsfwd -v 127.0.0.1:8000=ns2@1
	logged '^nsfwd: --status: no socket in /run/nsfwd: E'
	"$NSFWD" --status | grep -q 8000=ns2@1
	stop_nsfwd
	rm /run/nsfwd
	# That of systemd.exec(5) comes first.
	RUNTIME_DIRECTORY=$BATS_TEST_TMPDIR start_nsfwd -q 127.0.0.1:8000=ns2@1
	[ -S "$BATS_TEST_TMPDIR/status.$NSFWD_PID" ]
	[ ! -e /run/nsfwd ]
	run -2 "$NSFWD" --status 1234
	run -2 "$NSFWD" --status / /
	run -1 "$NSFWD" --status "$BATS_TEST_TMPDIR/none"
	[[ $output == *'no server listens there: ENOENT' ]]
}

@test "--status: any number of servers, in order; those that are stopped share a wait" {
	local pid
	start_nsfwd -q 127.0.0.1:8000=ns2@1
	mv "/run/nsfwd/status.$NSFWD_PID" /run/nsfwd/status.50
	# Sockets that answer nothing, made in no order.
	python3 -c "if 1:
	import signal, socket
	made = []
	for n in (*range(9, 2, -1), *range(99, 50, -1), *range(10, 50), 100):
	    made.append(socket.socket(socket.AF_UNIX))
	    made[-1].bind('/run/nsfwd/status.%d' % n)
	    made[-1].listen()
	open('$BATS_TEST_TMPDIR/ready', 'w')
	signal.pause()" </dev/null &>/dev/null 3>&- &
	pid=$!
	wait_until 10 [ -e "$BATS_TEST_TMPDIR/ready" ]
	run -1 "$NSFWD" --status=json
	[ "$(sed -n 's/.*status[.]//p' <<<"$output")" = "$(seq 3 100)" ]
	# One after the other, they would cost 8 minutes; so, they are two waits.
	run -1 timeout $((60 * TEST_SLOW)) prlimit --nofile=70 "$NSFWD" --status
	[[ $output == */run/nsfwd/status.50:*8000=ns2@1* ]]
	[ "$(grep -c 'status[.][0-9]*: no answer: ETIMEDOUT$' <<<"$output")" = 97 ]
	kill "$pid"
	wait "$pid" || true
	rm /run/nsfwd/status.*
}

@test "--top: refreshes, shows rates at every width, and restores the terminal" {
	named_server ns2 here 127.0.0.1/8080
	start_nsfwd -q 127.0.0.1:8000=ns2@127.0.0.1:8080,idle-timeout=1h,half-close-timeout=20m,max=9 \
		127.0.0.1:8001=ns2@1
	asks self 127.0.0.1/8001=reset
	wait_until 5 row_is 1 127.0.0.1:8001 failed
	python3 - "$NSFWD" "$NSFWD_PID" >"$BATS_TEST_TMPDIR/top" <<-'END'
	import fcntl, os, re, select, struct, subprocess, sys, termios
	class Screen:
	    def __init__(self, columns, stderr=None):
	        self.fd, self.tty = os.openpty()
	        self.before = termios.tcgetattr(self.tty)
	        self.text = b""
	        self.resize(columns)
	        self.top = subprocess.Popen([sys.argv[1], "--top"], stdin=self.tty,
	                                    stdout=self.tty, stderr=stderr and self.tty)
	    def resize(self, columns):
	        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("4H", 10, columns, 0, 0))
	    def read_until(self, is_there):
	        while not is_there():
	            assert select.select([self.fd], [], [], 30)[0], self.text
	            self.text += os.read(self.fd, 65536)
	    def frame(self):
	        self.read_until(lambda: b"\033[J" in self.text)
	        shown, _, self.text = self.text.partition(b"\033[J")
	        return re.sub(r"\033\[[?0-9]*[A-Za-z]", "", shown.decode()).split("\r\n")
	    def quit(self):
	        assert termios.tcgetattr(self.tty) != self.before
	        os.write(self.fd, b"q")
	        self.read_until(lambda: b"\033[?1049l" in self.text)
	        assert self.top.wait(30) == 0
	        assert termios.tcgetattr(self.tty) == self.before
	def fits(lines, columns):
	    assert max(map(len, lines)) <= columns, lines
	    # Text that is cut ends with a mark.
	    for line in lines[3:5]:
	        shown = line.split("  ")[0].rstrip()
	        assert any(shown == spec or shown[-1] == "+" and spec.startswith(shown[:-1])
	                   for spec in specs), line
	    path = lines[0].split(",")[0].split()[1]
	    assert path == socket or path[-1] == "+" and socket.startswith(path[:-1]), path
	    return " ".join(lines[2].split()) == titles[columns]
	socket = "/run/nsfwd/status." + sys.argv[2]
	specs = ("127.0.0.1:8000=ns2@127.0.0.1:8080,idle-timeout=1h,half-close-timeout=20m,max=9",
	         "127.0.0.1:8001=ns2@1")
	titles = {
	    30: "MAP UP/S DOWN/S",
	    60: "MAP STATE OPEN UP/S DOWN/S",
	    80: "MAP STATE OPEN FAILED UP/S DOWN/S AGO LAST ERROR",
	    100: "MAP STATE OPEN FAILED REFUSED UP DOWN UP/S DOWN/S AGO LAST ERROR",
	    120: "MAP STATE OPEN TOTAL FAILED REFUSED UP DOWN UP/S DOWN/S AGO LAST ERROR",
	    250: "MAP PROTO FROM TO STATE OPEN TOTAL FAILED REFUSED UP DOWN UP/S DOWN/S AGO LAST ERROR",
	}
	screens = [(Screen(columns), columns) for columns in titles]
	for screen, columns in screens:
	    assert fits(screen.frame(), columns), columns
	# The terminal gets another size.
	screens[0][0].resize(250)
	lines = screens[0][0].frame()
	while not fits(lines, 250):
	    lines = screens[0][0].frame()
	print(*lines, sep="\n")
	for screen, _ in screens:
	    screen.quit()
	# The reason of its end stands on the screen that stays.
	screen = Screen(80, True)
	screen.frame()
	os.kill(int(sys.argv[2]), 15)
	assert screen.top.wait(30) == 1
	def said():
	    before, _, after = screen.text.rpartition(b"\033[?1049l")
	    return before and b"--status: " in after
	screen.read_until(said)
	END
	wait_nsfwd 5
	grep -q 'q quits' "$BATS_TEST_TMPDIR/top"
	# Whole texts, and a rate.
	grep -qE '^127.0.0.1:8000=.*,max=9 +tcp .* +0 +0 +$' "$BATS_TEST_TMPDIR/top"
	grep -qE '^127.0.0.1:8001=.* down .*\(nothing listens on 127.0.0.1:1 in ns2\)$' "$BATS_TEST_TMPDIR/top"
}

@test "--stats ADDR:PORT: GET /metrics and nothing else, from strangers, in a namespace" {
	named_server ns2 here 127.0.0.1/8080
	start_nsfwd -q --stats :9100 127.0.0.1:8000=ns2@127.0.0.1:8080
	asks self 127.0.0.1/8000=here
	wait_until 5 metric_is 9100 'nsfwd_connections_total\{.*\}' 1
	wait_until 5 metric_is 9100 'nsfwd_connection_seconds_count\{.*\}' 1
	[[ $(metric 9100 'nsfwd_dial_seconds_sum\{.*\}') =~ ^[0-9]+\.[0-9]*[1-9] ]]
	metric_is 9100 'nsfwd_dial_seconds_bucket\{proto="tcp",le="\+Inf",.*\}' 1
	metric_is 9100 'nsfwd_target_up\{.*\}' 1
	metric_is 9100 'nsfwd_map_up\{.*\}' 1
	python3 - <<-'END'
	import socket
	def ask(request, end=True, where=("127.0.0.1", 9100)):
	    with socket.create_connection(where, 5) as sock:
	        sock.sendall(request)
	        if end:
	            sock.shutdown(socket.SHUT_WR)
	        answer = b""
	        while data := sock.recv(65536):
	            answer += data
	    return answer
	cases = (
	    (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"200 OK", True),
	    (b"GET /metrics?x=y HTTP/1.0\r\n\r\n", b"200 OK", True),
	    (b"HEAD /metrics HTTP/1.1\r\n\r\n", b"200 OK", False),
	    (b"GET / HTTP/1.1\r\n\r\n", b"404 Not Found", False),
	    (b"GET /metricsx HTTP/1.1\r\n\r\n", b"404 Not Found", False),
	    (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", b"405 Method", False),
	    (b"MAPS\r\n\r\n", b"400 Bad Request", False),
	    (b"OPEN 8000\r\n\r\n", b"400 Bad Request", False),
	    (b"GET /metrics\r\n\r\n", b"400 Bad Request", False),
	    (b"", b"400 Bad Request", False),
	    (b"x" * 9000, b"400 Bad Request", False),
	    (b"\0" * 8, b"400 Bad Request", False),
	)
	for request, status, metrics in cases:
	    answer = ask(request)
	    assert answer.startswith(b"HTTP/1.0 " + status), (request, answer)
	    assert (b"\nnsfwd_bytes_total" in answer) == metrics, (request, answer)
	assert ask(cases[0][0], False, ("::1", 9100)).startswith(b"HTTP/1.0 200")
	# Eight that send nothing hold up a ninth until their time is over, and
	# neither the server nor --status.
	crowd = [socket.create_connection(("127.0.0.1", 9100)) for _ in range(8)]
	sock = socket.create_connection(("127.0.0.1", 8000))
	sock.sendall(b"hello\n")
	assert sock.recv(9)
	END
	"$NSFWD" --status | grep -q 127.0.0.1:8000
	stop_nsfwd
	# In a namespace that is made anew.
	start_nsfwd -q --stats ns1@127.0.0.1:9100 \
		127.0.0.1:8000=ns2@proxy
	in_ns ns1 curl -sSf -m $((5 * TEST_SLOW)) http://127.0.0.1:9100/metrics | grep -q '^nsfwd_map_up'
	run ! curl -sSf -m $((5 * TEST_SLOW)) http://127.0.0.1:9100/metrics
	ip netns del ns1
	ip netns add ns1
	ip -n ns1 link set lo up
	wait_until 5 eval 'in_ns ns1 curl -sSf -m $((5 * TEST_SLOW)) http://127.0.0.1:9100/metrics | grep -q nsfwd_map_up'
	stop_nsfwd
	# shellcheck disable=SC2034 # start_nsfwd reads it
	WRAP=(bash -c 'exec 40</run/netns/ns1; exec "$@"' fds)
	start_nsfwd -q --stats fd:40@127.0.0.1:9100 127.0.0.1:8000=ns2@1
	in_ns ns1 curl -sSf -m $((5 * TEST_SLOW)) http://127.0.0.1:9100/metrics | grep -q '^nsfwd_map_up'
	stop_nsfwd
	WRAP=()
	start_fails 2 "^nsfwd: '--stats nope@:9100': no namespace 'nope'" \
		--stats nope@:9100 127.0.0.1:8000=ns2@1
	start_fails 2 "it listens where .--stats 127.0.0.1:8000. does" \
		--stats 127.0.0.1:8000 127.0.0.1:8000=ns2@1
}

# bats test_tags=once
@test "the dashboard for Grafana asks for metrics that there are" {
	local top=$BATS_TEST_DIRNAME/..
	start_nsfwd -q --stats :9100 127.0.0.1:8000=ns2@1 udp:127.0.0.1:8000=ns2@1
	curl -sSf -m $((5 * TEST_SLOW)) http://127.0.0.1:9100/metrics >"$BATS_TEST_TMPDIR/metrics"
	python3 - "$top/contrib/nsfwd-grafana.json" "$BATS_TEST_TMPDIR/metrics" <<-'END'
	import json, re, sys
	board = json.load(open(sys.argv[1]))
	known = set(re.findall(r"^(nsfwd_\w+)", open(sys.argv[2]).read(), re.M))
	used, ids, places = set(), set(), set()
	for panel in board["panels"]:
	    assert panel["type"] in ("timeseries", "stat", "table", "heatmap"), panel
	    assert panel["id"] not in ids and panel["title"], panel
	    ids.add(panel["id"])
	    pos = panel["gridPos"]
	    assert 0 <= pos["x"] and pos["x"] + pos["w"] <= 24 and pos["h"] > 0, pos
	    for y in range(pos["y"], pos["y"] + pos["h"]):
	        for x in range(pos["x"], pos["x"] + pos["w"]):
	            assert (x, y) not in places, panel["title"]
	            places.add((x, y))
	    for target in panel["targets"]:
	        names = set(re.findall(r"nsfwd_\w+", target["expr"]))
	        assert names and names <= known, (panel["title"], names - known)
	        assert target["expr"].count("(") == target["expr"].count(")")
	        used |= names
	base = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
	every = {re.sub(r"_(bucket|sum|count)$", "", name) for name in known}
	assert base == every, every - base
	assert board["schemaVersion"] >= 36 and board["uid"] and board["templating"]["list"]
	END
}

# check_metrics ARG...: promtool accepts what curl ARG... gets, and warns of nothing.
check_metrics() {
	curl -sSf -m $((5 * TEST_SLOW)) "$@" >"$BATS_TEST_TMPDIR/metrics"
	grep -q '^nsfwd_map_up' "$BATS_TEST_TMPDIR/metrics"
	run -0 promtool check metrics <"$BATS_TEST_TMPDIR/metrics"
	[ -z "$output" ] || fail "$output"
}

# bats test_tags=long
@test "promtool accepts the metrics, and the queries of the dashboard" {
	local top=$BATS_TEST_DIRNAME/.. address=http://127.0.0.1:9100/metrics
	needs promtool
	named_server ns2 here 127.0.0.1/8080
	udp_echo ns2 echo 127.0.0.1 8053
	printf '%s\n' 127.0.0.1:8000=ns2@8080,allow=127.0.0.1 127.0.0.1:8001=ns2@1 \
		127.0.0.1:8002=ns2@8080,workers=2 127.0.0.1:8003=ns2@proxy \
		127.0.0.1:8004=later@1,ns2:9 '/run/a"b\c=ns2@8080' udp:127.0.0.1:8053=ns2@8053 \
		udp:127.0.0.1:8054=ns2@8053,deny=127.0.0.0/8 tcp+udp:127.0.0.1:8055=ns2@1,127.0.0.1:2 \
		'127.0.0.1:8006=/run/größe' '127.0.0.1:8005=ns2@original' >"$BATS_TEST_TMPDIR/conf"
	# The state before any client, with maps that wait.
	start_nsfwd --wait --stats 127.0.0.1:9100 -c "$BATS_TEST_TMPDIR/conf"
	check_metrics "$address"
	[ "$(metric 9100 'nsfwd_map_up\{.*map="127.0.0.1:8004=later.*')" = 0 ]
	# Traffic of each kind: served, no target, a proxy, UDP answered and refused.
	asks self 127.0.0.1/8000=here 127.0.0.1/8002=here
	python3 - <<-'END2'
	import socket
	for port in 8001, 8003, 8005, 8006, 8055:
	    with socket.create_connection(("127.0.0.1", port)) as s:
	        try: s.sendall(b"\x05\x01\x00"), s.recv(1)
	        except OSError: pass
	udp = socket.socket(type=socket.SOCK_DGRAM)
	for port in 8054, 8055, 8053:
	    udp.sendto(b"x", ("127.0.0.1", port))
	udp.recv(1)
	END2
	wait_until 5 metric_is 9100 'nsfwd_dial_failures_total\{.*8001=ns2.*' 1
	check_metrics "$address"
	# After a reload that takes maps away, and without the namespace.
	sed -i '2,4d' "$BATS_TEST_TMPDIR/conf"
	hup 'reloaded: '
	# shellcheck disable=SC2034 # oracle reads it: fewer maps have fewer
	FDS=()
	ip netns del ns2
	wait_until 5 metric_is 9100 'nsfwd_map_up\{proto="tcp",map="127.0.0.1:8000=ns2.*' 0
	check_metrics "$address"
	stop_nsfwd
	ip netns add ns2
	start_nsfwd -q --stats /run/stats 127.0.0.1:8000=ns2@8080
	check_metrics --unix-socket /run/stats http://nsfwd/metrics
	python3 - "$top/contrib/nsfwd-grafana.json" >"$BATS_TEST_TMPDIR/rules" <<-'END2'
	import json, sys
	rules = [target["expr"].replace("$map", ".*").replace("$__rate_interval", "5m")
	         for panel in json.load(open(sys.argv[1]))["panels"] for target in panel["targets"]]
	print(json.dumps({"groups": [{"name": "board", "rules": [
	    {"record": f"board:{i}", "expr": rule} for i, rule in enumerate(rules)]}]}))
	END2
	run -0 promtool check rules "$BATS_TEST_TMPDIR/rules"
	[[ $output =~ SUCCESS:\ ([0-9]+)\ rules ]] && [ "${BASH_REMATCH[1]}" -ge 13 ]
}
