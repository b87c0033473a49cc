#!/usr/bin/env bats
# The target "proxy": handshakes cut at any byte, addresses that it refuses, real
# clients, plain HTTP, and UDP associations.

bats_require_minimum_version 1.5.0
load helpers
load proxy

setup() {
	proxy_namespaces
}

teardown() {
	umount /etc/hosts 2>/dev/null || :
	oracle
}

echo_server() {
	peer_server ns2 echo echo "$FAR:7000"
}

@test "T53 a handshake of any kind, cut at any byte, is served alike" {
	echo_server
	peer_server ns2 echo6 echo '[fd00:2::2]:7000'
	header_web "$FAR" 80
	start_nsfwd --max-conns 64 ns1@1080=ns2@proxy \
		ns1@1081=ns2@proxy,auth=user:secret
	client cuts 127.0.0.1:1080 "$FAR:7000"
	client cuts '[::1]:1080' '[fd00:2::2]:7000'
	client cuts 127.0.0.1:1081 "$FAR:7000" user secret
	client get 127.0.0.1:1081 "$FAR:80" user secret
	run ! logged 'error='
}

@test "T54 a handshake and 1 MiB in one write: all of it arrives" {
	echo_server
	start_nsfwd -v ns1@1080=ns2@proxy ns1@1081=ns2@proxy,auth=user:secret
	client early 127.0.0.1:1080 "$FAR:7000"
	client early 127.0.0.1:1081 "$FAR:7000" user secret
}

@test "T55 500 slow clients end at the deadline, a quick one never waits" {
	local clients=500
	! sanitized || clients=50 # of such processes 500 are another test
	echo_server
	start_nsfwd -v \
		ns1@1080=ns2@proxy,connect-timeout=5,accept-proxy=127.0.0.9
	client slow 127.0.0.1:1080 "$FAR:7000" "$clients" 5
	logged 'end=handshake error=ETIMEDOUT' "$clients"
}

@test "wrong requests, cut at any byte, are refused" {
	start_nsfwd -v ns1@1080=ns2@proxy
	client bad 127.0.0.1:1080
}

@test "a request of 500 lines passes, one of 501 is refused with 431" {
	spawn_ready ns2 web python3 -c 'import os, socket, sys
s = socket.create_server((sys.argv[1], 80))
os.write(int(os.environ["READY_FD"]), b"ready\n")
os.close(int(os.environ["READY_FD"]))
c, _ = s.accept()
got = b""
while not got.endswith(b"\r\n\r\n"):
    got += c.recv(9999)
assert b"\nX-493: 1\r\n" in got, got
c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")' "$FAR"
	start_nsfwd ns1@1080=ns2@proxy
	in_ns ns1 python3 - "$FAR" <<-'END'
		import socket, sys
		for lines, want in (500, b" 200 "), (501, b" 431 "):
		    head = [f"GET http://{sys.argv[1]}/ HTTP/1.1", f"Host: {sys.argv[1]}",
		            "Connection: close"] + 2 * ["Content-Length: 0"]
		    head += [f"X-{i}: 1" for i in range(lines - 1 - len(head))]
		    with socket.create_connection(("127.0.0.1", 1080), 20) as s:
		        s.sendall("".join(f"{line}\r\n" for line in head).encode() + b"\r\n")
		        got = s.recv(99)
		        assert want in got, (lines, got)
	END
	reap web
}

