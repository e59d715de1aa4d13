/*
 * cmd_logs.c - logs: the output of a task, from the machines where its attempts ran.
 *
 * The cell says where an attempt runs or ran; the borglet there has the output. Following a task
 * means to follow its attempts, one after another, until the task has ended.
 */
#include "clock.h"
#include "listing.h"
#include "text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    POLL_MS = 200,
    TAIL_LINES_MAX = 100000,
    TAIL_BYTES_PER_LINE = 256,
    TAIL_BYTES_MIN = 65536,
    TAIL_BYTES_MAX = 8 << 20,
};

struct logs {
    struct cli *cli;
    struct client *client;
    char job[CELL_NAME_MAX + 1];
    uint32_t index;
    int64_t job_id;
    uint32_t attempt; /* the attempt that is being printed; 0: none yet */
    uint64_t shown;   /* offset in its stream up to which it was printed */
    bool err;
    bool follow;
    int write_error;     /* errno of a failed write to stdout; 0: none */
    struct buf *tail;    /* collects the output instead of printing it */
    uint64_t tail_first; /* offset of the first collected byte */
};

/* The place of the task according to the cell. */
struct place {
    bool live;
    bool final;
    uint32_t attempt; /* the newest attempt; 0: never assigned */
    char state[CELL_NAME_MAX + 1];
    char reason[CELL_REASON_MAX + 1];
    char machine[CELL_NAME_MAX + 1]; /* machine of the requested attempt; "" if unknown */
    char addr[CELL_ADDR_MAX + 1];
};

static int task_parse(const char *text, struct logs *l, struct err *err)
{
    int64_t index;
    int rv = cli_task(text, l->job, &index, err);
    l->index = rv < 0 || index < 0 ? 0 : (uint32_t)index;
    return rv;
}

static const char place_sql[] =
    "SELECT t.state, t.attempt, j.reason, "
    "coalesce(CASE WHEN %d IN (0, t.attempt) THEN lm.name END, em.name) AS machine, "
    "coalesce(CASE WHEN %d IN (0, t.attempt) THEN lm.addr END, em.addr) AS addr "
    "FROM tasks t JOIN jobs j ON j.id = t.job_id "
    "LEFT JOIN machines lm ON lm.id = t.machine_id "
    "LEFT JOIN machines em ON em.name = (SELECT e.machine FROM events e WHERE e.job_name = j.name "
    "AND e.job_id = t.job_id AND e.task_index = t.idx AND e.machine IS NOT NULL AND e.attempt = "
    "CASE WHEN %d = 0 THEN t.attempt ELSE %d END ORDER BY e.seq DESC LIMIT 1) "
    "WHERE t.job_id = %lld AND t.idx = %d";

static int place_look(struct logs *l, uint32_t attempt, struct place *ret, struct err *err)
{
    struct wire_rows rows;
    int a = (int)attempt;
    if (client_queryf(l->client, &rows, err, place_sql, a, a, a, a, (long long)l->job_id,
                      (int)l->index) < 0)
        return -(int)err->code;
    *ret = (struct place){0};
    bool found = rows.row_count == 1;
    if (found) {
        ret->attempt = (uint32_t)render_integer(&rows, 0, "attempt");
        str_copy(ret->state, sizeof ret->state, render_text(&rows, 0, "state"));
        str_copy(ret->reason, sizeof ret->reason, render_text(&rows, 0, "reason"));
        str_copy(ret->machine, sizeof ret->machine, render_text(&rows, 0, "machine"));
        str_copy(ret->addr, sizeof ret->addr, render_text(&rows, 0, "addr"));
        ret->live = strcmp(ret->state, "assigned") == 0 || strcmp(ret->state, "running") == 0;
        ret->final = !ret->live && strcmp(ret->state, "pending") != 0;
    }
    wire_rows_release(&rows);
    return found
               ? 0
               : err_set(err, ERR_NOT_FOUND, "job %s has no task %u; `borgctl tasks %s` lists them",
                         l->job, l->index, l->job);
}

/* Report the part of the log that the machine no longer keeps. --quiet does not suppress this,
 * because it is about the result. */
static void missing_print(const struct logs *l, uint64_t from, uint64_t to)
{
    if (from == 0)
        print_err("borgctl: %s/%u: the first %llu bytes of this log are no longer kept\n", l->job,
                  l->index, (unsigned long long)to);
    else
        print_err(
            "borgctl: %s/%u: %llu bytes are missing here: they were no longer kept when it was "
            "their turn\n",
            l->job, l->index, (unsigned long long)(to - from));
}

