# Everything is built from here; no recursion. BUILD=release (default), asan or fuzz.
# `make help` prints the targets.

BUILD ?= release
VERSION := 0.1.0
PREFIX ?= /usr/local
CC ?= gcc

ifeq ($(BUILD),asan)
B := build/asan
OPT := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
else ifeq ($(BUILD),fuzz)
B := build/fuzz
# clang has the fuzzer that follows coverage.
CC := clang
# The macro by which sources know the sanitizer is gcc's.
OPT := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -D__SANITIZE_ADDRESS__
else
B := build
OPT := -O2 -fno-plt -fno-omit-frame-pointer
endif

PKGS := libuv sqlite3 msgpack gnutls jansson smartcols yaml-0.1 zlib
# The guard reads public fields of struct raft: exactly this version or no build (raftlog/README.md).
RAFT := $(shell pkg-config --exact-version=0.15.0 raft 2>/dev/null && echo ok)
WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
	-Wimplicit-fallthrough -Wswitch-enum -Wformat=2 -Wundef -Wvla -Wpointer-arith -Wno-format-truncation -Werror
ifeq ($(BUILD),fuzz)
WARN := -w # gcc judges
endif
# -iquote, not -I: limits.h and sched.h are also names of the system.
CFLAGS := -std=gnu17 -g $(OPT) $(WARN) -D_GNU_SOURCE -DBORG_VERSION='"$(VERSION)"' \
	$(addprefix -iquote ,libcell/base libcell/model libcell/sched libcell/proto libcell/io raftlog) \
	$(shell pkg-config --cflags $(PKGS)) $(EXTRA_CFLAGS)
CHECK_LIBS := $(shell pkg-config --libs check 2>/dev/null)
LDLIBS := $(shell pkg-config --libs $(PKGS) raft) -ljsonnet -lpthread -lm

