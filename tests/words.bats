#!/usr/bin/env bats
# What a new user writes: each wrong command is refused, or warned of, with the cure.

bats_require_minimum_version 1.5.0
load helpers

setup() {
	ns web
	NAMESPACES+=(wob)
	ip netns add wob # lo is down
	ip link set lo up
	cd "$BATS_TEST_TMPDIR" || return
	bad=0
}

# Each map that a message says to write, unless a word such as PORT is in it, is
# a map. What is no whole map is a target or an option.
cures_work() {
	local word spec
	for word in ${1##*: write }; do
		spec=$(sed -E 's/^\(//; s/[,;)]+$//' <<<"$word")
		[[ $spec == *=* && ! $spec =~ [A-Z]{2} ]] || continue
		cures=$((cures + 1))
		"$NSFWD" --check=syntax "${spec//'**'/xx}" >/dev/null 2>&1 3>&- || {
			echo "$1: '$spec' is refused"
			bad=1
		}
	done
}

# A row is STATUS | ARGUMENTS | a part of the message, which is the cure. Each
# message is one line.
table() {
	local want args cure said status n=0 words cures=0
	while IFS='|' read -r want args cure; do
		status=0
		eval "words=($args)"
		# shellcheck disable=SC2154 # eval sets it
		said=$("$NSFWD" "${words[@]}" 2>&1 3>&-) || status=$?
		if [ "$status" != "$want" ] || [[ $said != *"$cure"* ]]; then
			printf '%s\n' "$args: wanted $want, $cure" "got $status, $said"
			bad=1
		fi
		[ "$want" = 0 ] || [[ $said == 'nsfwd: '* && $said != *$'\n'* ]] || {
			echo "$args: more than one line: $said"
			bad=1
		}
		[[ $said != *': write '* ]] || cures_work "$said"
		n=$((n + 1))
	done < <(rows)
	echo "$n rows, $cures cures"
	[ "$bad" = 0 ]
}

# With --check, and so without binding anything.
@test "what cannot work is refused" {
	python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("closed")'
	chmod 700 closed
	mkdir -m 700 private
	cp "$NSFWD" private/nsfwd
	chmod 700 private/nsfwd
	mkfifo fifo
	chmod 666 fifo
	for_nobody
	table <<-'TABLE'
		2 | --check 9090=9090            | its own target
		2 | --check web@9090=web@9090    | its own target
		2 | --check 9090=$NONE@8080      | the namespace in front of '@' is empty
		2 | --check $NONE@8080=9090      | the namespace in front of '@' is empty
		2 | --check 9090=web:8080        | write web@8080
		2 | --check 9090=web@tcp+udp:80  | stand in front of the whole map
		2 | --check web:8080=80          | a namespace is NS@PORT
		2 | --check --stats :9100-9101 80=web@80 | the path of a UNIX socket, with '/' in it
		2 | --check --stats /run/x:9100 80=web@80 | write [NS@]ADDR:PORT
		2 | --check --stats localhost:9100/m 80=web@80 | write [NS@]ADDR:PORT
		2 | --check --stats http://localhost:9100/ 80=web@80 | write [NS@]ADDR:PORT
		2 | --check --stats web@/run/x 80=web@80 | write [NS@]ADDR:PORT
		2 | --stats /run/netns/wbe@127.0.0.1:9100 80=web@80 | no namespace '/run/netns/wbe'
		1 | --stats /run/netns/wob@127.0.0.1:9100 80=web@80 | cannot listen on 127.0.0.1:9100: lo is down (nsenter --net=/run/netns/wob ip link set lo up)
		1 | --stats /run/none/a@b/stats 80=web@80 | no such directory
		2 | --check 80=web@80,dev=eth7   | no such interface in namespace 'web'
		2 | --check 80=web@80,src=10.9.9.9 | no such address in namespace 'web' (ip addr shows them): --wait
		0 | --check --wait 80=web@80,dev=eth7 | no target is reached until it is there
		0 | --check 80=wob@80            | lo is down in namespace 'wob', so that 80 cannot be reached: ip -n wob link set lo up
		0 | --check 80=/run/netns/wob@80 | cannot be reached: nsenter --net=/run/netns/wob ip link set lo up
		0 | --check 80=wob@localhost:80  | ip -n wob link set lo up
		0 | --check 80=$PWD/none         | no socket '
		2 | --check 80=$PWD/fifo         | is a FIFO, not a socket
		2 | --check 80=/etc/passwd       | '/etc/passwd' is a regular file, not a socket
		2 | --check 80=/run/netns/web    | (a port of a namespace is NS@PORT)
		2 | --check 80=/proc/1           | is a directory, not a socket
		2 | --check --wait 80=/dev/null  | is a device, not a socket
		2 | --check 80=/etc/passwd/x     | cannot be a socket: Not a directory
		1 | --check /etc/passwd=80       | that file is no socket: remove it, or name another path
		1 | --check --wait /proc/1=80    | that file is no socket
		1 | --check /etc/passwd/x=80     | a part of the path is no directory
		1 | --check wob@80=web@80        | ip -n wob link set lo up
		1 | --check 10.9.9.9:80=web@80   | no such address there
		1 | --check fe80::1%eth7/80=web@80 | no such interface there
		1 | --check /run/none/x=web@80   | no such directory
		2 | --check 80=wbe@80            | nearest: web; ip netns list shows them; --wait waits for it
		0 | --check --wait 80=wbe@80     | waits for namespace 'wbe' (nearest: web;
		2 | --check 80=far-away@80       | (ip netns list shows them; --wait
		0 | --check=syntax 80=wbe@80     | 80=wbe@80
		2 | --check=syntax 80=wbe@       | an address or a port is missing
		2 | --check $$@80=81             | a process is pid:
		2 | --check /proc/$$@80=81       | a process is pid:
		2 | --check /a=80,owner=nobody-at-all | no such user
		2 | --check --user root:no5uch 80=81 | 'root:******': no such group
		2 | --check --user nosuch:me 80=81 | 'nosuch:**': no such user
		2 | 80=web@80,dev=eth7           | --wait starts without it
		1 | --stats :9100 -P /none/pid 80=web@80 | --pidfile '/none/pid': No such file
	TABLE
	# A user of this user namespace is nobody else.
	if [ "$(id -u)" != 0 ] || [ "$(awk '{ print $2; exit }' /proc/self/uid_map)" != 0 ] ||
		[ "$(awk '{ print $3; exit }' /proc/self/uid_map)" = 1 ]; then
		return
	fi
	table <<-'TABLE'
		2 | --check 80=$PWD/closed       | user nobody may not open
		0 | --check --user root 80=$PWD/closed | 80=
		2 | --check 80=$PWD/private/none | user nobody may not open
		0 | --check 80=$PWD/none         | no socket '
		0 | --check --pin --stats :9100 80=web@80 | 80=
	TABLE
	NSFWD=private/nsfwd
	table <<-'TABLE'
		2 | --check --pin --stats :9100 80=web@80 | user nobody may not execute this program
		2 | --pin --stats :9100 80=web@80 | user nobody may not execute this program
		0 | --check --stats :9100 80=web@80 | 80=
	TABLE
}

@test "the spelling of other programs gets an answer" {
	table <<-'TABLE'
		2 | -p 8080:80                   | write :8080=NS@80
		2 | -p 53:53/udp                 | write udp::53=NS@53
		2 | -p 127.0.0.1:8080:80         | write 127.0.0.1:8080=NS@80
		2 | 8080:80                      | write :8080=NS@80
		2 | 8080:host:80                 | write 8080=host:80
		2 | 8080:web:80                  | write 8080=web@80
		2 | 127.0.0.1:8080:host:80       | write 127.0.0.1:8080=host:80
		2 | 8080:web:80                  | as ssh -L has it: write 8080=web@80
		2 | 8000:8010                    | a range is 8000-8010
		2 | http://localhost:8080=web@80 | LISTEN has no scheme: write localhost:8080=web@80
		2 | http://[::1]:80=https://web/ | LISTEN has no scheme: write [::1]:80=web@443
		2 | 53=udp://web:53              | write udp:53=web@53
		2 | 80=tcp://web:80              | write 80=web@80
		2 | 80=http://web:80/x           | no scheme and no path: write 80=web@80
		2 | 80=x://y:99999               | an address has no SCHEME:// in front
		2 | tcp://[::1                   | a target is missing
		2 | 80=docker://web:80           | write 80=docker:web@80
		2 | tcp://:80/web:81             | as gost has it: write :80=web@81
		2 | netns:web@80                 | 'netns:web@80': a namespace is NS@PORT: write LISTEN=web@80
		2 | 80=netns:web:80              | write 80=web@80
		2 | 80=container:web:80          | write 80=docker:web@80
		2 | web@80                       | one address only: write LISTEN=web@80, such as 8080=web@80
		2 | web:8080                     | one address only: write LISTEN=web@8080, such as 8080=web@8080
		2 | web                          | write LISTEN=web@PORT
		2 | web@socks5                   | write LISTEN=web@proxy
		2 | web@udp:53                   | write udp:LISTEN=web@53
		2 | udp:web@53                   | write udp:LISTEN=web@53
		2 | self@8080                    | write LISTEN=self@8080
		2 | =web@80                      | write LISTEN=web@80
		2 | web@80=                      | write web@80=TARGET
		2 | TCP:80=                      | a protocol has small letters: write tcp:80=TARGET
		2 | TCP:80=81,proto=udp          | write udp:80=81
		2 | 80=81,allow=a,b              | 'a': not ADDR
		2 | 80=docker:web:80-90          | column 4
		2 | 8080 web@80 max=3            | 'max=3': LISTEN TARGET takes no KEY=VALUE: write 8080=web@80,max=3
		2 | 8080 web:80,max=3            | write 8080=web@80,max=3
		2 | 8080 = web@80 max=3          | no spaces around '=': write 8080=web@80,max=3
		2 | 8080= web@80                 | write 8080=web@80
		2 | 80=81 max=3 allow=::1        | a map is one word: write 80=81,max=3,allow=::1
		2 | 8084 80 90                   | '90': not a map
		2 | 8083=80=80                   | '80': a second '='
		2 | 80=max=3                     | no target in front of KEY=VALUE
		2 | 80==81                       | write 80=81
		2 | max=                         | write LISTEN=TARGET,max=VALUE
		2 | web 80                       | write LISTEN=web@80
		2 | 8080 web 80                  | write 8080=web@80
		2 | 0.0.0.0 8080 10.0.0.1 80     | as rinetd has it: write 0.0.0.0:8080=10.0.0.1:80
		2 | port-forward pod/x 8080:80   | as kubectl has it: write 8080=NS@80
		2 | add listenport=80 connectport=81 | as netsh has it: write 80=HOST:PORT
		2 | 8080:web                     | the port comes last: write LISTEN=web@8080
		2 | 8080=80@web                  | the port comes last: write 8080=web@80
		2 | 8080=web@:80                 | write 8080=web@80
		2 | 8080=web/80                  | write 8080=web@80
		2 | 8080=web@80,                 | write 8080=web@80
		2 | 8080,web@80                  | write 8080=web@80
		2 | '8080 web@80'                | write 8080=web@80
		2 | '8080=web@80 max=3'          | write 8080=web@80,max=3
		2 | '8080 -> web@80'             | write 8080=web@80
		2 | tcp6:8080=web@80             | write tcp:8080=web@80
		2 | TCP6-LISTEN:80,fork 'TCP6:[::1]:81' | write :80=[::1]:81
		2 | TCP-LISTEN:80,fork UNIX-CONNECT:/run/x | write :80=/run/x
		2 | UNIX-LISTEN:/tmp/s,fork TCP:web:80 | write /tmp/s=web@80
		2 | - TCP:web:80                 | write -=web@80
		2 | -L '*:80:web:80'             | write :80=web@80, without -L
		2 | -L /tmp/s:web:80             | write /tmp/s=web@80, without -L
		2 | -D localhost:1080            | write localhost:1080=NS@proxy
		2 | -p 8080-8090:80-90           | write :8080-8090=NS@80-90
		2 | -L 8080:host:80              | write 8080=host:80, without -L
		2 | -L 127.0.0.1:8080:host:80    | write 127.0.0.1:8080=host:80
		2 | -D 1080                      | write 1080=NS@proxy
		2 | -R 80:host:80                | write NS@PORT=HOST:PORT
		2 | -W host:22                   | write -=NS@[host]:22
		2 | 53/udp                       | write udp:53=NS@PORT
		2 | -u 53 web@53                 | write udp:LISTEN=TARGET
		2 | --udp 53=web@53              | write udp:LISTEN=TARGET
		2 | udp://:53=web@53             | write udp::53=web@53
		2 | TCP-LISTEN:8080,fork TCP:h:80 | write :8080=h:80
		2 | TCP4-LISTEN:8080,fork,reuseaddr TCP4:h:80 | write 0.0.0.0:8080=h:80
		2 | UDP-LISTEN:53,fork UDP:h:53  | write udp::53=h:53
		2 | TCP:80=81                    | write tcp:80=81
		2 | UDP:80=81                    | write udp:80=81
		2 | udp+tcp:80=81                | write tcp+udp:80=81
		2 | sctp:80=81                   | there are tcp, udp and tcp+udp
		2 | '*:80=81'                    | write :80=81
		2 | 'udp:*:80=81'                | write udp::80=81
		2 | 8000:8010=web@8000           | write 8000-8010=web@8000
		2 | 8000..8010=web@8000          | write 8000-8010=web@8000
		2 | 80,443=web@80                | write two maps, 80=web@80 and 443=web@80
		2 | 80,443=web@80,443            | write two maps, 80=web@80 and 443=web@443
		2 | 80,443=web@81,444,max=3      | write two maps, 80=web@81,max=3 and 443=web@444,max=3
		2 | 80,443=81,444                | write two maps, 80=81 and 443=444
		2 | 80,443,8080=web@80           | write a map for each port
		2 | 80,443                       | write two maps, 80=NS@PORT and 443=NS@PORT
		2 | udp:8000..8010=web@80..90    | write udp:8000-8010=web@80-90
		2 | 8000-8010-=web@80            | a range is FIRST-LAST: write 8000-8010=web@80
		2 | 8000..8010                   | write 8000-8010=NS@8000-8010
		2 | localhost:80                 | a target is missing: write localhost:80=TARGET
		2 | unix:/p                      | a target is missing
		2 | '*:80'                       | write :80=TARGET
		2 | maps.conf                    | write -c maps.conf
		2 | -f maps.conf                 | read by -c FILE
		2 | -W h:p                       | write -=NS@[HOST]:PORT
		2 | 8080=web@http                | a port is a number: write 8080=web@80
		2 | 8080=http://web:80           | a target has no scheme: write 8080=web@80
		2 | 8080=docker:web:80           | write 8080=docker:web@80
		2 | 8080-8090=docker:web:80-90   | write 8080-8090=docker:web@80-90
		2 | 8080=http://web@80           | a target has no scheme: write 8080=NS@80
		2 | 8080=http://a@80/x           | no scheme and no path: write 8080=NS@80
		2 | 8080=http://u:p@h:80,max=1   | a target has no scheme: write 8080=h:80,max=1
		2 | 8080=http://x:80,y:81        | write 8080=x:80,y:81
		2 | '80->90=a@80'                | write LISTEN=TARGET
		2 | udp:80=a@80,tcp              | write udp:80=a@80, or tcp+udp:80=a@80
		2 | tcp:80=a@80,udp              | write udp:80=a@80, or tcp+udp:80=a@80
		2 | --max 80=a@80                | write LISTEN=TARGET,max=VALUE
		2 | '80=proxy;auth=u:geheim'     | write 80=proxy,auth=u:******
		2 | 8080=podman:web              | write 8080=podman:web@PORT
		2 | '8080->web@80'               | write 8080=web@80
		2 | '8080=web@80;max=5'          | write 8080=web@80,max=5
		2 | 80=81,rate=5                 | nsfwd limits no rate: tc(8)
		2 | 80=81,limit=5                | max= limits connections
		2 | 80=81,max-conns=5            | --max-conns N limits all maps together
		2 | 80=81,timeout=5              | there are idle-timeout=, connect-timeout=
		2 | 80=81,backup=82              | write LISTEN=TARGET,TARGET
		2 | 53=54,proto=udp              | a protocol stands in front: write udp:53=54
		2 | 53=54,udp                    | write udp:53=54
		2 | 80=81,tcp                    | write 80=81
		0 | --check=syntax --workers 0 80=81 | 80=81
		2 | 1080=vpn@socks5              | write 1080=vpn@proxy
		2 | 1080=socks5                  | write 1080=proxy
		2 | 80=81,allow=10.0.0.1,10.0.0.2 | write 80=81,allow=10.0.0.1+10.0.0.2
		2 | 80=81,deny=10.0.0.1,10.0.0.2 | write 80=81,deny=10.0.0.1+10.0.0.2
		2 | 80=81,allow=::1,allow=::2    | write 80=81,allow=::1+::2
		2 | 80=81,allow=10.0.0.0/33      | an IPv4 address has 32 bits
		2 | 80=81,allow=::/129           | an IPv6 address has 128 bits
		2 | 80=81,allow=10.0.0.1/24      | write 10.0.0.0/24 for the net
		2 | 80=81,deny=::1+fd00::1/64,max=3 | write fd00::/64 for the net, or fd00::1
		2 | 80=81 max=3                  | write 80=81,max=3
		2 | 80=81,alow=::1               | 'alow': no such key (nearest: allow;
		2 | 80=81,idle_timeout=3         | nearest: idle-timeout,
		2 | 80=81,Max=3                  | nearest: max;
		2 | 80=web@proxy,via-aut=a:b     | nearest: via-auth;
		2 | 80=81,xyzzy=3                | no such key (nsfwd --help lists them)
		2 | --max-conn 3 80=81           | unknown option '--max-conn' (nearest: --max-conns; nsfwd --help
		2 | --host web 80=81             | unknown option '--host' (nsfwd --help
		2 | --frmo web 80=81             | (nearest: --from;
		2 | -wait 80=81                  | (nearest: --wait;
		2 | --xyzzy 80=81                | '--xyzzy' (nsfwd --help lists them)
		2 | --max-source 3 80=81         | a key is part of its map: write LISTEN=TARGET,max-source=3
		2 | --allow=::1 80=81            | write LISTEN=TARGET,allow=::1
		2 | --proxy                      | write LISTEN=TARGET,proxy=VALUE
		2 | -L 'tcp://:80/h:81?dialTimout=3' | (nearest: dialtimeout; nsfwd(1), FROM GOST)
		2 | -L 'tcp://:80/h:81?listener.bufferSiz=3' | (nearest: buffersize
		2 | -L tpc://:80/h:81            | socks4a and socks5
		2 | --from a@b 80=81             | a namespace has no '=', ',', '@'
		2 | --check --from unit:a@b 80=81 | no namespace 'unit:a@b'
		0 | --check=syntax --to unit:a@b 80=81 | 80=unit:a@b@81
		2 | help                         | write nsfwd --help
		2 | stop                         | kill PID
		2 | status                       | write nsfwd --status
		2 | reload                       | kill -HUP PID
		0 | --check=syntax localhost:80=web@81 | 80=web@81
		0 | --check=syntax unix:/p=unix:/q | /p=/q
		0 | --check=syntax '[10.0.0.1]:80=[10.0.0.2]:81' | 10.0.0.1:80=10.0.0.2:81
		0 | --check=syntax 53/udp=web@53/udp | udp:53=web@53
		0 | --check=syntax 53/udp web@53 | udp:53=web@53
		0 | --check=syntax web@10.0.0.1:53/udp=54 | udp:web@10.0.0.1:53=54
		0 | --check=syntax /run/x/udp=54 | /run/x/udp=54
		2 | tcp:53/udp=web@53            | another protocol
		2 | 53=web@53/udp                | another protocol
	TABLE
}

@test "a file: options, quotes, lines that go on, every wrong line" {
	mkdir dir
	printf '%s\n' '80=web@81,\' '    max=3' "'82' \\" '	"83"  # x' '# C:\' \
		'idle-timeout 5m' '--user nobody' wait 'stats "/run/a b"' >dir/b.conf
	echo '# first
		1=web@2,idle-timeout=1s' >dir/a.conf
	echo 2= >dir/c.txt
	run -0 "$NSFWD" --check=syntax -c dir -c <(echo 3=web@4)
	[ "$output" = '1=web@2,idle-timeout=1s
80=web@81,max=3,idle-timeout=5m
82=83,idle-timeout=5m
3=web@4,idle-timeout=5m' ]
	run -0 "$NSFWD" --check=syntax -c dir --idle-timeout 7s
	[ "${lines[2]}" = 82=83,idle-timeout=7s ]
	printf '%s\n' '80=wbe@81' 'idle-timeout 5x' '81=' '82=83 max=3' drain 'wait 3' '"83' \
		'84=85,foo=1' 'max-con 50' wiat 'allow ::1' >wrong
	run -2 "$NSFWD" --check -c wrong -c none
	printf '%s\n' 'none: No such file' "wrong:1: '80=wbe@81': waits for namespace" "wrong:2: option 'idle-timeout': '5x': not a time" \
		"wrong:3: '81=': a target is missing: write 81=TARGET" "wrong:4: 'max=3': a map is one word: write 82=83,max=3" \
		"wrong:5: option 'drain': its value is missing" \
		"wrong:6: option 'wait': '3': no value is taken" \
		'wrong:7: a quotation mark without its end' \
		"wrong:8: '84=85,foo=*'" \
		"wrong:9: unknown option 'max-con' (nearest: max-conns; nsfwd --help" \
		"wrong:10: unknown option 'wiat' (nearest: wait;" \
		"wrong:11: 'allow=::1': a key is part of its map" | while read -r line; do
		grep -qF "nsfwd: $line" <<<"$output" || fail "no $line in: $output"
	done
	[ "${#lines[@]}" = 12 ]
	seq -f 'x%.0f=' 30 >wrong
	run -2 "$NSFWD" --check -c wrong
	[ "${#lines[@]}" = 21 ]
	[ "${lines[20]}" = 'nsfwd: wrong:20: 20 wrong lines: the rest is not read' ]
	# What is no map and what maps lack, in one run, each with its line.
	# They come in the order of the lines, those of options, too.
	printf '%s\n' '81=wbe@1' '80=' '82=/etc/passwd' '83=web@1,dev=eth7' 'max-conns x' \
		'10.9.9.9:84=web@1' '85=86,user=nobody-at-all' '8084 80 90' '"83' >wrong
	run -2 "$NSFWD" --check -c wrong 87=wbe@1
	sed 's/^nsfwd: //; s/:[^:]*$//' <<<"$output"
	[ "${#lines[@]}" = 10 ]
	for line in 1 2 3 4 5 6 7 8 9; do
		[[ ${lines[line - 1]} == "nsfwd: wrong:$line: "* ]] || fail "no line $line in: $output"
	done
	[[ ${lines[7]} == *"'90': one map a line"* && ${lines[9]} == "nsfwd: '87=wbe@1': no"* ]]
}

@test "--test dials each target once, and says why not" {
	named_server web here 127.0.0.1/8080
	run -0 "$NSFWD" --test 80=web@8080 udp:80=web@8080 81=web@proxy \
		udp:82=web@original 83=web@original,via=http:8080
	[[ ${lines[0]} =~ ^'80=web@8080: 127.0.0.1:8080: ok, '[0-9]+' ms'$ ]]
	[[ ${lines[1]} == 'udp:80=web@8080: 127.0.0.1:8080/udp: ok, there is a route'* ]]
	[[ ${lines[3]} == *': original/udp: ok, its namespace can be entered' ]]
	[[ ${lines[4]} =~ ': 127.0.0.1:8080: ok, '[0-9]+' ms'$ ]]
	# A hop is asked for the target: this one answers with its name, not HTTP.
	run -1 "$NSFWD" --test 84=10.9.9.9:9,via=http:web@8080
	[[ $output == *': 10.9.9.9:9: EPROTO'* ]] || fail "$output"
	run -1 "$NSFWD" --test 80=wbe@80
	[[ $output == "80=wbe@80: 127.0.0.1:80: cannot enter namespace 'wbe' (nearest: web; "* ]]
	run -2 "$NSFWD" -=wbe@80
	[[ $output == *"cannot enter namespace 'wbe' (nearest: web; "* ]]
	run -1 "$NSFWD" --test 80=web@8080,9,10.9.9.9:9 81=wob@9 82=/run/none
	echo "$output"
	[[ ${lines[0]} == *ok* ]]
	[[ ${lines[1]} == *": 127.0.0.1:9: ECONNREFUSED (nothing listens on 127.0.0.1:9 in web)" ]]
	[[ ${lines[2]} == *"ENETUNREACH (no route to 10.9.9.9:9 in web: ip -n web route)" ]]
	[[ ${lines[3]} == *"ENETUNREACH (lo is down: ip -n wob link set lo up)" ]]
	[[ ${lines[4]} == *"ENOENT (no such socket file: is its program running?)" ]]
}

@test "at run time an errno has what it means and the cure" {
	local want n=0 map
	python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("/run/stale")'
	chmod 777 /run/stale
	named_server web here 127.0.0.1/8080
	start_nsfwd -v --wait 127.0.0.1:8001=web@9 127.0.0.1:8002=wob@9 \
		127.0.0.1:8003=web@10.9.9.9:9 127.0.0.1:8004=/run/stale 127.0.0.1:8005=/run/none \
		127.0.0.1:8006=web@127.0.0.1:9,dev=eth7 127.0.0.1:8007=web@8080 \
		udp:127.0.0.1:8008=web@9 8009=db@1
	logged "ready: 8 of 9 maps \('8009=db@1' waits for namespace 'db'\)"
	asks self 127.0.0.1/8007=here
	python3 -c 'import contextlib, socket
for port in range(8001, 8007):
    # The reset may come before connect(2) returns.
    with contextlib.suppress(ConnectionResetError):
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.recv(1)
s = socket.socket(type=socket.SOCK_DGRAM)
for _ in range(30): s.sendto(b"x", ("127.0.0.1", 8008))' 3>&-
	while IFS='|' read -r map want; do
		wait_until 2 logged "map=\"127.0.0.1:$map=.* end=dial error=$want" || bad=1
		n=$((n + 1))
	done < <(rows <<-'TABLE'
		8001 | ECONNREFUSED why="nothing listens on 127.0.0.1:9 in web"$
		8002 | ENETUNREACH why="lo is down: ip -n wob link set lo up"$
		8003 | ENETUNREACH why="no route to 10.9.9.9:9 in web: ip -n web route"$
		8004 | ECONNREFUSED why="no program listens on the socket file /run/stale"$
		8005 | ENOENT why="no such socket file: is its program running\?"$
		8006 | ENODEV why="no such interface in web: ip -n web link"$
	TABLE
	)
	[ "$n" = 6 ]
	logged 'Z opened from=self to=web map="127.0.0.1:8007=web@8080" client=127.0.0.1:'
	logged "'127.0.0.1:8001=web@9': target 127.0.0.1:9 is down: ECONNREFUSED \(nothing listens on 127.0.0.1:9 in web\)$"
	# Down and up are one line each.
	named_server web back 127.0.0.1/9
	asks self 127.0.0.1/8001=back
	asks self 127.0.0.1/8001=back
	wait_until 2 logged "'127.0.0.1:8001=web@9': target 127.0.0.1:9 is reached again, after [0-9]+ s$"
	[ "$(grep -c 'is reached again' "$LOG")" = 1 ]
	wait_until 2 logged 'Z flow opened from=self to=web map="udp:'
	wait_until 2 logged 'target 127.0.0.1:9 refuses datagrams'
	run -1 "$NSFWD" 127.0.0.1:8007=web@80
	[[ $output == *"the port is taken by "*" (pid "*"): EADDRINUSE" ]]
	stop_nsfwd
	logged ' more lines? left out of: .*refuses datagrams'
	[ "$bad" = 0 ]
}

@test "a proxy that refuses says which key would allow it" {
	start_nsfwd 127.0.0.1:8003=web@proxy,auth=a:b
	python3 - <<-'END2'
	import socket
	def ask(data):
	    with socket.create_connection(("127.0.0.1", 8003)) as s:
	        s.sendall(data)
	        while s.recv(99): pass
	ask(b"GET http://127.0.0.1/ HTTP/1.0\r\nProxy-Authorization: Basic YTpi\r\n\r\n")
	ask(b"\x05\x01\x02\x01\x01a\x01c")
	END2
	wait_until 2 logged 'request=GET .* end=dial error=EACCES why="reach=127.0.0.1 would allow it"'
	wait_until 2 logged 'end=handshake error=EPERM why="no user and password, or wrong ones: auth="'
	run -0 "$NSFWD" --status
	[[ ${lines[1]} == *' EACCES (reach=127.0.0.1 would allow it)' ]] || fail "$output"
	[[ ${lines[1]} =~ \ ok\ +0\ +2\ +1\ +1\  ]] || fail "$output"
}

@test "-q keeps failures of dialling; colours are for a terminal" {
	start_nsfwd -q 127.0.0.1:8001=web@9
	python3 -c 'import contextlib, socket
with contextlib.suppress(ConnectionResetError):
    socket.create_connection(("127.0.0.1", 8001)).recv(1)' 3>&-
	wait_until 2 logged 'end=dial error=ECONNREFUSED'
	run ! grep -q $'\e' "$LOG"
	run -2 python3 -c '
import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))' "$NSFWD" --check 80= 3>&-
	[[ $output == $'\e[31mnsfwd: \e[0m'"'80='"* ]]
	NO_COLOR=1 run -2 python3 -c '
import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))' "$NSFWD" --check 80= 3>&-
	[[ $output == "nsfwd: '80='"* ]]
}
