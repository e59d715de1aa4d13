/*
 * jobfile.h - from the text of a spec to jobs that may be submitted.
 *
 * A spec is Jsonnet (so JSON as it is) or YAML and gives one job, or an array of jobs. It is
 * evaluated in a child process with bounded time and memory (jobfile_eval.c; YAML:
 * jobfile_yaml.c), then read and checked by libcell/proto/spec_json.h.
 */
#ifndef CLI_JOBFILE_H
#define CLI_JOBFILE_H

#include "buf.h"
#include "err.h"
#include "spec_json.h"

#include <stdio.h>

enum {
    JOBFILE_BYTES_MAX = 1 << 20,  /* of the file */
    JOBFILE_RESULT_MAX = 4 << 20, /* of the JSON it evaluates to */
    JOBFILE_STACK_MAX = 500,      /* nested calls */
    JOBFILE_CPU_S_MAX = 60,       /* of the evaluation; much, for slow machines */
    JOBFILE_IDLE_MS_MAX = 10000,  /* without using any */
    JOBFILE_MEMORY_MAX = 1 << 30,
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

/*
 * Read, evaluate and check. On -ERR_INVALID `err` says in one line what failed and `problems` has
 * one line per mistake ("task.resources.ram: ..."), or the evaluator's own words.
 */
int jobfile_load(const struct jobfile_source *source, struct specs *ret, struct buf *problems,
                 struct err *err) MUST_USE;

struct cli;
/* The source that the command line names: SPEC, --format and variables. Borrows its texts. */
int jobfile_source_of(const struct cli *cli, struct jobfile_source *ret, struct err *err) MUST_USE;
/* How messages call the source. */
const char *jobfile_source_text(const struct jobfile_source *source);
/* The first half alone: the JSON text a source evaluates to. */
int jobfile_eval(const struct jobfile_source *source, struct buf *ret_json, struct buf *problems,
                 struct err *err) MUST_USE;

/* The fields with their defaults, for people; a JSON Schema of them; a page in Markdown. */
void jobfile_help(FILE *to);
void jobfile_schema(FILE *to);
void jobfile_page(FILE *to);

#endif