static bool logs_write(struct logs *l, const char *bytes, size_t size)
{
    errno = 0;
    if (l->write_error == 0 && (fwrite(bytes, 1, size, stdout) != size || fflush(stdout) != 0))
        l->write_error = errno != 0 ? errno : EIO;
    return l->write_error == 0;
}

/* A closed pipe ends the output without an error; any other failed write is an error. */
static int write_check(const struct logs *l, struct err *err)
{
    if (l->write_error == 0 || l->write_error == EPIPE)
        return 0;
    return err_errno(err, l->write_error, "cannot write the result to stdout");
}

static bool cmd_logs_on_chunk(void *data, const struct wire_log_chunk *chunk)
{
    struct logs *l = data;
    const char *bytes = chunk->bytes;
    size_t size = chunk->size;
    uint64_t end = chunk->offset + size;
    if (l->tail != NULL) {
        if (l->tail->size == 0)
            l->tail_first = chunk->offset;
        buf_append(l->tail, bytes, size);
        l->shown = end;
        return l->tail->size <= 2 * TAIL_BYTES_MAX;
    }
    if (end <= l->shown)
        return true;
    if (chunk->offset < l->shown) {
        bytes += l->shown - chunk->offset;
        size = (size_t)(end - l->shown);
    }
    if (chunk->offset > l->shown)
        missing_print(l, l->shown, chunk->offset);
    l->shown = end;
    return logs_write(l, bytes, size);
}

static int logs_fetch(struct logs *l, const struct place *place, uint32_t attempt, bool follow,
                      uint64_t tail_bytes, struct err *err)
{
    struct client_logs request = {
        .addr = place->addr,
        .machine = place->machine,
        .request = {.task = task_id_of((job_id){(uint64_t)l->job_id}, l->index).v,
                    .attempt = attempt,
                    .err = l->err,
                    .follow = follow,
                    .tail_bytes = tail_bytes,
                    .from = l->tail == NULL ? l->shown : 0},
        .on_chunk = cmd_logs_on_chunk,
        .data = l};
    str_copy(request.request.job, sizeof request.request.job, l->job);
    return client_logs(l->client, &request, err);
}

/* Return the part of `text` with its last `lines` lines. */
static const char *last_lines(const char *text, size_t size, uint64_t lines)
{
    const char *p = text + size;
    if (size > 0 && p[-1] == '\n')
        p--;
    while (p > text) {
        if (p[-1] == '\n' && --lines == 0)
            break;
        p--;
    }
    return p;
}

/* Ask for more bytes until they contain the lines, or there are no more. */
static int logs_tail(struct logs *l, const struct place *place, uint32_t attempt, uint64_t lines,
                     struct err *err)
{
    CLEANUP(buf_release) struct buf text = {0};
    uint64_t bytes = MIN(MAX(lines * TAIL_BYTES_PER_LINE, TAIL_BYTES_MIN), TAIL_BYTES_MAX);
    const char *from;
    for (;; bytes = MIN(8 * bytes, TAIL_BYTES_MAX)) {
        buf_clear(&text);
        l->tail_first = 0;
        l->tail = &text;
        int r = logs_fetch(l, place, attempt, false, bytes, err);
        l->tail = NULL;
        if (r < 0)
            return r;
        from = last_lines(buf_text(&text), text.size, lines);
        if (from != buf_text(&text) || l->tail_first == 0 || text.size < bytes ||
            bytes == TAIL_BYTES_MAX)
            break;
    }
    /* The first of these lines is incomplete if bytes precede it. */
    if (from == buf_text(&text) && l->tail_first > 0 && text.size < bytes)
        missing_print(l, 0, l->tail_first);
    else if (from == buf_text(&text) && l->tail_first > 0)
        print_err(
            "borgctl: %s/%u: the last %llu lines are longer than %d bytes: what follows begins "
            "within them\n",
            l->job, l->index, (unsigned long long)lines, TAIL_BYTES_MAX);
    logs_write(l, from, (size_t)(buf_text(&text) + text.size - from));
    return write_check(l, err);
}

static void wait_print(const struct logs *l, bool *reported, const char *what)
{
    if (!*reported && !l->cli->quiet)
        print_err("borgctl: %s/%u: %s\n", l->job, l->index, what);
    *reported = true;
}

/* Follow one attempt to its end; reconnect to a borglet that restarts or is slow. */
static int attempt_follow(struct logs *l, const struct place *place, struct err *err)
{
    return logs_fetch(l, place, l->attempt, true, UINT64_MAX, err);
}

