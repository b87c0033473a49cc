# For proxy.bats, kept.bats and dial.bats: the program that plays both sides of a proxy.

PROXY=$BATS_TEST_DIRNAME/proxy.py
SITUATIONS=$BATS_TEST_DIRNAME/situations.py
FAR=10.0.2.2 # an address of ns2 that is not loopback

# The setup() of a file: namespaces of the clients and of the targets.
proxy_namespaces() {
	ns ns1 ns2
	ip -n ns2 addr add "$FAR/32" dev lo
	ip -n ns2 addr add fd00:2::2/128 dev lo nodad
}

client() {
	in_ns ns1 python3 "$PROXY" "$@" 3>&- 4>&-
}

proxy_server() {
	local where=$1 name=$2
	shift 2
	spawn_ready "$where" "$name" python3 "$PROXY" "$@"
}

# header_web ADDR PORT: spawns a web server that answers with the request.
header_web() {
	cat >"$BATS_TEST_TMPDIR/web.py" <<-'END'
		import http.server, os, socket, sys
		class Handler(http.server.BaseHTTPRequestHandler):
		    protocol_version = "HTTP/1.1"
		    def do_POST(self):
		        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
		        if "Transfer-Encoding" in self.headers:
		            while size := int(self.rfile.readline().split(b";")[0], 16):
		                body += self.rfile.read(size)
		                self.rfile.readline()
		            while self.rfile.readline().strip():
		                pass
		        text = (self.requestline + "\n" + str(self.headers)).encode() + body
		        self.send_response(200)
		        self.send_header("Content-Length", str(len(text)))
		        self.end_headers()
		        self.wfile.write(text)
		    do_GET = do_POST
		class Server(http.server.ThreadingHTTPServer):
		    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
		    request_queue_size = 128
		server = Server((sys.argv[1], int(sys.argv[2])), Handler)
		os.write(int(os.environ["READY_FD"]), b"ready\n")
		os.close(int(os.environ["READY_FD"]))
		server.serve_forever()
	END
	spawn_ready ns2 "web$2" python3 "$BATS_TEST_TMPDIR/web.py" "$1" "$2"
}
