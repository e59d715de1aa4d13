/*
 * crew.h - the programs of a real cell: start, kill, stop and restart them.
 *
 * In a closed sandbox each member has its own network node, and each master a small file system; in
 * an open one all are on loopback.
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
    pid_t pid;       /* 0: it does not run */
    bool is_stopped; /* SIGSTOP */
    bool is_killed;  /* by us, so its end is expected */
    /* a master that is found with an empty directory later has lost its data */
    bool was_started;
    uint64_t started_ms; /* clock_mono_ms() */
    uint64_t ended_ms;
    uint64_t excused_ms; /* when the last fault ended that may end it */
    /* Active faults: */
    uint32_t away;    /* number of faults that keep it from being restarted */
    uint32_t stops;   /* number of faults that keep it stopped */
    uint32_t excuses; /* number of faults that may end it: a full disk */
};

struct crew {
    const char *dir;
    char programs[CREW_PATH_MAX]; /* directory of the binaries */
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
/* Return the network node of a member. */
static inline uint32_t crew_node(size_t member)
{
    return (uint32_t)member + 1;
}

/* Make directories, addresses, certificates and cell.json; find the library that fakes clocks. */
int crew_make(struct crew *crew, struct err *err) MUST_USE;
int crew_start(struct crew *crew, size_t member, struct err *err) MUST_USE;
void crew_signal(struct crew *crew, size_t member, int number); /* no effect if it does not run */
/* Record the end of a process and return its member; CREW_COUNT if it belongs to none. */
size_t crew_ended(struct crew *crew, pid_t pid);
/* Start borgctl as root with these arguments (NULL-terminated) and return its pid. */
pid_t crew_borgctl(const struct crew *crew, const char *const *words);
/* Copy the masters' file systems, which end with the sandbox, to DIR/kept. */
void crew_keep(const struct crew *crew);
/* Kill every process in the borglet's node, also tasks and shims; return how many. Closed only. */
size_t crew_machine_kill(struct crew *crew, size_t member);
/* Find an address for the replacement of a lost master. Closed only. */
void crew_place_find(const struct crew *crew, size_t member, struct cell_replica *ret);
/* Start such a replica with its number and an empty directory in the place of the lost master. */
int crew_place_take(struct crew *crew, size_t member, const struct cell_replica *replica,
                    struct err *err) MUST_USE;
/* Fill the master's file system, or remove the filling. Closed only. */
void crew_disk_fill(struct crew *crew, size_t member, bool full);
/* Set the master's wall clock `offset_s` off. Needs `faketime`. */
void crew_clock_set(struct crew *crew, size_t member, int64_t offset_s);

#endif
