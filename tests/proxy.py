#!/usr/bin/env python3
"""Both sides of proxy handshakes, well and badly behaved.

    proxy.py cuts ADDR TARGET [USER PASSWORD]
        makes every handshake that a client of the proxy at ADDR can make to
        TARGET, an echo: cut at every byte, with and without a pause there, and
        in single bytes; a line of data follows in the last part, and returns
    proxy.py get ADDR TARGET USER PASSWORD
        sends a plain HTTP request with a body to TARGET, which answers with the
        request; cut as by `cuts`
    proxy.py early ADDR TARGET [USER PASSWORD]
        handshake and 1 MiB in one write; all of it returns
    proxy.py slow ADDR TARGET COUNT SECONDS
        COUNT clients that send a byte each second, some behind a PROXY header,
        from 127.0.0.9: each is reset after SECONDS; meanwhile a quick client is
        always served within 100 ms
    proxy.py refused ADDR TARGET CODES
        checks the reply to each handshake to TARGET: SOCKS4, SOCKS5, CONNECT,
        GET
    proxy.py bad ADDR
        sends BAD_REQUESTS, cut as by `cuts`: each gets its answer, or a reset
    proxy.py upstream HTTP-PORT SOCKS-PORT
        a proxy that echoes; for the target port 1000 + N it cuts its answers at
        byte N; for a lower port it misbehaves, see BAD
    proxy.py through COUNT ADDR...
        COUNT ports from each ADDR on: the bytes behind a cut answer arrive
    proxy.py resets COUNT SECONDS ADDR...
        the same ports: each is reset in time, and nothing arrives before
    proxy.py headers ADDR
        sends PROXY headers to ADDR, cut at every byte; its target is `show`
    proxy.py show ADDR...
        sends to each connection the address that its PROXY header names, or none
    proxy.py ask ADDR OWN
        connects from the address OWN, sends nothing, and prints the answer
    proxy.py udp ADDR TARGET [USER PASSWORD]
        an association with the proxy at ADDR; TARGET echoes

Failures are printed; the exit status is then 1. A command that listens writes
"ready" to the descriptor $READY_FD.
"""

import concurrent.futures
import ipaddress
import os
import socket
import struct
import sys
import threading
import time

SLOW = int(os.environ.get("TEST_SLOW", "1"))
GAP = 0.02
LINE = b"early data\n"
failures = []


def fail(*words):
    print(*words, flush=True)
    failures.append(words)


def ready():
    os.write(int(os.environ["READY_FD"]), b"ready\n")
    os.close(int(os.environ["READY_FD"]))


def address(text):
    host, _, port = text.rpartition(":")
    return host.strip("[]") or "127.0.0.1", int(port)


def connect(where, limit=10):
    s = socket.create_connection(where, limit)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def receive(s, count):
    data = b""
    while len(data) < count:
        more = s.recv(count - len(data))
        if not more:
            raise EOFError(f"an end after {data!r}")
        data += more
    return data


def head(s):
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += receive(s, 1)
    return data


def socks_address(host, port):
    try:
        ip = ipaddress.ip_address(host)
        kind = b"\1" if ip.version == 4 else b"\4"
        return kind + ip.packed + struct.pack("!H", port)
    except ValueError:
        return b"\3" + bytes([len(host)]) + host.encode() + struct.pack(
            "!H", port)


def handshakes(target, user=None, password=""):
    """Yields names, and pairs of a message and its answer."""
    host, port = target
    to = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    tail = struct.pack("!H", port)
    done = b"\5\0\0\1" + bytes(6)
    greeting = (b"\5\1\0", b"\5\0")
    sign = b""
    if user:
        import base64
        token = base64.b64encode(f"{user}:{password}".encode())
        sign = b"proxy-authorization:  bAsic " + token + b"\r\n"
        sub = (b"\1" + bytes([len(user)]) + user.encode() +
               bytes([len(password)]) + password.encode())
        yield "socks5", [(b"\5\3\0\1\2", b"\5\2"), (sub, b"\1\0"),
                         (b"\5\1\0" + socks_address(host, port), done)]
    else:
        yield "socks5", [greeting, (b"\5\1\0" + socks_address(host, port),
                                    done)]
        if ":" not in host:
            text = b"\3" + bytes([len(host)]) + host.encode() + tail
            yield "socks5h", [greeting, (b"\5\1\0" + text, done)]
            four = b"\0\x5a" + bytes(6)
            if host[0].isdigit():
                yield "socks4", [(b"\4\1" + tail + socket.inet_aton(host) +
                                  b"user\0", four)]
            yield "socks4a", [(b"\4\1" + tail + b"\0\0\0\7\0" +
                               host.encode() + b"\0", four)]
    yield "connect", [(f"CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n".encode() +
                       sign + b"\r\n", None)]


