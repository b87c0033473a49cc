#!/usr/bin/env python3
"""Both ends of UDP flows under test, in one process: the clients in the
namespace ns1, the target in ns2 (helpers.bash makes both).

    udp.py SCENE ARG...

ADDR is ADDRESS/PORT. The scenes are the functions below; the first line of each
has its arguments and what it checks. Exit status 1 and a line on stderr if a
check fails. A scene waits for a datagram for two seconds at most, on a quiet machine.
"""

import contextlib
import ctypes
import errno
import os
import random
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import time

LIBC = ctypes.CDLL(None, use_errno=True)
SLOW = int(os.environ.get("TEST_SLOW", "1"))
PATIENCE = 2.0 * SLOW
UDP_SEGMENT = 103
ROOM = 4 << 20


class Failure(Exception):
    pass


def check(right, *words):
    if not right:
        raise Failure(" ".join(map(str, words)))


@contextlib.contextmanager
def within(name):
    """Makes sockets in the namespace of that name."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        check(LIBC.setns(there, 0) == 0, "setns", name)
        yield
    finally:
        LIBC.setns(own, 0)
        os.close(own)
        os.close(there)


def parse(text):
    host, _, port = text.rpartition("/")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return family, (host, int(port))


def open_socket(name, text, source=None, listens=False):
    family, address = parse(text)
    with within(name):
        sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)
    sock.settimeout(PATIENCE)
    if source:
        sock.bind(parse(source)[1])
    (sock.bind if listens else sock.connect)(address)
    return sock


def open_client(text, source=None):
    return open_socket("ns1", text, source)


def open_target(text):
    return open_socket("ns2", text, listens=True)


def get(sock, what="a datagram"):
    try:
        return sock.recvfrom(65536)
    except TimeoutError:
        raise Failure(f"{what} did not come") from None


def silent(sock, span=0.2):
    check(not select.select([sock], [], [], span)[0], "something came")


def send_up(client, target, data=None):
    """Sends a datagram to the target; returns the flow's address there."""
    data = os.urandom(40) if data is None else data
    client.send(data)
    got, peer = get(target, f"{len(data)} bytes at the target")
    check(got == data, f"{len(got)} bytes at the target, not the {len(data)}")
    return peer


def send_down(client, target, peer, data=None):
    """Sends a datagram to the client, whose socket is connected."""
    data = os.urandom(50) if data is None else data
    target.sendto(data, peer)
    got = get(client, f"{len(data)} bytes at the client")[0]
    check(got == data, f"{len(got)} bytes at the client, not the {len(data)}")


def exchange(client, target, data=None):
    peer = send_up(client, target, data)
    send_down(client, target, peer, data)
    return peer


def assure(client, target):
    """Makes the flow an assured one: the client sends after an answer."""
    exchange(client, target)
    return exchange(client, target)


# The scenes.


def ready():
    if "READY_FD" in os.environ:
        os.write(int(os.environ["READY_FD"]), b"ready\n")
        os.close(int(os.environ["READY_FD"]))


def echo(*where):
    """ADDR...: targets that send back what they get, until killed"""
    targets = [open_target(text) for text in where]
    ready()
    while True:
        for target in select.select(targets, [], [])[0]:
            data, peer = target.recvfrom(65536)
            target.sendto(data, peer)


def swaps(count, listen, where, source=None):
    """COUNT LISTEN TARGET [SOURCE]: COUNT clients, each with an answer"""
    target = open_target(where)
    clients = [open_client(listen, source) for _ in range(int(count))]
    ports = {exchange(client, target) for client in clients}
    check(len(ports) == int(count), "flows share a port at the target")


def sizes(listen, where):
    """LISTEN TARGET: datagrams of many sizes, both ways"""
    client, target = open_client(listen), open_target(where)
    most = 65507 if client.family == socket.AF_INET else 65527
    passed = 0
    for size in (0, 1, 511, 512, 1472, 1473, 8972, 9000, 65487, 65506, most):
        exchange(client, target, os.urandom(size))
        passed += 2
    try:
        client.send(bytes(most + 1))
        raise Failure("the kernel takes a larger one")
    except OSError as err:
        check(err.errno == errno.EMSGSIZE, err)
    silent(target, 0.1)
    exchange(client, target)
    print(passed, "of 22")


