#!/bin/bash
# Containers of Docker and podman, of root and of joe, units and machines, by name:
# each is followed over restarts, and served within 2 s of its start. PARTS= names
# some of docker, podman, rootless, unit and machine.
# timeout: 3600
# shellcheck disable=SC2016 # eval gets text
# shellcheck disable=SC1091
. ./lib.bash
: "${PARTS:=docker podman rootless unit machine}" "${RESTARTS:=20}"
ask() { curl -sS -m 10 "http://127.0.0.1:$1/"; }
# served PORT NAME: within 2 s the page is that of NAME. Prints the time.
served() {
	local began=${EPOCHREALTIME/./} end
	end=$((began + 2000000 * SLOW))
	until [ "$(ask "$1" 2>/dev/null)" = "$2" ]; do
		[ "${EPOCHREALTIME/./}" -lt "$end" ] || {
			ask "$1"
			journalctl -q -u nsfwd -n 20 -o cat
			return 1
		}
		sleep 0.02
	done
	took=$(((${EPOCHREALTIME/./} - began) / 1000))
	slowest=$((took > slowest ? took : slowest))
}

# A client that retries, until the file "stop" is there; prints how often it asked,
# and how often it was not served.
client() {
	local n=0 failed=0
	while [ ! -e /tmp/stop ]; do
		n=$((n + 1))
		[ "$(ask "$1" 2>/dev/null)" = "$2" ] || failed=$((failed + 1))
	done
	echo "$n asked, $failed not served"
}

descriptors() { find "/proc/$(show MainPID)/fd" -mindepth 1 | wc -l; }

restart() { $1 restart -t 0 "$2" >/dev/null && served "$3" "$2"; }
# restarts TOOL CONTAINER PORT: 20 restarts, which leave no descriptor.
restarts() {
	local i before status=0
	before=$(descriptors)
	rm -f /tmp/stop
	slowest=0
	client "$3" "$2" >/tmp/client &
	for ((i = 0; i < RESTARTS && status == 0; i++)); do
		restart "$@" || status=1
	done
	touch /tmp/stop
	wait $!
	echo "# $RESTARTS restarts: the slowest served $slowest ms after it; $(cat /tmp/client)" >&4
	is "$(descriptors)" "$before" && return "$status"
}
exec 4>&1

