/*
 * embed.h - the embedded cell: real masters and borglets on this machine, below one directory.
 *
 *     DIR/embedded.json   what was asked for: borglets, their shares, address, timers
 *     DIR/cell.json       where the replicas are; written last, so it means "complete"
 *     DIR/pki             the CA and certificates: master-N borglet-mN user-NAME
 *     DIR/restoring       there while a checkpoint is being restored
 *     DIR/begun           it has been at work: masters are not started with --bootstrap any more
 *     DIR/masterN, DIR/borglets/mN, DIR/log/NAME.log, DIR/run/NAME.pid
 *
 * Every step makes only what is missing, so `up` on an existing directory brings the same cell
 * back. All operations hold DIR/.lock.
 */
#ifndef CLI_EMBED_H
#define CLI_EMBED_H

#include "cell_file.h"
#include "proc.h"
#include "words.h"

enum {
    EMBED_BORGLETS_MAX = 64,
    EMBED_TASK_PORTS = 100, /* of each borglet */
    EMBED_PORT_MIN = 10000, /* below the ports the kernel gives to outgoing connections */
    EMBED_PORT_MAX = 32000,
    EMBED_ATTRIBUTES_MAX = 16, /* of each borglet, beside those it has anyway */
    EMBED_STOP_MS = 10000,     /* SIGTERM to SIGKILL */
    EMBED_PROCESSES_MAX = CELL_REPLICAS_MAX + EMBED_BORGLETS_MAX
};

struct embed_borglet {
    char name[CELL_NAME_MAX + 1];
    char capacity[128]; /* cpu=...,ram=...,disk=... */
    uint16_t port_first, port_last;
    struct words attributes; /* given to it with --attr */
};

struct embed {
    char dir[CELL_PATH_MAX + 1]; /* absolute */
    int lock_fd;
    bool is_new;
    char host[CELL_ADDR_MAX + 1];
    uint32_t replica_count;
    uint32_t election_timeout_ms; /* 0: the master's own default; so the next */
    uint32_t snapshot_threshold;
    struct embed_borglet borglets[EMBED_BORGLETS_MAX];
    uint32_t borglet_count;
    struct cell_file cell; /* whole after embed_make(); before a new one has numbers only */
};

/* What `cell up` was told; 0 and NULL: the stored value, or the default of a new cell. */
struct embed_wish {
    uint32_t replica_count;
    uint32_t borglet_count;
    uint32_t election_timeout_ms;
    uint32_t snapshot_threshold;
    const char *host;
    const char *capacity;
    struct words attributes; /* for the borglets that do not run yet */
    const char *users[4];    /* who gets a certificate; NULL-ended */
};

/* Lock the directory (waits `wait_ms` for another borgctl) and read what is there. With `make` the
 * directory is made; without, a directory that holds no embedded cell is ERR_NOT_FOUND. */
int embed_open(const char *dir, bool make, uint64_t wait_ms, struct embed *ret,
               struct err *err) MUST_USE;
void embed_close(struct embed *embed); /* unlocks */

/* Settle what is open, make what is missing: directories, ports, certificates, files. */
int embed_make(struct embed *embed, const struct embed_wish *wish, struct err *err) MUST_USE;

/* Of one replica the directory and the certificate. */
int embed_make_master(const struct embed *embed, uint64_t id, struct err *err) MUST_USE;
/* Two free ports for a replica; its `id` is left alone. */
int embed_find_address(const struct embed *embed, struct cell_replica *ret,
                       struct err *err) MUST_USE;
/* `embed.cell` becomes cell.json. */
int embed_save_cell(const struct embed *embed, struct err *err) MUST_USE;
/* The cell has been at work: from now on an empty directory of a master is one that was lost. */
int embed_begun(const struct embed *embed, struct err *err) MUST_USE;

/* The processes, masters first. `name` is the stem of its log and pid file. */
struct embed_process {
    char name[CELL_NAME_MAX + 1];
    char log_path[CELL_PATH_MAX + 128];
    char pid_path[CELL_PATH_MAX + 128];
    struct proc proc;
    bool alive;
};
size_t embed_processes(const struct embed *embed, struct embed_process ret[EMBED_PROCESSES_MAX]);
/* Make the masters, none of which may be there or run, such that the cell begins with a checkpoint.
 * One that was interrupted is begun anew; until then the cell cannot be started. */
int embed_restore(const struct embed *embed, const char *checkpoint, struct err *err) MUST_USE;
/* Start what is not running; *ret_started says how many that were. */
int embed_start(const struct embed *embed, size_t *ret_started, struct err *err) MUST_USE;
/* Stop one that runs, by its place in embed_processes(), and wait until it is gone. */
void embed_stop_one(const struct embed *embed, size_t at);
/* Stop masters and borglets; how many were running. */
size_t embed_stop(const struct embed *embed);
/* Remove a file or directory of the cell with everything in it; fine when it is not there. */
int embed_remove(const struct embed *embed, const char *name, struct err *err) MUST_USE;
/* Remove the cell's directory and everything in it. */
int embed_wipe(struct embed *embed, struct err *err) MUST_USE;
bool embed_has(const struct embed *embed, const char *name);

#endif
