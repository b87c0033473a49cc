#!/usr/bin/env bats
# The options -L and -F, which take GOST's spelling of maps, and the commands of
# GOST's documentation in the topology of that: ns1 and ns2 have a link to the
# host each, and none to each other.

bats_require_minimum_version 1.5.0
load helpers

setup() {
	ns ns1 ns2
	bad=0
}

# The kernel removes the links of a deleted namespace only later.
teardown() {
	ip link del to-ns1 2>/dev/null || :
	ip link del to-ns2 2>/dev/null || :
	oracle
}

# link NS ADDR HOST_ADDR
link() {
	ip link add "to-$1" type veth peer name eth0 netns "$1"
	ip addr add "$3/24" dev "to-$1"
	ip link set "to-$1" up
	ip -n "$1" addr add "$2/24" dev eth0
	ip -n "$1" link set eth0 up
}

topology() {
	link ns1 10.0.0.1 10.0.0.11
	link ns2 10.0.1.1 10.0.1.11
}

# hop NS ADDR PORT: spawns a web proxy, tinyproxy.
hop() {
	needs tinyproxy
	printf '%s\n' "Port $3" "Listen $2" 'Timeout 60' 'LogLevel Error' \
		'MaxClients 20' >"$BATS_TEST_TMPDIR/tinyproxy-$1"
	spawn "$1" "hop-$1" tinyproxy -d -c "$BATS_TEST_TMPDIR/tinyproxy-$1"
	wait_until 5 listens "$1" "$3"
}

