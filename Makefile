# The only makefile; no recursion. BUILD=release (default), asan or fuzz.
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
# Only clang has the coverage-guided fuzzer.
CC := clang
# Sources recognize the sanitizer by gcc's macro.
OPT := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -D__SANITIZE_ADDRESS__
else
B := build
OPT := -O2 -fno-plt -fno-omit-frame-pointer
endif

PKGS := libuv sqlite3 msgpack gnutls jansson smartcols yaml-0.1 zlib
# The guard reads public fields of struct raft: no other version works (raftlog/README.md).
RAFT := $(shell pkg-config --exact-version=0.15.0 raft 2>/dev/null && echo ok)
WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
	-Wimplicit-fallthrough -Wswitch-enum -Wformat=2 -Wundef -Wvla -Wpointer-arith -Wno-format-truncation -Werror
ifeq ($(BUILD),fuzz)
WARN := -w # the gcc builds show the warnings
endif
# -iquote, not -I: limits.h and sched.h are also system headers.
CFLAGS := -std=gnu17 -g $(OPT) $(WARN) -D_GNU_SOURCE -DBORG_VERSION='"$(VERSION)"' \
	$(addprefix -iquote ,libcell/base libcell/model libcell/sched libcell/proto libcell/io raftlog) \
	$(shell pkg-config --cflags $(PKGS)) $(EXTRA_CFLAGS)
CHECK_LIBS := $(shell pkg-config --libs check 2>/dev/null)
LDLIBS := $(shell pkg-config --libs $(PKGS) raft) -ljsonnet -lpthread -lm

comma := ,
quoted = '$(subst ','\'',$(1))'
# Each step prints a line; `make V=1` shows the commands.
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

.PHONY: all run test sim soak storm bench bench-abuse bench-sched unit golden e2e chaos fuzz fuzz-programs shim-releases older-release check-asan lint arch tidy fmt doc install clean help flags test-programs need-raft
.SECONDARY:

