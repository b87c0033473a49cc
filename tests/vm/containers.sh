#!/bin/bash
# Containers of Docker and podman, of root and of joe, mapped by the package's service.
# shellcheck disable=SC2016 # eval gets text
# shellcheck disable=SC1091
. ./lib.bash
says() { curl -sS -m 20 "http://127.0.0.1:$1/" | grep -q "$2"; }

dpkg -i nsfwd_*.deb >/dev/null || exit
systemctl start docker
image
docker import /srv/bb.tar bb >/dev/null
pid() { docker inspect -f '{{.State.Pid}}' "$1"; }
key() { docker inspect -f '{{.NetworkSettings.SandboxKey}}' "$1"; }

for net in none bridge; do
	docker run -d --name $net --hostname $net --network $net bb serve >/dev/null
	maps "8001=pid:$(pid $net)@8080" "8002=$(key $net)@8080" "pid:$(pid $net)@2222=127.0.0.1:2280"
	t "docker, --network $net, by pid" within 30 says 8001 $net
	t "docker, --network $net, by its file" within 30 says 8002 $net
	t "docker, --network $net, to the host" gets docker $net 2222 host
done
docker run -d --name late --hostname late --network none bb serve >/dev/null
printf '8003=%s@8080\n' "$(key late)" >>/etc/nsfwd.conf
t 'docker, started after nsfwd, by its file' eval 'systemctl reload nsfwd && within 30 says 8003 late'

docker run -d --name holder --hostname holder --network none bb sleep 9999 >/dev/null
docker run -d --name app --network container:holder bb serve >/dev/null
maps "8004=$(key holder)@8080"
t 'docker, a container that holds the namespace' within 30 says 8004 holder
anew() { docker rm -f app && docker run -d --name app --network container:holder bb serve && within 30 says 8004 holder; }
t 'docker, the same, the other one made anew' anew

mkdir -p /run/netns
link() { ln -sfn "$(key "$1")" "/run/netns/$1"; }
link none
maps 8005=none@8080
t 'docker, by a link in /run/netns' within 30 says 8005 none
(docker events --filter container=none --filter event=start --format . | while read -r _; do link none; done) &
sleep 1
again() { docker restart -t 1 none && within 30 says 8005 none; }
t 'docker restart, the link follows' again
recreate() { docker rm -f none && docker run -d --name none --hostname none2 --network none bb serve && within 30 says 8005 none2; }
t 'docker rm and run, the link follows' recreate

podman import /srv/bb.tar bb >/dev/null 2>&1
ip netns add web && ip -n web link set lo up
podman run -q -d --name web --hostname web --network ns:/run/netns/web bb serve >/dev/null
podman run -q -d --name own --hostname own bb serve >/dev/null
ppid() { podman inspect -f '{{.State.Pid}}' "$1"; }
maps 8011=web@8080 "8012=pid:$(ppid own)@8080" "8013=$(podman inspect -f '{{.NetworkSettings.SandboxKey}}' own)@8080"
t 'podman, --network ns:' within 30 says 8011 web
t 'podman, --network ns:, restarted' eval 'podman restart -t 1 web && within 30 says 8011 web'
t 'podman, a network of its own, by pid' within 30 says 8012 own
t 'podman, a network of its own, by its file' within 30 says 8013 own

loginctl enable-linger joe
within 60 test -S /run/user/1000/bus
joe podman import /srv/bb.tar bb >/dev/null 2>&1
joe podman run -q -d --name a --hostname a --network none bb serve >/dev/null
joe podman run -q -d --name b --hostname b bb serve >/dev/null
jpid() { joe podman inspect -f '{{.State.Pid}}' "$1"; }
A=$(jpid a) B=$(jpid b)
joe nsfwd "9001=pid:$A@8080" "9002=pid:$B@8080" "pid:$A@9003=127.0.0.1:2280" "pid:$A@80=pid:$B@8080" >/tmp/joe.log 2>&1 &
t 'rootless, host to container' eval 'within 30 says 9001 a && within 30 says 9002 b'
t 'rootless, container to host' gets 'joe podman' a 9003 host
t 'rootless, container to container, port 80' gets 'joe podman' a 80 b
maps "9011=pid:$B@8080"
t 'rootless container, server of root' within 30 says 9011 b

finish
