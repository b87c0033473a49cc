"""Clients and targets of UDP whose target is a name, for names.bats.

names.py SCENE ARG...: the functions below. A client is in ns1, a target in ns2. An
address is ADDRESS/PORT. A scene is played again, up to two times, if a datagram had
to wait, because it may have waited for the processor. Exit status 1 and a line on
stderr if a check fails.
"""

import socket
import statistics
import struct
import sys
import time

from udp import (SLOW, Failure, check, exchange, get, open_client, open_socket,
                 open_target)


class Late(Failure):
    pass


def in_time(spans):
    """No datagram waits for the name of another one."""
    median, most = statistics.median(spans), max(spans)
    print(f"median {median * 1000:.1f} ms, longest {most * 1000:.1f} ms")
    if median >= 0.1 or most >= 0.5:
        raise Late("a datagram had to wait")


def flows(listen, where, count):
    """New flows one after the other, each with its time."""
    target, spans = open_target(where), []
    for _ in range(int(count)):
        begin = time.monotonic()
        exchange(open_client(listen), target)
        spans.append(time.monotonic() - begin)
    in_time(spans)


def waiting(listen, where):
    """What clients send while the name is looked up arrives, in order."""
    target = open_target(where)
    clients = [open_client(listen) for _ in range(3)]
    for n in range(4):
        for i, client in enumerate(clients):
            client.send(b"%d %d" % (i, n))
    got = [get(target) for _ in range(12)]
    for i in range(3):
        mine = [(data, peer) for data, peer in got if data[:1] == b"%d" % i]
        check([data for data, _ in mine] == [b"%d %d" % (i, n) for n in range(4)],
              "order of", i, mine)
        check(len({peer for _, peer in mine}) == 1, "several flows of", i)


def moved(listen, old, new, limit):
    """New flows go to the new address of the name within LIMIT seconds."""
    was, now = open_target(old), open_target(new)
    begin = time.monotonic()
    while True:
        open_client(listen).send(b"where?")
        now.settimeout(0.1)
        try:
            now.recv(100)
            break
        except TimeoutError:
            check(time.monotonic() - begin < float(limit) * SLOW, "not moved")
    print(f"moved after {time.monotonic() - begin:.1f} s")
    was.close()


def associate(proxy, *names):
    """200 datagrams to NAME/PORT=TARGET in turn; a name without TARGET is dead."""
    client = open_socket_tcp(proxy)
    udp = open_client(proxy.split("/")[0] + "/" + str(associated(client)))
    targets = {}
    for name in names:
        name, _, where = name.partition("=")
        targets[name] = open_target(where) if where else None
    spans = []
    for n in range(200):
        name, target = list(targets.items())[n % len(targets)]
        host, port = name.split("/")
        head = b"\0\0\0\3" + bytes([len(host)]) + host.encode() + struct.pack(
            "!H", int(port))
        begin = time.monotonic()
        udp.send(head + b"%d" % n)
        if target:
            data, peer = get(target)
            check(data == b"%d" % n, data, "is not", n)
            target.sendto(data, peer)
            check(get(udp)[0][10:] == data, "another answer")
            # The first datagram of each name waits for its look-up.
            if n >= len(targets):
                spans.append(time.monotonic() - begin)
    in_time(spans)
    client.close()


def open_socket_tcp(where):
    from udp import parse, within
    family, address = parse(where)
    with within("ns1"):
        sock = socket.socket(family)
    sock.settimeout(5 * SLOW)
    sock.connect(address)
    return sock


def associated(sock):
    """Asks for UDP ASSOCIATE; returns the port."""
    sock.send(b"\5\1\0" + b"\5\3\0\1" + bytes(6))
    reply = b""
    while len(reply) < 12:
        more = sock.recv(12 - len(reply))
        check(more, "no reply")
        reply += more
    check(reply[3] == 0, "refused", reply)
    return struct.unpack("!H", reply[-2:])[0]


def main():
    scene, *args = sys.argv[1:]
    try:
        for left in 2, 1, 0:
            try:
                globals()[scene](*args)
                break
            except Late:
                if not left:
                    raise
    except (Failure, OSError) as err:
        print(f"names.py {' '.join(sys.argv[1:])}: {err}", file=sys.stderr)
        sys.exit(1)


main()