def converse(where, steps, cut, gap, line=LINE):
    """Sends the messages of `steps`, cut at a byte; -1: in single bytes."""
    at = 0
    with connect(where) as s:
        for i, (words, answer) in enumerate(steps):
            last = i + 1 == len(steps)
            if last:
                words += line
            parts = [words]
            if cut == -1:
                parts = [words[k:k + 1] for k in range(len(words))]
            elif at < cut < at + len(words):
                parts = [words[:cut - at], words[cut - at:]]
            at += len(words)
            for k, part in enumerate(parts):
                if k:
                    time.sleep(gap)
                s.sendall(part)
            if answer is None:
                got = head(s)
                if not got.startswith(b"HTTP/1.1 200 "):
                    raise EOFError(got)
            else:
                got = receive(s, len(answer))
                if got != answer:
                    raise EOFError(f"{got} instead of {answer}")
        got = receive(s, len(line))
        if got != line:
            raise EOFError(f"{got[:80]} instead of the line")
        s.shutdown(socket.SHUT_WR)
        if s.recv(1):
            raise EOFError("more than that")


def send_cut(s, words, cut, gap=GAP):
    """Sends words, cut at a byte; -1: in single bytes."""
    parts = [words[:cut], words[cut:]] if cut > 0 else [words]
    if cut == -1:
        parts = [bytes([c]) for c in words]
    for i, part in enumerate(parts):
        if i and cut > 0:
            time.sleep(gap)
        s.sendall(part)


def in_parallel(jobs, workers=24):
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for name, done in [(n, pool.submit(f, *a)) for n, f, *a in jobs]:
            try:
                done.result()
            except (OSError, EOFError) as e:
                fail(name, repr(e))


def main_cuts(where, target, *auth):
    jobs = []
    for name, steps in handshakes(address(target), *auth):
        length = sum(len(words) for words, _ in steps)
        for cut in range(-1, length + 1):
            for gap in (0, GAP) if cut > 0 else (0,):
                jobs.append((f"{name} cut at {cut}, {gap} s", converse,
                             address(where), steps, cut, gap))
    in_parallel(jobs)
    print(len(jobs), "handshakes")


def main_get(where, target, user, password):
    """Two requests, the second of which does not wait for the first answer."""
    import base64
    token = base64.b64encode(f"{user}:{password}".encode())
    sign = b"Proxy-Authorization: Basic " + token + b"\r\n"
    words = (f"POST http://u:p@{target}/path HTTP/1.1\r\nHost: else\r\n"
             "Transfer-Encoding: chunked\r\n".encode() + sign + b"\r\n" +
             b"%X;x\r\n%s\r\n0\r\nX-End: 1\r\n\r\n" % (len(LINE), LINE) +
             f"GET http://{target}/2 HTTP/1.1\r\nX-End: 1\r\n"
             "Proxy-Connection: close\r\n".encode() + sign + b"\r\n")
    first = (f"POST /path HTTP/1.1\nHost: {target}\nConnection: close\n"
             "Transfer-Encoding: chunked\n\n".encode() + LINE)
    second = (f"GET /2 HTTP/1.1\nHost: {target}\nConnection: close\n"
              "X-End: 1\n\n".encode())

    def answer(s, asked, connection):
        got = head(s)
        if not got.startswith(b"HTTP/1.1 200 OK\r\nConnection: " +
                              connection + b"\r\n"):
            raise EOFError(got)
        got = receive(s, len(asked))
        if got != asked:
            raise EOFError(f"{got} was asked")

    def get(cut, gap):
        with connect(address(where)) as s:
            send_cut(s, words, cut, gap)
            answer(s, first, b"keep-alive")
            answer(s, second, b"close")
            if s.recv(1):
                raise EOFError("more than two answers")

    in_parallel([(f"cut at {cut}, {gap} s", get, cut, gap)
                 for cut in range(-1, len(words), 3) for gap in (0, GAP)
                 if cut > 0 or not gap])