def from_where(port, where, *asked):
    """PORT TARGET ADDRESS...: answers come from the address that got the
    question"""
    target = open_target(where)
    peers = set()
    for address in asked:
        peers.add(exchange(open_client(f"{address}/{port}"), target))
    # One socket that sends to all of a family, and is not connected.
    for bound in "0.0.0.0", "::":
        sock = open_socket("ns1", f"{bound}/0", listens=True)
        for address in asked:
            if (":" in address) != (":" in bound):
                continue
            sock.sendto(address.encode(), (address, int(port)))
            data, peer = get(target)
            peers.add(peer)
            target.sendto(data, peer)
            source = get(sock)[1][:2]
            check(source == (address, int(port)), source, "for", address)
    check(len(peers) == 2 * len(asked), "the flows are not separate")


def port_kept(listen, where):
    """LISTEN TARGET: two answers 50 ms apart; the target sees one port"""
    client, target = open_client(listen), open_target(where)
    peer = send_up(client, target)
    send_down(client, target, peer)
    time.sleep(0.05)
    send_down(client, target, peer)
    for _ in range(20):
        check(exchange(client, target) == peer, "the client's port has changed")


def crowd(old, new, served, listen, where):
    """OLD NEW SERVED LISTEN TARGET: a burst of NEW clients beside OLD ones"""
    target = open_target(where)
    assured = [open_client(listen) for _ in range(int(old))]
    peers = [assure(client, target) for client in assured]
    new_clients = [open_client(listen) for _ in range(int(new))]
    for i, one in enumerate(new_clients):
        one.send(b"%d" % i)
    for _ in range(int(served)):
        target.sendto(*get(target))
    silent(target)
    answered = sum(bool(select.select([client], [], [], 0)[0])
                   for client in new_clients)
    check(answered == int(served), answered, "were answered")
    for client, peer in zip(assured, peers):
        check(exchange(client, target) == peer, "an old flow has changed")


def room(listen, where):
    """LISTEN TARGET: two of three flows are assured; these make no room"""
    target = open_target(where)
    assured = [open_client(listen), open_client(listen)]
    peers = [assure(client, target) for client in assured]
    silenced, late = open_client(listen), open_client(listen)
    send_up(silenced, target)
    late.send(b"too early")
    silent(target, 1.1)
    exchange(late, target)
    for _ in range(5):
        silenced.send(b"too late")
    silent(target)
    for client, peer in zip(assured, peers):
        check(exchange(client, target) == peer, "an assured flow made room")


def raw(family):
    with within("ns1"):
        sock = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, 36, 1)  # IPV6_HDRINCL
    return sock


def packet(source, listen, data):
    """Returns an IP packet to ADDR with any source address."""
    family, (host, port) = parse(source)
    to_host, to_port = parse(listen)[1]
    ends = (socket.inet_pton(family, host), socket.inet_pton(family, to_host))
    udp = struct.pack("!HHHH", port, to_port, 8 + len(data), 0) + data
    if family == socket.AF_INET:
        return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 9,
                           socket.IPPROTO_UDP, 0, *ends) + udp
    pseudo = b"".join(ends) + struct.pack("!II", len(udp), 17) + udp
    pseudo += bytes(len(pseudo) % 2)
    total = sum(struct.unpack(f"!{len(pseudo) // 2}H", pseudo))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    udp = udp[:6] + struct.pack("!H", 0xffff - total) + udp[8:]
    return struct.pack("!IHBB16s16s", 6 << 28, len(udp), 17, 9, *ends) + udp


def forged(listen, listen6, where, *sources):
    """LISTEN LISTEN6 TARGET SOURCE...: no datagram of SOURCE reaches TARGET"""
    target = open_target(where)
    for source in sources:
        family = parse(source)[0]
        to = listen if family == socket.AF_INET else listen6
        raw(family).sendto(packet(source, to, b"forged"), (parse(to)[1][0], 0))
    silent(target)
    for to in listen, listen6:
        exchange(open_client(to), target)


def flood(count, listen, where):
    """COUNT LISTEN TARGET: COUNT forged clients, and a real one, served"""
    client, target = open_client(listen), open_target(where)
    sock = raw(socket.AF_INET)
    peer = assure(client, target)
    for i in range(int(count)):
        source = f"127.{1 + i // 65536}.{i // 256 % 256}.{i % 256}/{1024 + i}"
        sock.sendto(packet(source, listen, b"flood"), ("127.0.0.1", 0))
        if i % 500 == 499:
            while select.select([target], [], [], 0)[0]:
                target.recv(100)
            client.send(b"client")
            while (got := get(target)) != (b"client", peer):
                check(got[0] == b"flood", got)
            send_down(client, target, peer)


def comes_back(listen, where):
    """LISTEN TARGET: 10 datagrams before the target exists, and 10 after"""
    client = open_client(listen)
    for _ in range(10):
        client.send(b"early")
        time.sleep(0.02)
    target = open_target(where)
    for _ in range(10):
        exchange(client, target)


