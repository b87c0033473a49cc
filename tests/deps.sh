#!/bin/sh
# Installs what building and testing need and this Debian machine lacks;
# "tests/deps.sh lint" also what `make lint`, fuzz, coverage and valgrind need,
# "tests/deps.sh clients" the programs of tests/proxy_clients.bats, and promtool.
# Does nothing, quickly, where all of it is there.
set -eu

# Each is a command or a file, and the package that brings it.
needed='
gcc gcc
make make
/usr/include/linux/nsfs.h linux-libc-dev
/usr/include/stdio.h libc6-dev
musl-gcc musl-tools
bats bats
ip iproute2
unshare util-linux
setpriv util-linux
ps procps
curl curl
python3 python3
socat socat
iperf3 iperf3
redis-server redis-server
redis-cli redis-tools
dnsmasq dnsmasq-base
unbound unbound
dig bind9-dnsutils
nft nftables
strace strace
zsh zsh
haproxy haproxy
nginx nginx-light
/usr/lib/nginx/modules/ngx_stream_module.so libnginx-mod-stream
tinyproxy tinyproxy-bin
microsocks microsocks
sshd openssh-server
ssh openssh-client
git git
systemd-analyze systemd
/usr/lib/python3/dist-packages/prometheus_client python3-prometheus-client
/usr/lib/python3/dist-packages/yaml python3-yaml
'
needed_lint='
clang clang
/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a libclang-rt-dev
clang-format clang-format
clang-tidy clang-tidy
cppcheck cppcheck
shellcheck shellcheck
mandoc mandoc
valgrind valgrind
/usr/lib/llvm-*/bin/llvm-cov llvm
'
needed_clients='
wget wget
lftp lftp
aria2c aria2
nc.openbsd netcat-openbsd
ncat ncat
tftp tftp-hpa
corkscrew corkscrew
connect-proxy connect-proxy
proxychains4 proxychains4
tsocks tsocks
socksify dante-client
danted dante-server
privoxy privoxy
squid squid
openvpn openvpn
openssl openssl
promtool prometheus
/usr/lib/python3/dist-packages/requests python3-requests
/usr/lib/python3/dist-packages/socks.py python3-socks
/usr/lib/python3/dist-packages/aiohttp python3-aiohttp
chromium chromium
/usr/lib/dovecot/imap dovecot-imapd
/usr/sbin/sendmail postfix
'

case "${1-}" in
'') ;;
lint) needed="$needed$needed_lint" ;;
clients) needed="$needed$needed_clients" ;;
*)
	echo "usage: tests/deps.sh [lint | clients]" >&2
	exit 2
	;;
esac

PATH=$PATH:/usr/sbin:/sbin
missing() {
	while read -r what package; do
		case "$what" in
		'') ;;
		/*)
			# shellcheck disable=SC2086 # a pattern
			ls $what >/dev/null 2>&1 || echo "$package"
			;;
		*) command -v "$what" >/dev/null || echo "$package" ;;
		esac
	done
}
packages=$(echo "$needed" | missing | sort -u | tr '\n' ' ')
[ -n "$packages" ] || exit 0

if ! command -v apt-get >/dev/null; then
	echo "tests/deps.sh: no apt-get here; please install: $packages" >&2
	exit 1
fi
if [ "$(id -u)" = 0 ]; then
	as_root='env'
elif command -v sudo >/dev/null; then
	as_root='sudo env'
else
	echo "tests/deps.sh: neither root nor sudo; as root, please run:" >&2
	echo "    apt-get install $packages" >&2
	exit 1
fi

echo "tests/deps.sh: installing $packages" >&2
# Lists that are already there may do when new ones cannot be had.
$as_root apt-get -qq update || true
# shellcheck disable=SC2086 # as_root and packages are lists of words
$as_root DEBIAN_FRONTEND=noninteractive apt-get -qq install -y \
	--no-install-recommends $packages </dev/null >&2

# A server is wanted here as a program for the tests, not as a service.
for server in redis-server haproxy nginx microsocks openssh unbound squid \
	danted privoxy openvpn dovecot postfix prometheus; do
	case " $packages " in
	*" $server"[\ -]*)
		# Some packages have no unit, and a server may be off already.
		[ ! -d /run/systemd/system ] ||
			$as_root systemctl --quiet disable --now "${server#open}" || :
		;;
	esac
done
