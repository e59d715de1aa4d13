/*
 * crew.h - the real programs of a cell, started, killed, stopped and started again.
 *
 * In a closed sandbox each has a node of its own in the network, and each master a small file
 * system; in an open one all are on loopback.
 */
#ifndef CHAOS_CREW_H
#define CHAOS_CREW_H

#include "cell_file.h"
#include "net.h"
#include "sandbox.h"

enum {
    CREW_MASTERS = 5,
    CREW_BORGLETS = 5,
    CREW_COUNT = CREW_MASTERS + CREW_BORGLETS,
    CREW_DISK_MIB = 256,
    CREW_PATH_MAX = CELL_PATH_MAX + 128
};

struct member {
    char name[CELL_NAME_MAX + 1]; /* "master1", "m1"; number 0 and CREW_MASTERS of the crew */
    char dir[CREW_PATH_MAX];
    pid_t pid;           /* 0: it does not run */
    bool is_stopped;     /* SIGSTOP */
    bool is_killed;      /* by us: no wonder that it ends */
    bool was_started;    /* a master whose directory is empty later is no longer the same */
    uint64_t started_ms; /* clock_mono_ms() */
    uint64_t ended_ms;
    uint64_t excused_ms; /* when the last such fault was over */
    /* Faults under way: */
    uint32_t away;    /* that keep it from being started again */
    uint32_t stops;   /* that keep it stopped */
    uint32_t excuses; /* that may end it: a full disk */
};

struct crew {
    const char *dir;
    char programs[CREW_PATH_MAX]; /* where the binaries are */
    const char *faketime;         /* library that fakes the wall clock, NULL: none */
    enum sandbox_kind kind;
    struct net *net; /* of a closed sandbox */
    struct cell_file cell;
    struct member members[CREW_COUNT];
};

static inline bool crew_is_master(size_t member)
{
    return member < CREW_MASTERS;
}
/* The node of a member. */
static inline uint32_t crew_node(size_t member)
{
    return (uint32_t)member + 1;
}

/* Directories, addresses, certificates, cell.json; finds the library that fakes clocks. */
int crew_make(struct crew *crew, struct err *err) MUST_USE;
int crew_start(struct crew *crew, size_t member, struct err *err) MUST_USE;
void crew_signal(struct crew *crew, size_t member, int number); /* harmless when it does not run */
/* Whose process was that? Notes that it is gone; CREW_COUNT: nobody's. */
size_t crew_ended(struct crew *crew, pid_t pid);
/* Run borgctl as root with these words (NULL ends them), without waiting; its pid. */
pid_t crew_borgctl(const struct crew *crew, const char *const *words);
/* Copy what the masters have on their file systems, which end with the sandbox, to DIR/kept. */
void crew_keep(const struct crew *crew);
/* Ends every process in the borglet's node, tasks and shims too; returns how many. Closed only. */
size_t crew_machine_kill(struct crew *crew, size_t member);
/* An address for a replica in the place of a master that is gone. Closed only. */
void crew_place_find(const struct crew *crew, size_t member, struct cell_replica *ret);
/* Such a replica, with its number, takes the place; its directory is empty. */
int crew_place_take(struct crew *crew, size_t member, const struct cell_replica *replica,
                    struct err *err) MUST_USE;
/* Fill the master's file system, or take the filling away again. Closed only. */
void crew_disk_fill(struct crew *crew, size_t member, bool full);
/* The master's wall clock is `offset_s` off from now on. Needs `faketime`. */
void crew_clock_set(struct crew *crew, size_t member, int64_t offset_s);

#endif
