#!/usr/bin/env python3
"""What clients of a proxy write, and servers behind it answer, as bytes.

    situations.py origin [ADDR]:PORT...
        the servers behind the proxy; the path says how they answer, see ANSWERS
    situations.py run PROXY V4 V6 [AUTH-PROXY]
        each situation through the proxy at PROXY; V4 and V6 are servers, as
        HOST:PORT. AUTH-PROXY asks for user:s3cret. Prints each that fails, then
        how many have passed. The exit status is 1 if one has failed.

What listens writes "ready" to the descriptor $READY_FD.
"""

import base64
import ipaddress
import os
import socket
import struct
import sys
import threading

SLOW = int(os.environ.get("TEST_SLOW", "1"))
ROOM = b"A: " + b"x" * 990 + b"\r\n"
ANSWERS = {
    b"/large": b"HTTP/1.1 200 OK\r\n" + 40 * ROOM +
    b"Content-Length: 2\r\n\r\nOK",
    b"/huge": b"HTTP/1.1 200 OK\r\n" + 70 * ROOM + b"\r\n",
    b"/icy": b"ICY 200 OK\r\nicy-name: radio\r\n\r\nmusic",
    b"/204": b"HTTP/1.1 204 No Content\r\n\r\n",
    b"/304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 700\r\n\r\n",
    b"/head": b"HTTP/1.1 200 OK\r\nContent-Length: 700\r\n\r\n",
    b"/hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 20 +
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK",
    b"/end": b"HTTP/1.0 200 OK\r\n\r\nOK",
    b"/chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
    b"Trailer: X-Sum\r\n\r\n2\r\nOK\r\n0\r\nX-Sum: 7\r\n\r\n",
    b"/loose": b"HTTP/1.1 200 OK\nX-Fold: a\n b\nTransfer-Encoding: chunked\n"
    b"Content-Length: 9\n\n2 \nOK\n0\n\n",
    b"/early": b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nNO",
    b"/both": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
    b"Content-Length: 3\r\n\r\nOK",
}


class Wrong(Exception):
    pass


def address(text):
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def hostport(where):
    return (f"[{where[0]}]:{where[1]}" if ":" in where[0] else
            f"{where[0]}:{where[1]}").encode()


def receive(s, count):
    data = b""
    while len(data) < count:
        more = s.recv(count - len(data))
        if not more:
            raise Wrong(f"an end after {data[-100:]!r}")
        data += more
    return data


def head(s):
    data = b""
    while not data.endswith((b"\r\n\r\n", b"\n\n")):
        data += receive(s, 1)
    return data


def serve(s, own):
    got = head(s)
    path = got.split()[1]
    lower = got.lower()
    if path == b"/ws" and b"upgrade: websocket" in lower:
        s.sendall(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\n"
                  b"Upgrade: websocket\r\n\r\n")
        while data := s.recv(4096):
            s.sendall(data)
        return
    if b"expect: 100" in lower:
        s.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    if b"content-length:" in lower and path != b"/early":
        got += receive(s, int(lower.split(b"content-length:")[1].split()[0]))
    if b"transfer-encoding:" in lower:
        while not got.endswith((b"\r\n\r\n", b"\n\n")) or (
                not got.count(b"\r\n0\r\n") and not got.count(b"\n0\n")):
            got += receive(s, 1)
    text = own.encode() + b" " + got
    s.sendall(ANSWERS.get(path, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n"
                          b"\r\n%s" % (len(text), text)))