@test "loopback, link-local, unspecified, mapped and multicast are refused" {
	local to
	start_nsfwd -v ns1@1080=ns2@proxy
	for to in 127.0.0.1:7000 127.9.8.7:7000 169.254.169.254:80 224.0.0.1:80 \
		255.255.255.255:80 0.1.2.3:80 localhost:7000 \
		100.100.100.200:80 192.0.0.192:80 168.63.129.16:80; do
		client refused 127.0.0.1:1080 "$to" 91,2,403
	done
	for to in '[::1]:7000' '[ff02::1]:80' '[::7f00:1]:80' \
		'[64:ff9b::127.0.0.1]:7000' '[64:ff9b::a9fe:a9fe]:80' \
		'[fd00:ec2::254]:80' '[fd20:ce::254]:80' \
		'[fd00:c1::a9fe:a9fe]:80' '[::ffff:127.0.0.1]:80' \
		'[::ffff:169.254.169.254]:80'; do
		client refused 127.0.0.1:1080 "$to" 91,2,403
	done
	# Nor do maps take such an address as a target.
	for to in 0.0.0.0:80 '[::]:80' '[fe80::1]:80'; do
		client refused 127.0.0.1:1080 "$to" 91,1,400
	done
	for to in localhost:7000=127.0.0.1 127.9.8.7:7000=127.9.8.7 '\[::ffff:127.0.0.1\]:80=127.0.0.1' \
		'\[fd00:ec2::254\]:80=fd00:ec2::254'; do
		wait_until 2 logged "target=\"?${to%=*}\"? .* end=dial error=EACCES why=\"reach=${to#*=} would allow it\"$"
	done
}

@test "reach= allows addresses that are refused, also those of names" {
	local to
	echo_server
	peer_server ns2 lo echo 127.0.0.1:7001
	start_nsfwd -v ns1@1080=ns2@proxy,reach=127.0.0.1+10.0.0.0/8
	client early 127.0.0.1:1080 127.0.0.1:7001
	client early 127.0.0.1:1080 localhost:7001
	client early 127.0.0.1:1080 "$FAR:7000"
	client refused 127.0.0.1:1080 127.0.0.2:7001 91,2,403
}

@test "a target that cannot be reached is an error in each protocol" {
	ip -n ns2 route add unreachable 10.9.0.0/24
	in_ns ns2 ip route add blackhole 10.9.1.0/24
	peer_server ns2 void void "$FAR:7002"
	start_nsfwd -v ns1@1080=ns2@proxy ns1@1081=ns2@proxy,connect-timeout=0.4
	client refused 127.0.0.1:1080 "$FAR:9" 91,5,502
	client refused 127.0.0.1:1080 10.9.0.1:9 91,4,502
	client refused 127.0.0.1:1080 10.77.0.1:9 91,3,502
	client refused 127.0.0.1:1081 "$FAR:7002" 91,4,504
	# A label has 63 bytes at most.
	client refused 127.0.0.1:1080 "$(printf 'x%.0s' {1..64}).invalid:9" 91,4,502
	logged 'target=x*.invalid:9 .* end=dial error=not-a-host-name'
}

# hosts LINE: adds it to /etc/hosts, for this test and its processes.
hosts() {
	{
		cat /etc/hosts
		echo "$1"
	} >"$BATS_TEST_TMPDIR/hosts"
	mount --bind "$BATS_TEST_TMPDIR/hosts" /etc/hosts
}

@test "curl: every scheme, with and without a password, IPv4, IPv6 and names" {
	local way url
	needs curl
	header_web "$FAR" 80
	header_web fd00:2::2 81
	hosts "$FAR shop.example"
	start_nsfwd -v ns1@1080=ns2@proxy ns1@1081=ns2@proxy,auth=user:s3cret
	for way in http://127.0.0.1:1080 socks5h://127.0.0.1:1080 \
		socks4a://127.0.0.1:1080 socks5://127.0.0.1:1080 \
		http://user:s3cret@127.0.0.1:1081 \
		socks5h://user:s3cret@127.0.0.1:1081 \
		'http://[::1]:1080' 'socks5h://[::1]:1080'; do
		for url in "http://$FAR/" http://shop.example/ \
			'http://[fd00:2::2]:81/'; do
			case $way$url in
			socks4*'['*) continue ;;
			esac
			fetch ns1 --proxy "$way" "$url" >"$BATS_TEST_TMPDIR/got"
			grep -q '^GET / HTTP/1.1' "$BATS_TEST_TMPDIR/got"
		done
	done
	fetch ns1 --proxytunnel --proxy http://127.0.0.1:1080 http://shop.example/
	fetch ns1 --proxytunnel --proxy http://user:s3cret@127.0.0.1:1081 \
		http://shop.example/
	for way in http://user:wrong@ http://use:s3cret@ http://user:s3crett@ \
		socks5h://user:s3cre@ socks5h:// socks4a:// http://; do
		run fetch ns1 --proxy "${way}127.0.0.1:1081" "http://$FAR/"
		[ "$status" != 0 ]
	done
	[[ $output == *407* ]]
	# The log has names as the client wrote them.
	logged 'target=shop.example:80 .* end=closed'
}

