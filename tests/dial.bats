#!/usr/bin/env bats
# Dialling: hops (via=), the PROXY protocol both ways, the order in which targets
# are tried, and the options of sockets to targets.

bats_require_minimum_version 1.5.0
load helpers
load sshd
load proxy

setup() {
	ns ns1 ns2
	ip -n ns2 addr add "$FAR/32" dev lo
	DIR=/run/dial
	rm -rf "$DIR"
	mkdir "$DIR"
}

@test "T53 T54 a hop's answer cut at any byte, with bytes of the target behind it" {
	# 25 bytes of HTTP, 11 or 22 of SOCKS5; only the hop resolves the name.
	proxy_server ns2 upstream upstream 3128 1080
	start_nsfwd -v "ns1@7000-7025=no.such.name:1000-1025,via=http:ns2@3128" \
		"ns1@7100-7125=ns2@$FAR:1000-1025,via=http:127.0.0.1:3128,via-auth=u:p" \
		"ns1@7200-7225=no.such.name:1000-1025,via=socks5:ns2@1080" \
		"ns1@7300-7325=ns2@[fd00::1]:1000-1025,via=socks5:1080,via-auth=u:p"
	client through 26 127.0.0.1:7000 127.0.0.1:7100 127.0.0.1:7200 \
		127.0.0.1:7300
	run ! logged 'error='
	wait_until 2 logged 'target=no.such.name:1000-1025 up=5 down=16 .*end=closed' 52
}

@test "T56 a hop that misbehaves: the client is reset in time" {
	proxy_server ns2 upstream upstream 3128 1080
	start_nsfwd "ns1@7001-7013=ns2@$FAR:1-13,via=http:3128,connect-timeout=1" \
		"ns1@7101-7114=ns2@$FAR:1-14,via=socks5:1080,connect-timeout=1" \
		"ns1@7201=ns2@$FAR:1000,via=socks5:1080,via-auth=u:wrong" \
		"ns1@7202=ns2@$FAR:1000,via=socks5:3128,connect-timeout=1" \
		"ns1@7203=ns2@$FAR:1000,via=http:1080,connect-timeout=1" \
		"ns1@7204=ns2@$FAR:1000,via=http:9"
	client resets 13 1.5 127.0.0.1:7001
	client resets 14 1.5 127.0.0.1:7101
	client resets 4 1.5 127.0.0.1:7201
	wait_until 2 logged 'end=dial error=' 31
	logged 'ns1@7001-7013=.* error=ETIMEDOUT' 2
	logged 'error=EACCES hop=407'
	logged 'error=EHOSTUNREACH hop=503'
	logged 'error=EPROTO' 4
	logged 'error=EMSGSIZE'
	logged 'error=ECONNREFUSED hop=5'
	logged 'error=EAFNOSUPPORT hop=8'
	logged "7201=.* error=EACCES"
	logged "7204=.* error=ECONNREFUSED"
}

