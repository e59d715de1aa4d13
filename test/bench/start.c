/*
 * start.c - measure the time from `borgctl submit` to the first line of a task.
 *
 *     start DIR BORGCTL [--count N]
 *     start --stamp
 *
 * Submits jobs of one task, one after another. The task is this program with --stamp: it prints the
 * clock and exits. The time is read from the task's log through `borgctl logs`. The events show the
 * steps in between, in whole milliseconds of the cell's clock, which is this machine's clock; the
 * time of an event is when its command was proposed. For comparison the program is also started
 * directly, and a spec in Jsonnet is evaluated.
 */
#include "lib/bench.h"

#include "clock.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FINISH_MS = 30000, POLL_MS = 10 };

static const char usage[] = "start DIR BORGCTL [--count N]";

enum step {
    STEP_ASSIGNED,
    STEP_RUNNING,
    STEP_LINE,
    STEP_ACK,
    STEP_JSONNET,
    STEP_DIRECT,
    STEP_COUNT
};

static const char *const step_names[STEP_COUNT] = {
    [STEP_ASSIGNED] = "assigned (event)",
    [STEP_RUNNING] = "running (event)",
    [STEP_LINE] = "first line of the task",
    [STEP_ACK] = "borgctl submit has ended",
    [STEP_JSONNET] = "(`borgctl submit --dry-run` of a spec in Jsonnet instead of JSON)",
    [STEP_DIRECT] = "(the same program, started directly, until its line)",
};

struct start {
    struct bench bench;
    const char *dir;
    char borgctl[PATH_MAX];
    char self[PATH_MAX];
    char spec_path[PATH_MAX];
    char jsonnet_path[PATH_MAX];
    struct samples steps[STEP_COUNT];
};

static void spec_write(const struct start *s, const char *path, const char *head, const char *job)
{
    FILE *file = fopen(path, "we");
    if (file == NULL)
        bench_die("%s cannot be written", path);
    fprintf(
        file,
        "%s{\"name\": \"%s\", \"priority\": 200, \"task\": {\"command\": [\"%s\", \"--stamp\"], "
        "\"resources\": {\"cpu\": \"10m\", \"ram\": \"16Mi\"}}}\n",
        head, job, s->self);
    if (fclose(file) != 0)
        bench_die("%s cannot be written", path);
}

/* Return the time of the job's first event of this kind, in ms; 0 if there is none. */
static uint64_t event_ms(struct start *s, const char *job, const char *kind)
{
    return (uint64_t)bench_number(&s->bench, 0,
                                  "SELECT min(time_ms) FROM events WHERE job_name = '%s' AND "
                                  "kind = '%s'",
                                  job, kind);
}

/* Record `step` at `ms`, a whole millisecond, which may therefore be up to 1 ms before `from_ns`.
 */
static void step_add(struct start *s, enum step step, uint64_t ms, uint64_t from_ns)
{
    uint64_t ns = ms * 1000000;
    samples_add(&s->steps[step], ns > from_ns ? (ns - from_ns) / 1000 : 0);
}

static uint64_t stamp_read(const char *text, const char *what)
{
    char *end = NULL;
    unsigned long long ns = strtoull(text, &end, 10);
    if (end == text || *end != '\n')
        bench_die("%s: \"%.60s\" is not the time that the task prints", what, text);
    return ns;
}