@test "specs of GOST, and the maps that they mean" {
	local words map output n=0
	local -a word
	while IFS='|' read -r words map; do
		read -ra word <<<"$words"
		output=$("$NSFWD" --check=syntax "${word[@]}" 2>&1) &&
			[ "${output//$'\n'/+}" = "$map" ] || {
			echo "$words: wanted $map, got $output"
			bad=1
		}
		# The output is a map itself, unless a password is masked.
		case $map in
		*:\** | *+*) ;;
		*) [ "$("$NSFWD" --check=syntax -- "$map")" = "$map" ] || bad=1 ;;
		esac
		n=$((n + 1))
	done < <(rows <<-'TABLE'
		-L tcp://10.0.0.1:8000/:8000?netns=ns1     | ns1@10.0.0.1:8000=8000
		-L red://:12345?netns=j&netns.out=v        | j@:12345=v@original
		-L redir://[::]:12345?netns=j&tproxy=true  | j@:12345=original
		-L redirect://:12345?so_mark=100           | :12345=original,mark=100
		-L red+red://:1?netns=j                    | j@:1=original
		-L redu+redu://:53-60?netns=j              | udp:j@:53-60=original
		-L redu://:53?netns=j&tproxy=true&ttl=5s&climiter=9 | udp:j@:53=original,flows=9,udp-timeout=5s,udp-one-way-timeout=5s
		-L red://:1?netns=j -F socks5://u:p@:2?netns=v | j@:1=original,via=socks5:v@2,via-auth=u:*
		-L tcp://10.0.0.1:8000/10.0.1.1:8000?netns=ns1&netns.out=/run/netns/ns2 | ns1@10.0.0.1:8000=/run/netns/ns2@10.0.1.1:8000
		-L tcp://10.0.0.1:8000/10.0.1.11:8000?netns=ns1 -F http://10.0.1.1:8080?netns=ns2 | ns1@10.0.0.1:8000=10.0.1.11:8000,via=http:ns2@10.0.1.1:8080
		-L :8080?netns=ns1                         | ns1@:8080=proxy
		-L :8080?netns=ns1&netns.out=ns1           | ns1@:8080=ns1@proxy
		-L :8080?netns=ns1 -F :1080                | ns1@:8080=proxy,via=http:1080
		-L :8080?netns=ns1 -F :1080?netns=ns2      | ns1@:8080=proxy,via=http:ns2@1080
		-F :1080?netns=ns2 -L :8080?netns=ns1      | ns1@:8080=proxy,via=http:ns2@1080
		-L:8080                                    | :8080=proxy
		-L=tcp://:80/h:81 -F=a:1                   | :80=h:81,via=http:a:1
		-L udp://10.0.0.1:53/:53?netns=ns1         | udp:ns1@10.0.0.1:53=53
		-L udp://:53/h:53?keepAlive=true&ttl=60s   | udp::53=h:53,udp-timeout=1m,udp-one-way-timeout=1m
		-L udp://:53/h:53?ttl=5&climiter=9         | udp::53=h:53,flows=9,udp-timeout=5s,udp-one-way-timeout=5s
		-L udp://:53/a:53,b:53                     | udp::53=a:53,b:53
		-L udp://:53/a:53,b:53?strategy=fifo       | udp::53=a:53,b:53
		-L tcp://:80/:80?netns=/proc/42/ns/net&netns.out=/proc/1/ns/net | /proc/42/ns/net@:80=/proc/1/ns/net@80
		-L tcp://:80/:80?netns=docker:web&netns.out=pid:1 | docker:web@:80=pid:1@80
		-L :80 -F :1?netns=unit:vpn        | :80=proxy,via=http:unit:vpn@1
		-L tcp://:8000-8003/h:8000-8003            | :8000-8003=h:8000-8003
		-L tcp://:8000-8003/h:80                   | :8000-8003=h:80
		-L tcp://[::1]:80/[fd00::2]:81             | ::1/80=fd00::2/81
		-L udp://[::]:53/h:53                      | udp::53=h:53
		-L :80/h:81                                | :80=h:81
		-L auto://:80/h:81                         | :80=h:81
		-L tcp://:80/a:1,b:2,:3                    | :80=a:1,b:2,3,balance=round
		-L tcp://:80/a:1,b:2?strategy=fifo         | :80=a:1,b:2
		-L tcp://:80/a:1,b:2?strategy=ha           | :80=a:1,b:2
		-L tcp://:80/a:1,b:2?strategy=rr           | :80=a:1,b:2,balance=round
		-L tcp://:80/a:1,b:2?strategy=hash         | :80=a:1,b:2,balance=hash
		-L tcp://:80/a:1?keepalive=true&dialTimeout=5s&idleTimeout=10m&climiter=7 | :80=a:1,max=7,connect-timeout=5s,idle-timeout=10m
		-L tcp://:80/a:1?interface=eth0&so_mark=100 | :80=a:1,dev=eth0,mark=100
		-L tcp://:80/a:1?interface=10.0.0.1&SO_MARK=16 | :80=a:1,src=10.0.0.1,mark=16
		-L tcp://:80/a:1?interface=fd00::1         | :80=a:1,src=fd00::1
		-L tcp://:80/a:1?admission=10.0.0.1,192.168.0.0/16 | :80=a:1,deny=10.0.0.1+192.168.0.0/16
		-L :80?admission=~10.0.0.0/8,::1           | :80=proxy,allow=10.0.0.0/8+::1
		-L tcp://:80/a:1?handler.proxyProtocol=2   | :80=a:1,proxy=2
		-L socks5://user:pass@:1080                | :1080=proxy,auth=user:*
		-L http://127.0.0.1:8080                   | 127.0.0.1:8080=proxy
		-L tcp://:80/h:81 -F socks5://u:p@10.0.1.1:1080?netns=ns2 | :80=h:81,via=socks5:ns2@10.0.1.1:1080,via-auth=u:*
		-L tcp://:80/h:81 -F http://a:1?netns=n -F socks://b:2 | :80=h:81,via=http:n@a:1,via=socks5:b:2
		-L tcp://:80/h:81?netns.out=n -F :1080     | :80=h:81,via=http:n@1080
		-L tcp://:8000-8001/a:1,b:2                | :8000=a:1+:8001=b:2
		-L udp://[::]:8000-8003/a:1-2,:7,b:5?netns=x | udp:x@:8000-8001=a:1-2+udp:x@:8002=7+udp:x@:8003=b:5
		-L tcp://[::1]:8-9/a:1,b:2 -F :1080 -F c:2 | ::1/8=a:1,via=http:1080,via=http:c:2+::1/9=b:2,via=http:1080,via=http:c:2
		-L :80?netns=self                          | /run/netns/self@:80=proxy
		-L :80?netns=init&netns.out=a/b            | /run/netns/init@:80=/run/netns/a/b@proxy
		-L :80 -F :1?netns=init                    | :80=proxy,via=http:/run/netns/init@1
		-L udp://:53/h:53?ttl=0                    | udp::53=h:53
		-L udp://:53/h:53?ttl=0ms                  | udp::53=h:53
		-L tcp://:80/h:1?dialTimeout=0.0m&max_fails=1&fail_timeout=10s | :80=h:1
		-L udp://:53/h:53?keepalive.ttl=0s&dialTimeout=3 | udp::53=h:53
		-L tcp://:80/h:1?dialTimeout=0&so_mark=0&handler.proxyProtocol=0&proxyProtocol=0 | :80=h:1
		-L socks5://:80?udp=true&notls=true        | :80=proxy
		-L udp://:53/h:53?readBufferSize=1500&readQueueSize=9&backlog=4&udpBufferSize=1 | udp::53=h:53
		-L tcp://:80/h:80?ttl=5s&keepalive=1&maxFails=1&failTimeout=10s&retries=0 | :80=h:80
		-L TCP+tcp://:80/h:80                      | :80=h:80
		-L Udp+UDP://:80/h:80                      | udp::80=h:80
		-L socks5+tcp://:80 -F HTTP+tcp://h:1      | :80=proxy,via=http:h:1
		-L tcp://:80/h:1?service.netns=a&Service.Netns.Out=b&handler.idleTimeout=9 | a@:80=b@h:1,idle-timeout=9s
		-L udp://:80/h:1?listener.ttl=9&handler.keepalive=T&listener.readBufferSize=1 | udp::80=h:1,udp-timeout=9s,udp-one-way-timeout=9s
		-L :80 -F h:1?interface=eth0&so_mark=7&notls=1&strategy=rand -F i:2 | :80=proxy,via=http:h:1,via=http:i:2,dev=eth0,mark=7
		-L :80 -F h:1?interface=fd00::1            | :80=proxy,via=http:h:1,src=fd00::1
		-L tcp://localhost:80/localhost:81         | 127.0.0.1:80=localhost:81
		-L udp://LOCALHOST:80/h:81                 | udp:127.0.0.1:80=h:81
		-L tcp://:443 -F forward://h:443           | :443=h:443
		-L tcp://:443 -L tcp://:80?netns.out=b -F tcp://h:443,:7?maxFails=1 | :443=h:443,7,balance=round+:80=b@h:443,7,balance=round
		-L tcp://:443?netns.out=b -F tcp://h:1,i:2?netns=n&strategy=fifo&so_mark=3 | :443=n@h:1,i:2,mark=3
		-L tcp://:443 -F socks5://u:p@a:1?netns=n -F forward+tcp://h:443 | :443=h:443,via=socks5:n@a:1,via-auth=u:*
		-L tcp://:1/h:2?ignoreChain=true -L udp://:1/h:2?ignoreChain=true -L :3 -F :4 | :1=h:2+udp::1=h:2+:3=proxy,via=http:4
	TABLE
	)
	echo "$n rows"
	[ "$bad" = 0 ] && [ "$n" -ge 65 ]
}

