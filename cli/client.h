/*
 * client.h - borgctl's end of the wire: calls that end with an answer or a reason, never hang.
 *
 * The calls block; a libuv loop runs inside. Any replica will do: connections are tried side by
 * side, a little apart, so that a dead replica costs nothing and a frozen one CLIENT_STAGGER_MS.
 * A command keeps its request id through every retry: the cell carries it out once at the most.
 * Queries wait for the index of this client's last command: a user reads his own writes.
 */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include "cell_file.h"
#include "cli.h"
#include "rpc.h"
#include "wire.h"

enum {
    CLIENT_STAGGER_MS = 150,   /* before the next replica is tried beside the present one */
    CLIENT_CONNECT_MS = 1000,  /* for one replica to answer the handshake */
    CLIENT_STATUS_MS = 2000,   /* for one replica to tell its status */
    CLIENT_COMMAND_MS = 2000,  /* for the first attempt of a command; each time-out doubles it */
    CLIENT_QUERY_MS = 8000,    /* for one attempt of a query: QUERY_TIME_MS_MAX twice, nearly */
    CLIENT_TRANSFER_MS = 5000, /* for leadership to be handed over: 1 s at the most is waited for */
    CLIENT_PIECE_MS = 60000,   /* for one piece of a checkpoint: the first waits for the image */
    CLIENT_NOTICE_MS = 1000,   /* of waiting, then the user is told what for */
    CLIENT_CLOSE_MS = 1500,    /* for connections to say goodbye */
    CLIENT_PAUSE_MS = 100      /* between attempts */
};

struct client;

/* One attempt to reach one replica. */
struct client_attempt {
    struct client *client;
    struct rpc_options options;
    struct rpc_conn *conn; /* NULL: none */
    size_t replica;        /* index in cell.replicas */
    bool open;
    bool closing; /* by us; its on_close is still to come */
    uint64_t started_ms;
    struct err why; /* the last one ended */
};

struct client {
    uv_loop_t loop;
    uv_timer_t tick; /* so that the loop wakes up for our deadlines */
    struct tls_context *tls;
    struct tls_watch *watch;
    struct cell_file cell;
    char cell_path[CELL_PATH_MAX + 1]; /* of cell.json */
    char user[CELL_NAME_MAX + 1];
    uint64_t timeout_ms; /* for a whole call, all attempts */
    uint64_t index_min;  /* queries must see this */
    bool quiet;
    size_t next; /* the replica to try first */
    struct client_attempt attempts[CELL_REPLICAS_MAX];
    struct client_attempt *current; /* the open one in use, or NULL */
};

/* Where the cell.json is that --cell, $BORG_CELL or the default name; it need not exist. */
void client_cell_path(const struct cli *cli, char ret[CELL_PATH_MAX + 1]);
/* Loads cell.json and the user's certificate, which may have expired; connects only when first
 * called. */
int client_open(const struct cli *cli, struct client **ret, struct err *err) MUST_USE;
void client_close(struct client *client);      /* NULL is fine */
void client_close_ptr(struct client **client); /* for CLEANUP */

/*
 * Have the cell carry out a command. `cmd` gets a request id. 0: accepted, `ret` says more.
 * Otherwise the cell's refusal, ERR_UNAVAILABLE (surely nothing has happened) or
 * ERR_UNKNOWN_OUTCOME.
 */
int client_command(struct client *client, struct cmd *cmd, struct wire_answer *ret,
                   struct err *err) MUST_USE;
/* SQL on any replica; the caller releases the rows. */
int client_query(struct client *client, const char *sql, bool fresh, struct wire_rows *ret,
                 struct err *err) MUST_USE;
/* Same, the SQL made by printf; text from outside goes in through %Q or %q (sqlite3_mprintf). */
int client_queryf(struct client *client, struct wire_rows *ret, struct err *err, const char *fmt,
                  ...) MUST_USE;

/* Why a job is pending, as any replica sees it; the caller releases the rows. ERR_STATE: nothing
 * is.
 */
int client_why(struct client *client, const struct wire_why *why, struct wire_rows *ret,
               struct err *err) MUST_USE;

/*
 * A piece of a checkpoint from `offset` on, appended to `to`; *ret_total: bytes of all pieces. With
 * offset 0 any replica makes an image of its database; the rest comes from the same one: ERR_STATE
 * when that is gone, begin again then.
 */
int client_piece(struct client *client, uint64_t offset, struct buf *to, uint64_t *ret_total,
                 struct err *err) MUST_USE;

/* Let this replica lead (0: whoever is furthest); `ret` says who does. */
int client_transfer(struct client *client, uint64_t replica, struct wire_answer *ret,
                    struct err *err) MUST_USE;

/* Wait until this client's replica shows the effect of its commands, so that the user's next call,
 * which will ask the same replica, sees it too. A failure does not matter. */
void client_settle(struct client *client);

struct client_status {
    bool reachable;
    struct wire_status status; /* when reachable */
    uint64_t heard_ms;         /* then, and when, by our own clock */
    struct err why;            /* when not */
    uint64_t cert_expires_ms;  /* of its certificate; 0: it was not seen */
    char ended[ERR_MSG_MAX];   /* when not, and it said why it ended; "" else (replicas.h) */
};
/* Ask every replica at once; ret[i] belongs to cell.replicas[i]. */
void client_statuses(struct client *client, struct client_status ret[CELL_REPLICAS_MAX]);
/* `cell.replicas` has changed: connections are made anew. */
void client_forget(struct client *client);
/* Whose answer is the leader's; NULL: nobody's. */
const struct client_status *client_leader(const struct client_status *all, size_t count);

/*
 * A task's log from the borglet at `addr`. `on_chunk` returns false to end it. 0 at the end of the
 * log (with follow: of the attempt), the borglet's refusal, or ERR_CLOSED when it went away.
 */
struct client_logs {
    const char *addr;
    const char *machine;
    struct wire_logs request;
    bool (*on_chunk)(void *data, const struct wire_log_chunk *chunk);
    void *data;
};
int client_logs(struct client *client, const struct client_logs *logs, struct err *err) MUST_USE;

/* Run the loop until something happened or `ms` passed. */
void client_turn(struct client *client, uint64_t ms);

#endif
