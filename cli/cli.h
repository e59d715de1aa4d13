/*
 * cli.h - one invocation of borgctl: options, arguments and exit codes.
 *
 * The table of commands (commands.c) drives parsing (args.c), help (help.c) and dispatch (main.c);
 * a command that is not in it does not exist. cli_fail() prints each error once, on stderr.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "err.h"
#include "limits.h"

#include <stdio.h>

/* Exit codes that scripts can rely on; `borgctl help` prints them. */
#define CLI_EXITS(X) \
    X(OK, 0, "done") \
    X(REFUSED, 1, \
      "refused: by the cell (not found, invalid, denied, ...) or by this machine; `diff`: " \
      "differs") \
    X(USAGE, 2, "usage: the command line or the spec is wrong, nothing was sent") \
    X(UNREACHABLE, 3, "no replica reachable, or no leader within --timeout; nothing was changed") \
    X(UNKNOWN, 4, "outcome unknown: the command may or may not have been carried out") \
    X(JOB_FAILED, 5, "--wait ended because the job failed or was killed") \
    X(UNHEALTHY, 6, "`cell status`: the cell works, but has a problem that needs attention") \
    X(INTERRUPTED, 130, "interrupted by ^C")

enum cli_exit {
#define X(name, number, text) CLI_##name = (number),
    CLI_EXITS(X)
#undef X
};

enum cli_output { OUTPUT_TABLE, OUTPUT_JSON };