@test "a part of GOST that nsfwd does not have is an error that names it (gost 10)" {
	local words part output status n=0
	local -a word
	while IFS='|' read -r words part; do
		read -ra word <<<"$words"
		status=0
		output=$(timeout $((5 * TEST_SLOW)) "$NSFWD" "${word[@]}" 2>&1 >"$BATS_TEST_TMPDIR/out") ||
			status=$?
		if [ "$status" != 2 ] || [ -s "$BATS_TEST_TMPDIR/out" ] ||
			[[ $output != *"$part"* || $output == *$'\n'* ]]; then
			echo "$words: wanted $part, got $status, $output"
			bad=1
		fi
		n=$((n + 1))
	done < <(rows <<-'TABLE'
		-L upd://:53/1.1.1.1:53           | 'upd': nsfwd has tcp, udp, red, redu, auto
		-L rtcp://:80/h:80                | 'rtcp': a map listens in any namespace
		-L red://:80/h:80                 | 'red': no target is taken
		-L red://:80 -F tcp://h:80        | 'red': no target is taken
		-L red://a:b@:80                  | 'a:*': a redirected client says no password
		-L redu://:80 -F socks5://h:80    | 'redu': UDP goes through no hop
		-L redirect://:80?sniffing=true   | 'sniffing': nsfwd does not look into
		-L red://:80                      | mark=N, which the rules let pass
		-L tproxy://:80                   | 'tproxy': write red:// or redu://
		-L http+tls://:80                 | 'http+tls': nsfwd forwards and does not encrypt
		-L tcp://:80                      | 'tcp': no target
		-L tcp://:80/                     | 'tcp': no target
		-L udp://:80?netns=ns1            | 'udp': no target
		-L http://:80/h:80                | 'http': a proxy takes no target
		-L socks5://:80/h:80              | 'socks5': a proxy takes no target
		-L :8080?netn=ns1                 | 'netn': no key that is translated
		-L :8080?netns=                   | 'netns': not KEY=VALUE
		-L :8080?netns                    | 'netns': not KEY=VALUE
		-L :8080?                         | '': not KEY=VALUE
		-L :8080?netns=a&&netns.out=b     | '': not KEY=VALUE
		-L :8080?netns=a&netns=b          | 'netns': a key may stand only once
		-L :8080?netns=a%2fb              | 'a%2fb': ',', '=', '@', '/' and '%'
		-L :8080?netns=a@b                | 'a@b': ','
		-L :8080?netns=a,b                | 'a,b': ','
		-L :8080?netns=no-such-ns         | no namespace 'no-such-ns'
		-L :8080?netns=..                 | '..': no name of a namespace
		-L tcp://:80800/h:80              | '80800': not a port
		-L tcp://:0/h:80                  | '0': not a port
		-L tcp://:abc/h:80                | 'abc': not a port
		-L tcp://:http/h:80               | 'http': not a port
		-L tcp://:1-2-3/h:80              | not a port
		-L tcp://:90-80/h:80              | '90-80': a range runs from low
		-L tcp://:65530-65540/h:80        | '65540': not a port
		-L tcp://:80-82/a:1,b:2,c:3-4     | 'a:1,b:2,c:3-4': GOST pairs listening ports
		-L tcp://:80/h                    | 'h': write HOST:PORT
		-L tcp://:80/h:                   | not a port
		-L tcp://:80/h:80,                | '': write HOST:PORT
		-L tcp://:80/proxy                | 'proxy': write HOST:PORT
		-L tcp://:80/a@h:80               | '*@h:80': ','
		-L tcp://:80//run/x:1             | '/run/x:1': ','
		-L tcp://:80/::1:81               | '::1:81': several colons
		-L tcp://:80/h:80=1               | 'h:80=1': ','
		-L tcp://h:80/h:80                | 'h': neither tcp, udp
		-L tcp://::1:80/h:80              | several colons
		-L tcp://80/h:80                  | '80': write HOST:PORT
		-L 80                             | '80': write HOST:PORT
		-L                                | its value is missing
		-L tcp://u:p@:80/h:80             | auth is for the target proxy
		-L http://u@:80                   | '*': write USER:PASSWORD
		-L http://u:p%40@:80              | 'u:****': ','
		-L http://u:p,q@:80               | 'u:***': ','
		-L tcp://:80/h:80?maxFails=3      | 'maxFails': a target that failed is avoided for 10s
		-L tcp://:80/h:80?failTimeout=3s  | 'failTimeout': a target that failed
		-L tcp://:80/h:80?proxyProtocol=1 | 'proxyProtocol': accept-proxy=CIDR
		-L tcp://:80/h:80?limiter.in=1MB  | 'limiter.in': tc(8) and nft(8)
		-L tcp://:80/h:80?strategy=rand   | 'strategy': the strategies here
		-L tcp://:80/h:80?keepalive=false | 'keepalive': it is always on
		-L udp://:80/h:80?idleTimeout=5s  | 'idle-timeout': a key of tcp maps only
		-L udp://:80/h:80,i:80?strategy=hash | udp knows no balance but first
		-L udp://:80/h:80 -F :1080        | 'udp': UDP goes through no hop: ignoreChain=true
		-L tcp://:80/h:80?admission=home  | 'home': not ADDR or ADDR/BITS
		-L tcp://:80/h:80?interface=eth0,eth1 | 'eth0,eth1': ','
		-L tcp://:80/h:80?interface=!eth0 | '!eth0': no interface
		-L tcp://:80/h:80?so_mark=x       | 'so_mark': GOST reads a decimal number
		-L tcp://:80/h:80?climiter=1k     | '1k': not a whole number
		-L tcp://:80/h:80?dialTimeout=1m30s | '1m30s': not a time
		-F :1080                          | -F is for -L
		-F :1080 80=81                    | -F is for -L
		-L :80 -F relay://h:1             | 'relay': nsfwd forwards and does not encrypt
		-L :80 -F tcp://h:1               | '': with -F tcp:// it is no proxy: write tcp://LISTEN
		-L :80 -F socks4://h:1            | 'socks4': a hop is http or socks5
		-L :80 -F direct://:0?netns=ns2   | 'direct': nsfwd has
		-L :80 -F h:1,i:2                 | 'h:1,i:2': a hop has one node here
		-L :80 -F h:1/x                   | 'x': a hop has no path
		-L :80 -F h:1?ttl=1               | 'ttl': a hop takes netns
		-L :80 -F h:1?service.netns=a     | 'service.netns': a hop takes netns
		-L :80 -F h:1 -F i:1?so_mark=1    | 'so_mark': only the first hop
		-L :80 -F a:1 -F b:1 -F c:1 -F d:1 -F e:1 -F f:1 -F g:1 -F h:1 -F i:1 | 'i:1': more than 8 hops
		-L tcp://:80 -F tcp://h:1 -F i:1  | '': a hop behind -F tcp://
		-L tcp://:80 -F tcp://u:p@h:1     | 'u:*': a target takes no user
		-L tcp://:80/i:2 -F forward://h:1 | 'i:2': -F tcp:// is the target already
		-L tcp://:80 -F http://h:1        | 'tcp': no target: write SCHEME://LISTEN/TARGET
		-L socks5://:80 -F tcp://h:1      | 'socks5': a proxy takes no target
		-L udp://:53 -F forward://h:1     | 'udp': UDP goes through no hop
		-L :80 -F https://h:1             | 'https': nsfwd forwards and does not encrypt
		-L :80 -F socks5h://h:1           | 'socks5h': write socks5, to which names go
		-L wss+socks5://:80               | 'wss+socks5': nsfwd forwards and does
		-L tcp+udp://:80/h:1              | 'tcp+udp': nsfwd has tcp, udp
		-L unix:///a.sock/b.sock          | 'unix': write a map: /PATH=HOST:PORT
		-L stdio://h:22                   | 'stdio': write the map -=HOST:PORT
		-L tcp://:80/h:80/                | 'h:80/': '/' at its end: leave it out
		-L tcp://:80/a:1-3                | 'a:1-3': one port listens: name each
		-L tcp://:80-81/a:1-2,b:1         | 'a:1-2,b:1': GOST pairs listening ports
		-L :80?netns=a&service.netns=b    | 'service.netns': a key may stand only once
		-L redu+tcp://:1?netns=j          | 'redu+tcp': nsfwd has tcp
		-L :80 -F h:1?auth=dXNlcjpwYXNz   | 'auth': write USER:PASSWORD@ in front
		--api :80                         | '--api' is an option of GOST: --stats PATH
		-L :80?handler.netns=a            | 'handler.netns': GOST reads no such key
		-L :80?service.climiter=3         | 'service.climiter': GOST reads no such
		-L tcp://:80/h:80?so_mark=0x64    | 'so_mark': GOST reads a decimal number
		-L :80?auth=dXNlcjpwYXNz          | 'auth': write USER:PASSWORD@ in front
		-L :80?udp=false                  | 'udp': UDP ASSOCIATE is always on
		-L :80?notls=0                    | 'notls': nsfwd forwards and does not encrypt
		-L :80?keepalive.idle=9           | 'keepalive.idle': TCP keepalive has the times
		-L :80?ignoreChain=false          | 'ignoreChain': only true: leave it out
		-L tcp://:80/h:1?retries=2        | 'retries': the next target is tried
		-L :80?sniffing=true              | 'sniffing': nsfwd does not look into
		-L :80?handler.tls.x=1            | 'handler.tls.x': nsfwd forwards and does not
		-L :80 -- -L :81                  | '--' in front of '-L': one nsfwd serves every -L
		-C gost.yml                       | '-C' is an option of GOST: gost2nsfwd FILE writes
		-C=gost.yml                       | '-C' is an option of GOST: gost2nsfwd
		-D -L :80                         | '-D' is an option of GOST: -v logs more
		-DD -L :80                        | '-DD' is an option of GOST: -v logs more
		-L :80 -O yaml                    | '-O' is an option of GOST: --check prints
		-L :80 -R 30s                     | '-R' is an option of GOST: a HUP reads
		-api :80                          | '-api' is an option of GOST: --stats PATH
		-metrics=:80                      | '-metrics' is an option of GOST: --stats :PORT
		-L :80 -F h                       | 'h': write HOST:PORT
		-L :80 -F h:0                     | '0': not a port
		-L :80 -F h:1-2                   | '1-2': a target has one port
		-L :80 -F a:1?netns=x -F b:1?netns=y | 'y': all targets and hops
		-L :80?netns.out=x -F a:1?netns=y | 'y': all targets and hops
	TABLE
	)
	echo "$n rows"
	[ "$bad" = 0 ] && [ "$n" -ge 110 ]
}

