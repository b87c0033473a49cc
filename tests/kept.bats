#!/usr/bin/env bats
# Maps with workers whose connections begin with a handshake: processes that serve one
# client after the other.

bats_require_minimum_version 1.5.0
load helpers
load proxy

setup() {
	proxy_namespaces
}

kept_are() {
	[ "$(kept "${2-}" | wc -l)" = "$1" ]
}

@test "handshakes of any kind through processes that are kept; no more stay than workers" {
	peer_server ns2 echo echo "$FAR:7000"
	header_web "$FAR" 80
	proxy_server ns2 show show 127.0.0.1:8003
	start_nsfwd ns1@1080=ns2@proxy,workers=2 \
		ns1@1081=ns2@proxy,auth=user:secret,workers=2 \
		ns1@127.0.0.1:1082=ns2@127.0.0.1:8003,proxy=1,workers=1
	client early 127.0.0.1:1080 "$FAR:7000"
	client early 127.0.0.1:1081 "$FAR:7000" user secret
	run -0 client ask 127.0.0.1:1082 127.0.0.1:0
	[[ $output == 127.0.0.1\ * ]]
	client get 127.0.0.1:1081 "$FAR:80" user secret
	wait_until 5 kept_are 2 1081
	run ! logged 'error='
	run ! logged 'killed'
	stop_nsfwd
}

@test "slow clients of a map with one worker hold up nobody" {
	peer_server ns2 echo echo "$FAR:7000"
	start_nsfwd -v \
		ns1@1080=ns2@proxy,connect-timeout=2,accept-proxy=127.0.0.9,workers=1
	client slow 127.0.0.1:1080 "$FAR:7000" 50 2
	logged 'end=handshake error=ETIMEDOUT' 50
	wait_until 5 kept_are 1
	stop_nsfwd
}

@test "a process that is kept knows nothing of the client before" {
	header_web "$FAR" 80
	start_nsfwd "ns1@1080=ns2@proxy,auth=user:secret,workers=1"
	in_ns ns1 python3 - "$FAR" "$(id -u)" <<-'END' 3>&- 4>&-
		import base64, os, re, socket, subprocess, sys, time
		far = sys.argv[1]
		def ask(words):
		    with socket.create_connection(("127.0.0.1", 1080), 10) as s:
		        s.sendall(words)
		        got = b""
		        while more := s.recv(4096):
		            got += more
		        return got
		def kept():
		    while True:
		        got = subprocess.run(["pgrep", "-f", "^nsfwd: worker of ns1@1080"],
		                             capture_output=True, text=True).stdout.split()
		        if got:
		            return got
		        time.sleep(0.01)
		sign = (b"Proxy-Authorization: Basic " + base64.b64encode(b"user:secret")
		        + b"\r\n")
		cookie = b"Connection: close\r\nCookie: Wipe-%s\r\n" % (b"Me" * 1500)
		head = b"GET http://%s/ HTTP/1.1\r\n" % far.encode() + cookie
		tunnel = (b"CONNECT %s:80 HTTP/1.1\r\n" % far.encode() + cookie + sign
		          + b"\r\nGET / HTTP/1.1\r\nHost: %s\r\n" % far.encode())
		for words in (tunnel + cookie + b"\r\n", tunnel + cookie * 9 + b"\r\n",
		              head + sign + b"\r\n"):
		    good = ask(words)
		    assert good.startswith(b"HTTP/1.1 200"), good
		    first = kept()
		    if sys.argv[2] != "0" or not os.access(f"/proc/{first[0]}/mem", os.R_OK):
		        continue
		    with open(f"/proc/{first[0]}/mem", "rb", 0) as memory, \
		            open(f"/proc/{first[0]}/maps") as maps:
		        for line in maps:
		            at, end = (int(x, 16) for x in line.split()[0].split("-"))
		            # What is larger is the shadow of a sanitizer.
		            if " rw" in line and end - at < 1 << 26:
		                memory.seek(at)
		                assert b"MeMeMe" not in memory.read(end - at), line
		for words, start in (
		        (head + b"\r\n", b"HTTP/1.1 407"), (b"\5\1\0", b"\5\xff"),
		        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 407")):
		    bad = ask(words)
		    assert bad.startswith(start) and b"MeMe" not in bad, bad
		    assert kept() == first, (kept(), first)
	END
	stop_nsfwd
}

@test "limits, a killed process, a reload and TERM with processes that are kept" {
	local victim
	named_server ns2 ns2 "$FAR/8080"
	start_nsfwd ns1@1080=ns2@proxy,workers=9 \
		"ns1@127.0.0.1:8000=ns1@$FAR:8080,via=http:127.0.0.1:1080,workers=2,max=20"
	PEER=$FAULTS peer_start ns1 crowd crowd 30 127.0.0.1/8000
	wait_until 10 crowd_is crowd 'served=20 waiting=10'
	victim=$(pgrep -nf '^nsfwd: 127.* > ns1@127.0.0.1:8000')
	kill -KILL "$victim"
	wait_until 10 crowd_is crowd 'served=20 waiting=9 .*reset=1'
	logged ' end=killed signal=9$'
	kill_spawned crowd
	wait_until 10 kept_are 11
	# shellcheck disable=SC2046 # one word each
	kill -KILL $(kept)
	PEER=$FAULTS peer ns1 try 20 ns2 0-1500 127.0.0.1/8000
	stop_nsfwd
}

@test "UDP through a process that is kept, which ends with the association" {
	udp_echo ns2 echo "$FAR" 7000
	peer_server ns2 tcp echo "$FAR:7000"
	start_nsfwd ns1@1080=ns2@proxy,workers=2
	client early 127.0.0.1:1080 "$FAR:7000"
	client udp 127.0.0.1:1080 "$FAR:7000"
	client early 127.0.0.1:1080 "$FAR:7000"
	run ! logged 'killed'
	stop_nsfwd
}