@test "plain HTTP: the request is rewritten, its body and one answer pass" {
	local got
	needs curl
	header_web "$FAR" 8080
	start_nsfwd -v ns1@1080=ns2@proxy,auth=user:s3cret
	got=$(fetch ns1 --proxy http://user:s3cret@127.0.0.1:1080 \
		--header 'Connection: X-Hop' --header 'X-Hop: 1' \
		--header 'X-End: 2' --header 'TE: trailers' \
		--data "body of the request" "http://$FAR:8080/path?a=b#c")
	[[ $got == "POST /path?a=b HTTP/1.1"* ]]
	[[ $got == *"Host: $FAR:8080"* ]]
	[[ $got == *"Connection: close"* ]]
	[[ $got == *"X-End: 2"* ]]
	[[ $got == *"Content-Length: 19"* ]]
	[[ $got == *"body of the request" ]]
	[[ $got != *roxy-* && $got != *X-Hop* && $got != *TE:* ]]
	head -c 3000000 /dev/urandom >"$BATS_TEST_TMPDIR/large"
	fetch ns1 --proxy http://user:s3cret@127.0.0.1:1080 --header 'Expect:' \
		--data-binary "@$BATS_TEST_TMPDIR/large" "http://$FAR:8080" |
		tail -c 3000000 | cmp - "$BATS_TEST_TMPDIR/large"
	# A client that waits for 100 (Continue) gets it.
	fetch ns1 --proxy http://user:s3cret@127.0.0.1:1080 --header 'Expect: 100-continue' \
		--expect100-timeout 15 \
		--data-binary "@$BATS_TEST_TMPDIR/large" "http://$FAR:8080" |
		tail -c 3000000 | cmp - "$BATS_TEST_TMPDIR/large"
	# A URL without a path, with a query.
	fetch ns1 --proxy http://user:s3cret@127.0.0.1:1080 --request-target \
		"http://$FAR:8080?q" "http://$FAR:8080/" | grep -q '^GET /?q HTTP'
}

# rude PORT: spawns a web server that never closes, and answers with the request.
rude() {
	spawn_ready ns2 "rude$1" python3 -c '
import os, socket, sys, threading
def serve(s):
    while True:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = s.recv(1)
            if not byte:
                return s.close()
            head += byte
        way = head.split()[1]
        text = sys.argv[2].encode() + b" " + head
        if b"hints" in way:
            s.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        s.sendall({b"/old": b"HTTP/1.0 200 OK\r\nProxy-C", b"/none": b"ICY\r\nC",
                   }.get(way, b"HTTP/1.1 200 OK\r\nC") +
                  b"onnection: keep-alive\r\nContent-Length: %d\r\n\r\n" %
                  len(text) + text)
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
os.write(int(os.environ["READY_FD"]), b"ready\n")
os.close(int(os.environ["READY_FD"]))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],)).start()
    ' "$FAR" "$1"
}

@test "plain HTTP: no server gets a request for another" {
	local way got
	needs curl
	rude 8001
	rude 8002
	start_nsfwd -v ns1@1080=ns2@proxy,auth=user:s3cret
	for way in "" old hints; do
		got=$(fetch ns1 --proxy http://user:s3cret@127.0.0.1:1080 \
			"http://$FAR:8001/$way" "http://$FAR:8002/secret")
		[[ $got == "8001 GET /$way HTTP/1.1"*"8002 GET /secret HTTP/1.1"* ]]
		[[ $got != *roxy-* ]]
	done
	run -22 fetch ns1 --proxy http://user:s3cret@127.0.0.1:1080 "http://$FAR:8001/none"
	[[ $output == *502* ]]
	wait_until 2 no_connections
	logged 'target=10.0.2.2:8002 .* end=closed' 3
	logged 'target=10.0.2.2:8001 .* end=target-reset error=EIO' 1
}