/* Every option: name, short form or 0, metavariable or NULL, help text. */
#define CLI_OPTIONS(X) \
    X(CELL, "cell", 0, "DIR|FILE", "path of cell.json, or of the directory that contains it") \
    X(USER, "user", 0, "NAME", "act as this user, with the certificate pki/user-NAME.crt") \
    X(OUTPUT, "output", 'o', "table|json", "output format: a table for people, JSON for programs") \
    X(TIMEOUT, "timeout", 0, "SECONDS", "how long to wait for a leader and for an answer (15)") \
    X(QUIET, "quiet", 'q', NULL, "print only the result and errors, no hints and no progress") \
    X(HELP, "help", 'h', NULL, "print the help of the command") \
    X(VERSION, "version", 0, NULL, "print the version") \
    X(WAIT, "wait", 'w', NULL, "wait until the command has taken effect") \
    X(DIR, "dir", 0, "DIR", "directory of the embedded cell (default: the one of --cell)") \
    X(REPLICAS, "replicas", 0, "N", "number of masters: 1, 3, 5, 7 or 9 (5)") \
    X(TASK_REPLICAS, "replicas", 0, "N", "number of tasks of the job") \
    X(BORGLETS, "borglets", 0, "N", "number of borglets to run on this machine (3)") \
    X(HOST, "host", 0, "IP", "address on which masters and borglets listen (127.0.0.1)") \
    X(CAPACITY, "capacity", 0, "cpu=N,ram=N,disk=N", \
      "capacity of each borglet, also gpu=N or NAME=N (default: an equal share of this machine)") \
    X(ATTR, "attr", 0, "KEY=VALUE", \
      "attribute of the borglets that are started now; may be repeated") \
    X(ELECTION, "election-timeout-ms", 0, "MS", "election timeout of the masters") \
    X(SNAPSHOT, "snapshot-threshold", 0, "N", "log entries between two snapshots of a master") \
    X(TASKS, "tasks", 0, NULL, "stop the tasks too") \
    X(WIPE, "wipe", 0, NULL, "stop the tasks too, then remove the directory with all its data") \
    X(FORMAT, "format", 0, "jsonnet|json|yaml", "format of the spec (default: by its extension)") \
    X(EXT_STR, "ext-str", 0, "NAME=VALUE", "set std.extVar(NAME) in the spec to the string VALUE") \
    X(TLA_STR, "tla-str", 0, "NAME=VALUE", "call the spec, a function, with NAME='VALUE'") \
    X(DRY_RUN, "dry-run", 0, NULL, "check the spec and print it with its defaults, send nothing") \
    X(FOLLOW, "follow", 'f', NULL, "continue with new output, until ^C or the end") \
    X(STDERR, "err", 0, NULL, "print the task's stderr instead of its stdout") \
    X(TAIL, "tail", 0, "N", "start with the last N lines") \
    X(ATTEMPT, "attempt", 0, "N", "select this attempt of the task (default: the newest)") \
    X(NUMBER, "number", 'n', "N", "print the newest N events (50)") \
    X(FRESH, "fresh", 0, NULL, "include everything acknowledged so far: ask the leader first") \
    X(PRIORITY, "priority", 0, "P", "0-450, or free, batch, production, monitoring") \
    X(CPU, "cpu", 0, "C", "of each task: 500m, 2") \
    X(RAM, "ram", 0, "R", "of each task: 512Mi, 2Gi") \
    X(DISK, "disk", 0, "D", "of each task: 10Gi") \
    X(GPU, "gpu", 0, "G", "of each task: 1, 500m") \
    X(BATCH, "batch", 0, "N", "at most N tasks of the job are down at once") \
    X(TRACE_DIR, "dir", 0, "DIR", "a trace: DIR/machines.csv and DIR/tasks.csv, or their .gz") \
    X(MACHINES, "machines", 0, "FILE", "machines of a trace, CSV or CSV.gz") \
    X(TASKS_FILE, "tasks", 0, "FILE", "tasks of a trace, CSV or CSV.gz") \
    X(CHECKPOINT, "checkpoint", 0, "FILE", "cell.db of a real cell, to use instead of a trace") \
    X(POLICY, "policy", 0, "POLICY", "best-fit, worst-fit or stranding-aware (the default)") \
    X(LIMIT, "limit", 0, "N", "read only the first N tasks of the trace") \
    X(AT, "at", 0, "SECONDS|peak|all", \
      "take the tasks of a trace that run at that second (0), at the peak demand, or all") \
    X(ARRIVALS, "arrivals", 0, "SECONDS|all", \
      "simulate over time: tasks arrive until that second and end after their duration") \
    X(COMPACT, "compact", 0, NULL, \
      "find the fewest machines needed: the cell compaction experiment") \
    X(HOW_MANY, "how-many", 0, "SPEC", "count how many more tasks of this spec fit") \
    X(REMOVE, "remove", 0, "COUNT|NAME|TERM", \
      "then remove machines: a number, one by name, or all with rack=r3; may be repeated") \
    X(WHY, "why", 0, "JOB[/INDEX]", "explain why this is pending at the end") \
    X(HTML, "html", 0, "FILE", "also write a report with plots as one self-contained page") \
    X(SEED, "seed", 0, "N", "seed of all random choices (1)") \
    X(NAMES, "machines", 0, NULL, "print names of machines, the first 100 per line") \
    X(ADDR, "addr", 0, "RPC[,RAFT]", \
      "HOST:PORT of the new replica, and of its log (default: one port higher)") \
    X(MAN, "man", 0, NULL, "the manual page borgctl(1), generated from the same table") \
    X(SCHEMA, "schema", 0, NULL, "of submit: a JSON Schema of a job") \
    X(PAGE, "page", 0, NULL, "of submit: the reference page of a job's fields, in Markdown") \
    X(FORCE, "force", 0, NULL, "also with work on it, which is lost") \
    X(OUT, "out", 0, "DIR", "make a directory there that can be taken to another host") \
    X(VALID, "valid", 0, "TIME", "how long it is good: 90d, 12h (ten years)") \
    X(CA, "ca", 0, NULL, "the CA's certificate too; its key stays, what it has signed is good")

enum cli_option {
#define X(id, name, short_name, metavar, text) OPT_##id,
    CLI_OPTIONS(X)
#undef X
        OPT_COUNT
};

/* A set of options. Two options may share a name if no command takes both. */
#define OPTION(id) (UINT64_C(1) << OPT_##id)

struct cli_option_value {
    enum cli_option option;
    const char *text; /* borrowed from argv; "" for a flag */
};

enum { CLI_VALUES_MAX = 256, CLI_ARGS_MAX = 8 };

struct cli {
    const struct command *command;
    const char *args[CLI_ARGS_MAX]; /* borrowed from argv, without the command's own words */
    size_t arg_count;
    struct cli_option_value values[CLI_VALUES_MAX]; /* as given, in order */
    size_t value_count;
    enum cli_output output;
    bool quiet;
    bool misused; /* the value of an option is invalid */
    uint64_t timeout_ms;
};