def burst(count, listen):
    """COUNT LISTEN: sends COUNT datagrams of ten clients, without answers"""
    clients = [open_client(listen) for _ in range(10)]
    for i in range(int(count)):
        clients[i % 10].send(b"burst")


def expiry(listen, where, log):
    """LISTEN TARGET LOG: flows end 2 to 3 s after the last datagram, or later on a
    machine that is not quiet"""
    target = open_target(where)
    first, last = {}, {}  # the instants before and after each datagram
    clients = {name: open_client(listen) for name in ("up", "down", "both")}
    plan = [(0.0, "up", "up"), (0.0, "down", "up"), (0.0, "both", "up"),
            (0.5, "up", "up"), (0.5, "down", "down"), (0.5, "both", "down"),
            (1.0, "up", "up"), (1.0, "down", "down"), (1.0, "both", "up"),
            (1.5, "down", "down"), (1.5, "both", "down")]
    peers, begin = {}, time.monotonic()
    for at, name, way in plan:
        time.sleep(max(0, begin + at - time.monotonic()))
        before = time.monotonic()
        if way == "up":
            peers[name] = send_up(clients[name], target)
        else:
            send_down(clients[name], target, peers[name])
        last[name] = before, time.monotonic()
        first.setdefault(name, last[name])
    counts = {"up": "3 0", "down": "1 3", "both": "2 2"}
    lines, end = "", begin + 4.6 * SLOW
    while lines.count("end=idle") < len(clients) and time.monotonic() < end:
        time.sleep(0.1)
        with open(log, encoding="utf-8") as file:
            lines = file.read()
    for name in clients:
        up, down = counts[name].split()
        found = re.findall(f"up-datagrams={up} down-datagrams={down} "
                           "ms=([0-9]+) end=idle", lines)
        check(len(found) == 1, name, "ended", len(found), "times")
        span = int(found[0]) / 1000
        least = span - (last[name][1] - first[name][0])
        most = span - (last[name][0] - first[name][1])
        print(f"{name}: ended {least:.3f} to {most:.3f} s after its last")
        check(most >= 1.98 and least <= 2 + SLOW, name, "did not end in time")


def segments(listen, where):
    """LISTEN TARGET: senders with UDP_SEGMENT, both ways"""
    client, target = open_client(listen), open_target(where)
    peer = exchange(client, target)
    target.connect(peer)
    for sender, receiver in (client, target), (target, client):
        for size, total in (1, 64), (33, 2000), (1000, 63999), (1400, 64000), (
                9000, 64000), (1472, 1473), (700, 1400):
            sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
            sent = [os.urandom(total), os.urandom(total)]
            for block in sent:
                sender.send(block)
            for block in sent:
                for at in range(0, total, size):
                    right = block[at:at + size]
                    got = get(receiver)[0]
                    check(got == right, "of", size, "came", len(got))
        sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)
    silent(target, 0.1)
    silent(client, 0)


def status(pid, field):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return re.search(f"^{field}:\\s+(\\w+)", file.read(), re.M)[1]


def stop(pid):
    os.kill(int(pid), signal.SIGSTOP)
    end = time.monotonic() + PATIENCE
    while status(pid, "State") not in "Tt":
        check(time.monotonic() < end, pid, "does not stop")


@contextlib.contextmanager
def stopped(mapper):
    """Stops the mapper, and its server before it, because the server continues
    a mapper that stops."""
    pids = [status(mapper, "PPid"), mapper]
    for pid in pids:
        stop(pid)
    try:
        yield
        check(status(mapper, "State") in "Tt", "somebody continued the mapper")
    finally:
        for pid in reversed(pids):
            os.kill(int(pid), signal.SIGCONT)


