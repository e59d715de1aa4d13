/*
 * conductor.c - the main loop: inject due faults, track the leader, detect deaths, measure how long
 * no write was acknowledged.
 */
#include "conductor.h"

#include "clock.h"

#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    TICK_MS = 10,
    WATCH_MS = 150,
    STATUS_MS = 400,
    CALL_MS = 5000,
    LAST_MS = 3000,   /* remaining faults of a phase are ended this long after the last one began */
    EXCUSE_MS = 20000 /* after a disk was full: the master may notice it late */
};

void conductor_violation(struct conductor *c, const char *fmt, ...)
{
    va_list args;
    printf("VIOLATION at %.1f s: ", (double)conductor_now_ms(c) / 1000);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
    c->violations++;
}

/* The leader, as far as it is known */

static size_t leader_find(const struct conductor *c)
{
    size_t leader = CREW_COUNT;
    uint64_t term = 0;
    for (size_t i = 0; i < CREW_MASTERS; i++) {
        const struct watched *w = &c->watched[i];
        if (w->is_known && strcmp(w->status.role, "leader") == 0 && w->status.term > term) {
            leader = i;
            term = w->status.term;
        }
    }
    return leader;
}

static void conductor_on_status(void *data, const struct err *err, const void *body, size_t size)
{
    struct watched *w = data;
    w->is_asking = false;
    w->is_known = err == NULL && wire_unpack_status(body, size, &w->status, NULL) == 0;
    if (err != NULL && err->code == ERR_TIMEOUT)
        lines_renew(&w->conductor->lines, w->replica);
    w->conductor->faults.leader = leader_find(w->conductor);
}

static void conductor_on_watch(uv_timer_t *timer)
{
    struct conductor *c = timer->data;
    for (size_t i = 0; i < CREW_MASTERS; i++) {
        struct watched *w = &c->watched[i];
        if (w->is_asking)
            continue;
        w->is_asking = lines_request(&c->lines, i, WIRE_STATUS, &(struct buf){0}, STATUS_MS,
                                     conductor_on_status, w, NULL) == 0;
        w->is_known &= w->is_asking;
    }
}

/* Processes that ended */

static void last_line(const char *path, char to[256])
{
    char line[512];
    FILE *file = fopen(path, "re");
    to[0] = '\0';
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        str_copy(to, 256, line);
    }
    if (file != NULL)
        fclose(file);
}

static void member_ended(struct conductor *c, size_t member, int status)
{
    enum { EXIT_FAILED = 1, EXIT_FATAL = 3 };
    struct member *m = &c->crew.members[member];
    char path[CREW_PATH_MAX], line[256];
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    fprintf(c->faults.log, "%8" PRIu64 " ended  %s: %d\n", conductor_now_ms(c), m->name, code);
    if (m->is_killed)
        return;
    bool disk_was_full =
        m->excuses > 0 || (m->excused_ms != 0 && clock_mono_ms() < m->excused_ms + EXCUSE_MS);
    if (disk_was_full && (code == EXIT_FAILED || code == EXIT_FATAL)) {
        c->exits++;
        return;
    }
    snprintf(path, sizeof path, "%s/log/%s.log", c->dir, m->name);
    last_line(path, line);
    conductor_violation(c, "%s ended by itself, %s %d: %s", m->name,
                        code < 0 ? "of signal" : "exit code", abs(code), line);
}

static void conductor_on_sigchld(uv_signal_t *handle, int number UNUSED)
{
    struct conductor *c = handle->data;
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        size_t member = crew_ended(&c->crew, pid);
        if (member < CREW_COUNT)
            member_ended(c, member, status);
        else if (pid == c->net.pid)
            PANIC("the switch has died");
        if (pid == c->borgctl) {
            c->borgctl = 0;
            c->borgctl_status = status;
        }
    }
}

/* Time */

static void gap_tick(struct conductor *c, struct gap *gap, bool can)
{
    uint64_t now_ms = clock_mono_ms();
    if (!can) {
        gap->since_ms = 0;
        return;
    }
    if (gap->since_ms == 0)
        gap->since_ms = now_ms;
    uint64_t silent_ms = now_ms - MAX(gap->since_ms, c->users.last_write_ms);
    if (silent_ms > gap->worst_ms) {
        gap->worst_ms = silent_ms;
        gap->worst_at_ms = conductor_now_ms(c);
    }
}