static void start_one(struct start *s, unsigned number)
{
    struct buf CLEANUP(buf_release) log = {0};
    char job[64], task[80];
    snprintf(job, sizeof job, "start-%u", number);
    snprintf(task, sizeof task, "%s/0", job);
    spec_write(s, s->spec_path, "", job);
    char *submit[] = {s->borgctl,   "--cell", (char *)(uintptr_t)s->dir, "-q", "submit",
                      s->spec_path, NULL};
    char *logs[] = {s->borgctl, "--cell", (char *)(uintptr_t)s->dir, "-q", "logs", task, NULL};
    uint64_t from_ns = wall_ns();
    int rc = bench_run(submit, NULL);
    samples_add(&s->steps[STEP_ACK], (wall_ns() - from_ns) / 1000);
    if (rc != 0)
        bench_die("borgctl submit: exit code %d", rc);
    for (uint64_t until = clock_mono_ms() + FINISH_MS; event_ms(s, job, "finished") == 0;) {
        if (clock_mono_ms() > until)
            bench_die("%s did not finish within %d s", job, FINISH_MS / 1000);
        bench_pause(&s->bench, POLL_MS);
    }
    step_add(s, STEP_ASSIGNED, event_ms(s, job, "assigned"), from_ns);
    step_add(s, STEP_RUNNING, event_ms(s, job, "running"), from_ns);
    if ((rc = bench_run(logs, &log)) != 0)
        bench_die("borgctl logs %s: exit code %d", task, rc);
    samples_add(&s->steps[STEP_LINE], (stamp_read(buf_text(&log), task) - from_ns) / 1000);
}

static void compare_one(struct start *s)
{
    struct buf CLEANUP(buf_release) line = {0};
    char *argv[] = {s->self, "--stamp", NULL};
    uint64_t from_ns = wall_ns();
    if (bench_run(argv, &line) != 0)
        bench_die("%s --stamp failed", s->self);
    samples_add(&s->steps[STEP_DIRECT], (stamp_read(buf_text(&line), s->self) - from_ns) / 1000);
    char *dry[] = {s->borgctl, "-q", "submit", "--dry-run", s->jsonnet_path, NULL};
    spec_write(s, s->jsonnet_path, "local name = 'dry'; ", "dry");
    from_ns = wall_ns();
    if (bench_run(dry, NULL) != 0)
        bench_die("borgctl submit --dry-run %s failed", s->jsonnet_path);
    samples_add(&s->steps[STEP_JSONNET], (wall_ns() - from_ns) / 1000);
}

static void print(struct start *s, uint64_t count)
{
    printf("| %" PRIu64 " jobs of one task, one after another, ms after `borgctl submit` was "
           "started | p50 | p90 | p99 | max |\n|---|---|---|---|---|\n",
           count);
    for (enum step i = 0; i < STEP_COUNT; i++)
        printf("| %s | %.1f | %.1f | %.1f | %.1f |\n", step_names[i], samples_ms(&s->steps[i], 500),
               samples_ms(&s->steps[i], 900), samples_ms(&s->steps[i], 990),
               samples_ms(&s->steps[i], 1000));
    bench_summary("from `borgctl submit` to the task's first line",
                  "p50 %.0f ms, p99 %.0f ms (fork and exec alone: %.1f ms)",
                  samples_ms(&s->steps[STEP_LINE], 500), samples_ms(&s->steps[STEP_LINE], 990),
                  samples_ms(&s->steps[STEP_DIRECT], 500));
}

int main(int argc, char **argv)
{
    static struct start s;
    uint64_t count = 100;
    if (argc == 2 && strcmp(argv[1], "--stamp") == 0) {
        printf("%" PRIu64 "\n", wall_ns());
        return 0;
    }
    if (argc != 3 && !(argc == 5 && strcmp(argv[3], "--count") == 0))
        bench_die("usage: %s", usage);
    if (argc == 5)
        count = bench_arg(argc, argv, 3, usage);
    s.dir = argv[1];
    if (realpath(argv[2], s.borgctl) == NULL || realpath("/proc/self/exe", s.self) == NULL)
        bench_die("%s: no such program", argv[2]);
    snprintf(s.spec_path, sizeof s.spec_path, "%s/start.json", s.dir);
    snprintf(s.jsonnet_path, sizeof s.jsonnet_path, "%s/start.jsonnet", s.dir);
    bench_open(&s.bench, s.dir);
    struct bench_health before = bench_settle(&s.bench);
    for (unsigned i = 0; i < count; i++) {
        start_one(&s, i);
        compare_one(&s);
    }
    bench_terms("start", 0, bench_settle(&s.bench).term - before.term);
    print(&s, count);
    return 0;
}
