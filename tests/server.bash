# For server.bats, waits.bats and identity.bats: clients and servers of server.py.

SERVICE=$BATS_TEST_DIRNAME/server.py

service() {
	in_ns "$1" python3 "$SERVICE" "${@:2}" 3>&- 4>&-
}