comma := ,
quoted = '$(subst ','\'',$(1))'
# A line per step; `make V=1` shows the commands.
run = @echo '  $(1)'; $(if $(V),set -x;) $(2)
src = $(wildcard $(1)/*.c)
obj = $(patsubst %.c,$(B)/obj/%.o,$(1))

LIBCELL := $(foreach d,base model sched proto io,$(call src,libcell/$(d)))
RAFTLOG := $(call src,raftlog)
PROGRAMS := borgmaster borglet borgctl
SHIM := borglet/shim
UNIT := $(call src,test/unit)
BENCH := $(call src,test/bench)
TOOLS := $(call src,test/e2e)
SIM := $(call src,test/sim)

.PHONY: all run test sim soak storm bench bench-abuse bench-sched unit golden e2e chaos fuzz fuzz-programs check-asan lint arch tidy fmt install clean help flags test-programs need-raft
.SECONDARY:

all: need-raft $(addprefix $(B)/,$(PROGRAMS)) $(B)/borg-shim ## the programs, in build/

need-raft:
	@test "$(RAFT)" = ok || { echo "libraft-dev 0.15.0 is needed exactly (raftlog/README.md); run scripts/deps" >&2; exit 1; }

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call run,CC $<,$(CC) $(CFLAGS) -MMD -MP -c $< -o $@)

$(B)/libcell.a: $(call obj,$(LIBCELL))
$(B)/raftlog.a: $(call obj,$(RAFTLOG))
$(B)/borgmaster.a: $(call obj,$(filter-out %/main.c,$(call src,borgmaster)))
$(B)/borglet.a: $(call obj,$(filter-out %/main.c,$(call src,borglet)))
$(B)/borgctl.a: $(call obj,$(filter-out %/main.c,$(call src,cli)))
$(B)/%.a:
	@rm -f $@
	$(call run,AR $@,ar rcs $@ $^)

# The SQL schema is compiled into borgmaster as a string.
$(B)/gen/schema_sql.h: borgmaster/schema.sql
	@mkdir -p $(@D)
	@sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/"/' -e 's/$$/\\n"/' $< > $@
$(B)/obj/borgmaster/%.o: CFLAGS += -iquote $(B)/gen
$(call obj,$(call src,borgmaster)): $(B)/gen/schema_sql.h

$(B)/borgmaster: $(B)/obj/borgmaster/main.o $(B)/borgmaster.a $(B)/raftlog.a $(B)/libcell.a
	$(call run,LD $@,$(CC) $(CFLAGS) $^ -o $@ $(LDLIBS))
$(B)/borglet: $(B)/obj/borglet/main.o $(B)/borglet.a $(B)/libcell.a
	$(call run,LD $@,$(CC) $(CFLAGS) $^ -o $@ $(LDLIBS))
$(B)/borgctl: $(B)/obj/cli/main.o $(B)/borgctl.a $(B)/libcell.a
	$(call run,LD $@,$(CC) $(CFLAGS) $^ -o $@ $(LDLIBS))
# One shim runs per task: static and without libraries, 60 kB of private memory each.
$(B)/borg-shim: $(call src,$(SHIM)) borglet/processes.c
	@mkdir -p $(@D)
	$(call run,LD $@,$(CC) -std=gnu17 -O2 -g $(WARN) -D_GNU_SOURCE -iquote borglet -static $(filter %.c,$^) -o $@)
$(B)/borg-shim: $(wildcard $(SHIM)/*.h borglet/shim_proto.h borglet/processes.h)

$(B)/test/%: $(B)/obj/test/%.o $(B)/raftlog.a $(B)/libcell.a
	@mkdir -p $(@D)
	$(call run,LD $@,$(CC) $(CFLAGS) $< $(filter-out $(B)/raftlog.a $(B)/libcell.a,$(filter %.a,$^)) \
		$(B)/raftlog.a $(B)/libcell.a -o $@ $(CHECK_LIBS) $(LDLIBS))
$(B)/obj/test/%.o: CFLAGS += $(shell pkg-config --cflags check) $(addprefix -iquote ,borgmaster borglet cli test)

UNIT_BINS := $(patsubst test/unit/%.c,$(B)/test/unit/%,$(filter test/unit/test_%,$(UNIT)))
BENCH_BINS := $(patsubst test/bench/%.c,$(B)/test/bench/%,$(BENCH))
TOOL_BINS := $(patsubst test/e2e/%.c,$(B)/test/e2e/%,$(TOOLS))

# A unit test links the library, and the archive of the program it is named after, if any.
$(filter $(B)/test/unit/test_borgmaster_%,$(UNIT_BINS)): $(B)/borgmaster.a
$(filter $(B)/test/unit/test_borglet_%,$(UNIT_BINS)): $(B)/borglet.a $(B)/borg-shim
$(filter $(B)/test/unit/test_cli_%,$(UNIT_BINS)): $(B)/borgctl.a
$(B)/test/unit/test_linear $(B)/test/unit/test_chaos: $(B)/chaos.a
# The chaos test but for its main().
$(B)/chaos.a: $(call obj,$(filter-out %/chaos.c,$(call src,test/chaos)))
$(B)/test/chaos/chaos: $(B)/chaos.a
$(B)/test/unit/test_borgmaster_stale: $(B)/borglet.a # both ends of a link
$(B)/test/unit/test_sim_breaks: $(B)/test/sim/sim
# A target is linked with all there is, and run by libFuzzer or, in the suite, by its driver.
FUZZ_TARGETS := $(patsubst test/fuzz/fuzz_%.c,%,$(filter test/fuzz/fuzz_%,$(call src,test/fuzz)))
FUZZ_BINS := $(FUZZ_TARGETS:%=$(B)/test/fuzz/fuzz_%)
$(FUZZ_BINS): $(B)/test/fuzz/fuzz_%: $(B)/obj/test/fuzz/fuzz_%.o $(if $(filter fuzz,$(BUILD)),,$(B)/obj/test/fuzz/driver.o) \
		$(B)/borgctl.a $(B)/borglet.a $(B)/borgmaster.a $(B)/raftlog.a $(B)/libcell.a
	@mkdir -p $(@D)
	$(call run,LD $@,$(CC) $(CFLAGS) $(if $(filter fuzz,$(BUILD)),-fsanitize=fuzzer) $^ -o $@ $(CHECK_LIBS) $(LDLIBS))
# Writes the inputs that fuzz_proto begins with.
FUZZ_BINS += $(B)/test/fuzz/seeds
# What the benches share.
$(B)/bench.a: $(call obj,$(call src,test/bench/lib))
$(BENCH_BINS): $(B)/bench.a
# They measure the store by itself.
$(B)/test/bench/big_cell $(B)/test/bench/cell_parts $(B)/test/bench/turns: $(B)/borgmaster.a
# They measure through the simulator.
$(B)/test/bench/sched $(B)/test/bench/sched_pack: $(B)/borgctl.a
# Its machines have the borglet's own links.
$(B)/test/bench/swarm: $(B)/borglet.a

# The simulator: the product's own objects, but what touches the world is defined by its objects,
# which come first, so the archives' and libraries' are not taken (test/sim/README.md).
# What breaks.c and world_cell.c stand in front of is wrapped.
SIM_WRAPS := cell_apply_go_on raftlog_open $(shell sed -n 's/^WRAP.[^,]*, \([a-z_]*\),.*/\1/p' test/sim/breaks.c)
$(B)/test/sim/sim: $(call obj,$(SIM)) $(B)/obj/test/chaos/linear.o $(B)/borgmaster.a $(B)/borglet.a $(B)/raftlog.a $(B)/libcell.a
	@mkdir -p $(@D)
	$(call run,LD $@,$(CC) $(CFLAGS) $(SIM_WRAPS:%=-Wl$(comma)--wrap=%) $^ -o $@ $(CHECK_LIBS) $(LDLIBS))

test-programs: all $(UNIT_BINS) $(FUZZ_BINS) $(BENCH_BINS) $(TOOL_BINS) $(B)/test/sim/sim $(B)/test/chaos/chaos

run: ## install what is missing, start a cell and show it at work
	scripts/run
test: ## install what is missing, run every test
	scripts/test
unit: $(UNIT_BINS) ## unit tests and golden stories only
	scripts/test-run --build $(B) unit
e2e: test-programs ## the real binaries, killed and cut off
	scripts/test-run --build $(B) e2e
sim: $(B)/test/sim/sim ## a cell on virtual time; SEED=n: that history, every line of it
	$(if $(SEED),$(B)/test/sim/sim --seed $(SEED) --trace,scripts/test-run --build $(B) sim)
CHAOS_SECONDS ?= 600
chaos: all $(B)/test/chaos/chaos ## a real cell under kills, cuts, full disks, wrong clocks; CHAOS_SECONDS, CHAOS_SEED
	$(B)/test/chaos/chaos --seconds $(CHAOS_SECONDS) $(if $(CHAOS_SEED),--seed $(CHAOS_SEED))
soak: $(B)/test/sim/sim ## seeds of it until stopped; SEED=n: from there; those that fail stay in build/sim/failed
	$(B)/test/sim/sim --soak --jobs $(shell nproc) --seed $(if $(SEED),$(SEED),$(shell date +%s)) --keep $(B)/sim/failed
check-asan: ## every test again under AddressSanitizer and UBSan
	$(MAKE) BUILD=asan test-programs
	scripts/test-run --build build/asan all
bench: all $(BENCH_BINS) ## the figures of the README
	scripts/bench
bench-abuse: all $(BENCH_BINS) ## one user, machine or stranger attacks, way by way: what another user waits
	scripts/bench $(if $(QUICK),--quick) abuse
bench-cell: all $(BENCH_BINS) ## five masters beside etcd, and with a million tasks: failover, restart, memory
	scripts/bench $(if $(QUICK),--quick) etcd commands failover freeze big
bench-sched: $(B)/test/bench/sched $(B)/test/bench/sched_pack ## the scheduler alone, on one core; DATA_DIR: traces to pack too
	$(B)/test/bench/sched $(if $(QUICK),--quick)
	$(B)/test/bench/sched_pack $(if $(QUICK),--quick)
storm: $(B)/test/unit/test_raftlog_storm ## 1,500 storms over five Raft logs; STORM_FIRST, STORM_SEEDS choose others
	STORM_SEEDS=$(or $(STORM_SEEDS),1500) STORM_BLOWS=14 $<
fuzz: ## hostile bytes, commands and files, SECONDS long each target; finds are left in build/fuzz
	$(MAKE) BUILD=fuzz fuzz-programs
	scripts/fuzz --seconds $(or $(SECONDS),30) $(TARGETS)
fuzz-programs: $(FUZZ_BINS)
lint: all ## include table, purity, sizes, clang-format, cppcheck, shellcheck
	scripts/lint --build $(B)
arch: all
	scripts/arch --build $(B)
tidy:
	scripts/tidy
fmt: ## format every source
	clang-format -i $$(git ls-files '*.c' '*.h')
install: all ## to $(DESTDIR)$(PREFIX)
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(addprefix $(B)/,$(PROGRAMS)) $(B)/borg-shim $(DESTDIR)$(PREFIX)/bin
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	$(B)/borgctl help --man > $(DESTDIR)$(PREFIX)/share/man/man1/borgctl.1
flags: # for scripts/arch
	@printf '%s\n' $(call quoted,$(CFLAGS))
clean: ## remove what was built
	rm -rf build
help:
	@grep -hE '^[a-z0-9-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
