# GNU make
# make            ./nsfwd, static with musl-gcc where that is installed, else with cc
# make CC=cc      ./nsfwd, an ordinary dynamic executable
# make SAN=1      ./nsfwd with the address and undefined behaviour sanitizers
# make check      the tests; check-long: also those that take minutes

VERSION = 0.1.0
PREFIX = /usr/local
BINDIR = $(PREFIX)/bin
MANDIR = $(PREFIX)/share/man
FUZZ_TIME = 60
MODEL_RUNS = 2000
SOAK_TIME = 60

# In the order in which they are linked: what a connection runs comes last, next
# to libc, and so do the variables behind the buffer of relay.c. That spares each
# of its processes two page faults.
SRC = nsfwd.c conf.c gost.c spec.c key.c serve.c change.c service.c mapper.c \
	status.c life.c stdio.c listen.c crew.c worker.c udp.c flow.c datagram.c \
	proxy.c associate.c hop.c header.c netns.c sandbox.c relay.c title.c side.c \
	table.c tcp.c conn.c dial.c log.c
HDR = nsfwd.h mapper.h server.h hop.h relay.h udp.h netns.h
OBJ = $(SRC:%.c=obj/%.o)

ifeq ($(origin CC),default)
CC := $(if $(SAN),cc,$(shell command -v musl-gcc >/dev/null && echo musl-gcc || echo cc))
endif

export STD = -std=c11 -D_GNU_SOURCE -fno-common
export WARN = -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes \
	-Wmissing-prototypes -Wold-style-definition -Wvla -Wformat=2 \
	-Wwrite-strings -Wcast-qual -Wundef -Wnull-dereference \
	-Wimplicit-fallthrough -Wconversion -Wno-sign-conversion
HARDEN = -fstack-protector-strong -fstack-clash-protection -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2

ifdef SAN
# The sanitizers' own system calls are not those that the filters allow.
KIND = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all -DUNCONFINED
else ifneq ($(findstring musl,$(CC)),)
# musl-gcc does not look where the kernel's headers are.
KIND = -Os $(HARDEN) -idirafter /usr/include -idirafter /usr/include/$(shell gcc -dumpmachine)
# One mapping for code and constants: each is copied for every connection.
LINK = -static -s -Wl,-z,relro,-z,now,-z,noseparate-code
else
KIND = -O2 -fPIE $(HARDEN)
LINK = -pie -Wl,-z,relro,-z,now
endif

# The same sources give the same bytes, wherever they lie.
COMPILE = $(CC) $(STD) -DVERSION=\"$(VERSION)\" $(WARN) $(KIND) -ffile-prefix-map=$(CURDIR)=. $(CFLAGS)
export FLAGS = $(COMPILE) $(LINK) $(LDFLAGS)

all: nsfwd
nsfwd: $(OBJ)
	@echo '$(CC) -o $@ (obj/flags has the flags)'
	@$(COMPILE) $(LINK) -Wl,--build-id=none -o $@ $(OBJ) $(LDFLAGS)

obj/%.o: %.c $(HDR) Makefile obj/flags
	@echo '$(CC) -c $<'
	@$(COMPILE) -c -o $@ $<

# Changes when the compiler or a flag does, so that everything is made anew.
obj/flags: FORCE
	@mkdir -p obj
	@printf '%s\n' "$$FLAGS" | cmp -s - $@ || printf '%s\n' "$$FLAGS" >$@

static:
	$(MAKE) CC=musl-gcc nsfwd

check: nsfwd
	tests/run
check-long: nsfwd
	tests/run --long

# The random schedules of the relay, more of them; MODEL_SEED= from a given one.
model: nsfwd
	MODEL_RUNS=$(MODEL_RUNS) tests/run --show-output-of-passing-tests \
		tests/model.bats -f random
	MODEL_RUNS=$(MODEL_RUNS) tests/run --workers --show-output-of-passing-tests \
		tests/model.bats -f random

# Fails system calls one at a time, minutes of them; TORTURE= for its arguments.
torture: nsfwd
	tests/torture $(TORTURE)

# Ordinary load, with all that changes meanwhile; nothing may grow.
soak: nsfwd
	tests/soak $(SOAK_TIME)

# Under memcheck, the tests of VALGRIND: files and options for bats(1).
VALGRIND = tests/{relay,faults,udp}.bats -f 'T4 |T5 an|T6 |T7 a reset behind bytes|T9 urgent bytes stay|T13|T41|T43'
valgrind:
	mkdir -p obj/valgrind
	cp Makefile *.[ch] obj/valgrind
	$(MAKE) -C obj/valgrind CC=cc CFLAGS='-O1 -g -DUNCONFINED' nsfwd
	cc $(STD) -shared -fPIC -O1 -pthread -o obj/valgrind/clone.so tests/clone.c
	bash -c "tests/valgrind $(VALGRIND)"

# Other forwarders, as far as they are installed, in the same situations.
rivals: nsfwd
	tests/rivals