all: need-raft $(addprefix $(B)/,$(PROGRAMS)) $(B)/borg-shim ## build the programs, in build/

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
SHIM_SOURCES := $(call src,$(SHIM)) borglet/processes.c borglet/shim_format.c
SHIM_HEADERS := $(wildcard $(SHIM)/*.h borglet/shim_proto.h borglet/processes.h)
shim = $(CC) -std=gnu17 -O2 -g $(WARN) -D_GNU_SOURCE $(1) -iquote borglet -static $(SHIM_SOURCES)
$(B)/borg-shim: $(SHIM_SOURCES) $(SHIM_HEADERS)
	@mkdir -p $(@D)
	$(call run,LD $@,$(call shim) -o $@)

# Borglets and shims of two other releases, for tests of several releases side by side: `next` has a
# newer version as well, `later` shares no version with this release (borglet/shim_proto.h).
RELEASES := next later
VERSIONS_next := -DSHIM_VERSION_MAX=5
VERSIONS_later := -DSHIM_VERSION_MIN=6 -DSHIM_VERSION_MAX=6
define release
$(B)/obj/$(1)/%.o: %.c
	@mkdir -p $$(@D)
	$$(call run,CC $$< ($(1)),$$(CC) $$(CFLAGS) $$(VERSIONS_$(1)) -MMD -MP -c $$< -o $$@)
$(B)/$(1)/borglet.a: $(patsubst borglet/%.c,$(B)/obj/$(1)/borglet/%.o,$(filter-out %/main.c,$(call src,borglet)))
	@mkdir -p $$(@D)
	$$(call run,AR $$@,rm -f $$@ && ar rcs $$@ $$^)
$(B)/$(1)/borglet: $(B)/obj/$(1)/borglet/main.o $(B)/$(1)/borglet.a $(B)/libcell.a
	$$(call run,LD $$@,$$(CC) $$(CFLAGS) $$^ -o $$@ $$(LDLIBS))
$(B)/$(1)/borg-shim: $(SHIM_SOURCES) $(SHIM_HEADERS)
	@mkdir -p $$(@D)
	$$(call run,LD $$@,$$(call shim,$$(VERSIONS_$(1))) -o $$@)
$(B)/$(1)/shim_start: $(B)/obj/$(1)/test/e2e/shim_start.o $(B)/$(1)/borglet.a $(B)/libcell.a
	$$(call run,LD $$@,$$(CC) $$(CFLAGS) $$^ -o $$@ $$(LDLIBS))
$(B)/obj/$(1)/test/%.o $(B)/obj/test/unit/test_shim_$(1).o: CFLAGS += -iquote borglet -iquote test $$(VERSIONS_$(1))
$(B)/test/unit/test_shim_$(1): $(B)/$(1)/borglet.a
endef
$(foreach r,$(RELEASES),$(eval $(call release,$(r))))
RELEASE_BINS := $(foreach r,$(RELEASES),$(addprefix $(B)/$(r)/,borglet borg-shim shim_start))
shim-releases: $(RELEASE_BINS) ## borglets and shims of other releases, for tests

$(B)/test/%: $(B)/obj/test/%.o $(B)/raftlog.a $(B)/libcell.a
	@mkdir -p $(@D)
	$(call run,LD $@,$(CC) $(CFLAGS) $< $(filter-out $(B)/raftlog.a $(B)/libcell.a,$(filter %.a,$^)) \
		$(B)/raftlog.a $(B)/libcell.a -o $@ $(CHECK_LIBS) $(LDLIBS))
$(B)/obj/test/%.o: CFLAGS += $(shell pkg-config --cflags check) $(addprefix -iquote ,borgmaster borglet cli test)

UNIT_BINS := $(patsubst test/unit/%.c,$(B)/test/unit/%,$(filter test/unit/test_%,$(UNIT)))
BENCH_BINS := $(patsubst test/bench/%.c,$(B)/test/bench/%,$(BENCH))
TOOL_BINS := $(patsubst test/e2e/%.c,$(B)/test/e2e/%,$(TOOLS))

# A unit test links the library and, if it is named after a program, the archive of that program.
$(filter $(B)/test/unit/test_borgmaster_%,$(UNIT_BINS)): $(B)/borgmaster.a
$(filter $(B)/test/unit/test_borglet_%,$(UNIT_BINS)): $(B)/borglet.a $(B)/borg-shim
$(filter %/test_borglet_versions %/test_shim_next %/test_shim_later,$(UNIT_BINS)): | $(RELEASE_BINS) $(B)/borg-shim $(B)/test/e2e/shim_start
$(B)/test/e2e/shim_start: $(B)/borglet.a
$(filter $(B)/test/unit/test_cli_%,$(UNIT_BINS)): $(B)/borgctl.a
$(B)/test/unit/test_linear $(B)/test/unit/test_chaos: $(B)/chaos.a
# The chaos test without its main().
$(B)/chaos.a: $(call obj,$(filter-out %/chaos.c,$(call src,test/chaos)))
$(B)/test/chaos/chaos: $(B)/chaos.a
$(B)/test/unit/test_borgmaster_stale: $(B)/borglet.a # both ends of a link
$(B)/test/unit/test_sim_breaks: $(B)/test/sim/sim
# A fuzz target links all archives; libFuzzer runs it or, in the test suite, its driver.
FUZZ_TARGETS := $(patsubst test/fuzz/fuzz_%.c,%,$(filter test/fuzz/fuzz_%,$(call src,test/fuzz)))
FUZZ_BINS := $(FUZZ_TARGETS:%=$(B)/test/fuzz/fuzz_%)
$(FUZZ_BINS): $(B)/test/fuzz/fuzz_%: $(B)/obj/test/fuzz/fuzz_%.o $(if $(filter fuzz,$(BUILD)),,$(B)/obj/test/fuzz/driver.o) \
		$(B)/borgctl.a $(B)/borglet.a $(B)/borgmaster.a $(B)/raftlog.a $(B)/libcell.a
	@mkdir -p $(@D)
	$(call run,LD $@,$(CC) $(CFLAGS) $(if $(filter fuzz,$(BUILD)),-fsanitize=fuzzer) $^ -o $@ $(CHECK_LIBS) $(LDLIBS))
# Program that writes the initial inputs of fuzz_proto.
FUZZ_BINS += $(B)/test/fuzz/seeds
# Code shared by the benchmarks.
$(B)/bench.a: $(call obj,$(call src,test/bench/lib))
$(BENCH_BINS): $(B)/bench.a
# Benchmarks of the store alone.
$(B)/test/bench/big_cell $(B)/test/bench/cell_parts $(B)/test/bench/turns: $(B)/borgmaster.a
# Benchmarks that use the simulator.
$(B)/test/bench/sched $(B)/test/bench/sched_pack: $(B)/borgctl.a
# The simulated machines use the borglet's own links.
$(B)/test/bench/swarm: $(B)/borglet.a

# The simulator links the product's own objects. Its own objects come first on the link line and
# define everything that touches the outside world, so that the linker does not take these symbols
# from archives and libraries (test/sim/README.md). Functions that breaks.c and world_cell.c
# intercept are wrapped.
SIM_WRAPS := cell_apply_go_on raftlog_open $(shell sed -n 's/^WRAP.[^,]*, \([a-z_]*\),.*/\1/p' test/sim/breaks.c)
$(B)/test/sim/sim: $(call obj,$(SIM)) $(B)/obj/test/chaos/linear.o $(B)/borgmaster.a $(B)/borglet.a $(B)/raftlog.a $(B)/libcell.a
	@mkdir -p $(@D)
	$(call run,LD $@,$(CC) $(CFLAGS) $(SIM_WRAPS:%=-Wl$(comma)--wrap=%) $^ -o $@ $(CHECK_LIBS) $(LDLIBS))

# The release before this one, for tests of two releases in one cell: the same sources without what
# the latest format added (CELL_FORMAT in libcell/base/limits.h).
older-release: ## build the release before this one, in build/older
	@$(MAKE) --no-print-directory B=$(B)/older EXTRA_CFLAGS="$(EXTRA_CFLAGS) -DCELL_FORMAT=1" all

test-programs: all older-release $(RELEASE_BINS) $(UNIT_BINS) $(FUZZ_BINS) $(BENCH_BINS) $(TOOL_BINS) $(B)/test/sim/sim $(B)/test/chaos/chaos

run: ## install missing packages, start a cell and show its jobs
	scripts/run
test: ## install missing packages, run every test
	scripts/test
unit: $(UNIT_BINS) ## run unit tests and golden stories only
	scripts/test-run --build $(B) unit
e2e: test-programs ## run the stories with the real programs under faults
	scripts/test-run --build $(B) e2e
sim: $(B)/test/sim/sim ## run a cell on virtual time; SEED=n: only this seed, with all log lines
	$(if $(SEED),$(B)/test/sim/sim --seed $(SEED) --trace,scripts/test-run --build $(B) sim)
CHAOS_SECONDS ?= 600
chaos: all $(B)/test/chaos/chaos ## run a real cell under kills, partitions, full disks, wrong clocks; CHAOS_SECONDS, CHAOS_SEED
	$(B)/test/chaos/chaos --seconds $(CHAOS_SECONDS) $(if $(CHAOS_SEED),--seed $(CHAOS_SEED))
soak: $(B)/test/sim/sim ## run simulation seeds until stopped, from SEED=n on; failures are kept in build/sim/failed
	$(B)/test/sim/sim --soak --jobs $(shell nproc) --seed $(if $(SEED),$(SEED),$(shell date +%s)) --keep $(B)/sim/failed
check-asan: ## run every test under AddressSanitizer and UBSan
	$(MAKE) BUILD=asan test-programs
	scripts/test-run --build build/asan all
bench: all $(BENCH_BINS) ## measure the figures of the README
	scripts/bench
bench-abuse: all $(BENCH_BINS) ## measure the latency of one user under each kind of attack by another identity
	scripts/bench $(if $(QUICK),--quick) abuse
bench-cell: all $(BENCH_BINS) ## measure five masters against etcd, and with a million tasks: failover, restart, memory
	scripts/bench $(if $(QUICK),--quick) etcd commands failover freeze big
bench-sched: $(B)/test/bench/sched $(B)/test/bench/sched_pack ## measure the scheduler alone, on one core; DATA_DIR: directory of traces to pack too
	$(B)/test/bench/sched $(if $(QUICK),--quick)
	$(B)/test/bench/sched_pack $(if $(QUICK),--quick)
storm: $(B)/test/unit/test_raftlog_storm ## run 1,500 random fault schedules over five Raft logs; STORM_FIRST, STORM_SEEDS
	STORM_SEEDS=$(or $(STORM_SEEDS),1500) STORM_BLOWS=14 $<
fuzz: ## fuzz every target for SECONDS; failing inputs are left in build/fuzz
	$(MAKE) BUILD=fuzz fuzz-programs
	scripts/fuzz --seconds $(or $(SECONDS),30) $(TARGETS)
fuzz-programs: $(FUZZ_BINS)
lint: all ## check include table, purity, sizes, clang-format, cppcheck, shellcheck
	scripts/lint --build $(B)
arch: all
	scripts/arch --build $(B)
tidy:
	scripts/tidy
fmt: ## format every source
	clang-format -i $$(git ls-files '*.c' '*.h')
doc: all ## doc/job-spec.md, from the table of fields
	$(B)/borgctl help submit --page > doc/job-spec.md
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