@test "tinyproxy, microsocks and a chain of both, with passwords" {
	needs curl tinyproxy microsocks
	web_server ns2 "$FAR" 80
	ns ns3
	cat >"$DIR/tiny.conf" <<-END
		Port 8888
		Listen 127.0.0.1
		Timeout 10
		MaxClients 20
		BasicAuth user s3cret
		ConnectPort 80
		ConnectPort 1080
		DisableViaHeader Yes
	END
	spawn ns2 tiny tinyproxy -d -c "$DIR/tiny.conf"
	spawn ns2 micro microsocks -i 127.0.0.1 -p 1080 -u user -P s3cret
	spawn ns2 open microsocks -i "$FAR" -p 1080
	wait_until 5 listens ns2 8888
	wait_until 5 listens ns2 1080
	echo user:s3cret >"$DIR/secret"
	chmod 600 "$DIR/secret"
	start_nsfwd "ns1@8000=$FAR:80,via=http:ns2@8888,via-auth=user:s3cret" \
		"ns1@8001=$FAR:80,via=socks5:ns2@1080,via-auth=$DIR/secret" \
		"ns1@8002=$FAR:80,via=http:ns2@8888,via-auth=user:s3cret,via=socks5:$FAR:1080" \
		"ns1@8003=$FAR:80,via=socks5:ns2@$FAR:1080,via=http:127.0.0.1:8888,via-auth=$DIR/secret" \
		"ns1@8004=$FAR:80,via=http:ns2@8888"
	for port in 8000 8001 8002 8003; do
		[ "$(fetch ns1 "http://127.0.0.1:$port/")" = "this is ns2" ]
	done
	run ! fetch ns1 http://127.0.0.1:8004/
	wait_until 2 logged 'ns1@8004=.* error=EACCES hop=40[17]'
}

@test "ssh -D as a hop" {
	needs curl
	web_server ns2 "$FAR" 80
	sshd_start "$DIR"
	spawn ns2 ssh "${SSH[@]}" -ND 1080 -p 2222 root@127.0.0.1
	wait_until 5 listens ns2 1080
	start_nsfwd "ns1@8000=$FAR:80,via=socks5:ns2@1080" \
		"ns1@8001=$FAR:81,via=socks5:ns2@1080"
	[ "$(fetch ns1 http://127.0.0.1:8000/)" = "this is ns2" ]
	run ! fetch ns1 http://127.0.0.1:8001/
	wait_until 2 logged 'ns1@8001=.* end=dial error=ECONN'
}

@test "accept-proxy: headers cut at any byte; wrong ones are reset" {
	proxy_server ns2 show show 8000
	start_nsfwd -v --max-conns 64 \
		ns1@8000=ns2@8000,proxy=1,accept-proxy=127.0.0.0/8
	client headers 127.0.0.1:8000
	wait_until 2 logged 'client=192.0.2.7:4711 peer=127.0.0.1:[0-9]+ target=127.0.0.1:8000 .*end=closed' 90
	logged 'client=2001:db8::7/4711 peer=' 90
	logged 'end=handshake error=EPROTO' 15
	logged 'end=handshake error=EMSGSIZE'
}

@test "accept-proxy: trusted clients must send a header; that of others is data" {
	local got
	proxy_server ns2 show show 8000
	start_nsfwd ns1@8000=ns2@8000,proxy=2,accept-proxy=127.0.0.9,connect-timeout=0.5 \
		ns1@8001=/run/dial/sock
	got=$(in_ns ns1 bash -c '
		exec 3<>/dev/tcp/127.0.0.1/8000
		printf "PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n" >&3
		head -n 2 <&3' 3>&-)
	[[ $got == "127.0.0.1 "*" from ns1"*"PROXY TCP4 192.0.2.7"* ]]
	run ! in_ns ns1 curl -sS --interface 127.0.0.9 telnet://127.0.0.1:8000 \
		</dev/null 3>&-
	wait_until 2 logged 'end=handshake error=E(TIMEDOUT|CONNRESET)'
}

@test "proxy=2 passes the fields of an accepted header on; proxy-netns=off sends none" {
	local port
	proxy_server ns2 show show 8000
	start_nsfwd ns1@8000=ns2@8000,proxy=2,accept-proxy=127.0.0.1 \
		ns1@8001=ns2@8000,proxy=2,proxy-netns=off,accept-proxy=127.0.0.1
	for port in 8000 8001; do
		# Checksum, authority, padding, namespace, TLS; the last is too long.
		in_ns ns1 python3 - "$port" 3>&- <<-'END' >>"$BATS_TEST_TMPDIR/got"
			import socket, sys
			s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
			rest = (b"\xc0\0\2\7\xc0\0\2\x08\0\1\0\2\3\0\4\1\2\3\4"
			        b"\2\0\5a.b.c\4\0\1x\x30\0\3old\x20\0\2!!\xe0\0\xff.")
			s.sendall(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0" +
			          bytes([len(rest)]) + rest)
			print(s.makefile().readline(), end="")
		END
	done
	diff "$BATS_TEST_TMPDIR/got" - <<-'END'
		192.0.2.7 1 from ns1 02=a.b.c 20=!!
		192.0.2.7 1 02=a.b.c 20=!!
	END
}

@test "proxy=: a client of a UNIX socket is unknown, in both versions" {
	proxy_server ns2 show show 8000
	start_nsfwd "ns1@$DIR/one=ns2@8000,proxy=1" "ns1@$DIR/two=ns2@8000,proxy=2"
	for name in one two; do
		[[ $(in_ns ns1 socat -t2 "UNIX-CONNECT:$DIR/$name" - \
			</dev/null 3>&-) == unknown* ]]
	done
}

@test "the client's address behind proxy=, seen by HAProxy, nginx and Python" {
	needs haproxy nginx curl
	mkdir "$BATS_TEST_TMPDIR/servers"
	TMPDIR=$BATS_TEST_TMPDIR/servers bash "$BATS_TEST_DIRNAME/proxy-table.sh" \
		>"$BATS_TEST_TMPDIR/table" 3>&- || {
		cat "$BATS_TEST_TMPDIR/table"
		false
	}
	run ! pgrep -af "$BATS_TEST_TMPDIR/servers"
	grep -q '| proxy=2 | IPv6 .* fd00:1::1 [0-9]* from table-a |' \
		"$BATS_TEST_TMPDIR/table"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/table")" = 6 ]
}

@test "accept-proxy: the target sees the client that HAProxy or nginx names" {
	local own=21000 port
	needs haproxy nginx
	[ -e /usr/lib/nginx/modules/ngx_stream_module.so ] ||
		skip "nginx has no stream module here"
	proxy_server ns2 show show 8000
	ip -n ns1 addr add 10.0.1.1/32 dev lo
	cat >"$DIR/haproxy.cfg" <<-END
		defaults
		 mode tcp
		 timeout connect 5s
		 timeout client 5s
		 timeout server 5s
		listen one
		 bind 10.0.1.1:7001
		 server s 127.0.0.1:8000 send-proxy
		listen two
		 bind 10.0.1.1:7002
		 server s 127.0.0.1:8000 send-proxy-v2
	END
	cat >"$DIR/nginx.conf" <<-END
		load_module /usr/lib/nginx/modules/ngx_stream_module.so;
		daemon off;
		master_process off;
		error_log $DIR/nginx.log;
		pid $DIR/nginx.pid;
		events { }
		stream {
		 server {
		  listen 10.0.1.1:7003;
		  proxy_pass 127.0.0.1:8000;
		  proxy_protocol on;
		 }
		}
	END
	spawn ns1 haproxy haproxy -db -q -f "$DIR/haproxy.cfg"
	spawn ns1 nginx nginx -p "$DIR" -c "$DIR/nginx.conf"
	for port in 7001 7002 7003; do
		wait_until 5 listens ns1 "$port"
	done
	start_nsfwd -v ns1@8000=ns2@8000,proxy=2,accept-proxy=127.0.0.1
	for port in 7001 7002 7003; do
		own=$((own + 1))
		[ "$(client ask "10.0.1.1:$port" "10.0.1.1:$own")" = \
			"10.0.1.1 $own from ns1" ]
		wait_until 2 logged "client=10.0.1.1:$own peer=127.0.0.1:"
	done
}

# served_by PORT ADDR...: prints which target serves a client from each address.
served_by() {
	in_ns ns1 python3 - "$@" 3>&- <<-'END'
		import socket, sys
		for own in sys.argv[2:]:
		    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5, (own, 0))
		    print(s.recv(1).decode(), end="")
	END
}