@test "a spec of GOST of 64 KiB is refused, and shown in part" {
	local long comma word
	long=$(printf '%65536s' '' | tr ' ' a)
	comma=${long:0:20000}
	for word in "$long" "tcp://:80/$long:80" "$long://:80/h:80" \
		":80?$long=1" ":80?netns=$long" "http://$long:p@:80" \
		"tcp://:80/${comma//a/:1,}:1" ":80?${comma//a/a=1&}"; do
		run timeout $((5 * TEST_SLOW)) "$NSFWD" -L "$word"
		[ "$status" = 2 ]
		[ "${#output}" -lt 1200 ]
		[[ $output == 'nsfwd: '* ]]
		run timeout $((5 * TEST_SLOW)) "$NSFWD" -L :80 -F "$word"
		[ "$status" = 2 ]
		[ "${#output}" -lt 1200 ]
	done
	run -2 "$NSFWD" --check=syntax -L $'tcp://:80/h:80\n81=82'
	[[ $output == *'a line break'* ]]
}

# The commands of the documentation, verbatim.

@test "GOST: a port of ns1 to a service of the host's loopback" {
	topology
	named_server self self 127.0.0.1/8000
	start_nsfwd -L tcp://10.0.0.1:8000/:8000?netns=ns1
	asks ns1 10.0.0.1/8000=self
	asks self 10.0.0.1/8000=self
}