lint:
	tests/lint $(PART)

# The parsers of maps, and those of what strangers say, for FUZZ_TIME seconds or
# FUZZ_RUNS inputs each; obj/corpus keeps what they find interesting.
FUZZ = clang $(STD) -I. -O1 -g -fsanitize=fuzzer
FUZZ_SAN = $(FUZZ),address,undefined -fno-sanitize-recover=all
FUZZ_RUN = $(if $(FUZZ_RUNS),-runs=$(FUZZ_RUNS),-max_total_time=$(FUZZ_TIME)) \
	-verbosity=0 -print_final_stats=1 -artifact_prefix=obj/
FUZZ_SPEC = tests/fuzz_spec.c gost.c spec.c key.c side.c netns.c
FUZZ_DNS = tests/fuzz_dns.c dns/message.c dns/name.c dns/lexer.c dns/conf.c dns/result.c
FUZZ_HOP = tests/fuzz_hop.c associate.c dial.c datagram.c relay.c side.c netns.c log.c
fuzz:
	mkdir -p obj/corpus/spec obj/corpus/hop obj/corpus/dns
	$(FUZZ_SAN) -o obj/fuzz_spec $(FUZZ_SPEC)
	$(FUZZ_SAN) -o obj/fuzz_dns $(FUZZ_DNS)
	$(FUZZ_SAN) -o obj/fuzz_hop $(FUZZ_HOP)
	s=$$(date +%s); obj/fuzz_spec -max_len=512 $(FUZZ_RUN) obj/corpus/spec tests/corpus/spec && \
		echo "fuzz_spec: $$(($$(date +%s) - s)) s"
	s=$$(date +%s); obj/fuzz_hop -max_len=1200 $(FUZZ_RUN) obj/corpus/hop tests/corpus/hop && \
		echo "fuzz_hop: $$(($$(date +%s) - s)) s"
	s=$$(date +%s); obj/fuzz_dns -max_len=1400 $(FUZZ_RUN) obj/corpus/dns tests/corpus/dns && \
		echo "fuzz_dns: $$(($$(date +%s) - s)) s"

# What of the parsers the corpora reach, those of obj/ included.
FUZZ_COVER = $(FUZZ) -fprofile-instr-generate -fcoverage-mapping
coverage:
	mkdir -p obj/corpus/spec obj/corpus/hop obj/corpus/dns
	$(FUZZ_COVER) -o obj/cover_spec $(FUZZ_SPEC)
	$(FUZZ_COVER) -o obj/cover_hop $(FUZZ_HOP)
	$(FUZZ_COVER) -o obj/cover_dns $(FUZZ_DNS)
	tests/coverage spec.c key.c side.c gost.c hop.c header.c proxy.c \
		dns/message.c dns/name.c dns/lexer.c dns/conf.c

# The stub resolver of dns/ alone: what tests/dns.bats asks, one for each libc,
# and one with sanitizers.
DNS = $(wildcard dns/*.c) base/clock.c
DNS_DEP = tests/dns_query.c $(DNS) $(wildcard dns/*.h) base/clock.h Makefile
DNS_CC = $(STD) $(WARN) -I. -o $@ tests/dns_query.c $(DNS)
dns-query: obj/dns_query obj/dns_query.san $(if $(shell command -v musl-gcc),obj/dns_query.musl)
obj/dns_query: $(DNS_DEP)
	@mkdir -p obj
	cc -O2 $(DNS_CC)
obj/dns_query.san: $(DNS_DEP)
	@mkdir -p obj
	cc -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all $(DNS_CC)
obj/dns_query.musl: $(DNS_DEP)
	@mkdir -p obj
	musl-gcc -Os -static -idirafter /usr/include \
		-idirafter /usr/include/$(shell gcc -dumpmachine) $(DNS_CC)

demo: nsfwd
	sh tests/demo.sh
bench: nsfwd
	bench/run

format:
	clang-format -i $(wildcard *.[ch] base/*.[ch] dns/*.[ch] tests/*.[ch] bench/*.c)

install: nsfwd
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(MANDIR)/man1
	install -m 755 nsfwd $(DESTDIR)$(BINDIR)/nsfwd
	install -m 644 man/nsfwd.1 $(DESTDIR)$(MANDIR)/man1/nsfwd.1
	@echo 'units, init scripts, bash completion and an example are in contrib/'

uninstall:
	rm -f $(DESTDIR)$(BINDIR)/nsfwd $(DESTDIR)$(MANDIR)/man1/nsfwd.1

clean:
	rm -rf nsfwd obj tests/__pycache__ nsfwd-*.tar.gz

dist:
	git archive --prefix=nsfwd-$(VERSION)/ -o nsfwd-$(VERSION).tar.gz HEAD

.PHONY: all dns-query static check check-long model torture soak valgrind rivals lint fuzz coverage demo bench format install \
	uninstall clean dist FORCE