def mixed(count, listen, where, mapper):
    """COUNT LISTEN TARGET PID: runs of equal datagrams among others, both ways;
    the mapper receives each lot at once"""
    client, target = open_client(listen), open_target(where)
    target.connect(exchange(client, target))
    chance = random.Random(1)
    for sender, receiver in (client, target), (target, client):
        left = int(count)
        while left > 0:
            size = chance.choice((0, 1, 20, 20, 20, 700, 1400, 9000))
            most = min(70, 90000 // (size + 1))
            lot = [os.urandom(size) for _ in range(chance.randint(1, most))]
            lot.append(os.urandom(chance.randint(0, size + 1)))
            with stopped(mapper):
                for data in lot:
                    sender.send(data)
            for data in lot:
                check(get(receiver)[0] == data, "not what was sent")
            left -= len(lot)


def tunnel(listen, where, silence):
    """LISTEN TARGET SILENCE: each end sends first in turn, after silences"""
    client, target = open_client(listen), open_target(where)
    peer = exchange(client, target)
    for first in "target", "client", "target", "client":
        time.sleep(float(silence))
        if first == "target":
            send_down(client, target, peer)
        check(send_up(client, target) == peer, "the client's port has changed")
        if first == "client":
            send_down(client, target, peer)


def refusing(listen, where, first):
    """LISTEN TARGET FIRST: the first target refuses the first datagram, and the
    second answers; a flow that has an answer does not move any more"""
    client, target = open_client(listen), open_target(where)
    peer = exchange(client, target)
    with contextlib.closing(open_target(first)) as other:
        check(exchange(client, target) == peer, "the flow has moved")
        target.close()
        for _ in range(3):
            client.send(b"refused")
            silent(other, 0.05)
        target = open_target(where)
        check(exchange(client, target) == peer, "the flow has moved")
        # A new flow begins with the target that did not refuse last.
        exchange(open_client(listen), other)
    for _ in range(3):
        exchange(open_client(listen), target)


def blocked(way, listen, where, on="", off=""):
    """up|down LISTEN TARGET [ON OFF]: three datagrams of that direction are lost
    between the commands ON and OFF, and the next one arrives"""
    client, target = open_client(listen), open_target(where)
    peer = exchange(client, target)
    subprocess.run(on, shell=True, check=True)
    for _ in range(3):
        if way == "up":
            client.send(b"lost")
        else:
            target.sendto(b"lost", peer)
        # Not to be received together with the next.
        time.sleep(0.05 * SLOW)
    silent(target, 0)
    silent(client, 0)
    subprocess.run(off, shell=True, check=True)
    check(exchange(client, target) == peer, "the flow has changed")


def everybody(listen, where, *hosts):
    """LISTEN GROUP HOST...: a datagram to the group reaches each host, in ns3,
    and the client gets their answers, from any address"""
    family, (group, port) = parse(where)
    client = open_client(listen)
    with within("ns3"):
        target = socket.socket(family, socket.SOCK_DGRAM)
    target.settimeout(PATIENCE)
    target.bind(("", port))
    if socket.inet_aton(group)[0] in range(224, 240):
        target.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                          socket.inet_aton(group) + socket.inet_aton(hosts[0]))
    peers = set()
    for _ in range(3):
        client.send(b"who is there?")
        data, peer = get(target)
        check(data == b"who is there?", data)
        peers.add(peer)
        for host in hosts:
            with within("ns3"):
                own = socket.socket(family, socket.SOCK_DGRAM)
            with own:
                own.bind((host, 0))
                own.sendto(host.encode(), peer)
                check(get(client)[0] == host.encode(), "another answer")
    check(len(peers) == 1, "the flow has another port")


def at_once(mapper, client, sock, count, size, peer):
    """Sends `count` datagrams that the mapper receives at the same time."""
    lot = [os.urandom(size) for _ in range(count)]
    with stopped(mapper):
        for data in lot:
            sock.sendto(data, peer)
    for data in lot:
        check(get(client)[0] == data, "not what was sent")


def narrow(listen, where, narrow_source, mapper):
    """LISTEN TARGET SOURCE PID: sends lots of 20 datagrams to a client with an
    MTU of 600 bytes, and to another one; each lot ends with 1 byte"""
    target = open_target(where)
    clients = [open_client(listen, narrow_source), open_client(listen)]
    peers = [exchange(client, target) for client in clients]
    for client, peer in zip(clients, peers):
        for _ in range(3):
            at_once(mapper, client, target, 20, 1000, peer)
        send_down(client, target, peer, b"!")


def refused_source(count, more, listen, where):
    """COUNT MORE LISTEN TARGET: COUNT flows of one address, and MORE datagrams
    that each would start another flow"""
    target, client = open_target(where), open_client(listen)
    sock = raw(socket.AF_INET)
    peer = exchange(client, target)
    for i in range(int(count) + int(more)):
        port = 1024 + i if i < int(count) else 60000 + i % 4000
        sock.sendto(packet(f"127.5.5.5/{port}", listen, b"x"), ("127.0.0.1", 0))
        if i % 200 == 199:
            while select.select([target], [], [], 0)[0]:
                target.recv(100)
            client.send(b"client")
            while get(target) != (b"client", peer):
                pass
            send_down(client, target, peer)


