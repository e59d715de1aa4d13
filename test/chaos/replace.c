/*
 * replace.c - replace a master whose machine is lost.
 */
#include "replace.h"

#include "clock.h"

#include <signal.h>
#include <unistd.h>

enum { NUMBER_MS = 20000, MEMBER_MS = 60000, LOOK_MS = 100, AGAIN_MS = 300 };

/* Return the number that the cell has assigned to the replica at this address; 0: none yet. */
static uint64_t number_ask(struct conductor *c, size_t gone, const char *rpc)
{
    struct wire_rows CLEANUP(wire_rows_release) rows = {0};
    struct err err;
    char sql[192];
    snprintf(sql, sizeof sql, "SELECT id FROM replicas WHERE rpc = '%.100s'", rpc);
    if (conductor_query(c, (gone + 1) % CREW_MASTERS, sql, &rows, &err) != 0 || rows.row_count == 0)
        return 0;
    return (uint64_t)rows.values[0].integer;
}

static bool certificate_there(const struct conductor *c, uint64_t id)
{
    char path[CREW_PATH_MAX];
    snprintf(path, sizeof path, "%s/pki/master-%" PRIu64 ".key", c->dir, id);
    return access(path, R_OK) == 0;
}

static void pause_ms(struct conductor *c, uint64_t ms)
{
    for (uint64_t until = clock_mono_ms() + ms; clock_mono_ms() < until;)
        conductor_turn(c);
}

/* The command is refused while another replica is still recovering; the message says to retry. */
static void borgctl_run(struct conductor *c, const char *old, const char *addresses)
{
    const char *const words[] = {"--timeout", "60",     "cell",    "replace-replica",
                                 old,         "--addr", addresses, NULL};
    if (c->borgctl == 0)
        c->borgctl = crew_borgctl(&c->crew, words);
}

/* Start the new replica, which has a number and a certificate. */
static bool place_take(struct conductor *c, size_t member, const char *old, const char *addresses,
                       struct cell_replica *added)
{
    uint64_t deadline_ms = clock_mono_ms() + NUMBER_MS;
    struct err err;
    while (c->crew.members[member].pid != 0 || added->id == 0 || !certificate_there(c, added->id)) {
        if (clock_mono_ms() > deadline_ms)
            return false;
        added->id = number_ask(c, member, added->rpc);
        if (added->id == 0)
            borgctl_run(c, old, addresses);
        pause_ms(c, AGAIN_MS);
    }
    if (crew_place_take(&c->crew, member, added, &err) != 0)
        PANIC("%s", err.msg);
    return true;
}

void replace_run(struct conductor *c, size_t member)
{
    struct cell_replica added;
    char old[24], addresses[2 * CELL_ADDR_MAX + 2];
    uint64_t deadline_ms = clock_mono_ms() + MEMBER_MS;
    crew_place_find(&c->crew, member, &added);
    snprintf(old, sizeof old, "%" PRIu64, c->crew.cell.replicas[member].id);
    snprintf(addresses, sizeof addresses, "%s,%s", added.rpc, added.raft);
    c->crew.members[member].away++;
    crew_signal(&c->crew, member, SIGKILL);
    fprintf(c->faults.log, "%8" PRIu64 " replica %s is replaced by one at %s\n",
            conductor_now_ms(c), old, addresses);
    bool taken = place_take(c, member, old, addresses, &added);
    c->crew.members[member].away--;
    while (taken && c->borgctl != 0 && clock_mono_ms() < deadline_ms)
        pause_ms(c, LOOK_MS);
    fprintf(c->faults.log, "%8" PRIu64 " replica %" PRIu64 " replaced it\n", conductor_now_ms(c),
            added.id);
    c->replaced++;
    if (!taken || c->borgctl != 0 || c->borgctl_status != 0)
        conductor_violation(c, "replica %s was not replaced within %d s; see log/borgctl.log", old,
                            MEMBER_MS / 1000);
}