# Posts 80 MB to a target that does not read, until nothing moves, and resets.
posts() {
	peer_server ns2 deaf listen "$FAR:8080" "await=$BATS_TEST_TMPDIR/go" broken
	spawn ns1 post python3 -c '
import select, socket, struct
s = socket.create_connection(("127.0.0.1", 1080))
s.sendall(b"POST http://10.0.2.2:8080/ HTTP/1.1\r\nHost: 10.0.2.2:8080\r\n"
          b"Content-Length: 80000000\r\n\r\n")
s.setblocking(False)
poller = select.poll()
poller.register(s, select.POLLOUT)
left = 80000000
while left and poller.poll(300):
    left -= s.send(bytes(min(left, 65536)))
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
s.close()
print("reset", flush=True)'
	wait_until 5 grep -q reset "$BATS_TEST_TMPDIR/post.out"
}

@test "plain HTTP: a client that resets while nothing moves ends the connection" {
	start_nsfwd -v ns1@1080=ns2@proxy
	posts
	rests 0.7 5 "$(connections)"
	wait_until 3 no_connections
	touch "$BATS_TEST_TMPDIR/go"
	reap post deaf
	logged 'end=client-reset error=ECONNRESET$'
}

@test "plain HTTP: a body may take any time but to stand still; no answer's head" {
	spawn_ready ns2 web python3 -c '
import os, socket, sys, threading, time
def serve(s):
    got = b""
    while not got.endswith(b"x" * 8):
        more = s.recv(999)
        if not more:
            return
        got += more
    s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n")
    while b"/head" in got:
        time.sleep(0.05)
        s.sendall(b"A:\n")
    s.sendall(b"\r\n")
    for _ in range(3 if b"/stop" in got else 8):
        time.sleep(0.05)
        s.sendall(b"y")
    s.recv(1)
listener = socket.create_server((sys.argv[1], 80))
os.write(int(os.environ["READY_FD"]), b"ready\n")
os.close(int(os.environ["READY_FD"]))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
    ' "$FAR"
	start_nsfwd -v ns1@1080=ns2@proxy,idle-timeout=0.3 \
		ns1@1081=ns2@proxy,connect-timeout=1
	in_ns ns1 python3 - 3>&- <<-'END'
		import concurrent.futures, socket, time
		def talk(port, path, count):
		    """Returns the answer, and the longest time without a byte."""
		    with socket.create_connection(("127.0.0.1", port), 60) as s:
		        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
		        s.sendall(b"POST http://10.0.2.2/%s HTTP/1.1\r\nConnection: close\r\n"
		                  b"Content-Length: 8\r\n\r\n" % path)
		        got, at = b"", 2 * [time.monotonic()]
		        try:
		            for _ in range(count):
		                time.sleep(0.05)
		                s.send(b"x")
		                at.append(time.monotonic())
		            while more := s.recv(999):
		                got += more
		                at.append(time.monotonic())
		        except (ConnectionResetError, BrokenPipeError):
		            at.append(time.monotonic())
		        # Two spans, because this process may have noted the first byte late.
		        return got, max(b - a for a, b in zip(at, at[2:]))
		def ends(wanted, *what):
		    # Each is cut where a busy processor makes it stand still: it tries again.
		    for _ in range(20):
		        got, silence = talk(*what)
		        assert silence > 0.29 or what[1:] == (b"move", 8) and wanted in got, (
		            what, got, silence)
		        if wanted in got:
		            return
		    raise SystemExit(f"{what}: {got}")
		with concurrent.futures.ThreadPoolExecutor() as pool:
		    for done in [pool.submit(ends, *what) for what in (
		            (b"y" * 8, 1080, b"move", 8), (b"HTTP/1.1 504 ", 1080, b"move", 3),
		            (b"\r\n\r\nyyy", 1080, b"stop", 8),
		            (b"HTTP/1.1 504 ", 1081, b"head", 8))]:
		        done.result()
	END
	wait_until 5 logged ' end=idle error=ETIMEDOUT$' 2
}

