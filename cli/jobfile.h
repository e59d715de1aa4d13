/*
 * jobfile.h - from the text of a spec to jobs that may be submitted.
 *
 * A spec is Jsonnet (so JSON as it is) or YAML and gives one job, or an array of jobs. It is
 * evaluated in a child process with bounded time and memory (jobfile_eval.c; YAML:
 * jobfile_yaml.c), then checked against
 * one table of fields (jobfile.c), which is also what `borgctl help submit` prints. All mistakes
 * are told at once, each with its path.
 */
#ifndef CLI_JOBFILE_H
#define CLI_JOBFILE_H

#include "buf.h"
#include "err.h"
#include "spec.h"

#include <jansson.h>
#include <stdio.h>

enum {
    JOBFILE_BYTES_MAX = 1 << 20,  /* of the file */
    JOBFILE_RESULT_MAX = 4 << 20, /* of the JSON it evaluates to */
    JOBFILE_JOBS_MAX = 1024,
    JOBFILE_STACK_MAX = 500,     /* nested calls */
    JOBFILE_CPU_S_MAX = 60,      /* of the evaluation; much, for slow machines */
    JOBFILE_IDLE_MS_MAX = 10000, /* without using any */
    JOBFILE_MEMORY_MAX = 1 << 30,
    JOBFILE_PROBLEMS_MAX = 50, /* told; more are counted */
    JOBFILE_VARIABLES_MAX = 64
};

enum jobfile_format { JOBFILE_BY_NAME, JOBFILE_JSONNET, JOBFILE_JSON, JOBFILE_YAML };
int jobfile_format_parse(const char *text); /* an enum jobfile_format, -1 when it is none */

struct jobfile_source {
    const char *path; /* "-": standard input */
    enum jobfile_format format;
    const char *ext_strs[JOBFILE_VARIABLES_MAX]; /* "NAME=VALUE", borrowed */
    size_t ext_str_count;
    const char *tla_strs[JOBFILE_VARIABLES_MAX];
    size_t tla_str_count;
    uint32_t cpu_s_max; /* 0: JOBFILE_CPU_S_MAX; tests take less */
};

struct jobfile {
    struct job_spec *jobs; /* owned */
    size_t job_count;
    bool is_array; /* the spec was an array, even of one */
};

/*
 * Read, evaluate and check. On -ERR_INVALID `err` says in one line what failed and `problems` has
 * one line per mistake ("task.resources.ram: ..."), or the evaluator's own words.
 */
int jobfile_load(const struct jobfile_source *source, struct jobfile *ret, struct buf *problems,
                 struct err *err) MUST_USE;
void jobfile_release(struct jobfile *file);

/* The second half alone: check a JSON value. */
int jobfile_check(const json_t *value, struct jobfile *ret, struct buf *problems,
                  struct err *err) MUST_USE;
/* How messages call the source. */
const char *jobfile_source_text(const struct jobfile_source *source);
/* The first half alone: the JSON text a source evaluates to. */
int jobfile_eval(const struct jobfile_source *source, struct buf *ret_json, struct buf *problems,
                 struct err *err) MUST_USE;

/* A job with all its defaults as an object that would give the same job again; the caller owns it.
 */
json_t *jobfile_json(const struct job_spec *spec);
/* The table of fields with their defaults. */
/* The priority a band stands for ("production": 200), -1 for a text that is no band. */
int jobfile_band_priority(const char *text);
void jobfile_help(FILE *to);

#endif