static void conductor_on_tick(uv_timer_t *timer)
{
    struct conductor *c = timer->data;
    uint64_t now_ms = conductor_now_ms(c);
    bool is_over = c->plan_next == c->plan_count && now_ms > c->last_begun_ms + LAST_MS;
    while (c->plan_next < c->plan_count &&
           now_ms >= c->plan_started_ms + c->plan[c->plan_next].at_ms) {
        faults_begin(&c->faults, &c->plan[c->plan_next++], now_ms);
        c->last_begun_ms = now_ms;
    }
    faults_tick(&c->faults, now_ms, is_over);
    enum faults_majority majority = faults_majority(&c->faults);
    gap_tick(c, &c->well, c->users.is_open && majority == MAJORITY_WELL);
    gap_tick(c, &c->poor, c->users.is_open && majority >= MAJORITY_POOR);
    if (c->users.broken[0] != '\0') {
        conductor_violation(c, "%s", c->users.broken);
        c->users.broken[0] = '\0';
    }
}

static int start_all(struct conductor *c, uint64_t seed, struct err *err)
{
    int rc = c->crew.kind == SANDBOX_CLOSED ? net_open(&c->net, CREW_COUNT + 1, seed, err) : 0;
    if (rc == 0)
        rc = crew_make(&c->crew, err);
    if (rc == 0)
        rc = lines_open(&c->lines, &c->loop, c->dir, &c->crew.cell, err);
    for (size_t i = 0; rc == 0 && i < CREW_COUNT; i++)
        rc = crew_start(&c->crew, i, err);
    return rc;
}

int conductor_start(struct conductor *c, uint64_t seed, struct err *err)
{
    char path[CREW_PATH_MAX];
    signal(SIGPIPE, SIG_IGN);
    c->started_ms = uv_hrtime() / 1000000;
    uv_loop_init(&c->loop);
    c->crew.net = &c->net;
    c->crew.dir = c->dir;
    c->faults.crew = &c->crew;
    c->faults.leader = CREW_COUNT;
    snprintf(path, sizeof path, "%s/faults.txt", c->dir);
    c->faults.log = fopen(path, "we");
    if (c->faults.log == NULL)
        return err_set(err, ERR_IO, "cannot write %s", path);
    uv_signal_init(&c->loop, &c->sigchld);
    c->sigchld.data = c;
    uv_signal_start(&c->sigchld, conductor_on_sigchld, SIGCHLD);
    int rc = start_all(c, seed, err);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < CREW_MASTERS; i++)
        c->watched[i] = (struct watched){.conductor = c, .replica = i};
    uv_timer_init(&c->loop, &c->watch);
    uv_timer_init(&c->loop, &c->tick);
    c->watch.data = c->tick.data = c;
    uv_timer_start(&c->watch, conductor_on_watch, 0, WATCH_MS);
    uv_timer_start(&c->tick, conductor_on_tick, 0, TICK_MS);
    return 0;
}

void conductor_play(struct conductor *c, const struct fault *plan, size_t count)
{
    c->plan = plan;
    c->plan_count = count;
    c->plan_next = 0;
    c->plan_started_ms = conductor_now_ms(c);
}

void conductor_turn(struct conductor *c)
{
    uv_run(&c->loop, UV_RUN_ONCE);
}

struct call {
    bool done;
    struct err err;
    struct buf *body;
};

static void conductor_on_answer(void *data, const struct err *err, const void *body, size_t size)
{
    struct call *call = data;
    call->done = true;
    if (err != NULL)
        call->err = *err;
    else
        buf_append(call->body, body, size);
}

int conductor_call(struct conductor *c, size_t replica, uint32_t method, const struct buf *body,
                   struct buf *ret, struct err *err)
{
    struct call call = {.body = ret};
    buf_clear(ret);
    int rc =
        lines_request(&c->lines, replica, method, body, CALL_MS, conductor_on_answer, &call, err);
    if (rc != 0)
        return rc;
    while (!call.done)
        conductor_turn(c);
    if (call.err.code != ERR_OK)
        *err = call.err;
    return -(int)call.err.code;
}

int conductor_query(struct conductor *c, size_t replica, const char *sql, struct wire_rows *ret,
                    struct err *err)
{
    struct buf CLEANUP(buf_release) body = {0};
    struct buf CLEANUP(buf_release) answer = {0};
    struct wire_query query = {.sql = (char *)(uintptr_t)sql};
    wire_pack_query(&body, &query);
    int rc = conductor_call(c, replica, WIRE_QUERY, &body, &answer, err);
    return rc == 0 ? wire_unpack_rows(answer.bytes, answer.size, ret, err) : rc;
}