@test "what clients and servers of the field write passes; smuggling does not" {
	needs curl
	spawn_ready ns2 origin python3 "$SITUATIONS" origin "$FAR:8000" \
		'[fd00:2::2]:8000' "$FAR:80"
	start_nsfwd -v ns1@1080=ns2@proxy ns1@1081=ns2@proxy,auth=user:s3cret
	in_ns ns1 python3 "$SITUATIONS" run 127.0.0.1:1080 "$FAR:8000" \
		'[fd00:2::2]:8000' 127.0.0.1:1081 3>&- 4>&-
	# The head of an answer has at most 64 KiB.
	run -22 fetch ns1 --proxy http://127.0.0.1:1080 "http://$FAR:8000/huge"
	[[ $output == *502* ]]
	run ! logged 'pass|s3cret|p@ss|w@'
	# Two requests to two servers, the last of which is shown.
	logged 'target=.fd00:2::2.:8000 up=.* ms=[0-9]* request=GET requests=2 end=closed'
	logged 'target=.fd00:2::2.:8000 .* request=SOCKS4 requests=1 end=closed'
	logged 'target=.fd00:2::2.:8000 .* request=CONNECT requests=1 end=closed'
	logged 'target=10.0.2.2:8000 .* request=.x requests=1 end=closed'
	logged 'target=10.0.2.2:8000 .* request=GET requests=1 user=user end=closed'
	logged ' request=UDP requests=1 end=closed'
}

@test "UDP over SOCKS5: both families, sizes, names; other senders are ignored" {
	peer_server ns2 echo4 echo "$FAR:7000"
	udp_echo ns2 udp4 "$FAR" 7000
	udp_echo ns2 udp6 fd00:2::2 7000
	hosts "$FAR shop.example"
	start_nsfwd -v ns1@1080=ns2@proxy ns1@:1081=ns2@proxy,auth=user:s3cret
	client udp 127.0.0.1:1080 "$FAR:7000"
	client udp '[::1]:1080' '[fd00:2::2]:7000'
	client udp '[::1]:1080' "$FAR:7000"
	client udp 127.0.0.1:1080 shop.example:7000
	client udp 127.0.0.5:1081 "$FAR:7000" user s3cret
	wait_until 2 logged 'end=closed' 5
}

@test "an idle association ends by the UDP timeout, or a shorter idle timeout" {
	start_nsfwd ns1@1080=ns2@proxy,udp-timeout=0.3 \
		ns1@1081=ns2@proxy,idle-timeout=0.3
	in_ns ns1 python3 - 3>&- <<-'END'
		import socket
		for port in 1080, 1081:
		    s = socket.create_connection(("127.0.0.1", port))
		    s.sendall(b"\5\1\0\5\3\0\1\0\0\0\0\0\0")
		    s.recv(12, socket.MSG_WAITALL)
		    try:
		        raise SystemExit(f"{s.recv(1)} instead of a reset")
		    except ConnectionResetError:
		        pass
	END
	wait_until 2 logged ' end=idle error=ETIMEDOUT$' 2
}