# none_held: no process is in a namespace of a container, or has one open.
none_held() {
	local pid
	for pid in $(pgrep -x nsfwd); do
		readlink "/proc/$pid/ns/net" "/proc/$pid"/fd/*
	done | grep '^net:' | sort -u >/tmp/nets
	is "$(cat /tmp/nets)" "$(readlink /proc/1/ns/net)"
}

dpkg -i nsfwd_*.deb >/dev/null 2>&1 || {
	install -m 755 nsfwd/nsfwd /usr/bin/
	sed 's,/usr/local/bin,/usr/bin,' nsfwd/contrib/nsfwd.service >/etc/systemd/system/nsfwd.service
	systemctl daemon-reload
}
image
run() { # TOOL NAME [OPTION...]
	$1 run -d --name "$2" -e "NAME=$2" "${@:3}" bb serve >/dev/null
}

drun() { run docker "$@"; }
anew() { docker rm -f web >/dev/null && drun web --network none && served 8001 web; }
renamed() {
	docker rename web2 old && drun web2 --network none -e NAME=other && served 8002 other &&
		docker rm -f web2 >/dev/null && docker rename old web2 && served 8002 web2
}
paused() {
	docker pause web >/dev/null && ! curl -s -m 1 http://127.0.0.1:8001/ && docker unpause web >/dev/null &&
		served 8001 web
}
dies() { docker run -d --name app --restart always bb false >/dev/null; sleep 3; docker rm -f app >/dev/null; served 8001 web; }
by_number() {
	local id
	id=$(docker inspect -f '{{.Id}}' web)
	maps "8001=docker:${id:0:12}@8080" "8002=docker:$id@8080"
	served 8001 web && served 8002 web
}
idle() {
	local pid before after
	sleep 3
	for pid in $(pgrep -x nsfwd); do
		before=$(awk '/^voluntary/ { print $2 }' "/proc/$pid/status")
		sleep 5
		after=$(awk '/^voluntary/ { print $2 }' "/proc/$pid/status")
		echo "# $(tr '\0' ' ' <"/proc/$pid/cmdline"): $((after - before)) wake-ups in 5 s" >&4
		[ $((after - before)) = 0 ] || return
	done
}
missing() { ! nsfwd --check 8009=docker:no@80 >/tmp/out 2>&1 && cat /tmp/out && grep -q 'these run: .*web' /tmp/out; }
# A container with Docker's socket does as the host, if it sees the processes.
mounted() {
	local inside=(docker run --rm --cap-add SYS_ADMIN --cap-add SYS_PTRACE
		--security-opt apparmor=unconfined --security-opt seccomp=unconfined
		-v /run/docker.sock:/var/run/docker.sock -v "$PWD/nsfwd/nsfwd:/bin/nsfwd")
	"${inside[@]}" --pid host bb nsfwd --check 8009=docker:web@8080 || return
	! "${inside[@]}" bb nsfwd --check 8009=docker:web@8080 >/tmp/out 2>&1 && cat /tmp/out &&
		grep -q 'docker run --pid=host' /tmp/out
}
removed() {
	docker ps -aq | xargs docker rm -f >/dev/null && within 2 none_held
}
docker_part() {
	systemctl start docker
	docker import /srv/bb.tar bb >/dev/null
	maps 8001=docker:web@8080 8002=docker:web2@8080 8003=docker:app@8080 8004=docker:web@db.internal:8080 \
		docker:web@2222=127.0.0.1:2280
	t 'docker, started after nsfwd' eval 'drun web --network bridge --add-host db.internal:127.0.0.1 && served 8001 web'
	t 'docker, similar names' eval 'drun web2 --network none && served 8002 web2 && served 8001 web'
	t 'docker, a name of its own hosts' served 8004 web
	t 'docker, to the host' gets docker web 2222 host
	t "docker, $RESTARTS restarts under a client" restarts docker web2 8002
	t 'docker, rm and run, with another network' anew
	t 'docker, to the host again' gets docker web 2222 host
	t 'docker, renamed' renamed
	t 'docker, paused and unpaused' paused
	t 'docker, one that dies at once, again and again' dies
	t 'docker, --network container:' eval 'drun app --network container:web2 -e PORT=8081 && maps 8003=docker:app@8081 8001=docker:web@8080 && served 8003 app'
	t 'docker, the same, restarted' eval 'docker restart -t 0 app >/dev/null && served 8003 app'
	t 'docker, by number' by_number
	maps 8001=docker:host@9999
	t 'docker, --network host' eval 'drun host --network host -e PORT=9999 && served 8001 host'
	# Docker 20.10 can lose a container that it has to end when it ends itself:
	# "task already exists" is then the answer to each start.
	t 'docker, restarted itself' eval 'maps 8001=docker:web@8080 && docker stop -t 0 web >/dev/null && systemctl restart docker && within 3 docker start web && served 8001 web'
	t 'docker, idle: no wake-up' idle
	t 'docker, an absent one: those that run are listed' missing
	t 'docker, in a container that has its socket' mounted
	t 'docker, all removed: nothing is held' removed
	systemctl -q stop docker docker.socket
}

# By its files, then by its service.
pod() { podman pod create --name pd >/dev/null && run podman in --pod pd && served 8012 in && podman restart -t 0 in >/dev/null && served 8012 in; }
podman_part() {
	local service
	podman import /srv/bb.tar bb >/dev/null 2>&1
	systemctl -q stop podman.socket podman.service 2>/dev/null
	rm -f /run/podman/podman.sock
	maps 8011=podman:pw@8080 8012=podman:in@8080 podman:pw@2222=127.0.0.1:2280
	t 'podman, by its files' eval 'run podman pw && served 8011 pw'
	t 'podman, to the host' gets podman pw 2222 host
	t "podman, $RESTARTS restarts under a client" restarts podman pw 8011
	t 'podman, rm and run' eval 'podman rm -f -t 0 pw >/dev/null && run podman pw --network none && served 8011 pw'
	t 'podman, in a pod' pod
	mkdir -p /run/podman
	podman system service -t 0 unix:///run/podman/podman.sock >/dev/null 2>&1 &
	service=$!
	within 30 test -S /run/podman/podman.sock
	systemctl restart nsfwd
	t 'podman, by its service' served 8011 pw
	t 'podman, by its service, restarted' eval 'podman restart -t 0 pw >/dev/null && served 8011 pw'
	t 'podman, by its service, renamed' eval 'podman rename pw px && run podman pw --network none -e NAME=new && served 8011 new'
	kill $service
	t 'podman, its service ended: by its files' eval 'podman restart -t 0 pw >/dev/null && served 8011 new'
	podman rm -af -t 0 >/dev/null 2>&1
}

joes_unit() {
	joe systemd-run -q --user -u mine -p PrivateUsers=yes -p PrivateNetwork=yes \
		busybox httpd -f -p 127.0.0.1:8080 -h /srv/host && served 9004 host
}
rootless_part() {
	loginctl enable-linger joe
	within 60 test -S /run/user/1000/bus
	joe podman import /srv/bb.tar bb >/dev/null 2>&1
	run 'joe podman' a --network none
	joe nsfwd --wait 9001=podman:a@8080 9002=podman:b@8080 podman:a@9003=127.0.0.1:2280 \
		9004=unit:mine@8080 >/tmp/joe.log 2>&1 &
	t 'rootless, host to container' served 9001 a
	t 'rootless, started later' eval "run 'joe podman' b && served 9002 b"
	t 'rootless, container to host' gets 'joe podman' a 9003 host
	t 'rootless, restarted' eval 'joe podman restart -t 0 b >/dev/null && served 9002 b'
	t 'rootless, a unit of the user' joes_unit
	[ "$failed" = 0 ] || sed 's/^/# /' /tmp/joe.log
	pkill -u joe -x nsfwd
	within 5 eval '! pgrep -u joe -x nsfwd'
	joe podman rm -af -t 0 >/dev/null 2>&1
}

unit() {
	systemd-run -q -u site -p PrivateNetwork=yes -E NAME=site chroot /srv/rootfs /bin/serve && served 9101 site
}
named() {
	ip netns add named && ip -n named link set lo up &&
		systemd-run -q -u named -p NetworkNamespacePath=/run/netns/named -E NAME=named \
			chroot /srv/rootfs /bin/serve && served 9102 named
}
unit_part() {
	maps 9101=unit:site@8080 9102=unit:named@8080
	t 'a unit with PrivateNetwork=' unit
	t 'a unit, restarted' eval 'systemctl restart site && served 9101 site'
	t 'a unit, killed and started' eval 'systemctl kill -s KILL site; systemctl stop site; systemctl reset-failed site; unit'
	t 'a unit with NetworkNamespacePath=' named
	systemctl stop site named
}

# nspawn NAME UNIT [OPTION...]: a machine of systemd-nspawn, in a scope of its own or,
# by --keep-unit, in UNIT.
nspawn() {
	systemd-run -q --collect -u "$2" -p KillMode=mixed -p Delegate=yes systemd-nspawn -q -D /srv/rootfs \
		-M "$1" --volatile=overlay --private-network --as-pid2 -E "NAME=$1" "${@:3}" /bin/serve
}
machine_part() {
	maps 9201=machine:box@8080 9202=machine:my-box@8080
	t 'a machine' eval 'nspawn box nspawn1 && served 9201 box'
	t 'a machine, ended and started' eval 'machinectl terminate box; systemctl stop nspawn1; nspawn box nspawn1 && served 9201 box'
	t 'a machine in a unit that was there' eval 'nspawn my-box nspawn2 --keep-unit && served 9202 my-box'
	machinectl terminate box
	machinectl terminate my-box
}

for part in $PARTS; do
	"${part}_part"
done
none_left() { systemctl stop nsfwd && ! pgrep -x nsfwd; }
t 'no process is left' none_left
finish