# letters NAME...: spawns a server for each NAME, which sends it, on 127.0.0.1 or
# $HOST, at the ports from 9001 or 900$FIRST on.
letters() {
	local i=${FIRST:-1} name
	for name; do
		spawn_ready ns2 "$name" python3 -c '
import os, socket, sys
host = sys.argv[3]
s = socket.create_server((host, int(sys.argv[1])),
    family=socket.AF_INET6 if ":" in host else socket.AF_INET)
os.write(int(os.environ["READY_FD"]), b"ready\n")
os.close(int(os.environ["READY_FD"]))
while True:
    c = s.accept()[0]
    c.sendall(sys.argv[2].encode())
    c.close()' "900$i" "$name" "${HOST:-127.0.0.1}"
		i=$((i + 1))
	done
}

@test "balance=round takes turns, balance=hash goes by the client's address" {
	local targets=127.0.0.1:9001,127.0.0.1:9002,127.0.0.1:9003 got
	letters a b c
	start_nsfwd "ns1@8000=ns2@$targets,balance=round" \
		"ns1@8001=ns2@$targets,balance=hash" "ns1@8002=ns2@$targets" \
		ns1@8003=ns2@9001,9002,balance=hash
	[ "$(served_by 8000 127.0.0.{1..6})" = abcabc ]
	[ "$(served_by 8002 127.0.0.{1..6})" = aaaaaa ]
	got=$(served_by 8001 127.0.0.{1..40})
	[ "$got" = "$(served_by 8001 127.0.0.{1..40})" ]
	[[ $got == *a* && $got == *b* && $got == *c* ]]
	got=$(served_by 8003 127.0.0.{1..40})
	[[ $got == *a* && $got == *b* ]]
}

