"""A name server that misbehaves as the first labels of a name request.

dns_server.py LOG [four=ADDR] [six=ADDR] [ttl=N] [mute] ADDR/PORT...

Serves UDP and TCP on each ADDR/PORT. The first label of a name selects the
answer to A, the second that to AAAA: "ok.servfail.test". Every question is a
line of LOG: "udp www.test A edns", and the name as it was written. Each answer
has a TTL of 60. A name outside the domain "test" is NXDOMAIN. A mute server
never answers.
"""

import os
import select
import socket
import struct
import sys
import time

A, CNAME, AAAA, OPT = 1, 5, 28, 41
TYPES = {A: "A", AAAA: "AAAA"}
RCODES = {"formerr": 1, "servfail": 2, "nxdomain": 3, "notimp": 4, "refused": 5}
FOUR, SIX, TTL, MUTE = "10.1.1.1", "fd00::1:1", 60, False


def name_of(wire):
    return ".".join(label.decode("latin-1") for label in wire)


def pack(name):
    out = b""
    for label in name.split("."):
        if label:
            out += bytes([len(label)]) + label.encode("latin-1")
    return out + b"\0"


def record(owner, kind, data, ttl=None):
    ttl = TTL if ttl is None else ttl
    return owner + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data


class Question:
    def __init__(self, data):
        self.data = data
        self.id = data[:2]
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]])
            at += 1 + data[at]
        self.wire = data[12 : at + 1]
        self.kind = struct.unpack("!H", data[at + 1 : at + 3])[0]
        self.section = data[12 : at + 5]
        self.edns = data[10:12] != b"\0\0"
        self.name = name_of(labels)
        self.labels = self.name.lower().split(".")

    def answer(self, records=(), rcode=0, tc=False, section=None, ident=None,
               ra=True, questions=1, extra=b""):
        flags = 0x8100 | rcode | (0x200 if tc else 0) | (0x80 if ra else 0)
        if section is None:
            section = self.section if questions else b""
        return ((ident or self.id) +
                struct.pack("!HHHHH", flags, questions, len(records), 0, 0) +
                section + b"".join(records) + extra)

    def address(self, owner=b"\xc0\x0c", n=0):
        if self.kind == A:
            base = socket.inet_aton(FOUR)
        else:
            base = socket.inet_pton(socket.AF_INET6, SIX)
        return record(owner, self.kind, base[:-1] + bytes([base[-1] + n]))

    def ok(self, **more):
        return self.answer([self.address()], **more)