struct command {
    const char *name; /* one or two words: "jobs", "cell up" */
    const char *args; /* for the usage line: "JOB[/INDEX]" */
    size_t args_min;
    size_t args_max;
    uint64_t options;    /* OPTION(x): accepted options beside the global ones */
    const char *summary; /* one line */
    const char *details; /* paragraphs, may be NULL */
    const char *examples;
    int (*run)(struct cli *cli); /* returns an enum cli_exit */
    void (*help_more)(FILE *to); /* printed at the end of its help; may be NULL */
};

/* The table; its last entry has no name. */
extern const struct command cli_commands[];
/* Return the command whose words start `argv`, and the number of these words; NULL if there is
 * none. */
const struct command *command_find(const char *const *argv, size_t count, size_t *ret_words);
/* Whether commands of two words begin with this one, as `cell up` does with `cell`. */
bool command_is_group(const char *word);

/*
 * Parse a command line. Options may stand anywhere; "--" ends them. The message of ERR_INVALID says
 * what to do. `--help` and `--version` take precedence over any other mistake in the arguments.
 */
int cli_parse(struct cli *cli, int argc, char **argv, struct err *err) MUST_USE;
/* Return the last value of the option, NULL if it was not given. */
const char *cli_value(const struct cli *cli, enum cli_option option);
bool cli_flag(const struct cli *cli, enum cli_option option);
/* Return a whole number from min to max, or `otherwise` if the option was not given. An invalid
 * value makes the command end with CLI_USAGE. */
int cli_number(struct cli *cli, enum cli_option option, uint64_t min, uint64_t max,
               uint64_t otherwise, uint64_t *ret, struct err *err) MUST_USE;
/* Read JOB[/INDEX]; the index is -1 if there is none. */
int cli_task(const char *text, char ret_job[CELL_NAME_MAX + 1], int64_t *ret_index,
             struct err *err) MUST_USE;
const char *cli_option_name(enum cli_option option); /* "--tail" */

/* Print `borgctl: message` and return the exit code for the error's code. */
int cli_fail(const struct err *err);
int cli_exit_of(enum err_code code);

void help_print(FILE *to);
void help_print_command(FILE *to, const struct command *command);
void help_print_man(FILE *to);

int cmd_cell_up(struct cli *cli);
int cmd_cell_down(struct cli *cli);
int cmd_cell_status(struct cli *cli);
int cmd_cell_checkpoint(struct cli *cli);
int cmd_cell_restore(struct cli *cli);
int cmd_cell_policy(struct cli *cli);
int cmd_cell_release(struct cli *cli);
int cmd_cell_upgrade(struct cli *cli);
int cmd_cell_transfer(struct cli *cli);
int cmd_cell_add_replica(struct cli *cli);
int cmd_cell_remove_replica(struct cli *cli);
int cmd_cell_replace_replica(struct cli *cli);
int cmd_cell_restart(struct cli *cli);
int cmd_submit(struct cli *cli);
int cmd_diff(struct cli *cli);
int cmd_jobs(struct cli *cli);
int cmd_job(struct cli *cli);
int cmd_why(struct cli *cli);
int cmd_tasks(struct cli *cli);
int cmd_kill(struct cli *cli);
int cmd_logs(struct cli *cli);
int cmd_machines(struct cli *cli);
int cmd_events(struct cli *cli);
int cmd_query(struct cli *cli);
int cmd_drain(struct cli *cli);
int cmd_undrain(struct cli *cli);
int cmd_machine_remove(struct cli *cli);
int cmd_quota(struct cli *cli);
int cmd_allocs(struct cli *cli);
int cmd_update(struct cli *cli);
int cmd_job_restart(struct cli *cli);
int cmd_quota_set(struct cli *cli);
int cmd_quota_clear(struct cli *cli);
int cmd_grant(struct cli *cli);
int cmd_ungrant(struct cli *cli);
int cmd_revoke(struct cli *cli);
int cmd_unrevoke(struct cli *cli);
int cmd_identities(struct cli *cli);
int cmd_simulate(struct cli *cli);
int cmd_help(struct cli *cli);
int cmd_pki_list(struct cli *cli);
int cmd_pki_make(struct cli *cli);
int cmd_pki_renew(struct cli *cli);

#endif