def newcomer(kind, count, listen, where, sources, pause="0"):
    """one-way|answered|assured COUNT LISTEN TARGET one|many [PAUSE]: beside
    COUNT clients of that kind, all of one address or of many, a new client is
    served"""
    target, clients = open_target(where), []
    for i in range(int(count)):
        own = f"127.1.{i // 250}.{1 + i % 250}/0" if sources == "many" else None
        clients.append(open_client(listen, own))
        clients[-1].send(b"one")
        for _ in range({"one-way": 0, "answered": 1, "assured": 3}[kind]):
            if select.select([target], [], [], 0.05)[0]:
                target.sendto(*get(target))
            if select.select([clients[-1]], [], [], 0)[0]:
                clients[-1].send(get(clients[-1])[0])
    time.sleep(float(pause))
    while select.select([target], [], [], 0.05 * SLOW)[0]:
        target.recv(100)
    begin = time.monotonic()
    exchange(open_client(listen, "127.0.0.9/0"), target)
    print(f"served after {time.monotonic() - begin:.3f} s")


def shares(flows, listen, where):
    """FLOWS LISTEN TARGET: one address has all flows; another address then gets
    half of them and no more"""
    target, half = open_target(where), int(flows) // 2
    first = [open_client(listen, "127.0.0.8/0") for _ in range(2 * half)]
    peers = [assure(client, target) for client in first]
    # A source makes no room for itself.
    open_client(listen, "127.0.0.8/0").send(b"one too many")
    silent(target)
    for client, peer in zip(first, peers):
        check(exchange(client, target) == peer, "a flow has changed")
    second = [open_client(listen, "127.0.0.9/0") for _ in range(half)]
    for client in second:
        assure(client, target)
    open_client(listen, "127.0.0.9/0").send(b"one too many")
    open_client(listen, "127.0.0.10/0").send(b"one too many")
    silent(target)
    for number, client in enumerate(first):
        client.send(b"%d" % number)
    kept = 0
    while select.select([target], [], [], 0.05 * SLOW)[0]:
        number, peer = get(target)
        kept += peers[int(number)] == peer
    check(kept == half, kept, "of", half, "were kept")


def ended(listen, where, command):
    """LISTEN TARGET COMMAND: COMMAND destroys the flow's socket; no datagram of
    the client is lost, and answers arrive again"""
    client, target = open_client(listen), open_target(where)
    peer = exchange(client, target)
    for _ in range(2):
        subprocess.run(command, shell=True, check=True,
                       stdout=subprocess.DEVNULL)
        fresh = exchange(client, target)
        check(fresh != peer, "the socket is the old one")
        peer = fresh


def until_moved(client, other, limit, gap=0.02):
    """Sends until a datagram arrives at `other`. Returns seconds and peer."""
    begin = time.monotonic()
    while not select.select([other], [], [], gap)[0]:
        check(time.monotonic() - begin < limit * SLOW, "not moved in", limit, "s")
        client.send(b"anybody?")
    return time.monotonic() - begin, get(other)[1]


def moves(kind, limit, listen, old, fresh, change=""):
    """refused|silent LIMIT LISTEN OLD NEW [COMMAND]: after COMMAND, the target OLD
    does not answer any more; the flow moves to NEW within LIMIT s, and new
    flows go there, too"""
    client = open_client(listen)
    target, other = open_target(old), open_target(fresh)
    exchange(client, target)
    exchange(client, target)
    # The flow stays while the target answers.
    subprocess.run(change, shell=True, check=True)
    exchange(client, target)
    if kind == "refused":
        target.close()
    span, peer = until_moved(client, other, float(limit))
    print(f"{kind}: moved after {span:.1f} s")
    other.sendto(b"I am", peer)
    check(get(client)[0] == b"I am", "another answer")
    while select.select([other], [], [], 0)[0]:
        other.recv(100)
    exchange(open_client(listen), other)


def one_way(span, listen, *wheres):
    """SPAN LISTEN TARGET TARGET: no target ever answers; the first one gets most
    datagrams"""
    client = open_client(listen)
    targets = [open_target(where) for where in wheres]
    end = time.monotonic() + float(span)
    while time.monotonic() < end:
        client.send(b"log")
        time.sleep(0.005)
    counts = []
    for target in targets:
        counts.append(0)
        while select.select([target], [], [], 0)[0]:
            target.recv(100)
            counts[-1] += 1
    print(*counts)
    check(0 < counts[1] < counts[0] * 0.7, *counts)


def main():
    scene, *args = sys.argv[1:]
    try:
        globals()[scene](*args)
    except (Failure, OSError) as err:
        print(f"udp.py {' '.join(sys.argv[1:])}: {err}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
