#!/usr/bin/env python3
"""A container runtime for tests: Docker's API on a UNIX socket, and containers.

container.py SOCKET ID... serves the API there. A container is a child process in a
network namespace of its own, with a server on 127.0.0.1:80 that says NAME-N, N
being the number of the start; NAME is also that of the process. IDs are taken in turn; nsfwd finds that of a
container among the arguments of the parent, this process.

Lines on standard input are commands:
  run NAME, stop NAME, restart NAME, rm NAME, rename NAME NEW
  pid NAME PID      the API says PID, whatever runs
  stuck NAME        the API does not answer for that one
  mode MODE         how the API answers, see MODES
  events on|off     whether there is a stream of events
  files GRAPH RUN   writes podman's files now and at each change
A file SOCKET.done has the number of commands that were carried out, SOCKET.NAME the
process of a container.
"""

import ctypes
import fcntl
import json
import os
import selectors
import signal
import socket
import struct
import sys

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
path, ids = sys.argv[1], sys.argv[2:]
select = selectors.DefaultSelector()
containers = {}
streams, hung, slow = [], [], []
state = {"mode": "well", "events": True, "files": None, "n": 0, "done": 0}

# Answers that are wrong, by mode; "hang" and "slow" are in answer().
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
MODES = {
    "cut": OK + b"Content-Length: 4096\r\n\r\n{\"Id\":",
    "cut-chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n1000\r\n{\"Id\":",
    "big": OK + b"\r\n{\"Id\":\"" + b"a" * 10485760 + b"\"}",
    "html": b"<html>\r\n\r\n</html>",
    "length": OK + b"Content-Length: -7\r\n\r\n{}",
    "deep": OK + b"\r\n" + b"[" * 100000,
    "empty": OK + b"\r\n",
    "close": b"",
    "id": OK + b"\r\n{\"Id\":\"web\",\"State\":{\"Pid\":1}}",
    "types": OK + b"\r\n{\"Id\":[],\"State\":{\"Pid\":\"1\"}}",
    "negative": OK + b"\r\n{\"Id\":\"%s\",\"State\":{\"Pid\":-1}}" % ids[0].encode(),
    "wide": OK + b"\r\n{\"Id\":\"%s\",\"State\":{\"Pid\":4294967297}}" % ids[0].encode(),
    "zero": OK + b"\r\n{\"Id\":\"%s\",\"State\":{\"Pid\":0}}" % ids[0].encode(),
    "one": OK + b"\r\n{\"Id\":\"%s\",\"State\":{\"Pid\":1}}" % ids[0].encode(),
    "status": b"HTTP/1.1 500 No\r\n\r\n{\"message\":\"it \\u001b[31m broke\"}",
}


def contained(ready, text):
    libc.prctl(1, signal.SIGKILL)
    libc.prctl(15, text.rsplit("-", 1)[0].encode())
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    with socket.socket() as s:  # lo up
        fcntl.ioctl(s, 0x8914, struct.pack("16sh22x", b"lo", 1))
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", 80))
    server.listen(64)
    os.write(ready, b"x")
    os.close(ready)
    while True:
        client, _ = server.accept()
        if os.fork() == 0:
            client.sendall(text.encode() + b"\n")
            while client.recv(4096):
                pass
            os._exit(0)
        client.close()


def start(name):
    c = containers[name]
    c["n"] += 1
    reader, writer = os.pipe()
    c["pid"] = os.fork()
    if c["pid"] == 0:
        os.setsid()
        os.close(reader)
        contained(writer, f"{name}-{c['n']}")
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    with open(f"{path}.{name}", "w") as f:
        f.write(str(c["pid"]))


def stop(name):
    c = containers[name]
    if c["pid"]:
        os.killpg(c["pid"], signal.SIGKILL)
        os.waitpid(c["pid"], 0)
    c["pid"] = 0


def write_files():
    graph, run = (d + "/overlay-containers" for d in state["files"])
    os.makedirs(graph, exist_ok=True)
    listed = [{"id": c["id"], "names": [name], "metadata": "{\"name\":\"x\"}"}
              for name, c in containers.items()]
    for name, part in ("containers", listed[:1]), ("volatile-containers", listed[1:]):
        with open(graph + "/new", "w") as f:
            json.dump(part, f)
        os.rename(graph + "/new", f"{graph}/{name}.json")
    for c in containers.values():
        where = f"{run}/{c['id']}/userdata"
        os.makedirs(where, exist_ok=True)
        if c["pid"]:
            with open(where + "/pidfile", "w") as f:
                f.write(str(c["pid"]))


