#!/bin/sh
# Shows nsfwd at work: a web server and a UDP service in one network namespace,
# their clients in another, and no network between them. All of it happens in
# namespaces of its own with a /run of its own: nothing on the machine changes,
# nothing is left behind.
set -eu

here=$(cd "$(dirname "$0")" && pwd)

if [ -z "${DEMO_WORLD-}" ]; then
	user=
	[ "$(id -u)" = 0 ] || user=--map-root-user
	if ! unshare $user --net --mount true; then
		echo "demo: this machine does not let you make namespaces" >&2
		exit 1
	fi
	DEMO_WORLD=1 exec unshare $user --net --mount --propagation private \
		sh "$here/demo.sh"
fi

fail() {
	echo "demo: $*" >&2
	exit 1
}

run() {
	echo "\$ $*"
	"$@"
}

# Starts a server and waits for the line by which it says that it is ready.
pids=
start() {
	echo "\$ $* &"
	"$@" >/run/ready 3>&1 &
	pids="$! $pids"
	read -r _ </run/ready || fail "$1 did not start"
}

# shellcheck disable=SC2154 # p is set, by the for
trap 'for p in $pids; do kill "$p" 2>/dev/null || :; done; wait' EXIT
trap 'exit 1' HUP INT TERM

mount -t tmpfs tmpfs /run
PATH=$(dirname "${NSFWD:-$here/../nsfwd}"):$PATH
mkfifo /run/ready
mkdir /run/www
page="This page comes from the namespace 'web'."
echo "$page" >/run/www/index.html
cat >/run/service.py <<'END'
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("127.0.0.1", 53))
print("ready", flush=True)
while True:
    data, peer = sock.recvfrom(65536)
    sock.sendto(b"'web' has heard: " + data, peer)
END
cat >/run/ask.py <<'END'
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(10)
sock.connect(("127.0.0.1", 5300))
sock.send(sys.argv[1].encode())
print(sock.recv(65536).decode())
END
ip link set lo up

run ip netns add web
run ip -n web link set lo up
run ip netns add client
run ip -n client link set lo up

echo
echo "# A web server on 127.0.0.1:80 of 'web', and nowhere else."
start nsenter --net=/run/netns/web \
	python3 -u -m http.server --directory /run/www --bind 127.0.0.1 80
echo
echo "# A UDP service on 127.0.0.1:53 of 'web'."
start nsenter --net=/run/netns/web python3 /run/service.py
echo
echo "# Ports of 'client' lead to those of 'web'."
start nsfwd --verbose --ready-fd 3 client@8080=web@80 udp:client@5300=web@53
echo
echo "# Clients in 'client', which has nothing but its own loopback."
# ask WANTED CMD...: runs CMD there
ask() {
	wanted=$1
	shift
	set -- nsenter --net=/run/netns/client "$@"
	echo "\$ $*"
	got=$("$@") || fail "it ended with status $?"
	echo "$got"
	[ "$got" = "$wanted" ] || fail "that is not the answer"
}
ask "$page" curl --silent --show-error --max-time 10 http://127.0.0.1:8080/
ask "'web' has heard: hello" python3 /run/ask.py hello

kill "${pids%% *}"
wait "${pids%% *}" || fail "nsfwd ended with status $?"
