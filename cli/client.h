/*
 * client.h - calls to the cell that always end, with an answer or a reason.
 *
 * The calls block; a libuv loop runs inside. Any replica will do: connections are opened
 * concurrently, staggered by CLIENT_STAGGER_MS, so that a dead replica causes no delay and a frozen
 * one at most that much. A command keeps its request id in all retries: the cell carries it out at
 * most once. Queries wait for the index of this client's last command: a user reads his own writes.
 */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include "cell_file.h"
#include "cli.h"
#include "rpc.h"
#include "wire.h"

enum {
    CLIENT_STAGGER_MS = 150,  /* delay before the next replica is tried too */
    CLIENT_CONNECT_MS = 1000, /* limit for the handshake with one replica */
    CLIENT_STATUS_MS = 2000,  /* limit for the status of one replica */
    /* limit for the first attempt of a command; each time-out doubles it */
    CLIENT_COMMAND_MS = 2000,
    /* limit for one attempt of a query: nearly twice QUERY_TIME_MS_MAX */
    CLIENT_QUERY_MS = 8000,
    /* limit for a transfer of leadership: the leader waits for at most 1 s */
    CLIENT_TRANSFER_MS = 5000,
    /* limit for one piece of a checkpoint: the first waits for the image */
    CLIENT_PIECE_MS = 60000,
    CLIENT_NOTICE_MS = 1000, /* after this wait the user is told the reason */
    CLIENT_CLOSE_MS = 1500,  /* limit for closing connections */
    CLIENT_PAUSE_MS = 100    /* pause between attempts */
};

struct client;

/* One attempt to reach one replica. */
struct client_attempt {
    struct client *client;
    struct rpc_options options;
    struct rpc_conn *conn; /* NULL if there is none */
    size_t replica;        /* index in cell.replicas */
    bool open;
    bool closing; /* we closed it; on_close is still to come */
    uint64_t started_ms;
    struct err why; /* reason why the last connection ended */
};

struct client {
    uv_loop_t loop;
    uv_timer_t tick; /* wakes the loop for our deadlines */
    struct tls_context *tls;
    struct tls_watch *watch;
    struct cell_file cell;
    char cell_path[CELL_PATH_MAX + 1]; /* path of cell.json */
    char user[CELL_NAME_MAX + 1];
    uint64_t timeout_ms; /* limit for a whole call with all attempts */
    uint64_t index_min;  /* queries wait for this index */
    bool quiet;
    size_t next; /* the replica to try first */
    struct client_attempt attempts[CELL_REPLICAS_MAX];
    struct client_attempt *current; /* the open connection in use, or NULL */
};

/* Return the path of the cell.json that --cell, $BORG_CELL or the default names; it need not exist.
 */
void client_cell_path(const struct cli *cli, char ret[CELL_PATH_MAX + 1]);
/* Load cell.json and the user's certificate, which may have expired. The first call connects. */
int client_open(const struct cli *cli, struct client **ret, struct err *err) MUST_USE;
void client_close(struct client *client);      /* NULL is allowed */
void client_close_ptr(struct client **client); /* for CLEANUP */

/*
 * Have the cell carry out a command; `cmd` gets a request id. Returns 0 if the cell accepted it,
 * with the answer in `ret`; otherwise the cell's refusal, ERR_UNAVAILABLE (certainly not carried
 * out) or ERR_UNKNOWN_OUTCOME.
 */
int client_command(struct client *client, struct cmd *cmd, struct wire_answer *ret,
                   struct err *err) MUST_USE;
/* Run SQL on any replica; the caller releases the rows. */
int client_query(struct client *client, const char *sql, bool fresh, struct wire_rows *ret,
                 struct err *err) MUST_USE;
/* Run SQL that is formatted by sqlite3_mprintf; pass foreign text through %Q or %q. */
int client_queryf(struct client *client, struct wire_rows *ret, struct err *err, const char *fmt,
                  ...) MUST_USE;

/* Ask any replica why a job is pending; the caller releases the rows. ERR_STATE if it is not. */
int client_why(struct client *client, const struct wire_why *why, struct wire_rows *ret,
               struct err *err) MUST_USE;

/*
 * Append a piece of a checkpoint, from `offset` on, to `to`; *ret_total is the size of the whole in
 * bytes. For offset 0 any replica makes an image of its database; the other pieces come from the
 * same replica. ERR_STATE if that image is gone: start again at offset 0.
 */
int client_piece(struct client *client, uint64_t offset, struct buf *to, uint64_t *ret_total,
                 struct err *err) MUST_USE;

/* Transfer leadership to this replica (0: the most up-to-date one); `ret` names the new leader. */
int client_transfer(struct client *client, uint64_t replica, struct wire_answer *ret,
                    struct err *err) MUST_USE;

/* Wait until this client's replica has applied its commands, so that the user's next process, which
 * asks the same replica first, sees them too. A failure is ignored. */
void client_settle(struct client *client);

struct client_status {
    bool reachable;
    struct wire_status status; /* valid if reachable */
    uint64_t heard_ms;         /* time of the answer by our own clock, if reachable */
    struct err why;            /* reason if not reachable */
    uint64_t cert_expires_ms;  /* end of its certificate; 0: not seen */
    /* reason it recorded when it ended, if not reachable; else "" (replicas.h) */
    char ended[ERR_MSG_MAX];
};
/* Ask all replicas concurrently; ret[i] belongs to cell.replicas[i]. */
void client_statuses(struct client *client, struct client_status ret[CELL_REPLICAS_MAX]);
/* Close all connections after `cell.replicas` has changed. */
void client_forget(struct client *client);
/* Return the status of the leader, NULL if none of them leads. */
const struct client_status *client_leader(const struct client_status *all, size_t count);

/*
 * Read a task's log from the borglet at `addr`. `on_chunk` returns false to end it. Returns 0 at
 * the end of the log (with follow: of the attempt), the borglet's refusal, or ERR_CLOSED if the
 * connection broke.
 */
struct client_logs {
    const char *addr;
    const char *machine;
    struct wire_logs request;
    bool (*on_chunk)(void *data, const struct wire_log_chunk *chunk);
    void *data;
};
int client_logs(struct client *client, const struct client_logs *logs, struct err *err) MUST_USE;

/* Run the loop until something happens or `ms` have passed. */
void client_turn(struct client *client, uint64_t ms);

#endif