def changed(event):
    if state["files"]:
        write_files()
    line = json.dumps({"Type": "container", "Action": event}).encode() + b"\n"
    for stream in streams[:]:
        try:
            stream.send(b"%x\r\n%s\r\n" % (len(line), line))
        except OSError:
            streams.remove(stream)


def command(words):
    verb, name = words[0], words[1]
    if verb == "run":
        containers[name] = {"id": ids[state["n"] % len(ids)], "n": 0, "pid": 0}
        state["n"] += 1
    if verb in ("stop", "restart", "rm"):
        stop(name)
        changed("die")
    if verb in ("run", "restart"):
        start(name)
        changed("start")
    if verb == "rm":
        del containers[name]
        changed("destroy")
    elif verb == "rename":
        containers[words[2]] = containers.pop(name)
        changed("rename")
    elif verb == "pid":
        containers[name]["said"] = int(words[2])
        changed("start")
    elif verb == "stuck":
        containers[name]["stuck"] = True
    elif verb == "mode":
        state["mode"] = name
        while hung:
            hung.pop().close()
    elif verb == "events":
        state["events"] = name == "on"
        while streams:
            streams.pop().close()
    elif verb == "files":
        state["files"] = words[1:]
        write_files()


def find(name):
    if name in containers:
        return containers[name]
    found = [c for c in containers.values() if c["id"].startswith(name)]
    return found if len(found) > 1 else found[0] if found else None


def reply(client, status, value, chunked=False):
    body = json.dumps(value).encode() + b"\n"
    head = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\n" % status
    if chunked:
        client.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        for i in range(0, len(body), 7):
            part = body[i:i + 7]
            client.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        client.sendall(b"0\r\n\r\n")
    else:
        client.sendall(head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    client.close()


def answer(client, target):
    if state["mode"] == "hang":
        hung.append(client)
    elif state["mode"] == "slow":
        client.sendall(OK)
        slow.append(client)
    elif state["mode"] in MODES:
        client.settimeout(2)
        client.sendall(MODES[state["mode"]])
        client.close()
    elif target.startswith("/events"):
        if not state["events"]:
            return reply(client, 500, {"message": "no events"})
        client.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        streams.append(client)
    elif target == "/containers/json":
        reply(client, 200, [{"Id": c["id"], "Names": ["/" + name]}
                            for name, c in containers.items() if c["pid"]])
    else:
        name = target.split("/")[2]
        c = find(name)
        if isinstance(c, list):
            reply(client, 400, {"message": "multiple IDs found"})
        elif c and "stuck" in c:
            hung.append(client)
        elif not c:
            reply(client, 404, {"message": "No such container: " + name})
        else:
            pid = c.get("said", c["pid"])
            reply(client, 200, {"Args": [], "Id": c["id"], "Name": "/" + name, "State": {
                "Status": "running" if pid else "exited", "Pid": pid}}, c["n"] % 2 == 0)


def read_request(client):
    try:
        data = client.recv(4096)
        select.unregister(client)
        client.setblocking(True)
        answer(client, data.decode().split()[1])
    except (OSError, IndexError):
        client.close()


def read_commands():
    global rest
    data = os.read(0, 4096)
    if not data:
        for name in containers:
            stop(name)
        sys.exit()
    *lines, rest = (rest + data).split(b"\n")
    for line in lines:
        command(line.decode().split())
        state["done"] += 1
        with open(path + ".new", "w") as f:
            f.write(str(state["done"]))
        os.rename(path + ".new", path + ".done")


rest = b""
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(16)
select.register(listener, selectors.EVENT_READ)
select.register(0, selectors.EVENT_READ)
os.write(int(os.environ["READY_FD"]), b"ready\n")
os.close(int(os.environ["READY_FD"]))
while True:
    for key, _ in select.select(0.2 if slow else None):
        if key.fileobj == listener:
            select.register(listener.accept()[0], selectors.EVENT_READ)
        elif key.fileobj == 0:
            read_commands()
        else:
            read_request(key.fileobj)
    for client in slow[:]:
        try:
            client.sendall(b"X-A: a\r\n")
        except OSError:
            slow.remove(client)
