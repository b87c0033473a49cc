#!/usr/bin/env bats
# Messages, log, titles, tables and metrics show no password.

bats_require_minimum_version 1.5.0
load helpers
SECRETS=$BATS_TEST_DIRNAME/secrets.py
MARK=k9XqZ

# The first three tests have a build of their own.
# Prints each line of stdin as mask_text() shows it.
shown() {
	local top=$BATS_TEST_DIRNAME/..
	# shellcheck disable=SC2046 # one word each
	[ -x "$BATS_FILE_TMPDIR/mask" ] ||
		gcc -std=c11 -D_GNU_SOURCE -I"$top" -o "$BATS_FILE_TMPDIR/mask" \
			"$BATS_TEST_DIRNAME/mask.c" $(program_sources)
	"$BATS_FILE_TMPDIR/mask"
}

# bats test_tags=once
@test "the parts of a spec that are masked" {
	local word wanted got n=0 bad=0
	while IFS='|' read -r word wanted; do
		got=$(shown <<<"$word")
		[ "$got" = "$wanted" ] || {
			echo "$word: wanted $wanted, got $got"
			bad=1
		}
		n=$((n + 1))
	done < <(sed -E 's/ +\| +/|/; s/^\t+//' <<-'TABLE'
		80=proxy,auth=u:pw               | 80=proxy,auth=u:**
		80=proxy,auth=pw                 | 80=proxy,auth=**
		80=proxy,auth=:pw                | 80=proxy,auth=:**
		80=proxy,auth=/run/pw            | 80=proxy,auth=/run/pw
		80=proxy,auth=/run/u:pw          | 80=proxy,auth=/run/u:**
		80=proxy,auth=/f,max=3           | 80=proxy,auth=/f,max=3
		80=proxy,auth=u:a,b,max=3        | 80=proxy,auth=u:***,max=3
		80=proxy,auth=u:a,b=c,max=3      | 80=proxy,auth=u:*****,max=3
		80=proxy,auth=u:a b 81=vpn@82    | 80=proxy,auth=u:* * 81=vpn@82
		80=proxy,auth=u:a b=c            | 80=proxy,auth=u:* ***
		80=proxy,auth = u:pw             | 80=proxy,auth = u:**
		80=proxy,auht=u:pw               | 80=proxy,auht=u:**
		80=proxy,auth:u:pw               | 80=proxy,auth:u:**
		80=proxy,auth u:pw               | 80=proxy,auth u:**
		80=proxy,Via-Auth=u:pw           | 80=proxy,Via-Auth=u:**
		80=w@81/auth=u:a,b,max=3         | 80=w@81/auth=u:***,max=3
		80=w@proxy:auth=u:p@w            | 80=w@proxy:**********
		80=w@proxy%2Cauth%3Du:pw         | 80=w@proxy%2Cauth%3Du:**
		80=/run/x/auth=u:pw              | 80=/run/x/auth=u:**
		80=w:81,via=http:h:1/via-auth=pw | 80=w:81,via=http:h:1/via-auth=**
		80=10.0.0.1:53@u:pw              | 80=10.0.0.1:53@u:**
		-F http://h:1/u:p@w              | -F http://h:1/u:***
		-L socks5://:1080/auth=pw        | -L socks5://:1080/auth=**
		80=proxy,token=u:pw              | 80=proxy,token=****
		80=proxy,user=me,pass=pw         | 80=proxy,user=me,pass=**
		80=proxy,foo=pw,max=3            | 80=proxy,foo=**,max=3
		80=max=auth=u:pw                 | 80=max=auth=u:**
		auth=u:pw                        | auth=u:**
		80=auth:443,auth.example:80      | 80=auth:443,auth.example:80
		80=auth@80,max=3                 | 80=auth@80,max=3
		80=u:pw@h:1                      | 80=u:**@h:1
		80=vpn@u:pw@h:1                  | 80=vpn@u:**@h:1
		u:p@w@h:1=80                     | u:***@h:1=80
		80=u:p,w@h:1                     | 80=u:***@h:1
		80=h:1,w@2                       | 80=h:1,w@2
		80=w@1+docker:web@80+pid:7@8     | 80=w@1+docker:web@80+pid:7@8
		80=w@1+docker:u:pw@h:1           | 80=w@1+docker:****@h:1
		80=me+unit:pw@h:1                | 80=me+unit:**@h:1
		80=w:81,via=http:me+unit:pw@1    | 80=w:81,via=http:me+unit:**@1
		80=w@1+x:pw@h:1                  | 80=w@1+x:**@h:1
		80=10.0.0.1:53@web               | 80=10.0.0.1:53@web
		80=10.0.0.1:53@u:pw@h:1          | 80=10.0.0.1:53@u:**@h:1
		80=10.0.0.1:pw@h:1               | 80=10.0.0.1:**@h:1
		80=10.0.1:53@h:1                 | 80=10.0.1:**@h:1
		80=w:81,via=http:u:1,w@h:1       | 80=w:81,via=http:u:***@h:1
		80=w:81,via=http:ns@h:1 ns@2=3   | 80=w:81,via=http:ns@h:1 ns@2=3
		/a=80,owner=u:g ns@2=3           | /a=80,owner=u:g ns@2=3
		80=81,user=u:g ns@2=3            | 80=81,user=u:* ns@2=3
		localhost:http=vpn@80            | localhost:********@80
		-F https://u:pw@h:1              | -F https://u:**@h:1
		-F https://u:p/w@x@h:1           | -F https://u:*****@h:1
		-F https://u:p?w=x@h:1           | -F https://u:*********
		-F https://pw@h:1                | -F https://**@h:1
		-F https://u%3apw@h:1            | -F https://u%3a**@h:1
		-F https://u:pw%40h:1            | -F https://u:**%40h:1
		-F http://u:p w@h:1 ns@80=81     | -F http://u:* ***** **@80=81
		-L http://:80 ns@80=81           | -L http://:80 ns@80=81
		-L tcp://:80/h:81?auth=pw        | -L tcp://:80/h:81?auth=**
		-L tcp://:80/h:81?netns=a&ttl=5s | -L tcp://:80/h:81?netns=a&ttl=5s
		--user me:pw                     | --user me:**
		--user me 80=81                  | --user me 80=81
		--password pw                    | --password **
		vpn@9091=vpn@80                  | vpn@9091=vpn@80
		udp:vpn@53=dns@53                | udp:vpn@53=dns@53
		pid:42@80=fd:3@80                | pid:42@80=fd:3@80
		fd00::2/53=dns@::1/53            | fd00::2/53=dns@::1/53
		fe80::1%e/80=vpn@[fe80::2%e]:81  | fe80::1%e/80=vpn@[fe80::2%e]:81
		udp://:53=dns@53                 | udp://:53=dns@53
		udp://u:pw@53=54                 | udp://u:**@53=54
		53=udp://dns@53                  | 53=udp://dns@53
		53=udp://u:pw@h:1                | 53=udp://u:**@h:1
		docker://web@80                  | docker://web@80
		netns:web@80=netns:vpn@81        | netns:web@80=netns:vpn@81
		netns:u:pw@80                    | netns:u:**@80
		http://localhost:8080=web@80     | http://localhost:8080=web@80
		http://[::1]:8080=u:pw@h:1       | http://[::1]:8080=u:**@h:1
		http://:8080=http://pw@h:1       | http://:8080=http://**@h:1
		http://web:8080=web@80           | http://web:********@80
		a@10.0.0.1:80=b@10.0.0.2:80,b@h:1 | a@10.0.0.1:80=b@10.0.0.2:80,b@h:1
	TABLE
	)
	echo "$n rows"
	[ "$bad" = 0 ] && [ "$n" -ge 50 ]
}