@test "an association ends with a line when ss -K destroys one of its sockets" {
	udp_echo ns2 udp4 "$FAR" 7000
	start_nsfwd ns1@1080=ns2@proxy
	for where in ns1 ns2; do
		spawn_ready ns1 held python3 -c '
import os, socket, struct
s = socket.create_connection(("127.0.0.1", 1080))
s.sendall(b"\5\1\0\5\3\0\1\0\0\0\0\0\0")
reply = s.recv(12, socket.MSG_WAITALL)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.connect(("127.0.0.1", *struct.unpack("!H", reply[-2:])))
udp.settimeout(10)
udp.send(b"\0\0\0\1\x0a\0\2\2\x1b\x58x")
assert udp.recv(100).endswith(b"x")
os.write(9, b"ready\n")
os.close(9)
try:
    raise SystemExit(f"{s.recv(1)} instead of a reset")
except ConnectionResetError:
    pass'
		# Not the socket of the client, which is connected, nor the echo.
		in_ns "$where" ss -HKuan 'sport != :7000 and not dst 127.0.0.1' |
			grep -q . || skip "no ss -K here"
		reap held
	done
	logged ' end=local error=ENOTCONN$' 2
}

@test "udp-ports and udp-address: 100 associations on these ports, and no more" {
	udp_echo ns2 udp4 "$FAR" 7000
	start_nsfwd --max-conns 200 -v \
		ns1@1080=ns2@proxy,udp-ports=20000-20099,udp-address=192.0.2.1
	in_ns ns1 python3 - 3>&- <<-'END'
		import socket, struct
		def associate():
		    s = socket.create_connection(("127.0.0.1", 1080))
		    s.sendall(b"\5\1\0\5\3\0\1\0\0\0\0\0\0")
		    reply = s.recv(12, socket.MSG_WAITALL)[2:]
		    return s, reply[1], reply[4:8], struct.unpack("!H", reply[8:])[0]
		held = [associate() for _ in range(100)]
		assert {code for _, code, _, _ in held} == {0}
		assert {a for _, _, a, _ in held} == {socket.inet_aton("192.0.2.1")}
		assert {port for *_, port in held} == set(range(20000, 20100))
		assert associate()[1] == 1
		for i, (*_, port) in enumerate(held):
		    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		    udp.settimeout(5)
		    udp.connect(("127.0.0.1", port))
		    udp.send(b"\0\0\0\1\x0a\0\2\2\x1b\x58%d" % i)
		    assert udp.recv(100)[10:] == b"%d" % i
	END
	logged ' request=UDP requests=1 end=local error=EADDRINUSE$'
	logged 'UDP ASSOCIATE refused: no port of udp-ports=20000-20099 is free$'
	udp_echo ns1 taken 127.0.0.1 20200
	start_fails 1 'cannot listen on 127.0.0.1:20200: .*port is taken .*EADDRINUSE' \
		ns1@1081=ns2@proxy,udp-ports=20200
}

# associations CLIENTS OTHERS: CLIENTS ask for UDP behind OTHERS that ask
# for nothing; prints how many were granted, and how many refused.
associations() {
	in_ns ns1 python3 - "$@" 3>&- 4>&- <<-'END'
		import collections, socket, sys
		clients, others = map(int, sys.argv[1:3])
		def connect():
		    return socket.create_connection(("127.0.0.1", 1080))
		held = [connect() for _ in range(others)]
		codes = collections.Counter()
		for i in range(clients):
		    s = connect()
		    s.sendall(b"\5\1\0\5\3\0\1\0\0\0\0\0\0")
		    reply = s.recv(12, socket.MSG_WAITALL)
		    codes[reply[3]] += 1
		    if reply[3] == 0:
		        held.append(s)
		        port = int.from_bytes(reply[10:], "big")
		assert codes.keys() <= {0, 1}, codes
		udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		udp.settimeout(10)
		udp.sendto(b"\0\0\0\1\x0a\0\2\2\x1b\x58last", ("127.0.0.1", port))
		assert udp.recv(100)[10:] == b"last"
		print(codes[0], codes[1])
	END
}

@test "any connection has a UDP socket when it asks, and only then" {
	udp_echo ns2 udp4 "$FAR" 7000
	start_nsfwd --max-conns 500 ns1@1080=ns2@proxy
	[ -z "$(in_ns ns1 ss -Huan)" ]
	[ "$(associations 150 100)" = "150 0" ]
	wait_until 5 no_connections
	[ -z "$(in_ns ns1 ss -Huan)" ]
	client udp 127.0.0.1:1080 "$FAR:7000"
}

