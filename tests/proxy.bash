# For proxy.bats and dial.bats: the program that plays both sides of a proxy.

PROXY=$BATS_TEST_DIRNAME/proxy.py
SITUATIONS=$BATS_TEST_DIRNAME/situations.py
FAR=10.0.2.2 # an address of ns2 that is not loopback; setup() must add it

client() {
	in_ns ns1 python3 "$PROXY" "$@" 3>&- 4>&-
}

proxy_server() {
	local where=$1 name=$2
	shift 2
	spawn_ready "$where" "$name" python3 "$PROXY" "$@"
}