# bats test_tags=workers,both
@test "after a target failed the next client is served by another (gost 9)" {
	local targets=127.0.0.1:9001,127.0.0.1:9002,127.0.0.1:9003 one
	letters a b c
	start_nsfwd "ns1@8000=ns2@$targets" "ns1@8001=ns2@$targets,balance=hash" \
		"ns1@8002=ns2@$targets,balance=round"
	for one in 127.0.0.{1..40}; do
		[ "$(served_by 8001 "$one")" != a ] || break
	done
	kill -KILL "$(pid_of a)"
	reap a 2>/dev/null || :
	[[ $(served_by 8001 "$one") == [bc] ]]
	[[ $(served_by 8002 127.0.0.{1..6}) != *a* ]]
	[ "$(served_by 8000 127.0.0.1)" = b ]
	# The target listens again, but is in backoff for 10 s.
	letters a
	[ "$(served_by 8000 127.0.0.{1..3})" = bbb ]
	# A target in backoff is tried when all others failed.
	kill -KILL "$(pid_of b)" "$(pid_of c)"
	reap b c 2>/dev/null || :
	[ "$(served_by 8000 127.0.0.{1..3})" = aaa ]
}

# bats test_tags=workers,both
@test "a closed port of a range keeps no client from the target's other ports" {
	local port
	letters a
	HOST=127.0.0.2 letters x y
	start_nsfwd "ns1@8001-8002=ns2@127.0.0.1:9001-9002,127.0.0.2:9001-9002" \
		"ns1@8011-8012=ns2@127.0.0.1:9001-9002,127.0.0.2:9001-9002,balance=round" \
		"ns1@8021-8022=ns2@127.0.0.1:9001-9002,127.0.0.2:9001-9002,balance=hash" \
		ns1@8101-8102=ns2@192.0.2.1:9001-9002,127.0.0.2:9001-9002
	for port in 8002 8012 8022; do
		[ "$(served_by "$port" 127.0.0.{1..9})" = yyyyyyyyy ]
	done
	[ "$(served_by 8001 127.0.0.{1..4})" = aaaa ]
	[[ $(served_by 8011 127.0.0.{1..9}) =~ a.*x|x.*a ]]
	[[ $(served_by 8021 127.0.0.{1..40}) =~ a.*x|x.*a ]]
	wait_until 5 logged "8001-8002=.*': target 127.0.0.1:9002 is down: ECONNREFUSED"
	run ! logged 'target 127.0.0.1:9001 is down'
	# A host that does not answer is tried last for all ports.
	[ "$(served_by 8101 127.0.0.1)$(served_by 8102 127.0.0.1)" = xy ]
	wait_until 5 logged 'target 192.0.2.1:9001 is down: ENETUNREACH'
	run ! logged 'target 192.0.2.1:9002 is down'
}

@test "a target that failed is in backoff for 10 s" {
	local begin
	letters b
	start_nsfwd "ns1@8000=ns2@127.0.0.1:9002,127.0.0.1:9001"
	says() {
		in_ns ns1 bash -c '[ "$(cat </dev/tcp/127.0.0.1/8000)" = "$1" ]' \
			- "$1" 3>&-
	}
	says b
	begin=$(now_ms)
	FIRST=2 letters a
	wait_until 12 says a
	[ $(($(now_ms) - begin)) -ge 9500 ]
}