# bats test_tags=once
@test "a right spec without a password is shown unchanged" {
	local top=$BATS_TEST_DIRNAME/..
	eval "$(sed -n '/^rows()/,/^}/p; /^right_words()/,/^}/p' \
		"$BATS_TEST_DIRNAME/config.bats")"
	{
		right_words | tr '|' '\n'
		grep -oE 'nsfwd [^ ]*=.*' "$top/README"
		sed -n 's/^nsfwd //p' "$top/man/nsfwd.1"
	} | grep -v auth= >"$BATS_TEST_TMPDIR/words"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/words")" -ge 130 ]
	shown <"$BATS_TEST_TMPDIR/words" | diff "$BATS_TEST_TMPDIR/words" -
}

# bats test_tags=once
@test "masking a long text takes linear time" {
	local text end
	shown </dev/null
	for text in 'u:x,' 'x://a,' user= auth max= a@u:b ' ' 'u:x ' '[a' 'x://a ' '+pid:' +; do
		for end in 'max=1,v@1' 'v@h' ''; do
			python3 -c 'import sys
print("80=" + sys.argv[1] * (60000 // len(sys.argv[1])) + sys.argv[2])' \
				"$text" "$end" >"$BATS_TEST_TMPDIR/long"
			timeout $((5 * TEST_SLOW)) "$BATS_FILE_TMPDIR/mask" <"$BATS_TEST_TMPDIR/long" \
				>/dev/null || {
				echo "$text...$end"
				return 1
			}
		done
	done
}

@test "no message shows a password, wherever it stands, and --check does not" {
	local step=1
	! sanitized || step=16
	python3 "$SECRETS" check "$NSFWD" "$step"
}

# Prints the titles of all processes of nsfwd.
titles() {
	local pid
	for pid in $(tree); do
		tr '\0' ' ' <"/proc/$pid/cmdline" && echo
	done
}

@test "no password in titles, log, table, metrics and at a reload" {
	local maps=$BATS_TEST_TMPDIR/maps seen=$BATS_TEST_TMPDIR/seen n line
	spawn_ready ns2 hop python3 "$SECRETS" hop 3128
	echo "ns1@1081=ns2@proxy,auth=me:a$MARK" >"$maps"
	start_nsfwd -v --stats "$BATS_TEST_TMPDIR/stats" -c "$maps" \
		"ns1@1080=ns2@proxy" \
		"ns1@8000=h:1,via=http:ns2@3128,via-auth=me:$MARK" \
		"ns1@8001=ns2@3128" \
		-L "socks5://me:$MARK@127.0.0.1:1082?netns=ns1&netns.out=ns2"
	in_ns ns1 python3 "$SECRETS" ask 1080 3>&-
	in_ns ns1 python3 "$SECRETS" ask 1081 3>&-
	in_ns ns1 python3 "$SECRETS" ask 1082 3>&-
	run in_ns ns1 curl -s -m $((5 * TEST_SLOW)) http://127.0.0.1:8000/
	run in_ns ns1 curl -s -m $((5 * TEST_SLOW)) http://127.0.0.1:8001/
	wait_until 5 logged 'map=.ns1@8000.* hop=407'
	logged 'map=.ns1@1080=.* target=h:80 '
	spawn ns1 held python3 -c 'import socket, time
held = [socket.create_connection(("127.0.0.1", p)) for p in (1080, 1081, 1082, 8001)]
time.sleep(60)'
	wait_until 5 eval '[ "$(connections | wc -l)" -ge 4 ]'
	titles >"$seen"
	n=$(wc -l <"$seen")
	cat "$seen"
	[ "$n" -ge 9 ]
	grep -q 'via-auth=me:\*\*\*\*\*' "$seen"
	python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
while data := s.recv(65536):
    sys.stdout.buffer.write(data)' "$BATS_TEST_TMPDIR/stats" >>"$seen"
	grep -q '^nsfwd_.*via-auth=me:\*' "$seen"
	kill -USR1 "$NSFWD_PID"
	wait_until 5 logged 'table: .*via-auth=me:\*'
	for line in "80=proxy,auht=u:$MARK" "80=proxy,auth=u:my $MARK" \
		"80=http://u:$MARK@h:1" "80=proxy,foo=$MARK" \
		"80=proxy,auth=/f:$MARK,x"; do
		echo "$line" >"$maps"
		kill -HUP "$NSFWD_PID"
		n=$((${reloads:-0} + 1)) reloads=$n
		wait_until 5 logged 'not reloaded' "$n"
	done
	# A map with another password of the same length is replaced.
	echo "ns1@1081=ns2@proxy,auth=me:b$MARK" >"$maps"
	kill -HUP "$NSFWD_PID"
	wait_until 5 logged ' reloaded: '
	run in_ns ns1 curl -s -m $((5 * TEST_SLOW)) -o /dev/null -w '%{http_connect}' -p \
		-x "http://me:b$MARK@127.0.0.1:1081" http://127.0.0.1:3128/
	[ "$output" = 403 ]
	run in_ns ns1 curl -s -m $((5 * TEST_SLOW)) -o /dev/null -w '%{http_connect}' -p \
		-x "http://me:a$MARK@127.0.0.1:1081" http://127.0.0.1:3128/
	[ "$output" = 407 ]
	titles >>"$seen"
	run ! grep -F "$MARK" "$seen" "$LOG"
}

# memory_is [PATH...]: compares what is in memory with standard input, without tabs.
memory_is() {
	python3 "$SECRETS" memory "$NSFWD_PID" "$@" 3>&- 4>&- >"$BATS_TEST_TMPDIR/memory"
	sed 's/^\t*//' | sort | diff - "$BATS_TEST_TMPDIR/memory"
}

@test "no process has a password of another map in its memory" {
	local maps=$BATS_TEST_TMPDIR/maps stats=$BATS_TEST_TMPDIR/stats line reloads others
	spawn_ready ns2 hop python3 "$SECRETS" hop 3128
	printf 'me:%s\r\n' "${MARK}b" >"$BATS_TEST_TMPDIR/auth"
	{
		echo "ns1@1081=ns2@proxy,auth=me:${MARK}a,workers=1"
		echo "ns1@1082=ns2@proxy,auth=$BATS_TEST_TMPDIR/auth"
	} >"$maps"
	start_nsfwd -v --wait --connect-timeout 300 --stats "$stats" -c "$maps" \
		"ns1@1083=h:1,via=http:ns2@3128,via-auth=me:${MARK}c" \
		-L "socks5://me:${MARK}d@127.0.0.1:1084?netns=ns1&netns.out=ns2" \
		-F "http://me:${MARK}e@127.0.0.1:3128" \
		udp:ns1@1085=ns2@3128 ns1@1086=ns2@3128,workers=1 \
		unit:no-such-unit@1087=1
	in_ns ns1 curl -s -m $((5 * TEST_SLOW)) -o /dev/null -p -x "http://me:${MARK}a@127.0.0.1:1081" \
		http://127.0.0.1:3128/ || true
	spawn ns1 held python3 -c 'import socket, time
held = [socket.create_connection(("127.0.0.1", p)) for p in (1081, 1082, 1084, 1081)]
held.pop().close()
time.sleep(600)'
	wait_until 5 eval '[ "$(kept 1081 | wc -l)" = 1 ] && [ "$(pgrep -cf "^nsfwd: 127.* > ns1@.*108[124]=")" = 3 ]'
	others='map ns1@1082 b
127.0.0.1 > ns1@1082 b
opener ns1@1082 -
map ns1@1083 c
map ns1@127.0.0.1:1084 de
127.0.0.1 > ns1@127.0.0.1:1084 de
map udp:ns1@1085 -
map ns1@1086 -
worker of ns1@1086 -
unit -'
	memory_is "$stats" "/run/nsfwd/status.$NSFWD_PID" <<-END
		server abcde
		map ns1@1081 a
		127.0.0.1 > ns1@1081 a
		worker of ns1@1081 a
		opener ns1@1081 -
		$others
		metrics -
		status -
	END
	# What a line with an error had, and what the map had before, is in no new one.
	for line in "ns1@1081=ns2@u:${MARK}f@h:1,auth=u:${MARK}g" \
		"ns1@1081 ns2@proxy,auth=me:${MARK}h" \
		"ns1@1081=ns2@proxy,auth=me:${MARK}i,"; do
		echo "$line" >"$maps"
		kill -HUP "$NSFWD_PID"
		reloads=$((${reloads:-0} + 1))
		wait_until 5 logged 'not reloaded' "$reloads"
	done
	echo "ns1@1081=ns2@proxy,auth=me:${MARK}j" >"$maps"
	kill -HUP "$NSFWD_PID"
	wait_until 5 logged ' reloaded: '
	wait_until 5 eval '[ "$(kept 1081 | wc -l)" = 0 ]'
	memory_is <<-END
		server cdej
		map ns1@1081 a
		127.0.0.1 > ns1@1081 a
		map ns1@1081 j
		opener ns1@1081 -
		$others
	END
	kill_spawned held
	stop_nsfwd
}

# Starts a daemon, reloads and stops it, with passwords everywhere.
secret_life() {
	set -e
	local word=127.0.0.1:8000=ns2@9,via=http:1,via-auth=u:$MARK pid
	cd /run
	READY_FD=9 python3 "$SERVICE" syslog 9>/run/up >/run/syslog 2>&1 3>&- &
	syslog=$!
	trap 'kill -9 $(cat /run/pid 2>/dev/null) $syslog 2>/dev/null' EXIT
	wait_until 5 grep -q ready /run/up
	echo "$word" >/run/conf
	"$NSFWD" -v -d -P /run/pid -c /run/conf "127.0.0.1:8001${word#*8000}" \
		-L "http://u:$MARK@127.0.0.1:8002" >/run/said 2>&1
	pid=$(cat /run/pid)
	tr '\0' ' ' <"/proc/$pid/cmdline" >>/run/said
	python3 -c 'import socket
with socket.create_connection(("127.0.0.1", 8000)) as s: s.recv(1)' || :
	wait_until 5 grep -q 'connection .*via-auth=u:\*\*' /run/syslog
	echo "8000=u:$MARK@h:1" >/run/conf
	kill -HUP "$pid"
	wait_until 5 grep -q 'not reloaded' /run/syslog
	"$NSFWD" --syslog "$word" "${word#*8000=}" >>/run/said 2>&1 || [ $? = 2 ]
	"$NSFWD" --syslog -P /run/pid "$word" >>/run/said 2>&1 || [ $? = 1 ]
	kill "$pid"
	wait_until 5 grep -q 'nsfwd: stopped' /run/syslog
}

@test "no password in the syslog, with -, and where a start fails" {
	local said=/run/said word=8000=h:1,via=http:1,via-auth=u:$MARK
	export SERVICE=$BATS_TEST_DIRNAME/server.py MARK
	export -f secret_life wait_until now_ms fail
	own_dev bash -c secret_life
	"$NSFWD" "-=h:1,via=http:1,via-auth=u:$MARK" </dev/null >>"$said" 2>&1 ||
		[ $? = 1 ]
	"$NSFWD" "missing@$word" >>"$said" 2>&1 || [ $? = 2 ]
	"$NSFWD" "$word" "$word" >>"$said" 2>&1 || [ $? = 2 ]
	"$NSFWD" -P "/no-such/u:$MARK@x" "$word" >>"$said" 2>&1 || [ $? = 1 ]
	"$NSFWD" --stats "http://u:$MARK@h/" "$word" >>"$said" 2>&1 ||
		[ $? = 2 ]
	"$NSFWD" "203.0.113.1:$word" >>"$said" 2>&1 || [ $? = 1 ]
	"$NSFWD" "/no-such-dir/a=proxy,auth=u:$MARK,owner=no-such" \
		>>"$said" 2>&1 || [ $? = 2 ]
	cat "$said" /run/syslog
	[ "$(grep -c '^nsfwd: ' "$said")" -ge 9 ]
	[ "$(grep -c '^<[0-9]*>nsfwd: ' /run/syslog)" -ge 5 ]
	run ! grep -F "$MARK" "$said" /run/syslog
}