def origin(where):
    def one(s):
        with s:
            try:
                serve(s, where[0])
                s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass
            except (OSError, Wrong):
                pass

    udp = socket.socket(socket.AF_INET6 if ":" in where[0] else
                        socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(where)

    def echo():
        while True:
            udp.sendto(*udp.recvfrom(65536))

    threading.Thread(target=echo, daemon=True).start()
    server = socket.create_server(where, backlog=128, family=udp.family)

    def loop():
        while True:
            threading.Thread(target=one, args=(server.accept()[0],),
                             daemon=True).start()

    return threading.Thread(target=loop)


class Run:
    def __init__(self, proxy, v4, v6, auth=None):
        self.proxy, self.v4, self.v6 = map(address, (proxy, v4, v6))
        self.auth = auth and address(auth)
        self.passed, self.failed = [], []

    def connect(self, where=None):
        s = socket.create_connection(where or self.proxy, 3 * SLOW)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def fill(self, text):
        return text.replace(b"$4", hostport(self.v4)).replace(
            b"$H", self.v4[0].encode()).replace(b"$6", hostport(
                self.v6)).replace(b"$B6", b"%s:%d" % (
                    self.v6[0].encode(), self.v6[1]))

    def response(self, s, bodyless=False):
        """Status, head and body of one response, without interim ones."""
        status = 100
        while status < 200 and status != 101:
            text = head(s)
            status = 200 if text.startswith(b"ICY") else int(text.split()[1])
        lower = text.lower()
        if bodyless or status in (101, 204, 304):
            return status, text, b""
        if b"transfer-encoding: chunked" in lower:
            body = b""
            while not body.endswith((b"0\r\n\r\n", b"0\n\n", b"7\r\n\r\n")):
                body += receive(s, 1)
        elif b"content-length:" in lower:
            body = receive(s, int(lower.split(b"content-length:")[1].split()[0]))
        else:
            body = b""
            while more := s.recv(65536):
                body += more
        return status, text, body

    def ask(self, request, *wanted, status=200, bodyless=False, refused=()):
        """One request; the answer, which has the request, has all of wanted."""
        with self.connect() as s:
            s.sendall(self.fill(request))
            got, text, body = self.response(s, bodyless)
            if got != status:
                raise Wrong(f"{got} instead of {status}")
            for part in wanted:
                if self.fill(part) not in text + body:
                    raise Wrong(f"no {part} in {text[:300] + body[:300]}")
            for part in refused:
                if part in text + body:
                    raise Wrong(f"{part} in {text[:300] + body[:300]}")

    def bad(self, request, pause=False):
        """Refused: an error of the proxy, or no answer. Not from a server."""
        with self.connect() as s:
            s.sendall(self.fill(request))
            try:
                status, _, body = self.response(s)
            except (Wrong, ConnectionResetError):
                return
            if status < 400 or body.startswith((self.v4[0] + " ").encode()):
                raise Wrong(f"{status}, {body[:300]}")

    def tunnel(self, s):
        s.sendall(b"GET /t HTTP/1.0\r\n\r\n")
        status, _, body = self.response(s)
        if status != 200 or b" GET /t HTTP/1.0" not in body:
            raise Wrong(f"{status} {body}")

    def connects(self, to):
        with self.connect() as s:
            s.sendall(self.fill(b"CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" %
                                (to, to)))
            text = head(s)
            if text.split()[1] != b"200":
                raise Wrong(f"{text}")
            self.tunnel(s)

    def socks(self, request, reply, size):
        with self.connect() as s:
            if request[0] == 5:
                s.sendall(b"\5\1\0")
                receive(s, 2)
            s.sendall(request)
            got = receive(s, 2)
            if got != reply:
                raise Wrong(f"reply {got}")
            receive(s, size - 2)
            self.tunnel(s)

    def socks5(self, kind, host, port):
        self.socks(b"\5\1\0" + kind + host + struct.pack("!H", port),
                   b"\5\0", 10)

    def socks5_name(self, name, port):
        self.socks5(b"\3", bytes([len(name)]) + name.encode(), port)

    def socks4a(self, name, port):
        self.socks(b"\4\1" + struct.pack("!H", port) + b"\0\0\0\1user\0" +
                   name.encode() + b"\0", b"\0\x5a", 8)

    def associate(self):
        s = self.connect()
        s.sendall(b"\5\1\0\5\3\0\1\0\0\0\0\0\0")
        receive(s, 2)
        text = receive(s, 10)
        if text[1]:
            raise Wrong(f"reply {text[1]}")
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.connect((self.proxy[0], struct.unpack("!H", text[8:])[0]))
        udp.settimeout(SLOW)
        return s, udp

    def udp(self, kind, host, port):
        s, udp = self.associate()
        with s, udp:
            udp.send(b"\0\0\0" + kind + host + struct.pack("!H", port) + b"hi")
            if not udp.recv(100).endswith(b"hi"):
                raise Wrong("another datagram")

    def udp_name(self, name, port):
        self.udp(b"\3", bytes([len(name)]) + name.encode(), port)

    # Situations that are more than one request.

    def keeps_alive(self):
        """Two requests, the second for another server."""
        with self.connect() as s:
            for to in (b"$4", b"$6"):
                s.sendall(self.fill(b"GET http://" + to + b"/ HTTP/1.1\r\n\r\n"))
                status, _, body = self.response(s)
                own = (self.v4 if to == b"$4" else self.v6)[0].encode()
                if status != 200 or not body.startswith(own + b" GET / "):
                    raise Wrong(f"{status} {body}")

    def pipelines(self):
        with self.connect() as s:
            s.sendall(self.fill(
                b"POST http://$4/a HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody"
                b"GET http://$6/b HTTP/1.1\r\n\r\n"))
            first, second = self.response(s)[2], self.response(s)[2]
            if not first.endswith(b"\r\n\r\nbody") or not second.startswith(
                    self.v6[0].encode() + b" GET /b"):
                raise Wrong(f"{first}, {second}")

    def keeps_alive_10(self):
        with self.connect() as s:
            for _ in range(2):
                s.sendall(self.fill(b"GET http://$4/ HTTP/1.0\r\n"
                                    b"Proxy-Connection: keep-alive\r\n\r\n"))
                if self.response(s)[0] != 200:
                    raise Wrong("status")

    def web_socket(self):
        with self.connect() as s:
            s.sendall(self.fill(b"GET http://$4/ws HTTP/1.1\r\n"
                                b"Connection: keep-alive, Upgrade\r\n"
                                b"Upgrade: websocket\r\n\r\nearly"))
            if self.response(s)[0] != 101 or receive(s, 5) != b"early":
                raise Wrong("no tunnel")
            s.sendall(b"late")
            if receive(s, 4) != b"late":
                raise Wrong("no echo")

    def expects(self):
        with self.connect() as s:
            s.sendall(self.fill(b"PUT http://$4/ HTTP/1.1\r\nExpect: "
                                b"100-continue\r\nContent-Length: 4\r\n\r\n"))
            text = head(s)
            if text.split()[1] != b"100":
                raise Wrong(f"{text}")
            s.sendall(b"body")
            if not self.response(s)[2].endswith(b"body"):
                raise Wrong("no body")

    def early_answer(self):
        with self.connect() as s:
            s.sendall(self.fill(b"PUT http://$4/early HTTP/1.1\r\n"
                                b"Content-Length: 90000000\r\n\r\n"))
            try:
                for _ in range(100):
                    s.send(bytes(100000))
            except OSError:
                pass
            if self.response(s)[0] != 413:
                raise Wrong("another status")

    def body_is_no_request(self):
        with self.connect() as s:
            inner = self.fill(b"GET http://$6/ HTTP/1.1\r\n\r\n")
            s.sendall(self.fill(b"POST http://$4/early HTTP/1.1\r\nContent-"
                                b"Length: %d\r\n\r\n" % (len(inner) + 1)) +
                      inner)
            if self.response(s)[0] != 413 or s.recv(1):
                raise Wrong("another answer")

    def half_closes(self):
        with self.connect() as s:
            s.sendall(self.fill(b"GET http://$4/ HTTP/1.1\r\n\r\n"))
            s.shutdown(socket.SHUT_WR)
            if self.response(s)[0] != 200:
                raise Wrong("another status")

    def basic(self, line):
        token = base64.b64encode(b"user:s3cret")
        with self.connect(self.auth) as s:
            s.sendall(self.fill(b"GET http://$4/ HTTP/1.1\r\n" +
                                line.replace(b"$T", token) + b"\r\n\r\n"))
            if self.response(s)[0] != 200:
                raise Wrong("not authorized")

    def fragments(self):
        """Dropped, RFC 1928; what comes behind passes."""
        s, udp = self.associate()
        to = b"\1" + socket.inet_aton(self.v4[0]) + struct.pack(
            "!H", self.v4[1])
        with s, udp:
            for n in (1, 2, 0x83):
                udp.send(bytes([0, 0, n]) + to + b"part")
            udp.send(b"\0\0\0" + to + b"whole")
            got = udp.recv(100)
            if not got.endswith(b"whole"):
                raise Wrong(f"{got}")

    def answers(self, path, end, **how):
        return self.ask(b"GET http://$4" + path + b" HTTP/1.1\r\n\r\n", end,
                        **how)


def situations(r):
    """Name, function and arguments."""
    get = b"GET http://$4/ HTTP/1.1\r\n"
    post = b"POST http://$4/ HTTP/1.1\r\n"
    four, six = r.v4, r.v6
    v4 = socket.inet_aton(four[0])
    mapped = socket.inet_pton(socket.AF_INET6, "::ffff:" + four[0])
    packed = socket.inet_pton(socket.AF_INET6, six[0])
    yield "a plain request", r.ask, get + b"\r\n", b" GET / HTTP/1.1\r\n"
    for user in (b"user:pass@", b"user@", b"u@home:p@ss:w@"):
        yield (f"URL with {user.decode()}", r.ask,
               b"GET http://" + user + b"$4/p HTTP/1.1\r\nHost: " + user +
               b"$4\r\n\r\n", b" GET /p HTTP/1.1\r\n", b"Host: $4\r\n")
    yield "a '@' in a path", r.ask, (
        b"GET http://$4/a@b?c@d HTTP/1.1\r\n\r\n"), b" GET /a@b?c@d HTTP"
    yield "CONNECT to [v6]", r.connects, b"$6"
    yield "CONNECT to v6", r.connects, b"$B6"
    yield "CONNECT to user@host", r.connects, b"user:pass@$4"
    yield "a URL with [v6]", r.ask, b"GET http://$6/ HTTP/1.1\r\n\r\n"
    yield "SOCKS4a '[v6]'", r.socks4a, f"[{six[0]}]", six[1]
    yield "SOCKS4a 'v6'", r.socks4a, *six
    yield "SOCKS5 '[v6]'", r.socks5_name, f"[{six[0]}]", six[1]
    yield "SOCKS5 'v6'", r.socks5_name, *six
    yield "SOCKS5 'v4'", r.socks5_name, *four
    yield "SOCKS5 v4", r.socks5, b"\1", v4, four[1]
    yield "SOCKS5 ::ffff:v4", r.socks5, b"\4", mapped, four[1]
    yield "SOCKS5 '::ffff:v4'", r.socks5_name, "::ffff:" + four[0], four[1]
    yield "UDP to v4", r.udp, b"\1", v4, four[1]
    yield "UDP to v6", r.udp, b"\4", packed, six[1]
    yield "UDP to 'v6'", r.udp_name, *six
    yield "UDP to '[v6]'", r.udp_name, f"[{six[0]}]", six[1]
    yield "UDP to ::ffff:v4", r.udp, b"\4", mapped, four[1]
    yield "fragments of UDP", r.fragments,
    yield "a head of 40 KB", r.ask, get + 40 * ROOM + b"\r\n", b"x" * 990
    room = 65536 - len(r.fill(get)) - len(b"A: \r\n\r\n")
    yield "a head of 65,536 bytes", r.ask, (
        get + b"A: " + room * b"x" + b"\r\n\r\n"), b"Host: $4\r\n"
    yield "an answer with 40 KB", r.answers, b"/large", b"OK"
    for method in b"CCM_POST", b"X9", b"get", b"M-SEARCH", b"$x":
        yield f"method {method.decode()}", r.ask, (
            method + b" http://$4/m HTTP/1.1\r\n\r\n"), (
                b" " + method + b" /m HTTP/1.1\r\n")
    yield "lines with LF only", r.ask, (
        b"GET http://$4/lf HTTP/1.1\nX-A: 1\nX-B: 2\n\n"), (
            b"X-A: 1\r\nX-B: 2\r\n")
    yield "an empty line in front", r.ask, b"\r\n\n" + get + b"\r\n"
    yield "http://host:/", r.ask, b"GET http://$H:/ HTTP/1.1\r\n\r\n", (
        b"Host: $H\r\n")
    yield "OPTIONS http://host", r.ask, (
        b"OPTIONS http://$4 HTTP/1.1\r\n\r\n"), b" OPTIONS * HTTP/1.1\r\n"
    yield "http://host?query", r.ask, (
        b"GET http://$4?q HTTP/1.1\r\n\r\n"), b" GET /?q HTTP/1.1\r\n"
    if r.auth:
        yield "Basic, spaces", r.basic, b"Proxy-Authorization:  basic   $T \t"
        yield "Basic after another", r.basic, (
            b"Proxy-Authorization: Negotiate abc\r\n"
            b"Proxy-Authorization: Basic $T")
    yield "ICY 200 OK", r.answers, b"/icy", b"music"
    yield "HEAD", lambda: r.ask(b"HEAD http://$4/head HTTP/1.1\r\n\r\n",
                                b"Content-Length: 700\r\n", bodyless=True),
    yield "204", lambda: r.answers(b"/204", b"", status=204),
    yield "304", lambda: r.answers(b"/304", b"", status=304),
    yield "20 interim responses", r.answers, b"/hints", b"OK"
    yield "an answer up to the end", r.answers, b"/end", b"OK"
    yield "an answer in chunks with a trailer", r.answers, b"/chunks", (
        b"0\r\nX-Sum: 7\r\n\r\n")
    yield "a loose answer", r.answers, b"/loose", b"OK"
    yield "a request in chunks with a trailer", r.ask, (
        post + b"Transfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n"
        b"3\r\nabc\r\n0\r\nX-A: 1\r\n\r\n"), b"abc", b"0\r\nX-A: 1\r\n\r\n"
    yield "a length that Connection names", r.ask, (
        post + b"Connection: Content-Length\r\nContent-Length: 4\r\n\r\n"
        b"body"), b"Content-Length: 4\r\n", b"\r\n\r\nbody"
    yield "two Hosts become one", lambda: r.ask(
        get + b"Host: a.test\r\nHost: b.test\r\n\r\n", b"Host: $4\r\n",
        refused=(b"a.test", b"b.test")),
    yield "Expect", r.expects,
    yield "an answer before the body", r.early_answer,
    yield "a body like a request", r.body_is_no_request,
    yield "a half-closed client", r.half_closes,
    yield "two requests, two servers", r.keeps_alive,
    yield "the second without a wait", r.pipelines,
    yield "keep-alive of HTTP/1.0", r.keeps_alive_10,
    yield "WebSocket", r.web_socket,
    end = b"Connection: close\r\n\r\n"
    two = b"5\r\nhello\r\n0\r\n\r\n"
    for name, request in (
        ("two lengths", post + b"Content-Length: 5\r\nContent-Length: 6\r\n"
         + end + b"hello!"),
        ("a list of lengths", post + b"Content-Length: 5, 6\r\n" + end +
         b"hello!"),
        ("a signed length", post + b"Content-Length: +5\r\n" + end + b"hello"),
        ("a length and chunks", post + b"Content-Length: 5\r\n"
         b"Transfer-Encoding: chunked\r\n" + end + two),
        ("two codings", post + b"Transfer-Encoding: chunked\r\n"
         b"Transfer-Encoding: identity\r\n" + end + two),
        ("an unknown coding", post + b"Transfer-Encoding: xchunked\r\n" + end +
         two),
        ("chunks in HTTP/1.0", b"POST http://$4/ HTTP/1.0\r\n"
         b"Transfer-Encoding: chunked\r\n" + end + two),
        ("a bad chunk", post + b"Transfer-Encoding: chunked\r\n" + end +
         b"0x5\r\nhello\r\n0\r\n\r\n"),
        ("a chunk line with LF", post + b"Transfer-Encoding: chunked\r\n" +
         end + b"5\nhello\n0\n\n"),
        ("a folded line", get + b"X-A: 1\r\n  2\r\n" + end),
        ("a folded first line", get + b" X-A: 1\r\n" + end),
        ("a space in front of a colon", get + b"X-A : 1\r\n" + end),
        ("NUL in a head", get + b"X-A: \0\r\n" + end),
        ("a bare CR", get + b"X-A: 1\rX-B: 2\r\n" + end),
        ("a head above 64 KiB", get + 70 * ROOM + end),
        ("two lengths in an answer", b"GET http://$4/both HTTP/1.1\r\n" + end),
    ):
        yield "refused: " + name, r.bad, request


def main():
    verb, *args = sys.argv[1:]
    if verb == "origin":
        threads = [origin(address(where)) for where in args]
        for thread in threads:
            thread.start()
        os.write(int(os.environ["READY_FD"]), b"ready\n")
        os.close(int(os.environ["READY_FD"]))
        threads[0].join()
    run = Run(*args)
    for name, function, *arguments in situations(run):
        try:
            function(*arguments)
            run.passed.append(name)
        except (OSError, Wrong, ValueError, IndexError) as e:
            run.failed.append(name)
            print(f"{name}: {e!r}"[:500])
    total = len(run.passed) + len(run.failed)
    print(f"passed {len(run.passed)} of {total}")
    return 1 if run.failed else 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)
