#!/usr/bin/env bats
# Maps, options and the config file: --check prints a right map in its canonical
# form; an error names the wrong part, and nothing is bound.

bats_require_minimum_version 1.5.0

load helpers

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	echo bob:secret >/run/pw
	bad=0
}

# note LINE...: reports a failure; the test goes on, to report others, too.
note() {
	printf '%s\n' "$@"
	bad=1
}

# wrong START PART ARG...: `nsfwd ARG...` exits with 2 and one line on stderr that
# begins with START and holds PART.
wrong() {
	local start=$1 part=$2
	shift 2
	run --separate-stderr "$NSFWD" "$@"
	# shellcheck disable=SC2154 # run sets stderr
	if [ "$status" = 2 ] && [ -z "$output" ] &&
		[[ $stderr == "nsfwd: $start"*"$part"* && $stderr != *$'\n'* ]]; then
		return
	fi
	note "wanted: 2, nsfwd: $start...$part" "got: $status, $output$stderr"
}

# wrong_word WORD PART REASON [SHOWN]: WORD is refused with REASON. The message shows
# it as SHOWN, with the passwords of auth= masked, and gives the column of PART.
wrong_word() {
	local given=$1 word=${4:-$1} part=$2 reason=$3 column
	[[ $word != *auth=* ]] ||
		word=$(sed -E 's/(auth=[^/:,]*:)[a-z]/\1*/g' <<<"$word")
	wrong "'$word': column " ": '$part': " --check -- "$given"
	[[ ${stderr##*": '$part': "} == *"$reason"* ]] ||
		note "no '$reason' in: $stderr"
	column=${stderr#*"': column "}
	column=${column%%:*}
	[ "${word:column-1:${#part}}" = "$part" ] ||
		note "'$word': '$part' does not stand in column $column"
}

# right CANONICAL ARG...: `nsfwd --check ARG...` prints CANONICAL.
right() {
	local canonical=$1
	shift
	run --separate-stderr "$NSFWD" --check=syntax "$@"
	if [ "$status" = 0 ] && [ "$output" = "$canonical" ] &&
		[ -z "$stderr" ]; then
		return
	fi
	note "wanted of $*: $canonical" "got: $status, $output$stderr"
}

repeat() {
	printf "%$2s" '' | tr ' ' "$1"
}

@test "a wrong map is refused, and the message names the part" {
	local word part reason shown n=0
	while IFS='|' read -r word part reason shown; do
		wrong_word "$word" "$part" "$reason" "$shown"
		n=$((n + 1))
	done < <(rows <<-'TABLE'
		                          |                    | a target is missing: write LISTEN=TARGET
		tcp:8o                    | 8o                 | a target is missing: write LISTEN=TARGET
		=                         |                    | an address or a port is missing
		vpn@=80                   |                    | an address or a port is missing
		8000=vpn@                 |                    | an address or a port is missing
		8000=80,,81               |                    | an address or a port is missing
		udp:udp:80=81             | udp                | stand in front of the whole map
		0=80                      | 0                  | not a port: 1 to 65535
		80=0                      | 0                  | not a port
		65536=80                  | 65536              | not a port
		99999999999999999999=80   | 99999999999999999999 | not a port
		080=81                    | 080                | not a port
		80a=81                    | 80a                | not a port
		+80=81                    | +80                | no port
		:=80                      |                    | not a port: 1 to 65535
		80=web:                   |                    | not a port: 1 to 65535
		80=web:80a                | 80a                | not a port
		80=10.0.0.1/              |                    | not a port: 1 to 65535
		-80=80                    |                    | not a port: 1 to 65535
		80-=80                    |                    | not a port: 1 to 65535
		80-90-99=80               | 90-99              | not a port
		90-80=80                  | 90-80              | a range runs from low to high
		80-90=web@80-89           | 80-89              | a target has one port, or as many as listen
		80=81-82                  | 81-82              | a target has one port, or as many as listen
		/run/x=81-82              | 81-82              | a target has one port, or as many as listen
		80=81,82-83               | 82-83              | a target has one port, or as many as listen
		web=80                    | web                | no port
		80=web                    | web                | no port: write ADDR:PORT or NS@PORT
		10.0.0.1=80               | 10.0.0.1           | no port
		80=10.0.0.1               | 10.0.0.1           | no port
		1.2.3/80=81               | 1.2.3              | not a numeric address
		1.2.3:80=81               | 1.2.3              | numeric address
		80=1.2.3:81               | 1.2.3              | not an IPv4 address
		80=300.1.1.1:81           | 300.1.1.1          | not an IPv4 address
		80=1.2.3.4.5:81           | 1.2.3.4.5          | not an IPv4 address
		80=010.0.0.1:81           | 010.0.0.1          | not an IPv4 address
		80=1.2.3.4.:81            | 1.2.3.4.           | not an IPv4 address
		80=2130706433:81          | 2130706433         | not an IPv4 address
		80=0x7f.1:81              | 0x7f.1             | not an IPv4 address
		80=0X7F000001:81          | 0X7F000001         | not an IPv4 address
		80=a..b:81                | a..b               | in labels with one '.' between
		80=.a:81                  | .a                 | in labels with one '.' between
		80=a*b:81                 | a*b                | a host name is letters
		80=b\c:81                 | b\c                | a host name is letters
		80=w+b/81                 | w+b                | not a numeric address, which ADDR/PORT takes
		80=run/a.sock             | run                | a UNIX socket begins with '/'
		80=:81                    | :81                | a target needs an address
		80=0.0.0.0:81             | 0.0.0.0            | no address to connect to
		80=::/81                  | ::                 | no address to connect to
		80=[::]:81                | ::                 | no address to connect to
		fd00::2:53=80             | fd00::2:53         | several colons: write an IPv6 address as ADDR/PORT
		80=fd00::2:53             | fd00::2:53         | several colons
		80=1:2:3                  | 1:2:3              | several colons
		80=fd00::g/53             | fd00::g            | not an IPv6 address
		80=fd00:::1/53            | fd00:::1           | not an IPv6 address
		80=::ffff:10.0.0.1/53     | ::ffff:10.0.0.1    | write an IPv4 address as 10.0.0.1
		80=fd00::2/               |                    | not a port: 1 to 65535
		[::1=80                   | [::1               | write [ADDR]:PORT
		[::1]=80                  | [::1]              | write [ADDR]:PORT
		[::1]80=80                | [::1]80            | write [ADDR]:PORT
		[::1]/80=80               | [::1]/80           | write [ADDR]:PORT
		[::1]:=80                 |                    | not a port: 1 to 65535
		[]:80=80                  |                    | brackets are for an address
		80=[]:80                  |                    | brackets are for an address
		fe80::1/80=80             | fe80::1            | a link-local address (fe80::) needs %INTERFACE
		80=[fe80::1]:80           | fe80::1            | a link-local address (fe80::) needs %INTERFACE
		fe80::1%/80=80            |                    | no interface
		fe80::1%e$0/80=80         | e$0                | no interface
		fe80::1%a%b/80=80         | a%b                | no interface
		fe80::1%abcdefghijklmnop/80=80 | abcdefghijklmnop | no interface: 1 to 15 letters
		::1%lo/80=80              | ::1                | any other takes none
		80=10.0.0.1%lo:80         | 10.0.0.1%lo        | a host name is letters
		@=80                      |                    | an abstract socket needs a name
		80=vpn@@                  |                    | an abstract socket needs a name
		@a@b=80                   | @a@b               | write NS@ in front
		udp:/run/x=80             | /run/x             | a UNIX socket takes tcp only
		tcp+udp:80=@x             | @x                 | a UNIX socket takes tcp only
		.@80=80                   | .                  | no name of a namespace
		..@80=80                  | ..                 | no name of a namespace
		80=..@80                  | ..                 | no name of a namespace
		pid:@80=80                | pid:               | no process number
		pid:0@80=80               | pid:0              | no process number
		pid:-1@80=80              | pid:-1             | no process number
		80=fd:x@80                | fd:x               | no descriptor number
		80=a@81,b@82              | b                  | all targets and hops of a map share one namespace
		80=81,b@82                | b                  | all targets and hops of a map share one namespace
		80=a@81,self@82           | self               | all targets and hops of a map share one namespace
		80=max=3                  | max                | no target in front of KEY=VALUE
		80=81,max=3,82            | 82                 | targets come first
		80=81,foo=1               | foo                | no such key | 80=81,foo=*
		80=81,MAX=1               | MAX                | no such key | 80=81,MAX=*
		80=81,=1                  |                    | no such key
		80=81=82                  | 81                 | a second '='
		80=81,max                 | max                | a key wants =VALUE
		80=81,max=3,via-auth      | via-auth           | a key wants =VALUE
		80=81,web                 | web                | a target wants a port
		80=81,max=                |                    | not a whole number
		80=81,max=-1              | -1                 | not a whole number
		80=81,max=1k              | 1k                 | not a whole number
		80=81,max=01              | 01                 | no leading 0
		80=81,max=1000001         | 1000001            | not a whole number from 0 to 1000000
		80=81,max=4294967296      | 4294967296         | not a whole number from 0 to 1000000
		udp:80=81,flows=0         | 0                  | not a whole number from 1 to 1000000
		80=81,flows=1             | flows              | a key of udp maps only
		udp:80=81,max=1           | max                | a key of tcp maps only
		udp:80=81,offload=no      | no                 | on or off
		80=81,max=1,max=1         | max                | a key may stand only once
		80=81,balance=first,balance=first | balance    | a key may stand only once
		80=81,balance=            |                    | first, round or hash
		80=81,balance=random      | random             | first, round or hash
		80=proxy,81               | proxy              | a proxy is the only target
		80=81,b@proxy             | b                  | all targets and hops
		80=81,proxy               | proxy              | a proxy is the only target
		80-81=proxy,proxy         | proxy              | a proxy is the only target
		udp:80=proxy              | proxy              | take tcp only
		tcp+udp:80=vpn@proxy      | proxy              | take tcp only
		80=PROXY                  | PROXY              | no port
		-=proxy                   | proxy              | needs a port to listen on
		udp:-=80                  | -                  | take tcp only
		vpn@-=80                  | -                  | in no namespace: write '-' alone
		self@-=80                 | -                  | in no namespace
		-=80-81                   | 80-81              | a target has one port
		-=80,max=1                | max                | not for standard input
		-=80,max-source=1         | max-source         | not for standard input
		-=80,allow=::1            | allow              | not for standard input
		-=80,workers=1            | workers            | not for standard input
		-=80,accept-proxy=::1     | accept-proxy       | not for standard input
		-=80,mode=600             | mode               | the path of a UNIX socket
		80=81,mode=600            | mode               | the path of a UNIX socket
		@a=81,owner=a             | owner              | the path of a UNIX socket
		/a=81,mode=               |                    | not permissions in octal
		/a=81,mode=0              | 0                  | not permissions in octal
		/a=81,mode=1777           | 1777               | not permissions in octal
		/a=81,mode=680            | 680                | not permissions in octal
		/a=81,mode=00660          | 00660              | not permissions in octal
		-=80,user=a               | user               | not for standard input
		80=81,user=               |                    | write USER, a name or a number
		80=81,user=root:          | root:              | write USER, a name or a number
		/a=81,owner=              |                    | write USER or USER:GROUP
		/a=81,owner=:g            | :g                 | write USER or USER:GROUP
		/a=81,owner=u:            | u:                 | write USER or USER:GROUP
		80=81,via=                |                    | write http:[NS@]HOST:PORT or socks5
		80=81,via=http            | http               | write http:[NS@]HOST:PORT or socks5
		80=81,via=10.0.0.1:1080   | 10.0.0.1:1080      | write http:[NS@]HOST:PORT or socks5
		80=81,via=socks4:a:1      | socks4:a:1         | write http:[NS@]HOST:PORT or socks5
		80=81,via=http://a:1      | //a:1              | a hop is HOST:PORT
		80=81,via=http:           |                    | an address or a port is missing
		80=81,via=http:a          | a                  | no port
		80=81,via=http:proxy      | proxy              | a hop is HOST:PORT
		80=81,via=http:ns@/run/x  | /run/x             | a hop is HOST:PORT
		80=81,via=http:a:80-81    | 80-81              | a target has one port
		80=81,via=http:a:0        | 0                  | not a port
		80=81,via=http:fe80::1/1  | fe80::1            | needs %INTERFACE
		80=81,via=http:a:1,via=http:fe80::1%e/1 | fe80::1 | no %INTERFACE behind another hop
		80=a@81,via=http:b@a:1    | b                  | all targets and hops
		80=81,via=http:b@a:1,via=http:c@a:1 | c         | all targets and hops
		80=81,via=http:a:1,via=http:c@a:1 | c          | all targets and hops
		80=81,via=http:1,via=http:2,via=http:3,via=http:4,via=http:5,via=http:6,via=http:7,via=http:8,via=http:9 | http:9 | more than 8 hops
		80=81,via=http:1,82       | 82                 | targets come first
		80=/x,via=http:1          | /x                 | no hop can reach a UNIX socket
		80=81,@x,via=http:1       | @x                 | no hop can reach a UNIX socket
		80=fe80::1%e/1,via=http:1 | fe80::1            | no hop can reach
		udp:80=81,via=http:1      | via                | a key of tcp maps only
		tcp+udp:80=81,via=http:1  | via                | a key of tcp maps only
		80=81,via-auth=a:b        | a:*                | it stands behind its via=
		80=81,via=http:1,via-auth=a:b,via-auth=a:c | a:* | one user is all
		80=81,via=http:1,via-auth=a | *                | write USER:PASSWORD, or the absolute path | 80=81,via=http:1,via-auth=*
		80=81,via=http:1,via-auth= |                   | write USER:PASSWORD
		80=81,via=http:1,via-auth=:b | :*              | write USER:PASSWORD
		80=81,via=http:1,via-auth=a: | a:              | a password of 1 to 255 bytes is missing
		80=81,via=http:1,via-auth=a:* | a:*            | a password of 1 to 255 bytes is missing
		80=81,auth=a:b            | 81                 | auth is for the target proxy
		80=81,auth=/f             | 81                 | auth is for the target proxy
		80=proxy,auth=/f,auth=/f  | /f                 | one user is all
		80=proxy,auth=pw          | **                 | write USER:PASSWORD | 80=proxy,auth=**
		80=proxy,auth=u:p,q       | *                  | a password with ',' in it goes in a file | 80=proxy,auth=u:***
		80=proxy,auth=u:p,alow=::1 | ****              | no KEY=VALUE that is known | 80=proxy,auth=u:**********
		80=proxy,auth=/f,q        | *                  | a password with ',' in it goes in a file | 80=proxy,auth=/f,*
		80=81,reach=10.0.0.0/8    | 81                 | reach is for the targets proxy and original
		80=81,tproxy=off          | 81                 | tproxy is for the target original
		80=a@original,auth=a:b    | a                  | auth is for the target proxy
		80=a@original,81          | a                  | original is the only target of its map
		80=a@81,original          | original           | original is the only target of its map
		-=a@original              | a                  | original needs a port to listen on
		/x=a@original             | a                  | original needs a port to listen on
		udp:systemd:x=a@original  | a                  | original needs a port to listen on
		80=original               | original           | original, in the namespace that the map listens in, is redirected again
		a@80=a@original           | a                  | mark=N, which the rules let pass
		a@80=original,via=http:a@1 | original          | is redirected again
		80=a@original,proxy=1     | a                  | original takes no proxy or accept-proxy
		80=a@original,accept-proxy=::1 | a             | original takes no proxy or accept-proxy
		80=a@original,dns=::1     | a                  | there is none to look up
		80=@original              | @original          | the namespace in front of '@' is empty
		udp:80=a@original,tproxy=off | tproxy          | a key of tcp maps only
		80=proxy,reach=           |                    | not ADDR or ADDR/BITS
		80=81,udp-ports=5         | 81                 | udp-ports and udp-address are for the target proxy
		80=81,udp-address=::1     | 81                 | udp-ports and udp-address are for the target proxy
		80=81,udp-timeout=5       | udp-timeout        | a key of udp maps only
		80=proxy,udp-ports=0      | 0                  | not a port
		80=proxy,udp-ports=9-8    | 9-8                | a range runs from low to high
		80=proxy,udp-ports=1-4097 | 1-4097             | more than 4096 ports
		80=proxy,udp-address=host | host               | not a numeric address
		80=81,allow=              |                    | not ADDR or ADDR/BITS
		80=81,allow=10.0.0.1+     |                    | not ADDR or ADDR/BITS
		80=81,allow=10.0.0/8      | 10.0.0             | not ADDR or ADDR/BITS
		80=81,allow=10.0.0.0/     | 10.0.0.0           | not ADDR or ADDR/BITS
		80=81,allow=10.0.0.0/08   | 10.0.0.0           | not ADDR or ADDR/BITS
		80=81,allow=10.0.0.0/-1   | 10.0.0.0           | not ADDR or ADDR/BITS
		80=81,deny=::ffff:1.2.3.4 | ::ffff:1.2.3.4     | not ADDR or ADDR/BITS
		80=81,deny=fe80::1%eth0   | fe80::1%eth0       | not ADDR or ADDR/BITS
		80=81,deny=localhost      | localhost          | not ADDR or ADDR/BITS
		80=81,proxy=3             | 3                  | 1 or 2
		80=81,proxy=              |                    | 1 or 2
		udp:80=81,proxy=1         | 81                 | udp takes proxy=2 only
		tcp+udp:80=81,proxy=1     | 81                 | udp takes proxy=2 only
		80=81,proxy-each=off      | proxy-each         | a key of udp maps only
		tcp+udp:80=81,accept-proxy=::1 | accept-proxy  | a key of tcp maps only
		udp:80=81,workers=1       | workers            | a key of tcp maps only
		80=81,workers=257         | 257                | not a whole number from 0 to 256
		udp:80=81,balance=hash    | 81                 | udp knows no balance but first
		80=81,src=                |                    | not a numeric address
		80=81,src=localhost       | localhost          | not a numeric address
		80=81,src=10.0.0.1:80     | 10.0.0.1:80        | not an IPv6 address
		80=81,src=fe80::1         | fe80::1            | needs %INTERFACE
		80=10.0.0.1:81,src=::1    | 10.0.0.1        | IPv4 and IPv6 do not meet
		80=81,fd00::1/81,src=10.0.0.1 | fd00::1     | IPv4 and IPv6 do not meet
		80=w:81,via=http:fd00::1/81,src=10.0.0.1 | w | IPv4 and IPv6 do not meet
		80=/x,src=10.0.0.1        | /x                 | not for a UNIX socket
		80=/x,dev=eth0            | /x                 | not for a UNIX socket
		80=/x,mark=1              | /x                 | not for a UNIX socket
		80=81,dev=                |                    | no interface
		80=81,dev=a/b             | a/b                | no interface
		80=81,dev=abcdefghijklmnop | abcdefghijklmnop  | no interface: 1 to 15
		80=h:81,dns=              |                    | an address of a name server is missing
		80=h:81,dns=1.1.1.1+x     | x                  | not the address of a name server
		80=h:81,dns=1.1.1.1/0     | 1.1.1.1/0          | not a port
		80=81,dns=1.1.1.1         | 81                 | there is none to look up
		80=h:1,via=http:1.2.3.4:5,dns=::1 | h          | there is none to look up
		80=81,mark=               |                    | not a number from 1 to 4294967295
		80=81,mark=0              | 0                  | not a number from 1
		80=81,mark=010            | 010                | not a number from 1
		80=81,mark=4294967296     | 4294967296         | not a number from 1
		80=81,mark=0x             | 0x                 | not a number from 1
		80=81,mark=0x0            | 0x0                | not a number from 1
		80=81,mark=0x100000000    | 0x100000000        | not a number from 1
		80=81,mark=0xfg           | 0xfg               | not a number from 1
		80=81,idle-timeout=       |                    | not a time
		80=81,idle-timeout=s      | s                  | not a time
		80=81,idle-timeout=1y     | 1y                 | not a time
		80=81,idle-timeout=1M     | 1M                 | not a time
		80=81,idle-timeout=-1     | -1                 | not a time
		80=81,idle-timeout=1.     | 1.                 | not a time
		80=81,idle-timeout=.5     | .5                 | not a time
		80=81,idle-timeout=1.5.5  | 1.5.5              | not a time
		80=81,idle-timeout=1.0001 | 1.0001             | not a time
		80=81,idle-timeout=1.5ms  | 1.5ms              | not a time in whole milliseconds
		80=81,idle-timeout=25d    | 25d                | longer than 24d
		80=81,idle-timeout=24.001d | 24.001d           | longer than 24d
		80=81,idle-timeout=99999999999999999999 | 99999999999999999999 | longer than 24d
		8080=8080                 | 8080               | its own target: a connection would come back to this map; name another port
		:8080=8080                | 8080               | its own target
		nwca@9090=nwca@9090       | nwca               | its own target
		/run/netns/a@80=/run/netns/a@80 | /run/netns/a | its own target
		udp:53=53                 | 53                 | its own target
		tcp+udp:53=53             | 53                 | its own target
		8000-8010=8000-8010       | 8000-8010          | its own target
		8000-8010=8005-8015       | 8005-8015          | its own target
		8000-8010=8005            | 8005               | its own target
		/run/a=/run/a             | /run/a             | its own target
		ns1@/run/a=ns2@/run/a     | ns2                | its own target
		@a=@a                     | @a                 | its own target
		ns1@@a=ns1@@a             | ns1                | its own target
		80=80                     | 80                 | its own target
		:80=127.0.0.1:80          | 127.0.0.1          | its own target
		:80=127.1.2.3:80          | 127.1.2.3          | its own target
		:80=localhost:80          | localhost          | its own target
		:80=::1/80                | ::1                | its own target
		127.0.0.1:80=80           | 80                 | its own target
		80=127.0.0.1:80           | 127.0.0.1          | its own target
		80=LOCALHOST:80           | LOCALHOST          | its own target
		::1/80=80                 | 80                 | its own target
		[::1]:80=::1/80           | ::1                | its own target
		::/80=80                  | 80                 | its own target
		0.0.0.0:80=127.0.0.1:80   | 127.0.0.1          | its own target
		10.0.0.1:80=10.0.0.1:80   | 10.0.0.1           | its own target
		fe80::1%x/80=fe80::1%x/80 | fe80::1            | its own target
		80=self@80                | self               | its own target
		self@80=80                | 80                 | its own target
		init@80=init@80           | init               | its own target
		80=81,80                  | 80                 | its own target
		80=w:81,82,127.0.0.1:80,83 | 127.0.0.1         | its own target
		80=w:81,via=http:80       | 80                 | its own target
		80=w@x:81,via=http:1,via=http:80,max= |        | not a whole number
		9090=@8080                | @8080              | the namespace in front of '@' is empty
		@9090=80                  | @9090              | the namespace in front of '@' is empty
		@:80=80                   | @:80               | the namespace in front of '@' is empty
		80=@10.0.0.1:80           | @10.0.0.1:80       | the namespace in front of '@' is empty
		80=@web:80-90             | @web:80-90          | the namespace in front of '@' is empty
		80=@8000-8010             | @8000-8010         | the namespace in front of '@' is empty
		1080=@proxy               | @proxy             | the namespace in front of '@' is empty
		80=vpn@tcp+udp:80         | tcp+udp            | stand in front of the whole map
		vpn@tcp:80=81             | tcp                | stand in front of the whole map
		80=tcp+udp:53             | tcp+udp            | stand in front of the whole map
		vpn:8080=80               | vpn                | (a namespace is NS@PORT)
		a:b@80=81                 | a:*                | no namespace: with ':' there are docker:, podman: | a:*@80=81
		80=w:81,via=http:u:p@h:1  | u:*                | a password are for auth= or via-auth= | 80=w:81,via=http:u:*@h:1
		80=/run/a:b@81            | /run/a:*           | no namespace | 80=/run/a:*@81
		tcp:udp:x@80=81           | udp:x              | no namespace
	TABLE
	)
	echo "$n rows"
	[ "$bad" = 0 ] && [ "$n" -ge 280 ]
}

@test "a map with a control byte or white space is refused" {
	local c shown
	for c in $'\x01' $'\x1b' $'\x7f' $'\t' $'\n' $'\v' $'\r'; do
		printf -v shown '\\x%02x' "'$c"
		wrong "'80=w${shown}eb:81': column 5: '$shown': " '' \
			--check "80=w${c}eb:81"
	done
	wrong "'80=w eb:81': column 5: ' ': white space" '' --check '80=w eb:81'
	[ "$bad" = 0 ]
}

@test "names have at most the length that the system allows" {
	local host path ns label
	label=$(repeat a 63)
	host=$label.$label.$label.$(repeat b 61)
	path=/$(repeat c 106)
	ns=$(repeat d 255)
	right "80=$host:81" "80=$host:81"
	right "$path=80" "$path=80"
	right "80=$path" "80=$path"
	right "80=@${path#?}c" "80=@${path#?}c"
	right "$ns@80=81" "$ns@80=81"
	wrong "'80=$label" 'longer than the 253 bytes of a host name' \
		--check "80=${host}b:81"
	wrong_word "${path}c=80" "${path}c" 'longer than the 107 bytes'
	wrong_word "80=@${path}c" "${path}c" 'longer than the 107 bytes'
	wrong "'${ns:0:9}" 'longer than the 255 bytes of a name' \
		--check "${ns}d@80=81"
	wrong "'80=" 'longer than the 253 bytes' --check "80=$(repeat a 60000):81"
	[ "$bad" = 0 ]
}

@test "a map has 64 targets at most" {
	local targets
	targets=$(repeat , 63 | sed 's/,/,9/g')
	right "80=9$targets" "80=9$targets"
	wrong "'80=9," "column 132: '9': more than 64 targets" \
		--check "80=9$targets,9"
	[ "$bad" = 0 ]
}

# WORD | what --check prints, where that is another
right_words() {
	rows <<-'TABLE'
		9091=vpn@9091
		:9091=vpn@9091
		vpn@3128=127.0.0.1:3128
		ns1@10.0.0.1:8000=ns2@10.0.1.1:8000
		pid:4242@80=/run/docker/netns/8f2@8080
		udp::53=dns@53
		udp:53=dns@53
		tcp+udp:53=dns@53
		tcp:80=81                           | 80=81
		8000-8010=web@8000-8010
		8000-8010=web@80
		8000-8000=web@80-80                 | 8000=web@80
		:1-65535=vpn@1-65535
		:80=web@10.0.0.2:80,10.0.0.3:80,balance=first | :80=web@10.0.0.2:80,10.0.0.3:80
		:80=web@10.0.0.2:80,web@10.0.0.3:80 | :80=web@10.0.0.2:80,10.0.0.3:80
		80=self@81,self@82                  | 80=81,82
		80=81,self@82                       | 80=81,82
		self@80=self@81                     | 80=81
		init@80=init@81
		fd:3@80=fd:4@81
		4242@80=81
		./ns@80=../ns@81
		/run/netns/a@80=/run/netns/b@81
		80=@8.a
		80=self@@8080
		@proxy1=80
		self@@proxy=self@81                 | self@@proxy=81
		80=self@w:81
		8000-8010=8011-8021
		::1/80=127.0.0.1:80
		127.0.0.1:80=[::1]:80               | 127.0.0.1:80=::1/80
		::/80=127.0.0.1:80
		80=127.0.0.2:80
		80=80,via=http:w:1
		ns1@80=ns2@80
		ns1@@a=ns2@@a
		fe80::1%x/80=fe80::1%y/80
		init@80=80
		#x@80=81                            | tcp:#x@80=81
		127.0.0.1/80=10.0.0.1/81            | 127.0.0.1:80=10.0.0.1:81
		0.0.0.0:80=127.0.0.2:81
		255.255.255.255:80=81
		::/80=81
		[::]:80=81                          | ::/80=81
		fd00::2/53=[fd00::3]:53             | fd00::2/53=fd00::3/53
		FD00:0:0::0002/53=1:2:3:4:5:6:7:8/9 | fd00::2/53=1:2:3:4:5:6:7:8/9
		fe80::1%eth0/80=[fe80::2%eth0.5]:81-81 | fe80::1%eth0/80=fe80::2%eth0.5/81
		80=fe80::1%3/81
		80=fe80::1%abcdefghijklmno/81
		80=web:81
		80=Web-1_b.example.:81
		80=1.2.3.4.example:81
		80=0xg:81
		80=-:81
		80=ns@web:81,10.0.0.1:82,[::1]:83,84,/run/x,@y | 80=ns@web:81,10.0.0.1:82,::1/83,84,/run/x,@y
		/run/a.sock=80
		ns@/run/a.sock=ns@/run/b.sock
		/a=/b
		80=/a=b
		80=self@/a@b
		self@/a@b=80
		self@/ab=80                         | /ab=80
		80=vpn@/a@b,vpn@@c@d,vpn@@e         | 80=vpn@/a@b,vpn@@c@d,@e
		@abstract=@other
		80=@a=b
		80=@a:b
		/run/auth=web:80
		vpn@@my-token=docker:x@80
		80=/run/auth=x
		vpn@@x=vpn@@y
		self@@x=80                          | @x=80
		self@@a@b=self@@@                   | self@@a@b=self@@@
		80=/x=y@81
		80=81,max=0                         | 80=81
		80=81,max=1000000
		80=81,max-source=3,max=2            | 80=81,max=2,max-source=3
		80=81,connect-timeout=10s           | 80=81
		80=81,connect-timeout=10.000        | 80=81
		80=81,connect-timeout=0
		80=81,connect-timeout=1             | 80=81,connect-timeout=1s
		80=81,connect-timeout=1.5           | 80=81,connect-timeout=1500ms
		80=81,connect-timeout=0.001m        | 80=81,connect-timeout=60ms
		80=81,connect-timeout=2000ms        | 80=81,connect-timeout=2s
		80=81,idle-timeout=0                | 80=81
		80=81,idle-timeout=120              | 80=81,idle-timeout=2m
		80=81,idle-timeout=90m
		80=81,idle-timeout=48h              | 80=81,idle-timeout=2d
		80=81,idle-timeout=24d
		80=81,idle-timeout=5.000ms          | 80=81,idle-timeout=5ms
		80=81,half-close-timeout=60m        | 80=81
		-=vpn@host:22
		tcp:-=80                            | -=80
		-=/run/x
		1080=vpn@proxy
		80-90=proxy
		:1080=proxy,auth=/run/pw,reach=10.0.0.0/8+::1+fd00::/8+127.0.0.1/32+::/0 | :1080=proxy,auth=/run/pw,reach=10.0.0.0/8+::1+fd00::/8+127.0.0.1+::/0
		80=a@original
		:80-90=a@original,reach=::1,tproxy=off,max=5,workers=2
		80=a@original,via=http:1            | 80=original,via=http:a@1
		udp:a@:53=original,reach=10.0.0.0/8,flows=5
		tcp+udp::53=a@original,src=::1,mark=5
		80=original,mark=5
		80=81,proxy=2,proxy-netns=off
		tcp+udp:80=81,proxy=2,proxy-netns=off,proxy-each=off
		80=81,proxy=2,proxy-netns=on        | 80=81,proxy=2
		80=proxy,udp-ports=5000,udp-address=192.0.2.1,udp-timeout=5m
		80=proxy,udp-ports=5000-9095,udp-address=fd00::1
		80=vpn@proxy,via=socks5:vpn@1       | 80=proxy,via=socks5:vpn@1
		ns1@10.0.0.1:8000=10.0.1.11:8000,via=http:ns2@10.0.1.1:8080
		80=a@web:81,82,via=http:a@[::1]:8080,via=socks5:h:1,via-auth=/run/pw | 80=web:81,82,via=http:a@::1/8080,via=socks5:h:1,via-auth=/run/pw
		80=a@web:81,via=http:8080           | 80=web:81,via=http:a@8080
		80=a:1,b:2,via=socks5:ns@3          | 80=a:1,b:2,via=socks5:ns@3
		80=81,via=http:self@3               | 80=81,via=http:3
		80=81,deny=0.0.0.0/0,allow=1.2.3.4/32+FD00::/128 | 80=81,allow=1.2.3.4+fd00::,deny=0.0.0.0/0
		udp:80=81,allow=1.2.3.0/24,src=10.0.0.1,dev=wg0,mark=0x10 | udp:80=81,allow=1.2.3.0/24,src=10.0.0.1,dev=wg0,mark=16
		80=h:81,dns=10.0.0.53/5353+fd00::53/54+fe80::1%eth0 | 80=h:81,dns=10.0.0.53:5353+fd00::53/54+fe80::1%eth0
		80=81,mark=0xFFFFFFFF,src=FD00::1   | 80=81,src=fd00::1,mark=4294967295
		80=81,src=fe80::1%eth0
		80=81,proxy=1,accept-proxy=10.0.0.0/8+::1
		80=81,balance=round,proxy=2
		80=81,82,balance=hash,workers=4     | 80=81,82,workers=4,balance=hash
		80=81,web:82,workers=2              | 80=81,web:82,workers=2
		tcp+udp:80=81,workers=0,balance=first | tcp+udp:80=81
		/a=81,mode=660,owner=root:adm       | /a=81,mode=0660,owner=root:adm
		/a=81,mode=0001,owner=0:0           | /a=81,mode=01,owner=0:0
		/a=proxy,owner=www-data
		tcp+udp:80=81,user=0
		80=81,user=daemon
		udp:80=81,offload=on,udp-timeout=2m,udp-one-way-timeout=30,flows=4096 | udp:80=81
		udp:80=81,flows=1,udp-timeout=0,udp-one-way-timeout=1s,offload=off
		tcp+udp:80=81,offload=off,max=2     | tcp+udp:80=81,max=2,offload=off
		80=81,balance=first,half-close-timeout=0,idle-timeout=1s,connect-timeout=2s,max-source=3,max=4 | 80=81,max=4,max-source=3,connect-timeout=2s,idle-timeout=1s,half-close-timeout=0
	TABLE
}

@test "a right map is printed in its canonical form, a fixed point" {
	local word canonical n=0
	while IFS='|' read -r word canonical; do
		right "${canonical:-$word}" -- "$word"
		right "${canonical:-$word}" -- "${canonical:-$word}"
		n=$((n + 1))
	done < <(right_words)
	echo "$n rows"
	[ "$bad" = 0 ] && [ "$n" -ge 40 ]
}

@test "a password is printed as *, which is not accepted as one" {
	local word='80=w:81,via=http:1,via-auth=bob:se:cret,via=socks5:h:2'
	local shown=${word/se:cret/*}
	right "$shown" "$word"
	wrong "'$shown': column 29: 'bob:*': a password of" '--check does not' \
		"$shown"
	right '80=proxy,auth=bob:*' 80=proxy,auth=bob:x
	right "80=proxy,auth=$(repeat u 255):*" \
		"80=proxy,auth=$(repeat u 255):$(repeat p 255)"
	wrong "'80=proxy" 'USER:PASSWORD' --check "80=proxy,auth=$(repeat u 256):p"
	wrong "'80=proxy" 'a password of 1 to 255 bytes' --check \
		"80=proxy,auth=u:$(repeat p 256)"
	# Nor does a running server show it.
	run --separate-stderr "$NSFWD" "missing@$word"
	[ "$status" = 2 ]
	[[ $stderr == *"no namespace 'missing'"* && $stderr == *bob:* ]]
	[[ $stderr != *cret* ]]
	# Nor a message about another part.
	run -2 "$NSFWD" --check "$word,bogus=1"
	[[ $output == *"'${word/se:cret/*******},bogus=*': column 56: 'bogus'"* ]]
	for word in "$word,bogus=1" "80 proxy,auth=bob:secret" \
		"80 proxy,auth=bob:secret 1"; do
		echo "$word" >maps
		run -2 "$NSFWD" --check -c maps
		[[ $output == *maps:1:* && $output != *cret* ]]
	done
	[ "$bad" = 0 ]
}

@test "a password file that cannot be read, or an unknown owner, is an error" {
	local file reason who=nobody:no-such
	mkdir /run/dir
	: >/run/empty
	printf 'bob:*\n' >/run/shown
	{ repeat u 256 && echo :x; } >/run/long
	printf 'bob:\xff c,=*\r\nx' >/run/odd
	while IFS='|' read -r file reason; do
		wrong "'80=proxy,auth=$file': '$file': $reason" '' \
			--check "80=proxy,auth=$file"
	done < <(rows <<-'TABLE'
		/run/missing | No such file
		/run/dir     | Is a directory
		/run/empty   | write USER:PASSWORD
		/run/shown   | a password of
		/run/long    | write USER
	TABLE
	)
	wrong "'80=w:81,via=http:1,via-auth=/run/pw,via=http:2,via-auth=/run/missing'" \
		": '/run/missing': No such file" \
		80=w:81,via=http:1,via-auth=/run/pw,via=http:2,via-auth=/run/missing
	right 80=proxy,auth=/run/odd 80=proxy,auth=/run/odd
	wrong "'/a=80,owner=no-such': 'no-such': no such user" '' \
		--check /a=80,owner=no-such
	wrong "'80=81,user=no-such': 'no-such': no such user" '' --check 80=81,user=no-such
	wrong "'80=81,user=daemon': '--pin': not with a map that has user=" '' \
		--check --pin 80=81,user=daemon
	wrong "'/a=80,owner=$who': '$who': no such group" '' /a=80,owner=$who
	echo /a=proxy,owner=no-such,auth=/run/missing >maps
	wrong "maps:1: '/a=proxy,owner=no-such,auth=/run/missing': 'no-such': no such user" \
		'' -c maps
	[ "$bad" = 0 ]
}

@test "- must be the only map" {
	wrong "'-=80': it must be the only map" '' -=80 81=82
	wrong "'-=81': it must be the only map" '' 80=81 -=81
	wrong "'-=80': it must be the only map" '' --check -=80 -=80
	echo '- vpn@80' >maps
	wrong "maps:1: '-=vpn@80': it must be the only map" '' -c maps 81=82
	right -=vpn@80 - vpn@80
	right -=vpn@80 -v -=vpn@80 -q
	right -=vpn@80 -- -=vpn@80
	right -=vpn@80 --from x -=vpn@80
	[ "$bad" = 0 ]
}

@test "all canonical forms in a config file are read as the same maps" {
	local form
	right_words | sed 's/.*|//; /^-=/d' >canonical
	while IFS= read -r form; do
		echo "$form" >one
		"$NSFWD" --check=syntax -c one
		"$NSFWD" --check=syntax "$form" >&2
	done <canonical >printed 2>words
	diff -u canonical printed
	diff -u canonical words
}

@test "two maps with the same listener are refused before anything is bound" {
	local pair
	for pair in 'ns1@80=81 ns1@80=82' '80-90=web@1 90=81' 'udp:80=81 tcp+udp:80=82' \
		':80=81 :80=82' '10.0.0.1:80=81 10.0.0.1/79-81=82' 'ns1@/a=81 ns2@/a=82' \
		'fe80::1%x/80=81 fe80::1%x/80=82' '@a=81 @a=82' '80=81 :80=82' \
		':80=81 10.0.0.1:80=82' '80=81 127.0.0.1:80=82' '80=81 ::1/80=82' \
		'0.0.0.0:80=81 80=82' '::/80=81 fd00::1/80=82' 'udp:80=81 udp::80=82'; do
		# shellcheck disable=SC2086 # two words
		wrong "'${pair#* }': it listens where '${pair% *}' does" '' --check $pair
	done
	for pair in '80=81 tcp:81=82' '80=81 udp:80=82' 'ns1@80=81 ns2@80=82' \
		'80=81 10.0.0.1:80=82' '::/80=81 0.0.0.0:80=82' '80=81 127.0.0.2:80=82' '/a=81 /b=82' '/a=81 @a=82' 'ns1@@a=81 ns2@@a=82' \
		'fe80::1%x/80=81 fe80::1%y/80=82' 'systemd:a=81 systemd:a=82'; do
		# shellcheck disable=SC2086
		run -0 "$NSFWD" --check=syntax $pair
	done
	printf '80=81\n# one more\n80=82\n' >maps
	wrong "maps:3: '80=82': it listens where maps:1: '80=81' does" '' -c maps
	seq -f 'ns@%.0f=80' 5000 >maps
	echo ns@1=81 >>maps
	wrong "maps:5001: 'ns@1=81': it listens where maps:1: 'ns@1=80' does" '' -c maps
	[ "$bad" = 0 ]
}

@test "maps that lead into each other are refused" {
	local maps
	while IFS='|' read -r maps last first; do
		# shellcheck disable=SC2086 # words
		wrong "'$last': its target is '$first', which leads back to it: name another port" '' \
			--check $maps
	done < <(rows <<-'TABLE'
		80=81 81=80                      | 81=80         | 80=81
		80=81 81=82 82=80                | 82=80         | 80=81
		80=81 81=9,80 9=1                | 81=9,80       | 80=81
		80=vpn@81 vpn@81=self@80         | vpn@81=self@80 | 80=vpn@81
		udp:80=81 tcp+udp:81=80          | tcp+udp:81=80 | udp:80=81
		:80=81 81=127.0.0.1:80           | 81=127.0.0.1:80 | :80=81
		80-90=91-101 95=85               | 95=85         | 80-90=91-101
		/a=80 80=/a                      | 80=/a         | /a=80
		@a=80 80=@a                      | 80=@a         | @a=80
		80=w:1,via=http:81 81=80         | 81=80         | 80=w:1,via=http:81
	TABLE
	)
	for maps in '80=81 81=82 82=83' '80=vpn@81 vpn@81=web@80' 'udp:80=81 81=80' \
		'80=81 127.0.0.2:81=80' '80=w:81 81=80' '80=init@81 vpn@81=80' \
		'ns1@@a=80 80=ns2@@a'; do
		# shellcheck disable=SC2086
		run -0 "$NSFWD" --check=syntax $maps
	done
	printf '80=81\n\n81=80\n' >maps
	wrong "maps:3: '81=80': its target is '80=81'" '' -c maps
	wrong "':80=80': column 5: '80': its own target" '' -L tcp://:80/:80
	wrong "':81=80': its target is ':80=81'" '' -L tcp://:80/:81 -L tcp://:81/:80
	seq -f '%.0f=1' 2 1500 >maps
	run -0 "$NSFWD" --check=syntax -c maps
	awk 'BEGIN { for (i = 1; i < 3000; i++) print i "=" i + 1 }' >maps
	run -0 "$NSFWD" --check=syntax -c maps
	[ "$bad" = 0 ]
}

@test "a host with the name of a namespace is refused" {
	ns ns1 ns2
	wrong "'80=ns1:8080': 'ns1:8080': a namespace has this name: write ns1@8080 (or self@ns1:8080 for the host)" \
		'' --check 80=ns1:8080
	wrong "'80-81=a:1,ns2:80-81': 'ns2:80-81': a namespace has this name: write ns2@80-81" \
		'' --check 80-81=a:1,ns2:80-81
	wrong "':80=ns1:81': 'ns1:81': a namespace" '' --check -L :80/ns1:81
	right 80=self@ns1:8080 80=self@ns1:8080
	right 80=ns2@ns1:8080 80=ns2@ns1:8080
	right 80=ns1:8080,via=http:w:1 80=ns1:8080,via=http:w:1
	right 80=init@ns1:8080 --to init 80=ns1:8080
	right 80=ns1.example:8080 80=ns1.example:8080
	[ "$bad" = 0 ]
}

@test "LISTEN and TARGET may be two arguments" {
	right 9091=vpn@9091 9091 vpn@9091
	right 9091=vpn@9091 9091 -v vpn@9091
	right 80=vpn@81,82 80 vpn@81,82
	wrong "'80=web': column 4: 'web': no port" '' 80 web
	wrong "'81,max=1': LISTEN TARGET takes no KEY=VALUE: write 80=81,max=1" '' \
		80 81,max=1
	wrong "'=': no spaces around '='" '' 80 = 81
	wrong "'80=': no spaces around '='" '' 80= 81
	wrong "'=81': no spaces around '='" '' 80 =81
	wrong "'=': no spaces around '='" '' 80=81 82 = 83,max=1
	wrong "'80=': a target is missing: write 80=TARGET" '' 80= 81=82
	wrong "'81': a target is missing: write 81=TARGET" '' 80=81 81
	[ "$bad" = 0 ]
}

@test "--from and --to stand for a NS@ that is left out" {
	right a@80=b@81 --from a --to b 80=81
	right a@80=b@81 80=81 --to=b --from=a
	right c@80=d@81,82 --from a --to b c@80=d@81,82
	right 80=81 --from a --to b self@80=self@81
	right /run/x@80=pid:7@81 --from /run/x --to pid:7 80=81
	right b@80=81 --from a --from b 80=81
	wrong "option '--from': 'udp:x': no namespace" '' --from udp:x 80=81
	right 'self@@x@y=81' 'self@@x@y=81'
	right 'a@/x=b@/y' --from a --to b /x=/y
	wrong "'80=self@81,b@82': column 12: 'b': all targets" '' \
		--to b 80=self@81,b@82
	wrong "option '--from': '..': no name of a namespace" '' --from .. 80=81
	wrong "option '--to': 'pid:x': no process number" '' --to pid:x 80=81
	for ns in a=b a,b a@b 'a b' $'a\tb'; do
		wrong "option '--from': 'a" "no '=', ',', '@', white space" \
			--from "$ns" 80=81
	done
	[ "$bad" = 0 ]
}

@test "the options are defaults of every map, wherever they stand" {
	right $'80=81,idle-timeout=5m\n82=83,idle-timeout=7s' \
		80=81 --idle-timeout 5m 82=83,idle-timeout=7
	right 80=81 80=81,idle-timeout=0 --idle-timeout 5m
	right 80=81,connect-timeout=1s,half-close-timeout=2s \
		--connect-timeout=1 --half-close-timeout=2 80=81
	right $'udp:80=81,udp-timeout=5s\n80=81,connect-timeout=1s' \
		--udp-timeout 5 --connect-timeout 1 udp:80=81 80=81
	right 80=81 --drain 5s --max-conns 10 -vq --verbose --quiet 80=81
	right 80=81 --ready-fd 1 80=81
	right 80=81 -- 80=81
	wrong "'--check'" 'a target is missing' -- --check
	wrong "'-'" 'a target is missing' -
	[ "$bad" = 0 ]
}

@test "a wrong option is named as the user wrote it" {
	wrong "unknown option '--foo' (nsfwd --help lists them)" '' --foo 80=81
	wrong "unknown option '--foo' (" '' 80=81 --foo=bar
	wrong "unknown option '--chec' (" '' --chec 80=81
	wrong "unknown option '--verbos' (" '' --verbos 80=81
	wrong "unknown option '--Check' (" '' --Check 80=81
	wrong "unknown option '-z' (" '' -z 80=81
	wrong "unknown option '-vz' (" '' -vz 80=81
	wrong "unknown option '-é' (" '' -é 80=81
	wrong "option '--check': '1': syntax, or no value at all" '' --check=1 80=81
	wrong "option '--check': '': syntax, or no value at all" '' --check= 80=81
	wrong "option '--drain': its value is missing" '' 80=81 --drain
	wrong "option '--drain': its value is missing" '' --drain= 80=81
	wrong "option '--max-conns': its value is missing" '' 80=81 --max-conns
	wrong "option '--from': its value is missing" '' --from '' 80=81
	wrong "option '-c': its value is missing" '' 80=81 -c
	wrong "option '--config': its value is missing" '' --config '' 80=81
	wrong "option '--drain': '5x': not a time" '' --drain 5x 80=81
	wrong "option '--drain': '25d': longer than 24d" '' --drain=25d 80=81
	wrong "option '--idle-timeout': '--check': not a time" '' \
		--idle-timeout --check 80=81
	wrong "option '--connect-timeout': '-1': not a time" '' \
		--connect-timeout -1 80=81
	wrong "option '--max-conns': '0': not a whole number from 1 to 1000000" '' --max-conns 0 80=81
	wrong "option '--max-conns': '1000001': not a whole number from 1 to 1000000" '' \
		--max-conns 1000001 80=81
	wrong "option '--max-conns': 'x': not a whole number" '' \
		--max-conns x 80=81
	wrong "option '--ready-fd': '99': no descriptor that is open for writing" '' \
		--ready-fd 99 80=81
	wrong "option '--ready-fd': '0': no descriptor that is open for writing" '' \
		--ready-fd 0 80=81 </dev/null
	wrong "option '--ready-fd': '4294967296': not a whole number" '' \
		--ready-fd 4294967296 80=81
	wrong "option '--ready-fd': 'x': not a whole number" '' \
		--ready-fd x 80=81
	for word in metrics :9100,max=1 =80 udp:9100 @stats web@ :9-10 localhost:0; do
		wrong "option '--stats': '$word': write [NS@]ADDR:PORT or :PORT, or the path of a UNIX socket, with '/' in it, as ./stats" \
			'' --stats "$word" 80=81
	done
	for word in :9100 9100 ::1/9100 web@10.0.0.1:9100 [::1]:9100 ./9100 /1:/2/3; do
		run -0 "$NSFWD" --check=syntax --stats "$word" 80=81
	done
	wrong "no map" '--help' --check
	wrong "no map" '--help'
	[ "$bad" = 0 ]
}

@test "--help is short, --version is one line" {
	run --separate-stderr "$NSFWD" --help
	[ "$status" = 0 ] && [ -z "$stderr" ]
	[ "${#lines[@]}" -le 60 ]
	[ "$(wc -L <<<"$output")" -le 80 ]
	[ "$(grep -c '^  nsfwd ' <<<"$output")" = 3 ]
	local option
	for option in -c --config --check --from --to --ready-fd -v --verbose \
		-q --quiet --max-conns --connect-timeout --idle-timeout \
		--half-close-timeout --drain -h --help -V --version; do
		grep -qe "[ ]$option\>" <<<"$output" ||
			note "--help does not say $option"
	done
	# --check accepts its examples.
	while read -r _ map _; do
		run "$NSFWD" --check=syntax "$map"
		[ "$status" = 0 ]
	done < <(grep '^  nsfwd ' <<<"$output")
	run --separate-stderr "$NSFWD" -V
	[ "$status" = 0 ] && [[ $output =~ ^nsfwd\ [0-9.]+$ ]]
	[ "$bad" = 0 ]
}

@test "a config file: comments, white space, two words, CR LF, no last LF" {
	printf '%s\n' '# comment' '' '   ' '80=81' $'\t82=83   # comment' \
		$'84 \t 85' '86=@a#b' $'87=88\r' '  # 1=2' $'89=90\f' \
		'91 92#' | sed 's/#$/ #/' >maps
	printf '93=94' >>maps
	right $'80=81\n82=83\n84=85\n86=@a#b\n87=88\n89=90\n91=92\n93=94' -c maps
	right $'80=81\n82=83\n84=85\n86=@a#b\n87=88\n89=90\n91=92\n93=94\n1=2\n3=4' \
		1=2 --config maps 3=4
	right 80=81,max=1 -c <(echo 80=81,max=1)
	[ "$bad" = 0 ]
}

@test "an error in a config file is named with file and line" {
	printf '80=81\n\n# x\n 82=83,foo=1 # y\n' >maps
	wrong "maps:4: '82=83,foo=*': column 7: 'foo': no such key" '' -c maps
	printf '80 81\r\n82 web\n' >maps
	wrong "maps:2: '82=web': column 4: 'web': no port" '' -c maps
	printf '1=2\n80 81 82\n' >maps
	wrong "maps:2: '82': one map a line" '' -c maps
	printf '80=1\n80 = 81\n' >maps
	wrong "maps:2: '=': no spaces around '='" '' -c maps
	printf '80 81,max=2 #\n' >maps
	wrong "maps:1: '81,max=2': LISTEN TARGET takes no KEY=VALUE" '' -c maps
	printf '# x\n80=nowhere@81\n' >maps
	wrong "maps:2: '80=nowhere@81': no namespace 'nowhere' (ip netns" '' -c maps
	wrong "'82=nowhere@81': no namespace 'nowhere' (ip netns" '' 82=nowhere@81
	printf '80=81 82=83\n' >maps
	wrong "maps:1: '82=83': one map a line" '' -c maps
	printf '80=81\n82=83\0#\n' >maps
	wrong 'maps:2: a NUL byte' '' -c maps
	printf '80=81\n82=83 #\0' >maps
	wrong 'maps:2: a NUL byte' '' -c maps
	{ echo 80=81 && repeat a 65537; } >maps
	wrong "maps:2: 'aaaa" "': column 1: 'aaa" -c maps
	[[ $stderr == *"aaa': a target is missing: write LISTEN=TARGET" ]] || bad=1
	{ repeat '#' 65537 && echo && echo 80=; } >maps
	wrong "maps:2: '80='" '' -c maps
	printf '80=81\n' >maps
	wrong "'82=': a target is missing" '' -c maps 82=
	[ "$bad" = 0 ]
}

@test "a config file that cannot be read, or has no map, is an error" {
	mkdir directory
	: >empty
	echo '# no map' >comments
	wrong 'missing: No such file' '' -c missing 80=81
	right 80=81 -c directory 80=81
	wrong 'no map in empty: write LISTEN=TARGET' '' -c empty
	wrong 'no map in comments: write LISTEN=TARGET' '' -c comments
	wrong 'no map in empty: write LISTEN=TARGET' '' -c empty --check
	wrong '/dev/zero:1: a NUL byte' '' -c /dev/zero
	right 80=81 -c empty 80=81
	[ "$bad" = 0 ]
}

@test "a config file without permission is an error" {
	local -a as=()
	[ "$(id -u)" != 0 ] || as=(setpriv --bounding-set=-all --inh-caps=-all --)
	echo 80=81 >maps
	chmod 0 maps
	if "${as[@]}" cat maps 2>/dev/null; then
		skip "this user may read everything"
	fi
	run --separate-stderr "${as[@]}" "$NSFWD" -c maps
	[ "$status" = 2 ] && [[ $stderr == 'nsfwd: maps: Permission denied' ]]
}

@test "an output that cannot be written is an error" {
	local option
	for option in --check=syntax --help --version; do
		run "$NSFWD" "$option" 80=81 >/dev/full
		run bash -c '"$@" >/dev/full' - "$NSFWD" "$option" 80=81
		[ "$status" = 1 ]
		[ "$output" = 'nsfwd: standard output: No space left on device' ]
		run bash -c '"$@" >&-' - "$NSFWD" "$option" 80=81
		[ "$status" = 1 ]
		[ "$output" = 'nsfwd: standard output: Bad file descriptor' ]
	done
	# A closed pipe is an error, too, not a signal.
	printf '%s=vpn@80\n' {1..2000} >many
	run bash -c 'set -o pipefail; "$1" --check=syntax -c many | :' - "$NSFWD"
	[ "$status" = 0 ] || [ "$status" = 1 ]
}

# The leak sanitizer does not run under strace.
@test "one wrong map among right ones: nothing is bound" {
	wrong "'nowhere=': column 1: 'nowhere': no port" '' \
		@spec-1=80 80=81 nowhere= @spec-2=80
	run ! grep -F @spec- /proc/net/unix
	printf '%s\n' @spec-1=80 1 @spec-2=80 >maps
	wrong "maps:2: '1': a target is missing" '' -c maps
	if strace -o /dev/null true 2>/dev/null; then
		ASAN_OPTIONS=detect_leaks=0 run -2 strace -f -e trace=socket,bind,listen,clone,fork,vfork \
			-o calls "$NSFWD" @spec-1=80 18080=81 80=81,max=x
		run ! grep -E 'socket|bind|listen|clone|fork' calls
	fi
	[ "$bad" = 0 ]
}

# Prints the targets of descriptors 0 to 2 of the server.
standard() {
	readlink "/proc/$NSFWD_PID/fd/0" "/proc/$NSFWD_PID/fd/1" \
		"/proc/$NSFWD_PID/fd/2" | xargs
}

@test "descriptors 0 to 2 that are closed at the start are opened" {
	# shellcheck disable=SC2016,SC2034 # for another shell, for start_nsfwd
	WRAP=(bash -c 'exec "$@" <&- >&- 2>&-' --)
	start_nsfwd @spec-1=80
	[ "$(standard)" = '/dev/null /dev/null /dev/null' ]
}

@test "--ready-fd 1: the line is written, then descriptor 1 is /dev/null" {
	# shellcheck disable=SC2016,SC2034 # for another shell, for start_nsfwd
	WRAP=(bash -c 'n=$1; shift 3; exec "$n" --ready-fd 1 "$@" >&9 9>&-' --)
	start_nsfwd @spec-1=80
	[[ $(standard) == '/dev/null /dev/null '*/log ]]
}

@test "SIGPIPE is ignored" {
	local ignored
	start_nsfwd @spec-1=80
	ignored=$(awk '/^SigIgn/ { print $2 }' "/proc/$NSFWD_PID/status")
	[ $((0x$ignored >> 12 & 1)) = 1 ]
}
