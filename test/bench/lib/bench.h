/*
 * bench.h - what the benches share: a cell to talk to, samples, the lines of the summary.
 *
 * A bench is a program that measures a running cell from outside, through the same protocol as
 * everybody, prints one Markdown table, and exits with 1 when it could not measure. Whatever fails
 * ends it (bench_die): there is nothing to save but the cell, which scripts/bench takes away.
 */
#ifndef BENCH_H
#define BENCH_H

#include "cell_file.h"
#include "rpc.h"
#include "wire.h"

enum { BENCH_CALL_MS = 10000, BENCH_SETTLE_MS = 30000 };

struct bench;

/* A connection to a replica. */
struct bench_peer {
    struct rpc_conn *conn; /* NULL: none */
    bool open;
};

struct bench {
    uv_loop_t loop;
    uv_timer_t tick; /* wakes the loop up for deadlines */
    struct tls_context *tls;
    struct cell_file cell;
    struct bench_peer peers[CELL_REPLICAS_MAX]; /* of the blocking calls below */
};

_Noreturn void bench_die(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Load DIR/cell.json and become user/bench, with a certificate made by the CA in DIR/pki. */
void bench_open(struct bench *b, const char *dir);
/* One turn of the loop, of some milliseconds at the most. */
void bench_turn(struct bench *b);
/* Turns until mono_ms(), so that callbacks go on. */
void bench_pause(struct bench *b, uint64_t ms);

/* Begin to connect to replica number `i` (0 ...), unless `peer` is connected or about to be. */
int bench_connect(struct bench *b, size_t i, struct bench_peer *peer, struct err *err) MUST_USE;
/* Call replica number `i` and wait; connects if need be. The answer goes to `ret`. */
int bench_call(struct bench *b, size_t i, uint32_t method, const struct buf *body, struct buf *ret,
               struct err *err) MUST_USE;
int bench_status(struct bench *b, size_t i, struct wire_status *ret, struct err *err) MUST_USE;
/* A command that must succeed, through any replica. */
struct wire_answer bench_command(struct bench *b, size_t i, const struct cmd *cmd);
/* SQL on replica `i` at or after an index; the caller releases the rows. Dies when refused. */
struct wire_rows bench_query(struct bench *b, size_t i, uint64_t index_min, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* The one integer such a query answers; 0 for NULL or no row. */
int64_t bench_number(struct bench *b, size_t i, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* What a figure is of: "100,000 machines, 1,000,000 tasks". */
struct bench_size {
    char text[64];
};
struct bench_size bench_size(struct bench *b, size_t i);

/* All replicas answer, follow one leader in one term and have applied the same index. Waits. */
struct bench_health {
    size_t leader; /* number, not id */
    uint64_t term;
    uint64_t index;
    int64_t pids[CELL_REPLICAS_MAX];
};
struct bench_health bench_settle(struct bench *b);

/* Commands of user/bench with a fresh request id; release the spec with cmd_release(). */
struct cmd bench_submit(const char *name, uint32_t replicas, int64_t cpu_milli, int64_t ram_bytes);
struct cmd bench_kill(const char *name);

/* Times in microseconds. */
struct samples {
    uint64_t *us;
    size_t count, capacity;
};
void samples_add(struct samples *s, uint64_t us);
/* The value that `permille` thousandths do not exceed, in ms; 0 of none. Sorts. */
double samples_ms(struct samples *s, unsigned permille);
void samples_release(struct samples *s);

uint64_t wall_ns(void);
/* CPU time that a process has used so far, in ms; 0 when it is gone. */
uint64_t cpu_ms(int64_t pid);

/* What a disk can do at best: the median of appending 4 KiB to a file in `dir` and fdatasync. */
double bench_fdatasync_ms(const char *dir, unsigned count);

/* Run a program, its standard output to `ret` (may be NULL: dropped). Returns its exit code. */
int bench_run(char *const *argv, struct buf *ret);

/* A row of the summary at the end: appended to $BENCH_OUT/summary. */
void bench_summary(const char *what, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* How many terms a bench had to cost and has: appended to $BENCH_OUT/terms. */
void bench_terms(const char *bench, uint64_t expected, uint64_t seen);

/* The number after argv[at], or dies with the usage. */
uint64_t bench_arg(int argc, char **argv, int at, const char *usage);

#endif