# bats test_tags=long
@test "of 10,000 associations 1024 are granted, and no more; others are served" {
	udp_echo ns2 udp4 "$FAR" 7000
	start_nsfwd --max-conns 20000 ns1@1080=ns2@proxy
	[ "$(associations 10000 0)" = "1024 8976" ]
	logged 'UDP ASSOCIATE refused: the limit is 1024'
	peer_server ns2 echo echo "$FAR:7000"
	client cuts 127.0.0.1:1080 "$FAR:7000"
	wait_until 20 no_connections
	[ "$(associations 1 0)" = "1 0" ]
}

@test "an association reaches no broadcast address" {
	ip -n ns2 addr add 10.0.2.9/24 brd + dev lo
	spawn_ready ns2 all python3 -c '
import os, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 7000))
os.write(9, b"ready\n")
os.close(9)
while True:
    data, peer = s.recvfrom(100)
    print(data, flush=True)
    s.sendto(data, peer)'
	start_nsfwd ns1@1080=ns2@proxy
	in_ns ns1 python3 - "$FAR" 3>&- 4>&- <<-'END'
		import socket, struct, sys
		s = socket.create_connection(("127.0.0.1", 1080))
		s.sendall(b"\5\1\0\5\3\0\1\0\0\0\0\0\0")
		reply = s.recv(12, socket.MSG_WAITALL)
		udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		udp.connect(("127.0.0.1", *struct.unpack("!H", reply[-2:])))
		udp.settimeout(2)
		for host in "10.0.2.255", sys.argv[1]:
		    udp.send(b"\0\0\0\1" + socket.inet_aton(host) + b"\x1b\x58" + host.encode())
		got = udp.recv(100)
		assert got.endswith(sys.argv[1].encode()), got
	END
	[ "$(cat "$BATS_TEST_TMPDIR/all.out")" = "b'$FAR'" ]
}

@test "clients of both families at once have UDP sockets of their own" {
	udp_echo ns2 udp4 "$FAR" 7000
	start_nsfwd -v ns1@1080=ns2@proxy
	in_ns ns1 python3 - >"$BATS_TEST_TMPDIR/got" 3>&- <<-'END'
		import socket, struct
		held = []
		for host in ["127.0.0.1", "::1", "127.0.0.1", "::1", "::1"] * 4:
		    s = socket.create_connection((host, 1080))
		    s.sendall(b"\5\1\0\5\3\0\1\0\0\0\0\0\0")
		    head = s.recv(6, socket.MSG_WAITALL)
		    reply = s.recv(18 if head[5] == 4 else 6, socket.MSG_WAITALL)
		    udp = socket.socket(s.family, socket.SOCK_DGRAM)
		    udp.connect((host, struct.unpack("!H", reply[-2:])[0]))
		    udp.settimeout(5)
		    held.append((s, udp))
		for i, (_, udp) in enumerate(held):
		    udp.send(b"\0\0\0\1\x0a\0\2\2\x1b\x58%d" % i)
		    got = udp.recv(100)[10:]
		    if got != b"%d" % i:
		        print(i, got)
		print(len({udp.getpeername() for _, udp in held}))
	END
	[ "$(cat "$BATS_TEST_TMPDIR/got")" = 20 ]
}

@test "a connection without an association closes its UDP socket" {
	local pid map
	echo_server
	start_nsfwd -v ns1@1080=ns2@proxy \
		ns1@1081=ns2@proxy,accept-proxy=127.0.0.1
	for map in 1080 1081; do
		spawn ns1 "held$map" python3 -c '
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(b"PROXY UNKNOWN\r\n" * (sys.argv[1] == "1081") +
          b"CONNECT 10.0.2.2:7000 HTTP/1.1\r\n\r\nhello")
while not s.recv(100).endswith(b"hello"):
    pass
print("held", flush=True)
try:
    s.recv(1)
except ConnectionResetError:
    pass' "$map"
		wait_until 5 grep -q held "$BATS_TEST_TMPDIR/held$map.out"
		pid=$(connections)
		# 0 to 2, client, target and epoll.
		[ "$(fds "$pid")" = 6 ]
		kill -KILL "$pid"
		reap "held$map"
		wait_until 2 no_connections
	done
}

