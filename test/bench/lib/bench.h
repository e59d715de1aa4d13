/*
 * bench.h - code shared by the benchmarks: calls to a cell, samples, the summary.
 *
 * A benchmark is a program that measures a running cell from outside, through the same protocol as
 * other clients, prints one Markdown table, and exits with 1 if it could not measure. Every failure
 * ends it (bench_die); scripts/bench removes the cell.
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
    uv_timer_t tick; /* wakes the loop for deadlines */
    struct tls_context *tls;
    struct cell_file cell;
    struct bench_peer peers[CELL_REPLICAS_MAX]; /* for the blocking calls below */
};

_Noreturn void bench_die(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Load DIR/cell.json and act as user/bench, with a certificate made by the CA in DIR/pki. */
void bench_open(struct bench *b, const char *dir);
/* Run one turn of the loop, for at most a few milliseconds. */
void bench_turn(struct bench *b);
/* Run turns for `ms`, so that callbacks are called. */
void bench_pause(struct bench *b, uint64_t ms);

/* Start to connect to replica number `i` (0 ...), unless `peer` is connected or connecting. */
int bench_connect(struct bench *b, size_t i, struct bench_peer *peer, struct err *err) MUST_USE;
/* Call replica number `i` and wait; connect if needed. The answer is in `ret`. */
int bench_call(struct bench *b, size_t i, uint32_t method, const struct buf *body, struct buf *ret,
               struct err *err) MUST_USE;
int bench_status(struct bench *b, size_t i, struct wire_status *ret, struct err *err) MUST_USE;
/* Send a command that must succeed, through replica `i`. */
struct wire_answer bench_command(struct bench *b, size_t i, const struct cmd *cmd);
/* Run SQL on replica `i` at or after an index; the caller releases the rows. Ends the program if
 * refused. */
struct wire_rows bench_query(struct bench *b, size_t i, uint64_t index_min, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* Return the single integer of the answer; 0 for NULL or no row. */
int64_t bench_number(struct bench *b, size_t i, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The size of the measured cell: "100,000 machines, 1,000,000 tasks". */
struct bench_size {
    char text[64];
};
struct bench_size bench_size(struct bench *b, size_t i);

/* Wait until all replicas answer, follow one leader in one term, and have applied the same index.
 */
struct bench_health {
    size_t leader; /* number, not id */
    uint64_t term;
    uint64_t index;
    int64_t pids[CELL_REPLICAS_MAX];
};
struct bench_health bench_settle(struct bench *b);

/* Return a command of user/bench with a new request id; release the spec with cmd_release(). */
struct cmd bench_submit(const char *name, uint32_t replicas, int64_t cpu_milli, int64_t ram_bytes);
struct cmd bench_kill(const char *name);

/* Durations in microseconds. */
struct samples {
    uint64_t *us;
    size_t count, capacity;
};
void samples_add(struct samples *s, uint64_t us);
/* Return the value that `permille` thousandths do not exceed, in ms; 0 if there are none. Sorts. */
double samples_ms(struct samples *s, unsigned permille);
void samples_release(struct samples *s);

uint64_t wall_ns(void);
/* Return the CPU time of a process so far, in ms; 0 if it is gone. */
uint64_t cpu_ms(int64_t pid);

/* Return the median time to append 4 KiB to a file in `dir` and fdatasync it. */
double bench_fdatasync_ms(const char *dir, unsigned count);

/* Run a program with its standard output to `ret` (NULL: dropped); return its exit code. */
int bench_run(char *const *argv, struct buf *ret);

/* Append a row to the summary, $BENCH_OUT/summary. */
void bench_summary(const char *what, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Append the numbers of expected and observed terms to $BENCH_OUT/terms. */
void bench_terms(const char *bench, uint64_t expected, uint64_t seen);

/* Return the number after argv[at]; end the program with the usage if there is none. */
uint64_t bench_arg(int argc, char **argv, int at, const char *usage);

#endif
