# nsfwd. GNU make.
#
# make            ./nsfwd, static with musl-gcc where that is installed, else with cc
# make CC=cc      ./nsfwd, an ordinary dynamic executable
# make SAN=1      ./nsfwd with the address and undefined behaviour sanitizers
# make check      the tests; check-long: also those that take minutes
# make lint       every compiler, analyser and format check
# make demo       two namespaces, a web server in one, a client in the other

VERSION = 0.1.0
PREFIX = /usr/local
BINDIR = $(PREFIX)/bin
MANDIR = $(PREFIX)/share/man
FUZZ_TIME = 60

SRC = nsfwd.c spec.c side.c serve.c listen.c tcp.c dial.c relay.c netns.c \
	sandbox.c log.c
HDR = nsfwd.h netns.h
OBJ = $(SRC:%.c=obj/%.o)

ifeq ($(origin CC),default)
CC := $(if $(SAN),cc,$(shell command -v musl-gcc >/dev/null && echo musl-gcc || echo cc))
endif

STD = -std=c11 -D_GNU_SOURCE -DVERSION=\"$(VERSION)\" -fno-common
WARN = -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes \
	-Wmissing-prototypes -Wold-style-definition -Wvla -Wformat=2 \
	-Wwrite-strings -Wcast-qual -Wundef -Wnull-dereference \
	-Wimplicit-fallthrough -Wconversion -Wno-sign-conversion
HARDEN = -fstack-protector-strong -fstack-clash-protection \
	-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
# musl-gcc does not look where the kernel's headers are.
MUSL = -idirafter /usr/include -idirafter /usr/include/$(shell gcc -dumpmachine)

ifdef SAN
KIND = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
	-fno-sanitize-recover=all
else ifneq ($(findstring musl,$(CC)),)
KIND = -Os $(HARDEN) $(MUSL)
LINK = -static -s -Wl,-z,relro,-z,now
else
KIND = -O2 -fPIE $(HARDEN)
LINK = -pie -Wl,-z,relro,-z,now
endif

# The same sources give the same bytes, wherever they lie.
COMPILE = $(CC) $(STD) $(WARN) $(KIND) -ffile-prefix-map=$(CURDIR)=. $(CFLAGS)
export FLAGS = $(COMPILE) $(LINK) $(LDFLAGS)

all: nsfwd

nsfwd: $(OBJ)
	$(COMPILE) $(LINK) -Wl,--build-id=none -o $@ $(OBJ) $(LDFLAGS)

obj/%.o: %.c $(HDR) Makefile obj/flags
	$(COMPILE) -c -o $@ $<

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

demo: nsfwd
	sh tests/demo.sh

# What each part of lint wants is as much an error as a compiler's.
LINT = lint-gcc lint-clang lint-analyzer lint-tidy lint-cppcheck lint-format \
	lint-man lint-shell
C = $(wildcard *.c tests/*.c)

lint: $(LINT)

lint-gcc:
	set -e; for f in $(C); do gcc $(STD) $(WARN) -I. -O2 $(HARDEN) -Werror -c -o /dev/null $$f; done

lint-clang:
	set -e; for f in $(C); do clang $(STD) $(WARN) -I. -O2 $(HARDEN) -Werror -c -o /dev/null $$f; done

lint-analyzer:
	set -e; for f in $(C); do gcc $(STD) -I. -O2 -fanalyzer -Werror -c -o /dev/null $$f; done

lint-tidy:
	set -e; for f in $(C); do clang-tidy --quiet $$f -- $(STD) -I. 2>/dev/null; done

# missingIncludeSystem: it does not read libc's headers, by its own advice.
# variableScope: variables are declared at the top of their function here.
lint-cppcheck:
	cppcheck --quiet --std=c11 -D_GNU_SOURCE -I. --inline-suppr \
		--enable=warning,style,performance,portability --error-exitcode=1 \
		--suppress=missingIncludeSystem --suppress=variableScope $(C)

lint-format:
	clang-format --dry-run -Werror $(wildcard *.[ch] tests/*.[ch])

lint-man:
	mandoc -Tlint -Wwarning man/nsfwd.1

lint-shell:
	shellcheck tests/*.sh tests/run .ci/run
	shellcheck -s bash tests/*.bash
	shellcheck -s bats tests/*.bats

format:
	clang-format -i $(wildcard *.[ch] tests/*.[ch])

install: nsfwd
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(MANDIR)/man1
	install -m 755 nsfwd $(DESTDIR)$(BINDIR)/nsfwd
	install -m 644 man/nsfwd.1 $(DESTDIR)$(MANDIR)/man1/nsfwd.1

uninstall:
	rm -f $(DESTDIR)$(BINDIR)/nsfwd $(DESTDIR)$(MANDIR)/man1/nsfwd.1

clean:
	rm -rf nsfwd obj nsfwd-*.tar.gz

dist:
	git archive --prefix=nsfwd-$(VERSION)/ -o nsfwd-$(VERSION).tar.gz HEAD

.PHONY: all static check check-long demo format install uninstall clean dist \
	lint $(LINT) FORCE