# A target failed only if all its addresses did.
# bats test_tags=workers,both
@test "a bare port that only ::1 serves has not failed" {
	local round
	letters b b
	HOST=::1 FIRST=3 letters a
	start_nsfwd ns1@8000=ns2@9003,9001 ns1@8001=ns2@9003,9001,balance=round
	[ "$(served_by 8000 127.0.0.{1..20})" = aaaaaaaaaaaaaaaaaaaa ]
	round=$(served_by 8001 127.0.0.{1..20})
	echo "round: $round"
	# Each worker has its own round.
	[[ ${#round} == 20 && ${round//b/} == aaaaaaaa*([a]) && ${round//a/} == bbbbbbbb*([b]) ]]
}

# outcome PORT TARGET ERROR LOW HIGH: a connection fails, with that log line, after LOW
# to HIGH ms; up to three times, if another process may have had the processor.
outcome() {
	local target why ms try
	for try in 1 2 3; do
		client resets 1 3 "127.0.0.1:$1"
		wait_until 2 logged "map=.ns1@$1=.* end=dial" "$try"
		read -r target ms why < <(sed -n "s/.* map=.ns1@$1=.* target=\([^ ]*\) .* ms=\([0-9]*\) end=dial error=\([^ ]*\).*/\1 \2 \3/p" "$LOG" | tail -n 1)
		echo "$target $why after $ms ms"
		[ "$target $why" = "$2 $3" ] && [ "$ms" -ge "$4" ] || return
		[ "$ms" -ge "$5" ] || return 0
	done
	return 1
}

# bats test_tags=workers,both
@test "targets share the connect timeout; the logged error is the last target's first" {
	peer_server ns2 void void 127.0.0.1:7000
	start_nsfwd ns1@8001=ns2@127.0.0.1:9,127.0.0.1:7000,connect-timeout=1 \
		ns1@8002=ns2@127.0.0.1:7000,127.0.0.1:9,connect-timeout=1 \
		ns1@8003=ns2@10,9,connect-timeout=1 \
		ns1@8004=ns2@7000,127.0.0.1:7000,connect-timeout=1
	outcome 8001 127.0.0.1:7000 ETIMEDOUT 990 1900
	outcome 8002 127.0.0.1:9 ECONNREFUSED 490 950
	outcome 8003 127.0.0.1:9 ECONNREFUSED 0 9000
	# 250 ms for 127.0.0.1, none for ::1, which refuses, the rest for the last.
	outcome 8004 127.0.0.1:7000 ETIMEDOUT 990 1900
}

@test "src=, dev= and mark= hold for TCP and UDP" {
	ip -n ns2 link add veth0 type veth peer veth1
	ip -n ns2 link set veth0 up
	# A rule that precedes the table of local addresses needs that table moved.
	ip -n ns2 rule add pref 9 table local
	ip -n ns2 rule del pref 0
	ip -n ns2 rule add pref 8 fwmark 7 prohibit
	spawn_ready ns2 peers python3 -c '
import os, socket, threading
tcp = socket.create_server(("127.0.0.1", 9000))
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", 9000))
def answer():
    while True:
        peer = udp.recvfrom(100)[1]
        udp.sendto(peer[0].encode(), peer)
threading.Thread(target=answer, daemon=True).start()
os.write(int(os.environ["READY_FD"]), b"ready\n")
os.close(int(os.environ["READY_FD"]))
while True:
    s, peer = tcp.accept()
    s.sendall(peer[0].encode())
    s.close()'
	start_nsfwd --wait --udp-timeout 0.3 --udp-one-way-timeout 0.3 \
		tcp+udp:ns1@8000=ns2@127.0.0.1:9000,src=127.0.0.9 \
		tcp+udp:ns1@8001=ns2@9000,src=::1 \
		tcp+udp:ns1@8002=ns2@127.0.0.1:9000,dev=lo \
		tcp+udp:ns1@8003=ns2@127.0.0.1:9000,dev=veth0,connect-timeout=0.3 \
		tcp+udp:ns1@8004=ns2@127.0.0.1:9000,dev=eth7 \
		tcp+udp:ns1@8005=ns2@127.0.0.1:9000,mark=7 \
		tcp+udp:ns1@8006=ns2@127.0.0.1:9000,mark=8 \
		tcp+udp:ns1@8007=ns2@127.0.0.1:9000,src=10.1.1.1
	in_ns ns1 python3 - >"$BATS_TEST_TMPDIR/got" 3>&- <<-'END'
		import socket
		for port in range(8000, 8008):
		    try:
		        s = socket.create_connection(("127.0.0.1", port), 2)
		        print(port, s.recv(100).decode(), end=" ")
		    except ConnectionResetError:
		        print(port, "reset", end=" ")
		    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		    s.connect(("127.0.0.1", port))
		    s.settimeout(2 if port in (8000, 8002, 8006) else 0.2)
		    s.send(b"x")
		    try:
		        print(s.recv(100).decode())
		    except OSError:
		        print("none")
	END
	diff "$BATS_TEST_TMPDIR/got" - <<-END
		8000 127.0.0.9 127.0.0.9
		8001 reset none
		8002 127.0.0.1 127.0.0.1
		8003 reset none
		8004 reset none
		8005 reset none
		8006 127.0.0.1 127.0.0.1
		8007 reset none
	END
	wait_until 3 no_flows
	wait_until 2 logged 'map=.tcp.udp:ns1@8001=.* error=EAFNOSUPPORT'
	logged 'map=.tcp.udp:ns1@8004=.* error=ENODEV'
	logged 'map=.tcp.udp:ns1@8005=.* error=EACCES'
	logged 'map=.tcp.udp:ns1@8007=.* error=EADDRNOTAVAIL'
}
