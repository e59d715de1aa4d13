/*
 * shim_start.c - DIR SHIM SCRIPT: start attempt 1 of task web/0 of job 1 in DIR as the borglet of
 * this release does, and exit once it runs. Built once per release (Makefile, RELEASES).
 */
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>

static void start_on_change(void *data, struct attempt *attempt)
{
    uv_loop_t *loop = data;

    if (attempt->phase == ATTEMPT_ENDED) {
        fprintf(stderr, "shim_start: %s\n", attempt->report.detail);
        exit(1);
    }
    if (attempt->phase == ATTEMPT_RUNNING)
        uv_stop(loop);
}

int main(int argc, char **argv)
{
    struct intent intent = {.task = {task_id_of((job_id){1}, 0), 1}, .action = INTENT_RUN};
    uv_loop_t loop;
    struct runner *runner;
    struct err err;

    if (argc != 4) {
        fprintf(stderr, "usage: shim_start DIR SHIM SCRIPT\n");
        return 2;
    }
    uv_loop_init(&loop);
    struct runner_options options = {.loop = &loop,
                                     .dir = argv[1],
                                     .shim_path = argv[2],
                                     .cell = "test",
                                     .machine = "m1",
                                     .data = &loop,
                                     .on_change = start_on_change};
    if (ports_parse("23000-23999", &options.ports, &err) != 0 ||
        runner_open(&options, &runner, &err) != 0) {
        fprintf(stderr, "shim_start: %s\n", err.msg);
        return 1;
    }
    spec_init(&intent.spec);
    str_copy(intent.spec.name, sizeof(intent.spec.name), "web");
    str_copy(intent.spec.user, sizeof(intent.spec.user), "ada");
    words_add(&intent.spec.argv, "sh");
    words_add(&intent.spec.argv, "-c");
    words_add(&intent.spec.argv, argv[3]);
    intent.spec.limit.v[RES_CPU] = 250;
    runner_start(runner, &intent);
    spec_release(&intent.spec);
    uv_run(&loop, UV_RUN_DEFAULT);
    runner_close(runner);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop) == 0 ? 0 : 1;
}