@test "GOST: a port of ns1 to an address of ns2" {
	topology
	named_server ns2 ns2 10.0.1.1/8000
	start_nsfwd -L "tcp://10.0.0.1:8000/10.0.1.1:8000?netns=ns1&netns.out=/run/netns/ns2"
	asks ns1 10.0.0.1/8000=ns2
	asks self 10.0.0.1/8000=ns2
}

@test "GOST: a port of ns1 through a web proxy in ns2 to the host" {
	topology
	web_server self 10.0.1.11 8000
	hop ns2 10.0.1.1 8080
	start_nsfwd -v -L tcp://10.0.0.1:8000/10.0.1.11:8000?netns=ns1 \
		-F http://10.0.1.1:8080?netns=ns2
	[ "$(fetch ns1 http://10.0.0.1:8000/)" = 'this is self' ]
}

@test "GOST: a proxy in ns1 that leaves from the host" {
	topology
	web_server ns2 10.0.1.1 8000
	start_nsfwd -v -L :8080?netns=ns1
	run ! fetch ns1 http://10.0.1.1:8000/
	for proxy in http socks4a socks5 socks5h; do
		[ "$(fetch ns1 --proxy "$proxy://10.0.0.1:8080" \
			http://10.0.1.1:8000/)" = 'this is ns2' ]
	done
	[ "$(fetch ns1 --proxytunnel --proxy http://10.0.0.1:8080 \
		http://10.0.1.1:8000/)" = 'this is ns2' ]
}

@test "GOST: a proxy in ns1 that leaves from there" {
	topology
	web_server self 10.0.0.11 8000
	start_nsfwd -v -L ":8080?netns=ns1&netns.out=ns1"
	# The host uses the same proxy.
	[ "$(fetch self --proxy socks5h://10.0.0.1:8080 \
		http://10.0.0.11:8000/)" = 'this is self' ]
	run ! fetch self --proxy socks5h://10.0.0.1:8080 http://10.0.1.1:8000/
}

@test "GOST: a proxy in ns1 through a web proxy of the host, or of ns2" {
	topology
	web_server ns2 10.0.1.1 8000
	hop self 127.0.0.1 1080
	start_nsfwd -v -L :8080?netns=ns1 -F :1080
	[ "$(fetch ns1 --proxy http://10.0.0.1:8080 \
		http://10.0.1.1:8000/)" = 'this is ns2' ]
	stop_nsfwd
	web_server self 10.0.1.11 8001
	hop ns2 127.0.0.1 1080
	start_nsfwd -v -L :8080?netns=ns1 -F :1080?netns=ns2
	[ "$(fetch ns1 --proxy socks5h://10.0.0.1:8080 \
		http://10.0.1.11:8001/)" = 'this is self' ]
}

@test "GOST: ranges, several targets, names of processes, user and password" {
	local pid
	topology
	named_server ns2 ns2 10.0.1.1/8000 10.0.1.1/8001 10.0.1.1/8002
	spawn ns2 sleeper sleep 60
	pid=$(pid_of sleeper)
	wait_until 5 in_other_ns "$pid"
	start_nsfwd -v \
		-L "tcp://10.0.0.1:8000-8002/10.0.1.1:8000-8002?netns=ns1&netns.out=/proc/$pid/ns/net" \
		-L "tcp://10.0.0.1:9000/10.0.1.1:1,10.0.1.1:8000?netns=ns1&netns.out=ns2&keepalive=true" \
		-L "http://user:secret@:8080?netns=ns1&netns.out=ns2"
	asks ns1 10.0.0.1/8000=ns2 10.0.0.1/8001=ns2 10.0.0.1/8002=ns2
	# The first of two refuses: the first client is served, by the second.
	asks ns1 10.0.0.1/9000=ns2 10.0.0.1/9000=ns2
	web_server ns2 10.0.1.1 8003
	[ "$(fetch ns1 --proxy http://user:secret@10.0.0.1:8080 \
		http://10.0.1.1:8003/)" = 'this is ns2' ]
	[ "$(fetch ns1 --proxy socks5h://user:secret@10.0.0.1:8080 \
		http://10.0.1.1:8003/)" = 'this is ns2' ]
	run ! fetch ns1 --proxy http://user:wrong@10.0.0.1:8080 \
		http://10.0.1.1:8003/
	run ! fetch ns1 --proxy socks5h://10.0.0.1:8080 http://10.0.1.1:8003/
	run ! grep -F secret "$LOG"
}

in_other_ns() {
	[ "$(readlink "/proc/$1/ns/net")" != "$(readlink /proc/self/ns/net)" ]
}

@test "GOST: udp:// to the host's loopback, to ns2, ranges, keepAlive and ttl" {
	local pid
	topology
	spawn ns2 sleeper sleep 60
	pid=$(pid_of sleeper)
	wait_until 5 in_other_ns "$pid"
	udp_echo self echo 127.0.0.1 8000
	start_nsfwd -v --udp-timeout 1 -L udp://10.0.0.1:8000/:8000?netns=ns1 \
		-L "udp://10.0.0.1:5353/10.0.1.1:5353?netns=ns1&netns.out=/run/netns/ns2&keepAlive=true&ttl=1s" \
		-L "udp://10.0.0.1:6000-6002/10.0.1.1:6000-6002?netns=ns1&netns.out=/proc/$pid/ns/net"
	in_ns ns1 python3 -c '
import socket
s = socket.socket(type=socket.SOCK_DGRAM)
s.settimeout(5)
s.connect(("10.0.0.1", 8000))
s.send(b"hello")
assert s.recv(100) == b"hello"' 3>&-
	for port in 5353 6000 6002; do
		python3 "$BATS_TEST_DIRNAME/udp.py" swaps 3 "10.0.0.1/$port" \
			"10.0.1.1/$port" 3>&-
	done
	wait_until 5 logged 'flow .*end=idle' 10
}

@test "GOST: a socks5:// hop with user and password, and a name that it resolves" {
	needs microsocks
	topology
	web_server self 10.0.1.11 8000
	# Only the proxy can resolve this name.
	echo 10.0.1.11 shop.example >"$BATS_TEST_TMPDIR/hosts"
	spawn ns2 hop unshare -m --propagation private sh -c '
		mount --bind "$1" /etc/hosts
		exec microsocks -i 10.0.1.1 -p 1080 -u user -P secret' - \
		"$BATS_TEST_TMPDIR/hosts"
	wait_until 5 listens ns2 1080
	start_nsfwd -v -L tcp://10.0.0.1:8000/10.0.1.11:8000?netns=ns1 \
		-L tcp://10.0.0.1:8001/shop.example:8000?netns=ns1 \
		-F socks5://user:secret@10.0.1.1:1080?netns=ns2
	[ "$(fetch ns1 http://10.0.0.1:8000/)" = 'this is self' ]
	[ "$(fetch ns1 http://10.0.0.1:8001/)" = 'this is self' ]
	run ! grep -F secret "$LOG"
}