def main_early(where, target, *auth):
    data = os.urandom(1 << 20)

    def early(steps):
        with connect(address(where)) as s:
            got = bytearray()

            def read():
                for _, answer in steps:
                    if answer is None:
                        head(s)
                    else:
                        receive(s, len(answer))
                while chunk := s.recv(1 << 16):
                    got.extend(chunk)

            reader = threading.Thread(target=read)
            reader.start()
            s.sendall(b"".join(words for words, _ in steps) + data)
            s.shutdown(socket.SHUT_WR)
            reader.join(10 * SLOW)
            if bytes(got) != data:
                raise EOFError(f"{len(got)} bytes, not the same")

    for name, steps in handshakes(address(target), *auth):
        in_parallel([(name, early, steps)])


def main_slow(where, target, count, seconds):
    count, seconds = int(count), float(seconds)
    words = [b"".join(w for w, _ in steps)
             for _, steps in handshakes(address(target))]
    words += [b"GET http://" + b"a" * 250 + b"/ HTTP/1.1\r\n\r\n",
              b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n"]
    begin = time.monotonic()
    clients = []
    for i in range(count):
        own = "127.0.0.9" if i % len(words) + 1 == len(words) else "127.0.0.1"
        s = socket.create_connection(address(where), 10 * SLOW, (own, 0))
        said = words[i % len(words)]
        if own == "127.0.0.9" and i // len(words) % 2:
            # A header that takes 2 s gives a client no more time.
            s.sendall(said[:-3])
            said = said[-3:] + words[0]
        s.setblocking(False)
        clients.append([s, said, 0, time.monotonic(), None])
    print(f"{count} clients within {time.monotonic() - begin:.2f} s")
    longest = 0
    while any(c[4] is None for c in clients):
        at = time.monotonic()
        if at - begin > 2 * seconds + 5:
            break
        for c in clients:
            if c[4] is not None:
                continue
            try:
                if at - c[3] > c[2]:
                    c[0].send(c[1][c[2]:c[2] + 1])
                    c[2] += 1
                if not c[0].recv(64):
                    fail("a clean end")
                    c[4] = 0
            except BlockingIOError:
                pass
            except OSError:
                c[4] = time.monotonic() - c[3]
        # Late once may be the processor; late twice in a row is nsfwd.
        spans = []
        while len(spans) < 2 and (not spans or spans[-1] > 0.1):
            start = time.monotonic()
            _, steps = next(handshakes(address(target)))
            converse(address(where), steps, 0, 0)
            spans.append(time.monotonic() - start)
        longest = max(longest, min(spans))
        time.sleep(0.05)
    ends = [c[4] for c in clients]
    if None in ends:
        fail(ends.count(None), "are still there")
        return
    print(f"ended after {min(ends):.2f} to {max(ends):.2f} s, the quick one "
          f"within {longest * 1000:.0f} ms")
    if min(ends) < seconds - 1 or max(ends) > seconds + SLOW:
        fail("not in time")
    if longest > 0.5 * SLOW:
        fail("the quick one had to wait")


def main_refused(where, target, codes):
    """CODES: replies of SOCKS4, SOCKS5 and HTTP, as 91,2,403; 0: none."""
    four, five, status = map(int, codes.split(","))
    host, port = address(target)
    for name, steps in handshakes((host, port)):
        with connect(address(where)) as s:
            for words, _ in steps[:-1]:
                s.sendall(words)
                receive(s, 2)
            s.sendall(steps[-1][0])
            if name.startswith("socks4"):
                good = receive(s, 8)[1] == four
            elif name.startswith("socks5"):
                good = receive(s, 10)[1] == five
            else:
                good = int(head(s).split()[1]) == status
            if not good or s.recv(1) != b"":
                fail(name, target, "something else, or more")
    with connect(address(where)) as s:
        to = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        s.sendall(f"GET http://{to}/ HTTP/1.1\r\n\r\n".encode())
        if int(head(s).split()[1]) != status or s.recv(1) != b"":
            fail("GET", target, "something else, or more")


NONE = b""
BAD_REQUESTS = [
    # The request, and the beginning of the answer; NONE: a reset.
    (b"\x16\3\1\2\0\1\0", NONE),
    (b"\0", NONE),
    (b"\5\0", b"\5\xff"),
    (b"\5\1\2", b"\5\xff"),
    (b"\5\1\0\4\1\0\1", b"\5\0\5\1"),
    (b"\5\1\0\5\1", b"\5\0"),
    (b"\5\1\0\5\2\0\1\x0a\0\2\2\0\x50", b"\5\0\5\7"),
    (b"\5\1\0\5\1\0\2\x0a\0\2\2\0\x50", b"\5\0\5\x08"),
    (b"\5\1\0\5\1\0\3\0\0\x50", b"\5\0\5\1"),
    (b"\5\1\0\5\1\0\3\4a\0.b\0\x50", b"\5\0\5\1"),
    (b"\5\1\0\5\1\0\3\x0b/run/socket\0\x50", b"\5\0\5\1"),
    (b"\5\1\0\5\1\0\3\4@abc\0\x50", b"\5\0\5\1"),
    (b"\5\1\0\5\1\0\3\x0a2130706433\0\x50", b"\5\0\5\1"),
    (b"\5\1\0\5\1\0\3\x05127.1\0\x50", b"\5\0\5\1"),
    (b"\5\1\0\5\1\0\1\x0a\0\2\2\0\0", b"\5\0\5\1"),
    (b"\5\1\0\5\1\0\3\xff" + b"a" * 255 + b"\0\x50", b"\5\0\5\1"),
    (b"\4\2\0\x50\x0a\0\2\2\0", b"\0\x5b"),
    (b"\4\1\0\x50\x0a\0\2\2" + b"u" * 300, b"\0\x5b"),
    (b"\4\1\0\x50\0\0\0\1u\0" + b"h" * 300, b"\0\x5b"),
    (b"CONNECT 10.0.2.2:80\r\n\r\n", b"HTTP/1.1 400 "),
    (b"CONNECT 10.0.2.2 HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
    (b"CONNECT /run/socket HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
    (b"CONNECT 10.0.2.2:80800 HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
    (b"CONNECT 10.0.2.2:80 HTTP/2.0\r\n\r\n", b"HTTP/1.1 400 "),
    (b"CONNECT 10.0.2.2:80 HTTP/1.1\r\nA:b\0\r\n\r\n", b"HTTP/1.1 400 "),
    (b"CONNECT 10.0.2.2:80 HTTP/1.1\r\n folded\r\n\r\n", b"HTTP/1.1 400 "),
    (b"CONNECT 10.0.2.2:80 HTTP/1.1\r\nno colon\r\n\r\n", b"HTTP/1.1 400 "),
    (b"GET / HTTP/1.1\r\nHost: 10.0.2.2\r\n\r\n", b"HTTP/1.1 400 "),
    (b"GET https://10.0.2.2/ HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
    (b"GET http://10.0.2.2@/ HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
    (b"CONNECT 10.0.2.2:80@ HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
    (b"GET http:/// HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
    (b"GET http://" + b"h" * 300 + b"/ HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
    (b"CONNECT 10.0.2.2:80 HTTP/1.1\r\nA: " + b"x" * 65536 + b"\r\n\r\n",
     b"HTTP/1.1 431 "),
]


def main_bad(where):
    def bad(words, wanted, cut):
        got = b""
        try:
            with connect(address(where), 5) as s:
                send_cut(s, words, cut)
                if wanted == b"\5\0":
                    s.shutdown(socket.SHUT_WR)
                while more := s.recv(65536):
                    got += more
            reset = False
        except (ConnectionResetError, BrokenPipeError):
            reset = True
        # A reset may discard the answer to an earlier message.
        if wanted == NONE or wanted == b"\5\0":
            good = reset
        else:
            good = got.startswith(wanted) and not reset
        if not good:
            raise EOFError(f"was answered with {got}" + " and reset" * reset)

    jobs = [(f"{words[:60]} cut at {cut}", bad, words, wanted, cut)
            for words, wanted in BAD_REQUESTS
            for cut in range(-(len(words) < 90), min(len(words), 90))]
    in_parallel(jobs, 48)
    print(len(jobs), "requests")


OK = b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n"
BAD = {
    1: b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
    2: b"HTTP/1.1 200 OK\r\n",
    3: b"HTTP/1.1 200 OK\r\nA: " + b"x" * 65536 + b"\r\n\r\n",
    4: b"HTTP/1.1 100 Continue\r\n\r\n",
    5: b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
    6: b"SSH-2.0-OpenSSH_9.2\r\n",
    7: b"HTTP/1.1 200 OK\rX\r\n\r\n",
    8: b"HTTP/1.1 2\0\0 OK\r\n\r\n",
    9: b"HTTP/1.1 503 No\r\nContent-Length: 5\r\n\r\nwrong",
    10: None,  # no answer
    11: b"",   # the end of the stream
    12: b"HTTP/1.1 200OK\r\n\r\n",
    13: b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100,  # a byte at a time
}
SOCKS_OK = b"\5\0\0\3\4test\0\0"
SOCKS_OK6 = b"\5\0\0\4" + bytes(18)
BAD_SOCKS = {n: bytes([5, n, 0, 1]) + bytes(6) for n in range(1, 9)} | {
    9: b"\5\0\0\2" + bytes(6),
    10: b"\5\0\0\1\0\0",
    11: b"\4\0\0\1" + bytes(6),
    12: None,
    13: b"\5\xff\0\1" + bytes(6),
    14: b"\5\0\7\1" + bytes(6),
}


def upstream_http(s):
    request = head(s)
    port = int(request.split()[1].rpartition(b":")[2])
    if port >= 1000:
        send_cut(s, OK + LINE, port - 1000)
        return True
    if BAD[port] is None:
        s.recv(1)
    elif port == 13:
        for c in BAD[port]:
            s.sendall(bytes([c]))
            time.sleep(0.1)
    else:
        s.sendall(BAD[port])
    return port == 7 and s.recv(1)


def upstream_socks(s):
    """Cuts also the answers in front of the last one."""
    _, count = receive(s, 2)
    receive_auth = 2 in receive(s, count)
    send_cut(s, b"\5\2" if receive_auth else b"\5\0", 1)
    if receive_auth:
        _, n = receive(s, 2)
        user = receive(s, n)
        password = receive(s, receive(s, 1)[0])
        good = (user, password) == (b"u", b"p")
        send_cut(s, b"\1\0" if good else b"\1\1", 1)
    kind = receive(s, 4)[3]
    receive(s, {1: 4, 4: 16}.get(kind) or receive(s, 1)[0])
    port, = struct.unpack("!H", receive(s, 2))
    if port >= 1000:
        send_cut(s, (SOCKS_OK6 if receive_auth else SOCKS_OK) + LINE,
                 port - 1000)
        return True
    if BAD_SOCKS[port] is None:
        s.recv(1)
    else:
        s.sendall(BAD_SOCKS[port])
    return False


def serve(ports, talk):
    servers = [socket.create_server(address(p) if ":" in str(p) else
                                    ("127.0.0.1", int(p)), backlog=512,
                                    family=socket.AF_INET6 if "[" in str(p)
                                    else socket.AF_INET) for p in ports]

    def one(s, i):
        with s:
            try:
                talk(s, i)
            except (OSError, EOFError):
                pass

    def loop(server, i):
        while True:
            s = server.accept()[0]
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=one, args=(s, i), daemon=True).start()

    for i, server in enumerate(servers[1:], 1):
        threading.Thread(target=loop, args=(server, i), daemon=True).start()
    ready()
    loop(servers[0], 0)


def echo(s):
    while data := s.recv(65536):
        s.sendall(data)


def main_upstream(http, socks):
    def talk(s, i):
        if (upstream_socks if i else upstream_http)(s):
            echo(s)

    serve([http, socks], talk)


def ports(count, where):
    for text in where:
        host, port = address(text)
        for i in range(int(count)):
            yield host, port + i


def main_through(count, *where):
    def through(to):
        with connect(to) as s:
            s.sendall(b"hello")
            s.shutdown(socket.SHUT_WR)
            got = b""
            while more := s.recv(4096):
                got += more
            if got != LINE + b"hello":
                raise EOFError(f"{got}")

    in_parallel([(to, through, to) for to in ports(count, where)])


def main_resets(count, seconds, *where):
    def one(to):
        start = time.monotonic()
        try:
            with connect(to) as s:
                s.sendall(b"hello")
                got = s.recv(4096)
            fail(to, "got", got, "instead of a reset")
        except ConnectionResetError:
            pass
        if time.monotonic() - start > float(seconds) * SLOW:
            fail(to, f"reset after {time.monotonic() - start:.2f} s")

    in_parallel([(to, one, to) for to in ports(count, where)])


def v2(command, family, rest):
    return (b"\r\n\r\n\0\r\nQUIT\n" + bytes([command, family]) +
            struct.pack("!H", len(rest)) + rest)


FOUR = socket.inet_aton("192.0.2.7") + socket.inet_aton("192.0.2.8")
SIX = (socket.inet_pton(socket.AF_INET6, "2001:db8::7") +
       socket.inet_pton(socket.AF_INET6, "2001:db8::8"))
PORTS = struct.pack("!HH", 4711, 443)
HEADERS = [
    (b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 443\r\n", b"192.0.2.7 4711"),
    (b"PROXY TCP6 2001:db8::7 2001:db8::8 4711 443\r\n", b"2001:db8::7 4711"),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN whatever comes\r\n", None),
    (v2(0x21, 0x11, FOUR + PORTS), b"192.0.2.7 4711"),
    (v2(0x21, 0x21, SIX + PORTS + b"\4\0\1x"), b"2001:db8::7 4711"),
    (v2(0x20, 0, b""), None),
    (v2(0x21, 0, b""), None),
    (v2(0x21, 0x31, bytes(216)), None),
]
BAD_HEADERS = [
    b"GET / HTTP/1.0\r\n\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 443\n",
    b"PROXY TCP4 192.0.2.7  192.0.2.8 4711 443\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 443 \r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.8 4711\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 65536\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.8 04711 443\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::8 4711 443\r\n",
    b"PROXY TCP5 192.0.2.7 192.0.2.8 4711 443\r\n",
    b"PROXY UNKNOWN" + b"x" * 100,
    b"PROXY TCP4 " + b"1" * 200,
    b"proxy TCP4 192.0.2.7 192.0.2.8 4711 443\r\n",
    b"\r\n\r\n\0\r\nQUIX\n\x21\x11\0\x0c" + FOUR + PORTS,
    v2(0x11, 0x11, FOUR + PORTS),
    v2(0x22, 0x11, FOUR + PORTS),
    v2(0x21, 0x41, FOUR + PORTS),
    v2(0x21, 0x13, FOUR + PORTS),
    v2(0x21, 0x11, FOUR),
    v2(0x21, 0x21, SIX),
    v2(0x20, 0, bytes(65535)),
]


def main_headers(where):
    """The map says proxy=1 to `show`, which answers and then echoes."""
    def good(words, named, cut, gap):
        with connect(address(where)) as s:
            me = s.getsockname()
            named = named or f"{me[0]} {me[1]}".encode()
            parts = [words[:cut], words[cut:] + LINE]
            if cut == -1:
                parts = [bytes([c]) for c in words + LINE]
            for i, part in enumerate(parts):
                if i and gap:
                    time.sleep(gap)
                s.sendall(part)
            s.shutdown(socket.SHUT_WR)
            got = b""
            while more := s.recv(4096):
                got += more
            if got != named + b"\n" + LINE:
                raise EOFError(f"{got}")

    def bad(words):
        try:
            with connect(address(where)) as s:
                s.sendall(words)
                got = s.recv(4096)
            raise EOFError(f"{got} instead of a reset")
        except ConnectionResetError:
            pass

    jobs = [(words[:24], good, words, named, cut, gap)
            for words, named in HEADERS
            for cut in range(-1, min(len(words), 90) + 1)
            for gap in ((0, GAP) if cut > 0 else (0,))]
    jobs += [(words[:60], bad, words) for words in BAD_HEADERS]
    in_parallel(jobs)
    print(len(jobs), "headers")


def read_header(s):
    """Returns the client in a header, as "ADDR PORT", and the namespace."""
    start = receive(s, 6)
    if start == b"PROXY ":
        line = b""
        while not line.endswith(b"\r\n"):
            line += receive(s, 1)
        words = line.split()
        return (b"unknown" if words[0] == b"UNKNOWN" else
                words[1] + b" " + words[3])
    fixed = start + receive(s, 10)
    rest = receive(s, struct.unpack("!H", fixed[14:])[0])
    size = {0x11: 4, 0x21: 16}.get(fixed[13], 0)
    named = b"unknown"
    if size:
        ip = ipaddress.ip_address(rest[:size])
        named = f"{ip} {struct.unpack('!H', rest[2 * size:][:2])[0]}".encode()
    rest = rest[2 * size + 4 if size else 0:]
    while rest:
        kind, length = struct.unpack("!BH", rest[:3])
        if kind == 0x30:
            named += b" from " + rest[3:3 + length]
        else:
            named += b" %02x=" % kind + rest[3:3 + length]
        rest = rest[3 + length:]
    return named


def main_show(*where):
    def talk(s, _):
        s.sendall(read_header(s) + b"\n")
        echo(s)

    serve(where, talk)


def main_ask(where, own):
    with socket.create_connection(address(where), 5 * SLOW, address(own)) as s:
        print(s.recv(4096).decode(), end="")
        s.shutdown(socket.SHUT_WR)
        while more := s.recv(4096):
            print(more.decode(), end="")


def main_udp(where, target, *auth):
    host, port = address(target)
    family = socket.AF_INET6 if ":" in address(where)[0] else socket.AF_INET
    with connect(address(where)) as s, socket.socket(
            family, socket.SOCK_DGRAM) as udp:
        s.sendall(b"\5\1" + (b"\2" if auth else b"\0"))
        receive(s, 2)
        if auth:
            s.sendall(b"\1" + b"".join(bytes([len(a)]) + a.encode()
                                       for a in auth))
            receive(s, 2)
        s.sendall(b"\5\3\0" + socks_address("::" if family == socket.AF_INET6
                                            else "0.0.0.0", 0))
        code, kind = receive(s, 4)[1::2]
        print("reply", code)
        if code:
            return
        size = 16 if kind == 4 else 4
        bound = str(ipaddress.ip_address(receive(s, size)))
        bound = bound, struct.unpack("!H", receive(s, 2))[0]
        print("bound", *bound)
        if bound[0] != address(where)[0]:
            fail("bound somewhere else")
        udp.connect(bound)
        udp.settimeout(2 * SLOW)
        to = b"\0\0\0" + socks_address(host, port)

        def ask(data, answered=True, head=to, sock=udp):
            sock.settimeout(2 * SLOW if answered else 0.15)
            sock.send(head + data)
            try:
                got = sock.recv(65536)
            except TimeoutError:
                if answered:
                    fail("no answer to", data[:20])
                return
            if not answered:
                fail("an answer to", data[:20], got[:40])
            elif got[:3] != bytes(3) or not got.endswith(data) or (
                    len(got) - len(data) not in (10, 22)):
                fail("a wrong answer", got[:40])

        ask(b"hello")
        ask(b"")
        ask(os.urandom(9000))
        ask(os.urandom(60000))
        ask(b"a fragment", False, b"\0\0\1" + to[3:])
        ask(b"reserved", False, b"\0\1" + to[2:])
        ask(b"loopback", False, b"\0\0\0" + socks_address("127.0.0.1", port))
        ask(b"", False, b"\0\0\0\1\1\2")
        ask(b"", False, b"\0\0\0\7\1\2\3\4\5\6\7\10")
        ask(b"again")
        # Other senders: another port, and another address.
        for own in ("", "127.0.0.77") if family == socket.AF_INET else ("",):
            with socket.socket(family, socket.SOCK_DGRAM) as other:
                if own:
                    other.bind((own, 0))
                other.connect(bound)
                ask(b"a stranger", False, to, other)
        ask(b"at last")
        s.shutdown(socket.SHUT_WR)
        if s.recv(1):
            fail("something is behind the end")
        s.close()
        for _ in range(100):
            udp.settimeout(0.02)
            try:
                udp.send(to + b"after the end")
                udp.recv(100)
            except (TimeoutError, ConnectionRefusedError):
                break
        else:
            fail("it goes on without its connection")


def main():
    verbs = {k[5:]: v for k, v in globals().items() if k.startswith("main_")}
    if len(sys.argv) < 2 or sys.argv[1] not in verbs:
        print(__doc__, file=sys.stderr)
        return 2
    verbs[sys.argv[1]](*sys.argv[2:])
    return 1 if failures else 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)