@test "an association of a killed connection leaves nothing behind" {
	udp_echo ns2 udp4 "$FAR" 7000
	start_nsfwd -v ns1@1080=ns2@proxy
	spawn ns1 held python3 -c '
import socket, time
s = socket.create_connection(("127.0.0.1", 1080))
s.sendall(b"\5\1\0\5\3\0\1\0\0\0\0\0\0")
s.recv(12, socket.MSG_WAITALL)
print("held", flush=True)
try:
    s.recv(1)
except ConnectionResetError:
    print("reset", flush=True)'
	wait_until 5 grep -q held "$BATS_TEST_TMPDIR/held.out"
	kill -KILL "$(connections)"
	reap held
	grep -q reset "$BATS_TEST_TMPDIR/held.out"
	client udp 127.0.0.1:1080 "$FAR:7000"
}

opener() {
	local pid
	for pid in $(children "$NSFWD_PID"); do
		! grep -q '^nsfwd: opener' "/proc/$pid/cmdline" || echo "$pid"
	done 2>/dev/null
}

@test "an opener that was killed is reaped, and named; no UDP until a new mapper" {
	udp_echo ns2 udp4 "$FAR" 7000
	echo_server
	start_nsfwd ns1@1080=ns2@proxy
	kill -KILL "$(opener)"
	wait_until 5 logged "'ns1@1080=ns2@proxy': its opener has ended \(signal 9\)"
	wait_until 5 no_zombies
	[ "$(client udp 127.0.0.1:1080 "$FAR:7000")" = "reply 7" ]
	client cuts 127.0.0.1:1080 "$FAR:7000"
	# As the message says.
	kill -KILL "$(sed -n 's/.*(kill -KILL \([0-9]*\))$/\1/p' "$LOG")"
	wait_until 5 logged 'serves again'
	record_fds
	client udp 127.0.0.1:1080 "$FAR:7000"
}

@test "a proxy behind hops: names are not resolved, addresses are checked" {
	needs curl
	hosts "$FAR shop.example"
	header_web "$FAR" 80
	ns ns3
	start_nsfwd -v ns1@1080=ns3@proxy,via=http:3128 ns3@3128=ns2@proxy
	fetch ns1 --proxy socks5h://127.0.0.1:1080 http://shop.example/
	fetch ns1 --proxy http://127.0.0.1:1080 "http://$FAR/"
	client refused 127.0.0.1:1080 127.0.0.1:80 91,2,403
	logged 'map=.ns1@1080=[^ ]* client=[^ ]* target=shop.example:80'
	logged 'map=.ns3@3128=[^ ]* client=[^ ]* target=shop.example:80'
	# UDP is not possible with hops.
	[ "$(client udp 127.0.0.1:1080 "$FAR:7000")" = "reply 7" ]
}

@test "git through a proxy" {
	needs git
	git init -q "$BATS_TEST_TMPDIR/repo"
	cd "$BATS_TEST_TMPDIR/repo"
	head -c 200000 /dev/urandom >file
	git add file
	git -c user.name=a -c user.email=a@b commit -qm one
	git update-server-info
	spawn ns2 web python3 -m http.server --directory .git --bind "$FAR" 8000
	wait_until 5 in_ns ns2 bash -c ": </dev/tcp/$FAR/8000" 2>/dev/null
	start_nsfwd -v ns1@1080=ns2@proxy
	for way in http socks5h; do
		in_ns ns1 env GIT_CONFIG_NOSYSTEM=1 HOME="$BATS_TEST_TMPDIR" \
			git -c "http.proxy=$way://127.0.0.1:1080" clone -q \
			"http://$FAR:8000/" "$BATS_TEST_TMPDIR/$way" 3>&-
		cmp file "$BATS_TEST_TMPDIR/$way/file"
	done
}
