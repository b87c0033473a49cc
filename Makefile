# GNU make
# make            ./nsfwd, static with musl-gcc where that is installed, else with cc
# make CC=cc      ./nsfwd, an ordinary dynamic executable
# make SAN=1      ./nsfwd with the address and undefined behaviour sanitizers
# make static     ./nsfwd by musl-gcc; ARCH=aarch64: for that machine
# make check      the tests; check-long: those that take minutes, too

VERSION = 1.0.0
PREFIX = /usr/local
BINDIR = $(PREFIX)/bin
DATADIR = $(PREFIX)/share
MANDIR = $(DATADIR)/man
DOCDIR = $(DATADIR)/doc/nsfwd
UNITDIR = $(PREFIX)/lib/systemd
FUZZ_TIME = 60
MODEL_RUNS = 2000
SOAK_TIME = 60

ROOMS = base container config dns proxy dial mapper tcp udp server view
ALL = $(sort $(wildcard *.c $(patsubst %,%/*.c,$(ROOMS))))
# What a process of a connection runs comes last, next to the libc, so that the
# process maps it in fewer page faults.
COLD = $(addprefix base/,advice.c anchor.c errname.c landlock.c log.c nearest.c) dial/why.c
HOT = $(filter proxy/%,$(ALL)) dns/files.c config/endpoint.c mapper/command.c tcp/conn.c tcp/fork.c \
	$(filter-out $(COLD),$(filter dial/% base/%,$(ALL))) relay.c
SRC = $(filter-out $(HOT),$(ALL)) $(HOT)
OBJ = $(SRC:%.c=obj/%.o)

# The machine that the program is for: `make ARCH=aarch64 static` cross-builds.
HOST := $(shell uname -m)
ARCH = $(HOST)
CROSS = $(if $(filter-out $(HOST),$(ARCH)),$(ARCH)-linux-gnu-)
MUSL = $(if $(CROSS),$(CROSS)gcc -specs=obj/$(ARCH)/musl.specs,musl-gcc)

ifeq ($(origin CC),default)
CC := $(if $(SAN),cc,$(shell command -v musl-gcc >/dev/null && echo musl-gcc || echo cc))
endif

export STD = -std=c11 -D_GNU_SOURCE -fno-common -I.
export WARN = -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes \
	-Wmissing-prototypes -Wold-style-definition -Wvla -Wformat=2 \
	-Wwrite-strings -Wcast-qual -Wundef -Wnull-dereference \
	-Wimplicit-fallthrough -Wconversion -Wno-sign-conversion
HARDEN = -fstack-protector-strong -fstack-clash-protection -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2

ifdef SAN
# The sanitizers make system calls that the filters do not allow.
KIND = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all -DNO_SECCOMP
else ifneq ($(findstring musl,$(CC)),)
# musl-gcc does not search the directories of the kernel's headers.
KIND = -Os $(HARDEN) $(if $(CROSS),,-idirafter /usr/include -idirafter /usr/include/$(shell gcc -dumpmachine))
# One mapping for code and constants, because fork copies each mapping.
LINK = -static -s -Wl,-z,relro,-z,now,-z,noseparate-code
else
KIND = -O2 -fPIE $(HARDEN)
LINK = -pie -Wl,-z,relro,-z,now
endif

# The binary does not depend on the directory of the sources.
COMPILE = $(CC) $(STD) -DVERSION=\"$(VERSION)\" $(WARN) $(KIND) -ffile-prefix-map='$(CURDIR)=.' $(CFLAGS)
export FLAGS = $(COMPILE) $(LINK) $(LDFLAGS)

all: nsfwd
nsfwd: $(OBJ)
	@echo '$(CC) -o $@ (obj/flags has the flags)'
	@$(COMPILE) $(LINK) -Wl,--build-id=none -o $@ $(OBJ) $(LDFLAGS)

obj/%.o: %.c Makefile obj/flags
	@mkdir -p $(@D)
	@echo '$(CC) -c $<'
	@$(COMPILE) -MMD -MP -c -o $@ $<

-include $(OBJ:.o=.d)

# Changes when the compiler or a flag does, so that all objects are rebuilt.
obj/flags: FORCE
	@mkdir -p obj
	@printf '%s\n' "$$FLAGS" | cmp -s - $@ || printf '%s\n' "$$FLAGS" >$@

static: $(if $(CROSS),obj/$(ARCH)/musl.specs)
	$(MAKE) CC='$(MUSL)' nsfwd
obj/$(ARCH)/musl.specs:
	tests/cross $(@D)

check: nsfwd
	tests/run
check-long: nsfwd
	tests/run --long

# More random schedules of the relay; MODEL_SEED= sets the first.
model: nsfwd
	MODEL_RUNS=$(MODEL_RUNS) tests/run --show-output-of-passing-tests \
		tests/model.bats -f random
	MODEL_RUNS=$(MODEL_RUNS) tests/run --workers --show-output-of-passing-tests \
		tests/model.bats -f random

# Fails each system call, which takes minutes; TORTURE= has the arguments.
torture: nsfwd
	tests/torture $(TORTURE)

# Ordinary load with reloads and lost namespaces; memory must not grow.
soak: nsfwd
	tests/soak $(SOAK_TIME)

# Tests under memcheck; VALGRIND has files and options for bats(1).
VALGRIND = tests/{relay,faults,udp}.bats -f 'T4 |T5 an|T6 |T7 a reset behind bytes|T9 urgent bytes stay|T13|T41|T43'
valgrind:
	mkdir -p obj/valgrind
	cp -r Makefile *.[ch] $(ROOMS) obj/valgrind
	$(MAKE) -C obj/valgrind CC=cc CFLAGS='-O1 -g -DNO_SECCOMP' nsfwd
	cc $(STD) -shared -fPIC -O1 -pthread -o obj/valgrind/clone.so tests/clone.c
	bash -c "tests/valgrind $(VALGRIND)"

# Compares nsfwd with the other forwarders that are installed.
rivals: nsfwd
	tests/rivals

lint:
	tests/lint $(PART)

# Fuzzes the parsers of maps, and those of proxy protocols, of DNS and of JSON,
# FUZZ_TIME seconds or FUZZ_RUNS inputs each; obj/corpus keeps new inputs.
FUZZ = clang $(STD) -O1 -g
FUZZ_SAN = -fsanitize=address,undefined -fno-sanitize-recover=all
FUZZERS = spec hop dns json
FUZZ_SPEC = $(filter-out nsfwd.c,$(SRC))
# fuzz_hop.c includes the files that it tests.
FUZZ_HOP = $(filter-out nsfwd.c proxy/forward.c proxy/hop.c proxy/proxy_protocol.c \
	proxy/server.c,$(SRC))
FUZZ_DNS = dns/message.c dns/name.c dns/lexer.c dns/conf.c dns/result.c
FUZZ_JSON = container/json.c container/http.c base/clock.c base/fd.c base/io.c
fuzz: $(FUZZERS:%=fuzz-%)
fuzz-%: obj/fuzz_%
	@mkdir -p obj/corpus/$*
	s=$$(date +%s); obj/fuzz_$* -max_len=$(FUZZ_LEN_$*) -verbosity=0 \
		$(if $(FUZZ_RUNS),-runs=$(FUZZ_RUNS),-max_total_time=$(FUZZ_TIME)) \
		-print_final_stats=1 -artifact_prefix=obj/ obj/corpus/$* tests/corpus/$* && \
		echo "fuzz_$*: $$(($$(date +%s) - s)) s"
FUZZ_LEN_spec = 512
FUZZ_LEN_hop = 1200
FUZZ_LEN_dns = 1400
FUZZ_LEN_json = 1024
obj/fuzz_spec: $(FUZZ_SPEC:%.c=obj/fuzz/%.o)
obj/fuzz_hop: $(FUZZ_HOP:%.c=obj/fuzz/%.o)
obj/fuzz_dns: $(FUZZ_DNS:%.c=obj/fuzz/%.o)
obj/fuzz_json: $(FUZZ_JSON:%.c=obj/fuzz/%.o)
$(FUZZERS:%=obj/fuzz_%): obj/fuzz_%: obj/fuzz/tests/fuzz_%.o
	$(FUZZ) $(FUZZ_SAN) -fsanitize=fuzzer -o $@ $^
obj/fuzz/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(FUZZ) $(FUZZ_SAN) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<
# fuzz_hop parses every prefix of an input, which would take three times as long if
# each comparison was reported.
obj/fuzz/proxy/%.o obj/fuzz/tests/fuzz_hop.o: FUZZ_SAN += \
	-fno-sanitize-coverage=trace-cmp,indirect-calls
-include $(wildcard obj/fuzz/*.d obj/fuzz/*/*.d)

# Coverage of the parsers by the corpora, those of obj/ included.
FUZZ_COVER = $(FUZZ) -fsanitize=fuzzer -fprofile-instr-generate -fcoverage-mapping
coverage:
	mkdir -p $(FUZZERS:%=obj/corpus/%)
	$(FUZZ_COVER) -o obj/cover_spec tests/fuzz_spec.c $(FUZZ_SPEC)
	$(FUZZ_COVER) -o obj/cover_hop tests/fuzz_hop.c $(FUZZ_HOP)
	$(FUZZ_COVER) -o obj/cover_dns tests/fuzz_dns.c $(FUZZ_DNS)
	$(FUZZ_COVER) -o obj/cover_json tests/fuzz_json.c $(FUZZ_JSON)
	tests/coverage map.c map_parse.c value.c key.c endpoint.c gost.c gost_key.c gost_scheme.c gost_url.c mask.c hop.c http.c body.c response.c socks.c proxy_protocol.c server.c forward.c auth.c \
		dns/message.c dns/name.c dns/lexer.c dns/conf.c container/json.c

# The stub resolver of dns/ alone: what tests/dns.bats asks, one for each libc,
# and one with sanitizers.
DNS = $(wildcard dns/*.c) base/clock.c base/errname.c
DNS_DEP = tests/dns_query.c $(DNS) $(wildcard dns/*.h) base/clock.h base/errname.h Makefile
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
# Writes bench/RESULTS.md, results.json and *.svg; takes a quarter of an hour.
bench: nsfwd
	bench/run --save

format:
	clang-format -i $(wildcard *.[ch] $(ROOMS:%=%/*.[ch]) tests/*.[ch] bench/*.[ch])

# Mode, source and destination of each file that is installed.
INSTALLED = 755:nsfwd:$(BINDIR)/nsfwd \
	644:contrib/nsfwd.service:$(UNITDIR)/system/nsfwd.service \
	644:contrib/nsfwd@.service:$(UNITDIR)/system/nsfwd@.service \
	644:contrib/nsfwd.user.service:$(UNITDIR)/user/nsfwd.service \
	644:contrib/nsfwd.sysusers:$(PREFIX)/lib/sysusers.d/nsfwd.conf \
	755:contrib/gost2nsfwd:$(BINDIR)/gost2nsfwd \
	644:contrib/_nsfwd:$(DATADIR)/zsh/site-functions/_nsfwd \
	644:contrib/nsfwd.bash:$(DATADIR)/bash-completion/completions/nsfwd \
	644:contrib/nsfwd.conf:$(DOCDIR)/examples/nsfwd.conf \
	644:contrib/nsfwd.default:$(DOCDIR)/examples/nsfwd.default \
	644:contrib/nsfwd-grafana.json:$(DOCDIR)/examples/nsfwd-grafana.json \
	644:README:$(DOCDIR)/README \
	$(foreach page,$(wildcard man/*.[1-9]),644:$(page):$(MANDIR)/man$(subst .,,$(suffix $(page)))/$(notdir $(page)))
EACH_INSTALLED = printf '%s\n' $(INSTALLED) | while IFS=: read -r mode from to

# Units have the path of the program replaced.
install: nsfwd
	@$(EACH_INSTALLED); do \
		echo "install $(DESTDIR)$$to" && \
		install -D -m "$$mode" "$$from" "$(DESTDIR)$$to" || exit; \
		case $$to in *.service) \
			sed -i 's|/usr/local/bin/nsfwd|$(BINDIR)/nsfwd|' "$(DESTDIR)$$to" ;; \
		esac; \
	done
	@echo 'scripts for OpenRC, sysv, runit and s6 are in contrib/'

# Directories that are empty then, too; but not those that each system has.
KEPT = $(if $(DESTDIR),,$(BINDIR) $(PREFIX)/lib $(DATADIR) $(MANDIR))
uninstall:
	@$(EACH_INSTALLED); do \
		rm -fv "$(DESTDIR)$$to" || exit; \
		dir=$${to%/*}; \
		while case " $(KEPT) " in *" $$dir "*) false ;; esac && \
			[ "$$dir" ] && rmdir "$(DESTDIR)$$dir" 2>/dev/null; do \
			dir=$${dir%/*}; \
		done; \
	done

# The Debian packages, in obj/deb: nsfwd, and nsfwd-static.
deb:
	tests/deb

clean:
	rm -rf nsfwd obj tests/__pycache__ nsfwd-*.tar.gz

# Boots a virtual machine with the packages, see tests/vm/run, and one of aarch64.
# As root; wants debootstrap, qemu-system-x86, qemu-system-arm, e2fsprogs and cpio;
# what debian/control names for the packages, gcc-aarch64-linux-gnu for aarch64.
vm: deb obj/vm/base.img
	tests/vm/aarch64
	tests/vm/run
obj/vm/base.img:
	tests/vm/image

# In obj/release: the tarball, static programs for two machines, SHA256SUMS.
release:
	tests/release

dist:
	git archive --prefix=nsfwd-$(VERSION)/ -o nsfwd-$(VERSION).tar.gz HEAD

.PHONY: all dns-query static check check-long model torture soak valgrind rivals lint fuzz coverage demo bench format install \
	uninstall deb release vm clean dist FORCE