class Server:
    def __init__(self, log):
        self.log = open(log, "a", buffering=1, encoding="latin-1")
        self.later = []  # (time, function)

    def how(self, q):
        if MUTE:
            return "silent"
        if q.labels[-1] != "test" or len(q.labels) < 3 or q.kind not in TYPES:
            return "nxdomain"
        return q.labels[0 if q.kind == A else 1]

    def replies(self, q, tcp):
        """Yields the datagrams, or the messages of a stream, one by one."""
        how = self.how(q)
        if how in RCODES:
            return [q.answer(rcode=RCODES[how])]
        own = pack("x." + q.name)
        function = getattr(self, "do_" + how.split("-")[0], None)
        if function:
            return function(q, tcp)
        simple = {
            "ok": lambda: [q.ok()],
            "two": lambda: [q.answer([q.address(), q.address(n=1)])],
            "nodata": lambda: [q.answer()],
            "silent": lambda: [],
            "lame": lambda: [q.answer(ra=False)],
            "wrongid": lambda: [
                q.ok(ident=bytes([q.id[0] ^ 1, q.id[1]]))],
            "wrongname": lambda: [q.ok(section=own + q.section[-4:])],
            "wrongtype": lambda: [
                q.ok(section=q.wire + b"\0\x10\0\1")],
            "wrongclass": lambda: [
                q.ok(section=q.section[:-2] + b"\0\3")],
            "question": lambda: [q.data],
            "lower": lambda: [q.ok(
                section=q.wire.lower() + q.section[-4:])],
            "other": lambda: [q.answer([q.address(own)])],
            "noquestion": lambda: [q.answer(questions=0)],
            "empty": lambda: [b""],
            "header": lambda: [q.ok()[:12]],
            "short": lambda: [q.ok()[:-3]],
            "rdlength": lambda: [q.answer([
                record(b"\xc0\x0c", q.kind, b"\1\2\3")])],
            "pointer": lambda: [q.answer([
                record(b"\xc0" + bytes([12 + len(q.section)]), q.kind,
                       bytes(4))])],
            "forward": lambda: [q.answer([
                record(b"\xc0\xff", q.kind, bytes(4))])],
            "noedns": lambda: [q.answer(rcode=1) if q.edns else q.ok()],
            "noedns4": lambda: [q.answer(rcode=4) if q.edns else q.ok()],
            "noedns0": lambda: [
                q.answer(rcode=1, questions=0) if q.edns else q.ok()],
            "badvers": lambda: [
                q.answer(extra=b"\0\0\x29\2\0\1\0\0\0\0\0")[:10] + b"\0\1" +
                q.answer(extra=b"\0\0\x29\2\0\1\0\0\0\0\0")[12:]
                if q.edns else q.ok()],
            "dropedns": lambda: [] if q.edns else [q.ok()],
            "foreign": lambda: (
                [q.ok(ident=bytes([q.id[0] ^ 1, i])) for i in range(100)] +
                [q.ok()] if not tcp else [q.ok()]),
            "dribble": lambda: [q.ok() if tcp else q.answer(tc=True)],
            "tc": lambda: [q.ok() if tcp else q.answer(tc=True)],
            "tcclosed": lambda: [
                None if tcp else q.answer([q.address()], tc=True)],
            "tcfailed": lambda: [
                None if tcp else q.answer(tc=True)],
            "tcsilent": lambda: [] if tcp else [q.answer(tc=True)],
            "tcwrong": lambda: [
                q.ok(ident=b"xx") if tcp else q.answer(tc=True)],
        }
        return simple[how]() if how in simple else [q.answer(rcode=3)]

    def do_chain(self, q, _tcp):
        """chain-N: puts N aliases into the answer, in the wrong order."""
        n = int(self.how(q).split("-")[1])
        names = [q.wire] + [pack(f"n{i}.test") for i in range(n)]
        records = [record(names[i], CNAME, names[i + 1], 30 + i)
                   for i in range(n)]
        return [q.answer(records[::-1] + [q.address(names[-1])])]

    def do_loop(self, q, _tcp):
        other = pack("loop.other.test")
        return [q.answer([record(q.wire, CNAME, other),
                          record(other, CNAME, q.wire)])]

    def do_bare(self, q, _tcp):
        """Answers with an alias only; its address takes another question."""
        return [q.answer([record(q.wire, CNAME, pack("ok.ok.test"), 7)])]

    def do_bareloop(self, q, _tcp):
        n = int(q.labels[2][1:]) + 1 if q.labels[2][0] == "n" else 0
        return [q.answer([record(q.wire, CNAME,
                                 pack(f"bareloop.bareloop.n{n}.test"))])]

    def do_dead(self, q, _tcp):
        """Answers with an alias of a name that does not exist."""
        return [q.answer([record(q.wire, CNAME, pack("no.test"))], rcode=3)]

    def do_many(self, q, tcp):
        if not tcp:
            return [q.answer([q.address(n=i) for i in range(3)], tc=True)]
        return [q.answer([q.address(n=i) for i in range(200)])]

    def do_big(self, q, _tcp):
        """Sends a datagram that is larger than the question allows."""
        return [q.answer([q.address(n=i) for i in range(150)])]

    def do_bytewise(self, q, tcp):
        if not tcp:
            return [q.answer(tc=True)]
        records = [q.address(n=i) for i in range(40)]
        text = record(b"\xc0\x0c", 16, bytes(4000))
        message = q.answer(records + [text] * 15)
        return [message + bytes(65535 - len(message))]

    # Sockets.

    def heard(self, q, how):
        self.log.write(f"{how} {q.name.lower()} {TYPES.get(q.kind, q.kind)} "
                       f"{'edns' if q.edns else 'plain'} {q.name}\n")

    def datagram(self, sock):
        data, peer = sock.recvfrom(4096)
        try:
            q = Question(data)
        except IndexError:
            return
        self.heard(q, "udp")
        how = self.how(q)
        if how == "slow":
            self.later.append((time.monotonic() + 0.3,
                               lambda: sock.sendto(q.ok(), peer)))
            return
        if how == "source":
            with socket.socket(sock.family, socket.SOCK_DGRAM) as other:
                other.sendto(q.ok(), peer)
            return
        for reply in self.replies(q, False):
            sock.sendto(reply, peer)

    def stream(self, sock):
        """Serves a TCP listener in a process of its own."""
        conn = sock.accept()[0]
        if os.fork():
            conn.close()
            return
        conn.settimeout(20)
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while True:
                size = conn.recv(2, socket.MSG_WAITALL)
                if len(size) < 2:
                    break
                size = struct.unpack("!H", size)[0]
                q = Question(conn.recv(size, socket.MSG_WAITALL))
                self.heard(q, "tcp")
                for reply in self.replies(q, True):
                    if reply is None:
                        os._exit(0)
                    reply = struct.pack("!H", len(reply)) + reply
                    how = self.how(q)
                    step = 1 if how in ("bytewise", "dribble") else len(reply)
                    for i in range(0, len(reply), step):
                        conn.send(reply[i : i + step])
                        if how == "dribble":
                            time.sleep(0.03)
        except OSError:
            pass
        os._exit(0)


def main():
    global FOUR, SIX, TTL, MUTE
    server = Server(sys.argv[1])
    handlers = {}
    for word in sys.argv[2:]:
        if word.startswith("four="):
            FOUR = word[5:]
        elif word.startswith("six="):
            SIX = word[4:]
        elif word.startswith("ttl="):
            TTL = int(word[4:])
        elif word == "mute":
            MUTE = True
        else:
            addr, port = word.rsplit("/", 1)
            for kind in socket.SOCK_DGRAM, socket.SOCK_STREAM:
                info = socket.getaddrinfo(addr, int(port), type=kind)[0]
                sock = socket.socket(info[0], kind)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(info[4])
                if kind == socket.SOCK_STREAM:
                    sock.listen(64)
                    handlers[sock] = server.stream
                else:
                    handlers[sock] = server.datagram
    fd = int(os.environ.get("READY_FD", "1"))
    os.write(fd, b"ready\n")
    if fd > 2:
        os.close(fd)
    while True:
        wait = min([when for when, _ in server.later], default=None)
        if wait is not None:
            wait = max(0, wait - time.monotonic())
        for sock in select.select(list(handlers), [], [], wait)[0]:
            handlers[sock](sock)
        now = time.monotonic()
        due = [f for when, f in server.later if when <= now]
        server.later = [x for x in server.later if x[0] > now]
        for function in due:
            function()
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass


main()
