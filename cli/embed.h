/*
 * embed.h - the embedded cell: real masters and borglets on this machine, below one directory.
 *
 *     DIR/embedded.json   settings: borglets with their capacity, host, timers
 *     DIR/cell.json       addresses of the replicas; written last, so it marks completeness
 *     DIR/pki             the CA and certificates: master-N borglet-mN user-NAME
 *     DIR/restoring       exists while a checkpoint is being restored
 *     DIR/begun           the cell has run: masters are no longer started with --bootstrap
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
    EMBED_TASK_PORTS = 100, /* ports of each borglet */
    EMBED_PORT_MIN = 10000, /* below the kernel's ephemeral ports */
    EMBED_PORT_MAX = 32000,
    EMBED_ATTRIBUTES_MAX = 16, /* attributes of each borglet, beside the built-in ones */
    EMBED_STOP_MS = 10000,     /* between SIGTERM and SIGKILL */
    EMBED_PROCESSES_MAX = CELL_REPLICAS_MAX + EMBED_BORGLETS_MAX
};

struct embed_borglet {
    char name[CELL_NAME_MAX + 1];
    char capacity[128]; /* cpu=...,ram=...,disk=... */
    uint16_t port_first, port_last;
    struct words attributes; /* from --attr */
};

struct embed {
    char dir[CELL_PATH_MAX + 1]; /* absolute */
    int lock_fd;
    bool is_new;
    char host[CELL_ADDR_MAX + 1];
    uint32_t replica_count;
    uint32_t election_timeout_ms; /* 0: the master's default; likewise below */
    uint32_t snapshot_threshold;
    struct embed_borglet borglets[EMBED_BORGLETS_MAX];
    uint32_t borglet_count;
    struct cell_file cell; /* complete after embed_make(); before, in a new cell, only the ids */
};

/* The options of `cell up`; 0 and NULL stand for the stored value, or the default of a new cell. */
struct embed_options {
    uint32_t replica_count;
    uint32_t borglet_count;
    uint32_t election_timeout_ms;
    uint32_t snapshot_threshold;
    const char *host;
    const char *capacity;
    struct words attributes; /* for borglets that are not running */
    const char *users[4];    /* users who get a certificate; NULL-terminated */
};

/* Lock the directory (wait up to `wait_ms` for another borgctl) and read it. With `make`, create
 * the directory; without, ERR_NOT_FOUND if it contains no embedded cell. */
int embed_open(const char *dir, bool make, uint64_t wait_ms, struct embed *ret,
               struct err *err) MUST_USE;
void embed_close(struct embed *embed); /* unlocks */

/* Apply `wanted` and make everything that is missing: directories, ports, certificates, files. */
int embed_make(struct embed *embed, const struct embed_options *wanted, struct err *err) MUST_USE;

/* Make the directory and the certificate of one replica. */
int embed_make_master(const struct embed *embed, uint64_t id, struct err *err) MUST_USE;
/* Find two free ports for a replica; its `id` is not changed. */
int embed_find_address(const struct embed *embed, struct cell_replica *ret,
                       struct err *err) MUST_USE;
/* Write `embed.cell` to cell.json. */
int embed_save_cell(const struct embed *embed, struct err *err) MUST_USE;
/* Record that the cell has run: from now on a master's empty directory means lost data. */
int embed_begun(const struct embed *embed, struct err *err) MUST_USE;

/* The processes, masters first. `name` is the stem of the log and pid files. */
struct embed_process {
    char name[CELL_NAME_MAX + 1];
    char log_path[CELL_PATH_MAX + 128];
    char pid_path[CELL_PATH_MAX + 128];
    struct proc proc;
    bool alive;
};
size_t embed_processes(const struct embed *embed, struct embed_process ret[EMBED_PROCESSES_MAX]);
/* Make the masters of a cell that starts from a checkpoint; none of them may exist or run. An
 * interrupted restore is started over; until it completes, the cell cannot be started. */
int embed_restore(const struct embed *embed, const char *checkpoint, struct err *err) MUST_USE;
/* Start the processes that do not run; *ret_started is their number. */
int embed_start(const struct embed *embed, size_t *ret_started, struct err *err) MUST_USE;
/* Stop the process at this index of embed_processes() and wait until it is gone. */
void embed_stop_one(const struct embed *embed, size_t at);
/* Stop masters and borglets; return how many were running. */
size_t embed_stop(const struct embed *embed);
/* Remove a file or directory of the cell recursively; it need not exist. */
int embed_remove(const struct embed *embed, const char *name, struct err *err) MUST_USE;
/* Remove the cell's directory recursively. */
int embed_wipe(struct embed *embed, struct err *err) MUST_USE;
bool embed_has(const struct embed *embed, const char *name);

#endif
