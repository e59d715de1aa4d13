/*
 * runner_rig.h - a runner with real shims, for the tests of its parts.
 */
#ifndef TEST_RUNNER_RIG_H
#define TEST_RUNNER_RIG_H

#include "runner.h"
#include "testlib.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>

struct rig {
    struct t_loop loop;
    const char *dir;
    char shim[600];
    struct runner *runner;
    int changes;
};

static inline void rig_on_change(void *data, struct attempt *attempt UNUSED)
{
    ((struct rig *)data)->changes++;
}

static inline void rig_open(struct rig *r, const char *ports)
{
    struct runner_options options = {.loop = &r->loop.uv,
                                     .dir = r->dir,
                                     .shim_path = r->shim,
                                     .cell = "test",
                                     .machine = "m1",
                                     .data = r,
                                     .on_change = rig_on_change};

    T_OK(ports_parse(ports, &options.ports, &t_err));
    T_OK(runner_open(&options, &r->runner, &t_err));
}

static inline void rig_init(struct rig *r)
{
    char self[512];

    memset(r, 0, sizeof *r);
    t_loop_init(&r->loop);
    r->dir = t_dir();
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    ck_assert_int_gt(n, 0);
    self[n] = '\0';
    snprintf(r->shim, sizeof r->shim, "%s/../../borg-shim", dirname(self));
    rig_open(r, "21000-21999");
}

/* Close the runner as a dying borglet does: its tasks continue. */
static inline void rig_close(struct rig *r)
{
    runner_close(r->runner);
    r->runner = NULL;
}

/* End everything that still runs, so that no process is left behind. */
static inline void rig_release(struct rig *r)
{
    if (r->runner != NULL) {
        struct list *attempts = runner_attempts(r->runner);
        LIST_EACH(l, attempts)
        {
            runner_stop(r->runner, CONTAINER_OF(l, struct attempt, link), 0);
        }
        while (!list_empty(attempts)) {
            struct attempt *a = CONTAINER_OF(attempts->next, struct attempt, link);
            T_RUN(&r->loop, a->phase == ATTEMPT_ENDED);
            runner_forget(r->runner, a);
        }
        rig_close(r);
    }
    t_loop_close(&r->loop);
}

static inline struct attempt_ref ref(uint32_t index, uint32_t attempt)
{
    return (struct attempt_ref){task_id_of((job_id){1}, index), attempt};
}

/* Start job "web" with a shell script and two ports. */
static inline struct attempt *rig_start(struct rig *r, struct attempt_ref task, const char *script)
{
    struct intent intent = {.task = task, .action = INTENT_RUN};

    spec_init(&intent.spec);
    str_copy(intent.spec.name, sizeof(intent.spec.name), "web");
    words_add(&intent.spec.argv, "sh");
    words_add(&intent.spec.argv, "-c");
    words_add(&intent.spec.argv, script);
    words_add(&intent.spec.ports, "http");
    words_add(&intent.spec.ports, "admin");
    intent.spec.limit.v[RES_CPU] = 250;
    intent.spec.limit.v[RES_PORTS] = 2;
    runner_start(r->runner, &intent);
    spec_release(&intent.spec);
    return runner_find(r->runner, task);
}

static inline const char *output(const struct rig *r, const char *where, const char *name)
{
    static char text[1024];
    char path[600];

    snprintf(path, sizeof path, "%s/%s/%s/out.0", r->dir, where, name);
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n < 0 ? 0 : n] = '\0';
    return text;
}

#endif