static bool worth_waiting(enum err_code code)
{
    return code == ERR_CLOSED || code == ERR_TIMEOUT || code == ERR_IO || code == ERR_NOT_FOUND ||
           code == ERR_UNAVAILABLE || code == ERR_STATE;
}

static int logs_follow(struct logs *l, uint32_t only_attempt, struct err *err)
{
    bool reported = false, lost = false;
    uint32_t ended = 0; /* attempts up to this one have been printed completely */
    for (;; client_turn(l->client, POLL_MS)) {
        struct place place;
        if (place_look(l, only_attempt != 0 ? only_attempt : 0, &place, err) < 0)
            return -(int)err->code;
        uint32_t attempt = only_attempt != 0 ? only_attempt : place.attempt;
        if (attempt <= ended || place.machine[0] == '\0') {
            if (place.final || (only_attempt != 0 && ended != 0))
                return 0;
            if (!place.live) /* otherwise the cell does not know of its end yet */
                wait_print(l, &reported, ended == 0 ? "is pending; waiting" : "is pending again");
            continue;
        }
        if (attempt != l->attempt) {
            if (l->attempt != 0 && !l->cli->quiet)
                print_err("borgctl: %s/%u: attempt %u, on machine %s\n", l->job, l->index, attempt,
                          place.machine);
            l->shown = 0;
            l->attempt = attempt;
        }
        int r = attempt_follow(l, &place, err);
        if (l->write_error != 0)
            return write_check(l, err);
        if (r == 0) {
            ended = attempt;
            reported = false;
        } else if (!worth_waiting(err->code) || place.final) {
            return -(int)err->code;
        } else {
            wait_print(l, &lost, err->msg);
        }
    }
}

static int logs_once(struct logs *l, uint32_t attempt, uint64_t lines, struct err *err)
{
    struct place place;
    if (place_look(l, attempt, &place, err) < 0)
        return -(int)err->code;
    if (l->follow && (place.attempt == 0 || lines == 0))
        return 0;
    if (place.attempt == 0)
        return err_set(err, ERR_STATE, "%s/%u has not been started yet%s%.300s", l->job, l->index,
                       place.reason[0] != '\0' ? ": " : "", place.reason);
    if (attempt > place.attempt)
        return err_set(err, ERR_NOT_FOUND, "%s/%u has had %u attempt%s", l->job, l->index,
                       place.attempt, place.attempt == 1 ? "" : "s");
    if (place.machine[0] == '\0')
        return err_set(err, ERR_NOT_FOUND, "the cell no longer knows where attempt %u of %s/%u ran",
                       attempt != 0 ? attempt : place.attempt, l->job, l->index);
    l->attempt = attempt != 0 ? attempt : place.attempt;
    if (lines == 0) {
        int r = logs_fetch(l, &place, l->attempt, false, UINT64_MAX, err);
        return l->write_error != 0 ? write_check(l, err) : r;
    }
    int r = logs_tail(l, &place, l->attempt, lines, err);
    return l->follow && r < 0 && l->write_error == 0 && worth_waiting(err->code) ? 0 : r;
}

static int logs_run(struct cli *cli, struct err *err)
{
    CLEANUP(client_close_ptr) struct client *client = NULL;
    struct logs l = {
        .cli = cli, .err = cli_flag(cli, OPT_STDERR), .follow = cli_flag(cli, OPT_FOLLOW)};
    uint64_t attempt, lines;
    if (task_parse(cli->args[0], &l, err) < 0 ||
        cli_number(cli, OPT_ATTEMPT, 1, INT32_MAX, 0, &attempt, err) < 0 ||
        cli_number(cli, OPT_TAIL, 1, TAIL_LINES_MAX, 0, &lines, err) < 0 ||
        client_open(cli, &client, err) < 0 || listing_job_id(client, l.job, &l.job_id, err) < 0)
        return -(int)err->code;
    l.client = client;
    if (logs_once(&l, (uint32_t)attempt, lines, err) < 0)
        return -(int)err->code;
    return l.follow && l.write_error == 0 ? logs_follow(&l, (uint32_t)attempt, err) : 0;
}

int cmd_logs(struct cli *cli)
{
    struct err err;
    if (cli->output == OUTPUT_JSON) {
        err_set(&err, ERR_INVALID,
                "-o json: `logs` prints the bytes that the task wrote, not rows");
        cli_fail(&err);
        return CLI_USAGE;
    }
    return logs_run(cli, &err) < 0 ? cli_fail(&err) : CLI_OK;
}
